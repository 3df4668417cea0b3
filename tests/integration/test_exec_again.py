"""exec of what is like something that was executed before: its launch is kept, and carried out without Python."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocirt.container.launches import DIRECTORY, HEAD, KEPT
from tests.integration.support import INTERPRETER, Bundle, Container, Runtime, wait_for
from tests.integration.views import MakeBundle, user_namespace

PR_CAPBSET_DROP, CAP_KILL = 24, 5


VERB = struct.pack("<I", 4) + b"exec"  # a part of the key


def plans(container: Container) -> list[Path]:
    files = (container.runtime.root / DIRECTORY).glob("*.launch")
    return sorted(path for path in files if VERB in path.read_bytes())


def needs_python(container: Container, *words: str, flags: tuple[str, ...] = ()) -> bool:
    """Whether the interpreter is loaded for a command, which must succeed."""
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    log = container.runtime.scratch / "strace"
    command = ["strace", "-o", log, container.runtime.program, "--root", container.runtime.root, "exec", *flags]
    done = subprocess.run(
        [*command, container.id, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False, timeout=30
    )
    assert done.returncode == 0
    return INTERPRETER in log.read_text(errors="replace")


def process_file(container: Container, name: str, **members: Any) -> str:
    path = container.runtime.scratch / name
    path.write_text(json.dumps({"args": ["true"], "cwd": "/", "env": ["PATH=/bin"], **members}))
    return str(path)


def test_the_second_time_no_interpreter_is_started(sleeper: Container) -> None:
    assert needs_python(sleeper, "true")
    assert not needs_python(sleeper, "true")


def test_a_process_file_counts_by_what_it_says_and_not_by_its_name(sleeper: Container) -> None:
    """Engines write a new file for every probe."""
    assert needs_python(sleeper, flags=("--process", process_file(sleeper, "one")))
    assert not needs_python(sleeper, flags=(f"--process={process_file(sleeper, 'two')}",))
    assert needs_python(sleeper, flags=("--process", process_file(sleeper, "two", env=["PATH=/bin", "TERM=x"])))
    assert not needs_python(sleeper, flags=("--process", process_file(sleeper, "six", env=["PATH=/bin", "TERM=x"])))


def test_standard_input_is_not_a_file_of_its_name(sleeper: Container) -> None:
    process = {"cwd": "/", "env": ["PATH=/bin"]}
    there, said = (json.dumps({**process, "args": ["sh", "-c", f"exit {code}"]}) for code in (7, 8))
    path = sleeper.runtime.scratch / "-"
    path.write_text(there)
    for _ in range(2):
        assert sleeper.exec(flags=["--process", str(path)], check=None).code == 7
        done = sleeper.exec(flags=["--process", "-"], check=None, stdin=said.encode(), cwd=path.parent)
        assert done.code == 8


def test_detached_or_not_it_is_the_same_plan(sleeper: Container, detached: Callable[..., int]) -> None:
    pid = detached()
    assert len(plans(sleeper)) == 1
    pid_file = sleeper.runtime.scratch / "attended"
    process = sleeper.runtime.popen("exec", "--pid-file", str(pid_file), sleeper.id, "sleep", "600")
    wait_for(pid_file.exists, "the second sleeper")
    assert len(plans(sleeper)) == 1
    os.kill(pid, 0)
    process.terminate()
    assert process.wait(10) == 143


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_the_exit_code_is_the_same_each_time(sleeper: Container, script: str, code: int) -> None:
    assert [sleeper.exec("sh", "-c", script, check=None).code for _ in range(3)] == [code] * 3
    assert len(plans(sleeper)) == 1


def test_what_the_process_is_and_sees_is_the_same_each_time(runtime: Runtime, make_bundle: MakeBundle) -> None:
    limits = [{"type": "RLIMIT_NOFILE", "soft": 321, "hard": 432}]
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
    linux = {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}}
    container = runtime.start(make_bundle(args=["sleep", "600"], process={"rlimits": limits}, linux=linux))
    script = """id; env; pwd; umask; ulimit -n; mkdir /tmp/x 2>&1
