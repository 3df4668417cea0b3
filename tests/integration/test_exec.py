"""exec: what the process gets, by flags and by process files, and how the command ends."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import Container, Runtime, wait_for
from tests.integration.views import MakeBundle, fields, user_namespace

SLEEP = ["sleep", "600"]
PR_SET_PDEATHSIG = 1


def process_file(sleeper: Container, **members: Any) -> str:
    """A process as engines write it: with what the caller says, and the least besides."""
    path = sleeper.runtime.scratch / "process.json"
    path.write_text(json.dumps({"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0}, **members}))
    return str(path)


def namespaces(pid: int | str, kinds: tuple[str, ...]) -> dict[str, str]:
    return {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in kinds}


# ---- where it is -----------------------------------------------------------------------------------------------------


def test_the_process_is_in_all_namespaces_of_the_container(sleeper: Container) -> None:
    kinds = ("pid", "mnt", "ipc", "uts", "net", "cgroup")
    inside = sleeper.exec("sh", "-c", f"cd /proc/self/ns && for n in {' '.join(kinds)}; do readlink $n; done").stdout
    assert inside.split() == list(namespaces(sleeper.pid, kinds).values())


def test_the_process_is_in_the_cgroups_of_the_container(sleeper: Container, detached: Callable[..., int]) -> None:
    assert sleeper.proc("cgroup", detached()) == sleeper.proc("cgroup")


def test_the_process_leads_a_session_of_its_own(sleeper: Container) -> None:
    fields = sleeper.exec("sh", "-c", "cat /proc/$$/stat").stdout.rpartition(")")[2].split()
    assert fields[2] == fields[3] != "0"


def test_a_container_with_a_user_namespace_is_entered_as_its_root(runtime: Runtime, make_bundle: MakeBundle) -> None:
    sleeper = runtime.start(make_bundle(args=SLEEP, linux=user_namespace()))
    done = sleeper.exec("sh", "-c", "id -u; id -g; cat /proc/self/uid_map; readlink /proc/self/ns/user")
    uid, gid, *rest = done.stdout.split()
    assert (uid, gid) == ("0", "0")
    assert rest[-1] == os.readlink(f"/proc/{sleeper.pid}/ns/user")
    assert rest[-1] != os.readlink("/proc/self/ns/user")


def test_without_a_mount_namespace_the_root_is_the_containers(runtime: Runtime, make_bundle: MakeBundle) -> None:
    linux = {"namespaces": [{"type": "pid"}], "maskedPaths": None, "readonlyPaths": None}
    sleeper = runtime.start(make_bundle(args=SLEEP, mounts=[], hostname=None, linux=linux))
    inside = os.stat(sleeper.bundle.rootfs)
    assert sleeper.exec("stat", "-c", "%i", "/").stdout.strip() == str(inside.st_ino)


def test_a_created_container_can_be_entered_before_it_is_started(runtime: Runtime, make_bundle: MakeBundle) -> None:
    sleeper = runtime.create(make_bundle(args=SLEEP))
    assert sleeper.exec("hostname").stdout == "box\n"
    assert sleeper.status == "created"
    sleeper.start()


# ---- what it is ------------------------------------------------------------------------------------------------------


def test_the_process_has_the_containers_environment_directory_and_user(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    process = {"cwd": "/tmp", "user": {"uid": 1000, "gid": 1000, "umask": 0o27, "additionalGids": [7]}}
    sleeper = runtime.start(make_bundle(args=SLEEP, process={**process, "env": ["PATH=/bin", "A=1"]}))
    done = sleeper.exec("sh", "-c", "pwd; id -u; id -G; umask; echo $A $HOME")
    assert done.stdout.split() == ["/tmp", "1000", "1000", "7", "0027", "1", "/home/user"]


def test_flags_change_what_the_process_has(sleeper: Container) -> None:
    flags = [
        "--cwd",
        "/tmp",
        "-e",
        "A=1",
        "--env=B=2",
        "-e",
        "A=3",
        "-u",
        "1000:1001",
        "-g",
        "5",
        "--additional-gids",
        "6",
    ]
    done = sleeper.exec("sh", "-c", "pwd; id -u; id -g; id -G; echo $A $B $HOME", flags=flags)
    assert done.stdout.split() == ["/tmp", "1000", "1001", "1001", "5", "6", "3", "2", "/home/user"]


def test_a_user_without_a_group_keeps_the_containers_group(sleeper: Container) -> None:
    assert sleeper.exec("id", "-u", flags=["--user", "1000"]).stdout == "1000\n"
    assert sleeper.exec("id", "-g", flags=["--user", "1000"]).stdout == "0\n"


@pytest.mark.parametrize(
    "word", ["4294967296", "4294967295", "-1", "1:", "1x", "0x0", "1:2:3", " 1", "root", "1:-1", "٣"]
)
def test_a_user_that_is_no_number_is_refused_and_never_root(sleeper: Container, word: str) -> None:
    done = sleeper.exec("id", "-u", flags=[f"--user={word}"], check=False)
    assert done.stdout == ""
    assert "is not a number from 0 to" in done.stderr


def test_a_capability_is_added_but_not_to_the_inheritable_set(sleeper: Container) -> None:
    """CVE-2022-29162."""
    sets = capability_sets(
        sleeper.exec("cat", "/proc/self/status", flags=["--cap", "CAP_NET_ADMIN", "-c", "sys_time"]).stdout
    )
    for name in ("CapPrm", "CapEff", "CapBnd"):
        assert sets[name] >> 12 & 1, name
        assert sets[name] >> 25 & 1, name
    assert sets["CapInh"] == sets["CapAmb"] == 0
    plain = capability_sets(sleeper.exec("cat", "/proc/self/status").stdout)
    assert plain == capability_sets(sleeper.proc("status"))


def test_an_added_capability_is_ambient_where_the_config_has_it_inheritable(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    """Without the ambient set, a user other than root would lose at execve(2) what --cap gave; runc does the same."""
    listed = {"bounding": ["CAP_CHOWN", "CAP_SYSLOG"], "permitted": ["CAP_CHOWN"], "inheritable": ["CAP_SYSLOG"]}
    sleeper = runtime.start(make_bundle(args=SLEEP, process={"capabilities": listed}))
    flags = ["--user", "1000", "--cap", "CAP_SYSLOG", "--cap", "CAP_KILL"]
    sets = capability_sets(sleeper.exec("cat", "/proc/self/status", flags=flags).stdout)
    assert sets["CapInh"] == sets["CapAmb"] == sets["CapPrm"] == sets["CapEff"] == 1 << 34
    assert sets["CapBnd"] == 1 << 34 | 1 << 5 | 1


def capability_sets(status: str) -> dict[str, int]:
    rows = (line.split(":") for line in status.splitlines() if line.startswith("Cap"))
    return {name: int(value, 16) for name, value in rows}


def test_no_new_privileges_can_be_asked_for(runtime: Runtime, make_bundle: MakeBundle) -> None:
    sleeper = runtime.start(make_bundle(args=SLEEP, process={"noNewPrivileges": False}))
    script = "sed -n 's/^NoNewPrivs:.//p' /proc/self/status"
    assert sleeper.exec("sh", "-c", script).stdout == "0\n"
    assert sleeper.exec("sh", "-c", script, flags=["--no-new-privs"]).stdout == "1\n"


def test_limits_and_seccomp_are_the_containers(runtime: Runtime, make_bundle: MakeBundle) -> None:
    limits = [{"type": "RLIMIT_NOFILE", "soft": 321, "hard": 432}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
    linux = {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}}
    sleeper = runtime.start(make_bundle(args=SLEEP, process={"rlimits": limits}, linux=linux))
    script = "ulimit -n; ulimit -Hn; ulimit -c; mkdir /tmp/x 2>/dev/null || echo refused; sed -n 's/^Seccomp:.//p'"
    script += " /proc/self/status"
    for flags in ((), ("--process", process_file(sleeper, args=["sh", "-c", script], env=["PATH=/bin"]))):
        words = () if flags else ("sh", "-c", script)
        assert sleeper.exec(*words, flags=flags).stdout.split() == ["321", "432", "0", "refused", "2"], flags


def test_the_filter_is_compiled_once_for_a_container(runtime: Runtime, make_bundle: MakeBundle) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
    linux = {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], "flags": []}}
    sleeper = runtime.start(make_bundle(args=SLEEP, linux=linux))
    kept = runtime.root / sleeper.id / "seccomp.bpf"
    whole = kept.read_bytes()
    assert whole[:8] == bytes(4) + (len(whole) - 8).to_bytes(4, "little"), "no flags; the size"
    script = "mkdir /tmp/x 2>/dev/null || echo refused"
    assert sleeper.exec("sh", "-c", script).stdout == "refused\n"
    for cut in (b"", whole[:8], whole[:-8]):
        kept.write_bytes(cut)
        assert "is damaged: seccomp.bpf is cut off" in sleeper.exec("true", f"{len(cut)}", check=False).stderr
    kept.write_bytes(bytes(8) + b"\6\0\0\0\0\0\377\177")  # allow all: it is this file that counts
    assert sleeper.exec("sh", "-c", f" {script}").stdout == ""
    kept.unlink()
    assert sleeper.exec("sh", "-c", f"rmdir /tmp/x; {script}").stdout == "refused\n"


def test_a_process_file_says_all_there_is(sleeper: Container) -> None:
    script = "pwd; id -u; id -G; echo $A; sed -n 's/^CapEff:.//p' /proc/self/status; cat /proc/self/oom_score_adj"
    path = process_file(
        sleeper,
        args=["sh", "-c", script],
        cwd="/tmp", env=["PATH=/bin", "A=7"], user={"uid": 1000, "gid": 5, "additionalGids": [9]}, oomScoreAdj=100,
        capabilities={kind: ["CAP_KILL"] for kind in ("bounding", "permitted", "effective", "inheritable", "ambient")},
    )  # fmt: skip
    expected = ["/tmp", "1000", "5", "9", "7", f"{1 << 5:016x}", "100"]
    assert sleeper.exec(flags=["--process", path]).stdout.split() == expected
    assert sleeper.exec(flags=["-p", "-"], stdin=Path(path).read_bytes()).stdout.split() == expected


def test_a_process_file_without_capabilities_gets_the_containers(sleeper: Container) -> None:
    """Docker leaves out what stays the same."""
    path = process_file(sleeper, args=["cat", "/proc/self/status"], env=["PATH=/bin"])
    found = capability_sets(sleeper.exec(flags=["--process", path]).stdout)
    assert found == capability_sets(sleeper.proc("status"))


def test_a_wrong_process_file_is_explained_by_its_fields(sleeper: Container) -> None:
    """Not by the file's name, which is an engine's temporary one."""
    path = process_file(sleeper, args=[], cwd="x")
    done = sleeper.exec(flags=["--process", path], check=False)
    assert done.code == 255
    assert "ocirt: process: /args: is empty" in done.stderr
    assert "ocirt: process: /cwd: found" in done.stderr
    Path(path).write_text('"x"')
    assert sleeper.exec(flags=["--process", path], check=False).code == 255
    Path(path).write_text("{")
    done = sleeper.exec(flags=["--process", path], check=False)
    assert done.code == 255
    assert "Traceback" not in done.stderr


def test_the_bundles_config_is_not_read_again(sleeper: Container) -> None:
    """runtime.md: edits after create have no effect."""
    sleeper.bundle.config["process"]["env"] = ["PATH=/bin", "CHANGED=1"]
    sleeper.bundle.write()
    assert sleeper.exec("sh", "-c", "echo [$CHANGED]").stdout == "[]\n"


# ---- descriptors -----------------------------------------------------------------------------------------------------


def test_nothing_of_the_callers_is_open_in_the_process(sleeper: Container, tmp_path: Path) -> None:
    fds = [os.open("/", os.O_RDONLY) for _ in range(20)]
    try:
        done = sleeper.exec("sh", "-c", "ls /proc/$$/fd; true", pass_fds=fds)
        assert set(done.stdout.split()) <= {"0", "1", "2", "10"}  # 10 is where the shell keeps its script
        assert "3" not in done.stdout.split()
    finally:
        for fd in fds:
            os.close(fd)


def test_descriptors_are_preserved_on_demand_alone(sleeper: Container, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("preserved")
    fd = os.open(tmp_path / "note", os.O_RDONLY)
    others = [os.dup(fd), os.dup(fd)]
    try:
        done = sleeper.exec(
            "sh", "-c", f"cat <&{fd}; test -e /proc/$$/fd/{fd + 1} || echo ' alone'",
            flags=["--preserve-fds", str(fd - 2)], pass_fds=[fd, *others],
        )  # fmt: skip
        assert done.stdout == "preserved alone\n"
    finally:
        for one in (fd, *others):
            os.close(one)


@pytest.mark.parametrize("number", range(3, 12))
def test_a_directory_by_a_leaked_descriptor_is_no_working_directory(sleeper: Container, number: int) -> None:
    """CVE-2024-21626, by an image's symlink."""
    link = sleeper.bundle.rootfs / f"l{number}"
    link.symlink_to(f"/proc/self/fd/{number}")
    fds = [os.open("/", os.O_RDONLY) for _ in range(6)]
    try:
        done = sleeper.exec("pwd", flags=["--cwd", f"/l{number}"], check=None, pass_fds=fds)
    finally:
        for fd in fds:
            os.close(fd)
    assert done.code == 255 or done.stdout == "/\n", done


def test_pipes_on_stdio_become_the_users(sleeper: Container) -> None:
    script = "echo opened >/dev/stdout"
    process = sleeper.runtime.popen(
        "exec", "--user", "1000:1000", sleeper.id, "sh", "-c", script, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == (b"opened\n", b"", 0)


# ---- how it ends -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)]
)
def test_the_exit_code_is_the_processs(sleeper: Container, script: str, code: int) -> None:
    assert sleeper.exec("sh", "-c", script, check=None).code == code


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nosuch"], 'exec: "nosuch": executable file not found in $PATH'),
        (["/nosuch"], 'exec: "/nosuch": stat /nosuch: no such file or directory'),
        (["/etc"], 'exec: "/etc": permission denied'),
        (["/etc/passwd"], 'exec: "/etc/passwd": permission denied'),
    ],
)
def test_a_program_that_cannot_run_is_told_in_the_words_that_engines_know(
    sleeper: Container, words: list[str], text: str
) -> None:
    done = sleeper.exec(*words, check=False)
    assert done.code == 255
    assert done.stderr.startswith(f"ocirt: {text}")
    assert done.stderr.count("\n") == 1


def test_a_missing_directory_is_told_in_the_words_that_engines_know(sleeper: Container) -> None:
    done = sleeper.exec("true", flags=["--cwd", "/nope"], check=False)
    assert 'chdir to cwd ("/nope") set in config.json failed: no such file or directory' in done.stderr