grep '^Cap\\|^No\\|^Sec\\|^Sig[A-P]' /proc/self/status
readlink /proc/self/ns/*; sort /proc/self/cgroup; ls /proc/$$/fd; cut -d' ' -f5,6,7 /proc/self/stat | wc -w"""
    flags = ["-u", "1000:1000", "-g", "7", "-e", "TERM=1", "--cwd", "/tmp", "--cap", "CAP_KILL"]
    first, second = (container.exec("sh", "-c", script, flags=flags).stdout for _ in range(2))
    assert len(plans(container)) == 1
    assert first == second
    assert "uid=1000" in first


def test_it_works_in_a_user_namespace(runtime: Runtime, make_bundle: MakeBundle) -> None:
    container = runtime.start(make_bundle(args=["sleep", "600"], linux=user_namespace()))
    said = [
        container.exec("sh", "-c", "id -u; echo x >/dev/stdout; readlink /proc/self/ns/user").stdout for _ in range(2)
    ]
    assert said[0] == said[1]
    assert len(plans(container)) == 1


def test_it_works_without_a_pid_namespace(runtime: Runtime, make_bundle: MakeBundle) -> None:
    container = runtime.start(
        make_bundle(args=["sleep", "600"], linux={"namespaces": [{"type": "mount"}]}, hostname=None)
    )
    assert [container.exec("sh", "-c", "exit 4", check=None).code for _ in range(2)] == [4, 4]
    assert len(plans(container)) == 1


def test_another_caller_has_another_plan(sleeper: Container) -> None:
    """One with fewer capabilities must not get the plan of one with more."""

    def drop() -> None:
        assert ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_KILL, 0, 0, 0) == 0

    script = "sed -n 's/^CapBnd:.//p' /proc/self/status"
    whole = [int(sleeper.exec("sh", "-c", script).stdout, 16) for _ in range(2)]
    less = [int(sleeper.exec("sh", "-c", script, preexec_fn=drop).stdout, 16) for _ in range(2)]
    assert whole[0] == whole[1]
    assert less == [whole[0] & ~(1 << CAP_KILL)] * 2
    assert len(plans(sleeper)) == 1, "one that has warnings is compiled each time"


def test_words_of_the_command_are_not_taken_for_flags(sleeper: Container) -> None:
    """A program can be called as a flag is: its plan must not be run for the flag, which would be left out then."""
    for name in ("user", "no-new-privs"):
        sleeper.bundle.add_file(f"bin/{name}", "#!/bin/sh\necho the program\n", 0o755)
    assert sleeper.exec("user", "1000", "id", "-u").stdout == "the program\n"
    assert sleeper.exec("id", "-u", flags=["--user", "1000"]).stdout == "1000\n"
    assert sleeper.exec("id", "-u", flags=["--no-new-privs"]).stdout == "0\n"
    assert sleeper.exec("no-new-privs", "id", "-u").stdout == "the program\n"


def holding(runtime: Runtime, text: bytes) -> list[Path]:
    """The files of the state root that have the text."""
    return [path for path in runtime.root.rglob("*") if path.is_file() and text in path.read_bytes()]


@pytest.mark.parametrize("form", ["flags", "file"])
def test_variables_of_the_command_are_not_written_down(sleeper: Container, form: str) -> None:
    secret, words = "hunter2-42", ["sh", "-c", "echo $TOKEN"]
    file = process_file(sleeper, "process", args=words, env=["PATH=/bin", f"TOKEN={secret}"])
    for _ in range(3):
        if form == "file":
            done = sleeper.exec(flags=["--process", file])
        else:
            done = sleeper.exec(*words, flags=["-e", f"TOKEN={secret}"])
        assert done.stdout == f"{secret}\n"
        assert holding(sleeper.runtime, secret.encode()) == []


def test_no_variable_is_kept_with_the_plan(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """Their names are; health checks start no interpreter."""
    env = ["PATH=/bin", "TOKEN=of-the-container"]
    container = runtime.start(make_bundle(args=["sleep", "600"], process={"env": env}))
    path = process_file(container, "probe", env=[*env, "HOME=/root", "TERM=xterm"])
    assert needs_python(container, flags=("--process", path))
    assert not needs_python(container, flags=("--process", path))
    names = {path.name for path in holding(runtime, b"of-the-container")}
    assert names == {"config.json", "plan.bin"}


def test_another_value_is_another_value(sleeper: Container) -> None:
    for value in ("one", "two words", "", "tr\u00e9s"):
        assert sleeper.exec("sh", "-c", "echo $NAME", flags=["-e", f"NAME={value}"]).stdout == f"{value}\n"
    assert len(plans(sleeper)) == 1
    sleeper.exec("sh", "-c", "echo $NAME", flags=["-e", "OTHER=1"])
    assert len(plans(sleeper)) == 2, "names are looked into"
    sleeper.exec("true", flags=["-e", "PATH=/bin:/sbin"])
    sleeper.exec("true", flags=["-e", "PATH=/bin:/nosuch"])
    assert len(plans(sleeper)) == 4, "the program is searched in it"


def test_what_is_no_text_is_refused_each_time(sleeper: Container) -> None:
    for _ in range(2):
        assert "half of a surrogate pair" in sleeper.exec("printf", "%s", os.fsdecode(b"a\xffb"), check=False).stderr
    assert plans(sleeper) == []


def test_the_first_in_another_container_starts_no_interpreter(runtime: Runtime, make_bundle: MakeBundle) -> None:
    def one(n: int) -> Bundle:
        return make_bundle(args=["sleep", "600"], hostname=f"host-{n}", process={"env": ["PATH=/bin", f"N={n}"]})

    bundles = [one(n) for n in (0, 1)]
    containers = [runtime.start(bundle) for bundle in bundles]
    words = ("sh", "-c", "hostname; echo $N $$; cat /proc/self/cgroup")
    assert needs_python(containers[0], *words)
    assert not needs_python(containers[1], *words)
    for number, container in enumerate(containers):
        said = container.exec(*words).stdout
        assert said.startswith(f"host-{number}\n{number} ")
        assert f"/{container.id}\n" in said
        assert all(line.endswith(f"/{container.id}") for line in said.splitlines()[2:] if "ocirt" in line)


def test_a_container_of_another_config_has_plans_of_its_own(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """Nothing of what the first may do is the second's."""
    kinds = ("bounding", "effective", "permitted")
    some, none = (dict.fromkeys(kinds, names) for names in (["CAP_KILL"], []))
    script = "sed -n 's/^CapEff:.//p' /proc/self/status"
    found = []
    for capabilities in (some, none):
        container = runtime.start(make_bundle(args=["sleep", "600"], process={"capabilities": capabilities}))
        found += [int(container.exec("sh", "-c", script).stdout, 16) for _ in range(2)]
    assert found == [1 << CAP_KILL] * 2 + [0] * 2


def test_with_verify_both_are_the_same(sleeper: Container) -> None:
    for flags in ([], ["-e", "A=b", "--cwd", "/tmp"], ["--user", "1000"]):
        for number in range(2):
            argv = ("--kept", "verify", "--debug", "exec", *flags, sleeper.id, "sh", "-c", f"exit {number}")
            done = sleeper.runtime.run(*argv, check=None)
            assert done.code == number
            assert ("the plans are the same" in done.stderr) is (number == 1)
    sleeper.exec("sh", "-c", "exit 0")
    for file in plans(sleeper):
        data = bytearray(file.read_bytes())
        place = data.index(b"/bin/", HEAD.size + HEAD.unpack_from(data)[1])
        data[place + 1] = ord("x")
        file.write_bytes(data)
    done = sleeper.runtime.run("--kept", "verify", "exec", sleeper.id, "sh", "-c", "exit 0", check=None)
    assert done.code == 255
    assert "differs from what is compiled: init's plan" in done.stderr


def test_with_off_none_is_kept_or_used(sleeper: Container) -> None:
    for _ in range(2):
        done = sleeper.runtime.run("--kept", "off", "--debug", "exec", sleeper.id, "true", check=True)
        assert "kept launch" not in done.stderr
    assert plans(sleeper) == []


@pytest.mark.parametrize("flags", [["--ignore-paused"], ["--cgroup", "/"], ["--preserve-fds", "0"]])
def test_flags_beyond_the_process_are_compiled_each_time(sleeper: Container, flags: list[str]) -> None:
    sleeper.exec("true", flags=flags)
    assert plans(sleeper) == []


def test_what_is_not_found_is_told_each_time_and_in_the_way_of_nothing(sleeper: Container) -> None:
    """A launch of the same shape is kept by then: what fails is carried out anew by Python, which has the words."""
    for _ in range(2):
        assert "not found in $PATH" in sleeper.exec("nosuch", check=False).stderr
    assert len(plans(sleeper)) == 1
    assert sleeper.exec("echo", "found").stdout == "found\n"


def test_a_program_that_has_gone_is_told_as_the_first_time(sleeper: Container) -> None:
    program = sleeper.bundle.add_file("bin/probe", "#!/bin/sh\nexit 5\n", 0o755)
    assert [sleeper.exec("probe", check=None).code for _ in range(2)] == [5, 5]
    program.unlink()
    done = sleeper.exec("probe", check=False)
    assert (done.code, done.stderr) == (255, 'ocirt: exec: "probe": executable file not found in $PATH\n')


def test_a_plan_that_others_could_have_written_is_not_run(sleeper: Container) -> None:
    sleeper.exec("true")
    (plan,) = plans(sleeper)
    for spoil in (lambda: plan.chmod(0o644), lambda: os.chown(plan, 1000, 1000)):
        spoil()
        assert needs_python(sleeper, "true")
        assert not needs_python(sleeper, "true"), "it was kept anew"


@pytest.mark.parametrize("place", [0, 20, -20])
def test_a_plan_with_other_bytes_is_not_run(sleeper: Container, place: int) -> None:
    sleeper.exec("true")
    (plan,) = plans(sleeper)
    data = bytearray(plan.read_bytes())
    data[place] ^= 0xFF
    plan.write_bytes(data)
    assert sleeper.exec("true").code == 0
    plan.write_bytes(data[:40])
    assert sleeper.exec("true").code == 0


def test_a_host_plan_that_executes_nothing_is_no_success(sleeper: Container) -> None:
    """With an empty one there would be no process to wait for, and signals would go to the caller's group."""
    sleeper.exec("true")
    (file,) = plans(sleeper)
    data = bytearray(file.read_bytes())
    _, key_size, host_size, *_ = HEAD.unpack_from(data)
    host = HEAD.size + key_size
    magic, size, count = struct.unpack_from("<QII", data, host)
    assert size == host_size
    for fewer in (0, count - 1):
        struct.pack_into("<QII", data, host, magic, size, fewer)
        file.write_bytes(data)
        assert sleeper.exec("sh", "-c", "exit 0").code == 0
        assert sleeper.exec("true").code == 0


@pytest.mark.parametrize(("count", "size", "left"), [(KEPT, 0, KEPT), (20, 1 << 20, 16)], ids=["files", "bytes"])
def test_plans_do_not_pile_up(sleeper: Container, count: int, size: int, left: int) -> None:
    sleeper.exec("true")
    kept = sleeper.runtime.root / DIRECTORY
    os.utime(plans(sleeper)[0], (0, 0))  # two of one clock tick would be as old
    for number in range(count):
        file = kept / f"{number:016x}.launch"
        file.touch(0o600)
        os.truncate(file, size)
    sleeper.exec("true", flags=["-e", "A=b"])
    assert len(list(kept.glob("*.launch"))) == left
    assert (kept / f"{count - 1:016x}.launch").exists(), "the longest unused goes"


def test_signals_reach_the_process_again(sleeper: Container) -> None:
    script = "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    for number in range(2):
        stem = sleeper.runtime.scratch / f"signalled-{number}"
        process = sleeper.runtime.popen("exec", sleeper.id, "sh", "-c", script, stem=stem)
        wait_for(lambda stem=stem: "ready" in stem.with_suffix(".out").read_text(), "ready")  # type: ignore[misc]
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 9
        assert stem.with_suffix(".out").read_text() == "ready\ncaught\n"


def test_a_pid_file_is_written_again(sleeper: Container, detached: Callable[..., int]) -> None:
    first, second = detached(), detached()
    assert first != second
    assert len(plans(sleeper)) == 1
    done = sleeper.exec("sleep", "600", flags=["-d", "--pid-file", "/nonexistent/pid"], check=False)
    assert 'write the pid file "/nonexistent/pid": no such file or directory' in done.stderr


def test_a_pid_file_that_cannot_be_put_in_place_leaves_no_other(sleeper: Container) -> None:
    place = sleeper.runtime.scratch / "pids"
    (place / "file").mkdir(parents=True)
    for _ in range(2):
        done = sleeper.exec("true", flags=["--pid-file", str(place / "file")], check=False)
        assert done.stderr == f'ocirt: write the pid file "{place}/file": is a directory\n'
        assert [path.name for path in place.iterdir()] == ["file"]
        sleeper.exec("true")


def test_a_container_that_is_paused_or_gone_is_not_entered(sleeper: Container) -> None:
    sleeper.exec("true")
    if not sleeper.pause(check=None).code:
        assert "paused" in sleeper.exec("true", check=False).stderr
        sleeper.resume()
    sleeper.kill("KILL")
    sleeper.wait_stopped()
    assert "container not running" in sleeper.exec("true", check=False).stderr