WRONG_FLAGS: dict[str, tuple[list[str], str]] = {
    "a directory": (["--cwd", "/nope"], "exec: /cwd: chdir"),
    "a label": (["--process-label", "a:b:c:d"], 'exec: /selinuxLabel: label "a:b:c:d": SELinux is not enabled'),
    "a terminal": (["--tty", "--detach"], "exec: /terminal: a detached container with a terminal needs"),
}


@pytest.mark.parametrize("name", sorted(WRONG_FLAGS))
def test_what_is_wrong_with_a_flag_is_not_blamed_on_the_containers_config(sleeper: Container, name: str) -> None:
    flags, message = WRONG_FLAGS[name]
    if name == "a label" and Path("/sys/fs/selinux/enforce").exists():
        pytest.skip("this host has SELinux")
    assert sleeper.exec("true", flags=flags, check=False).stderr.startswith(f"ocirt: {message}")


def test_what_is_wrong_with_a_process_file_is_told_by_its_fields_until_the_process_runs(sleeper: Container) -> None:
    path = process_file(sleeper, cwd="/nope")
    done = sleeper.runtime.run("exec", "--process", path, sleeper.id, check=False)
    assert done.stderr.startswith("ocirt: process: /cwd: chdir")


@pytest.mark.parametrize("again", [False, True], ids=["first", "repeated"])
def test_signal_settings_of_the_caller_are_reset(sleeper: Container, again: bool) -> None:
    """Conmon ignores SIGPIPE, Python some of its own; and go-runc has PR_SET_PDEATHSIG set for the runtime."""

    def ignore_block_and_die_with_parent() -> None:
        for number in (signal.SIGPIPE, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGCHLD})
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)

    path = sleeper.runtime.scratch / "pid"
    for _ in range(1 + again):
        how = {"preexec_fn": ignore_block_and_die_with_parent, "restore_signals": False}
        sleeper.exec(*SLEEP, flags=["--detach", "--pid-file", str(path)], **how)
        pid = int(path.read_text())
        status = fields(sleeper.proc("status", pid))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)  # the engine's duty: until then the container's pid namespace does not end
        assert status["State"][0] in "RSD"  # not dead
        assert {status[name] for name in ("SigIgn", "SigBlk", "SigCgt")} == {"0" * 16}


def test_signals_reach_the_process(sleeper: Container) -> None:
    stem = sleeper.runtime.scratch / "signalled"
    script = "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    process = sleeper.runtime.popen("exec", sleeper.id, "sh", "-c", script, stem=stem)
    wait_for(lambda: "ready" in stem.with_suffix(".out").read_text(), "ready")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 9
    assert stem.with_suffix(".out").read_text() == "ready\ncaught\n"
