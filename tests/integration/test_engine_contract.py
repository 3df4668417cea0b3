"""What conmon, containerd's shim, CRI-O, Podman, Docker, Buildah and BuildKit rely on, command by command."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration import leftovers
from tests.integration.support import BASE, ConsoleSocket, Container, Result, Runtime, wait_for
from tests.integration.views import MakeBundle, fields

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")
PR_SET_PDEATHSIG = 1
SLEEP = ["sleep", "600"]
NO_PID_NAMESPACE = {"namespaces": [entry for entry in BASE["linux"]["namespaces"] if entry["type"] != "pid"]}


def records(log: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def read_to_end(fd: int, seconds: float = 5.0) -> bytes:
    """All that comes from a pipe, whose writers must all be gone in that time."""
    os.set_blocking(fd, False)
    data = b""

    def ended() -> bool:
        nonlocal data
        try:
            block = os.read(fd, 1 << 16)
        except BlockingIOError:
            return False
        data += block
        return not block

    wait_for(ended, "end of file", seconds)
    return data


def run_on_pipe(runtime: Runtime, *argv: str) -> tuple[int, bytes]:
    """Exit code and output of a command, both its outputs on one pipe that is read to its end, as go-runc does."""
    reader, writer = os.pipe()
    try:
        process = runtime.popen(*argv, stdout=writer, stderr=writer)
        os.close(writer)
        code = process.wait(30)
        return code, read_to_end(reader)
    finally:
        os.close(reader)


# ---- the command line and the environment ----------------------------------------------------------------------------


def test_flags_are_taken_as_go_writes_them(runtime: Runtime, make_bundle: MakeBundle, scratch: Path) -> None:
    """One dash or two, value behind "=" or a space, globals after the verb too."""
    container = Container(runtime, runtime.new_id(), make_bundle(args=SLEEP))
    runtime.containers.append(container)
    pid_file, log = scratch / "pid", scratch / "log"
    words = [
        f"-log={log}",
        "-log-format",
        "json",
        "create",
        f"-bundle={container.bundle.path}",
        "-pid-file",
        str(pid_file),
    ]
    runtime.run(*words, "-no-subreaper", "--no-new-keyring=true", container.id, check=True)
    assert pid_file.exists()
    runtime.run("start", container.id, "--log", str(log), check=True)
    runtime.run("kill", "-all=false", container.id, "SIGKILL", check=True)
    container.wait_stopped()
    runtime.run("delete", "-force=true", container.id, check=True)


@pytest.mark.parametrize("environment", [{"XDG_RUNTIME_DIR": ""}, {"XDG_RUNTIME_DIR": "", "PATH": ""}], ids=str)
def test_an_empty_environment_is_enough_and_the_default_root_is_found_again(
    environment: dict[str, str], runtime: Runtime, make_bundle: MakeBundle, ocirt_bin: str
) -> None:
    """Podman's environment: an empty XDG_RUNTIME_DIR is none, and --root is never given."""
    bundle, container_id = make_bundle(args=SLEEP), runtime.new_id()

    def ocirt(*argv: str) -> str:
        with (runtime.scratch / "out").open("w+") as out:
            subprocess.run([ocirt_bin, *argv], env=environment, check=True, stdout=out, stderr=out, timeout=30)
            out.seek(0)
            return out.read()

    try:
        assert ocirt("create", "--bundle", str(bundle.path), container_id) == ""
        assert Path("/run/ocirt", container_id, "state.json").exists()
        assert json.loads(ocirt("state", container_id))["status"] == "created"
        assert ocirt("start", container_id) + ocirt("kill", container_id, "9") == ""
    finally:
        assert ocirt("delete", "--force", container_id) == ""
    assert not Path("/run/ocirt", container_id).exists()


def test_the_cgroup_manager_is_remembered(runtime: Runtime, make_bundle: MakeBundle) -> None:
    container = Container(runtime, runtime.new_id(), make_bundle(args=SLEEP))
    runtime.containers.append(container)
    words = ["--cgroup-manager", "disabled", "create", "--bundle", str(container.bundle.path), container.id]
    runtime.run(*words, check=True)
    container.start()
    assert leftovers.cgroups_named(container.id) == []
    container.stop()


# ---- standard streams ------------------------------------------------------------------------------------------------


def test_commands_that_succeed_say_nothing(runtime: Runtime, make_bundle: MakeBundle, scratch: Path) -> None:
    log = scratch / "log"
    bundle = make_bundle(args=SLEEP)
    container = Container(runtime, runtime.new_id(), bundle)
    runtime.containers.append(container)
    for verb in (["create", "--bundle", str(bundle.path)], ["start"], ["kill", "--all"], ["delete", "--force"]):
        result = runtime.run("--log", str(log), "--log-format=json", *verb, container.id, check=True)
        assert (result.stdout, result.stderr) == ("", "")
    assert not log.exists() or log.read_text() == ""


@pytest.mark.parametrize("words", [["features"], ["list", "--format=json"], ["spec", "--bundle", "."]], ids=" ".join)
def test_output_is_one_document_or_nothing(words: list[str], runtime: Runtime, scratch: Path) -> None:
    result = runtime.run(*words, check=True, cwd=scratch)
    assert result.stderr == ""
    assert words[0] == "spec" or isinstance(result.json(), (dict, list))


def test_state_is_one_document_with_what_engines_read(runtime: Runtime, make_bundle: MakeBundle) -> None:
    annotations = {"io.kubernetes.cri.x": "é\n" + "x" * 5000, "nerdctl/state-dir": "/a"}
    container = runtime.create(make_bundle(args=SLEEP, annotations=annotations))
    code, output = run_on_pipe(runtime, "state", container.id)
    state = json.loads(output)
    assert code == 0
    assert set(state) == {
        "ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "annotations", "owner",
    }  # fmt: skip
    assert state["rootfs"] == str(container.bundle.rootfs)
    assert state["annotations"] == annotations
    assert RFC3339.fullmatch(state["created"])
    container.kill()
    container.wait_stopped()
    stopped = container.state()
    assert stopped == state | {"pid": 0, "status": "stopped"}
    container.kill("TERM", check=False)
    assert container.state() == stopped
    container.delete()


def test_version_is_read_by_docker_and_cri_o(runtime: Runtime, ocirt_bin: str) -> None:
    for flag in ("--version", "-v"):
        result = subprocess.run([ocirt_bin, flag], capture_output=True, text=True, check=True, env={})
        lines = result.stdout.splitlines()
        assert lines[0].startswith("ocirt version ")
        assert [line for line in lines if "version" in line] == lines[:1]
        assert [line.partition(":")[0] for line in lines[1:3]] == ["commit", "spec"]
        assert result.stderr == ""


def test_a_container_with_a_terminal_lets_go_of_the_pipes(
    runtime: Runtime, make_bundle: MakeBundle, console_socket: ConsoleSocket
) -> None:
    """The shim reads the pipe to its end before it accepts the terminal: nobody may hold it, or wait for the shim."""
    container = Container(runtime, runtime.new_id(), make_bundle(args=["sh"], process={"terminal": True}))
    runtime.containers.append(container)
    words = ["create", "--bundle", str(container.bundle.path), "--console-socket", str(console_socket.path)]
    assert run_on_pipe(runtime, *words, container.id) == (0, b"")
    master, name = console_socket.receive()
    os.close(master)
    assert 1 <= len(name) < 4096
    assert run_on_pipe(runtime, "start", container.id) == (0, b"")
    assert run_on_pipe(runtime, "delete", "--force", container.id) == (0, b"")


def test_a_create_that_fails_leaves_no_holder_of_its_pipe(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["gone"])
    code, output = run_on_pipe(runtime, "create", "--bundle", str(bundle.path), runtime.new_id())
    assert (code, output) == (1, b'ocirt: exec: "gone": executable file not found in $PATH\n')


def test_a_user_can_reopen_the_pipes_that_the_caller_gave(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """They are made the process's; their group and mode stay, and so does /dev/null."""
    null = os.stat("/dev/null")
    script = "echo out >/dev/stdout; echo err >/dev/stderr"
    bundle = make_bundle(args=["sh", "-c", script], process={"user": {"uid": 1000, "gid": 1000}})
    reader, writer = os.pipe()
    process = runtime.popen("run", "--bundle", str(bundle.path), runtime.new_id(), stdout=writer, stderr=writer)
    os.close(writer)
    try:
        assert process.wait(30) == 0
        status = os.fstat(reader)
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (1000, 0, 0o600)
        assert read_to_end(reader) == b"out\nerr\n"
    finally:
        os.close(reader)
    assert os.stat("/dev/null").st_uid == null.st_uid


# ---- the log ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def fail(runtime: Runtime, make_bundle: MakeBundle) -> Callable[..., Result]:
    """Let a create fail, with flags before the verb."""
    bundle = make_bundle(args=["gone"])
    return lambda *flags: runtime.run(*flags, "create", "--bundle", str(bundle.path), runtime.new_id(), check=False)


def test_a_failure_is_one_record_and_one_line(fail: Callable[..., Result], scratch: Path) -> None:
    log = scratch / "log.json"
    before = time.time()
    result = fail("--log", str(log), "--log-format", "json")
    [record] = records(log)
    assert set(record) == {"level", "msg", "time"}
    assert record["level"] == "error"
    assert RFC3339.fullmatch(record["time"])
    assert record["time"][:16] in {time.strftime("%Y-%m-%dT%H:%M", time.gmtime(at)) for at in (before, time.time())}
    assert result.stderr == f"ocirt: {record['msg']}\n"


def test_the_log_is_appended_to_by_every_failing_command(
    fail: Callable[..., Result], runtime: Runtime, scratch: Path
) -> None:
    log = scratch / "log.json"
    log.write_text('{"level": "info", "msg": "of another runtime", "time": ""}\n')
    flags = ["--log", str(log), "--log-format=json"]
    fail(*flags)
    for words in (["state", "nosuch"], ["frobnicate"], ["kill", "nosuch", "FROB"]):
        runtime.run(*flags, *words, check=False)
    assert [record["level"] for record in records(log)] == ["info"] + ["error"] * 4
    assert "does not exist" in records(log)[2]["msg"]


def test_the_text_log_is_one_line_a_record(fail: Callable[..., Result], scratch: Path) -> None:
    fail("--log", str(scratch / "log"))
    message = r'msg="exec: \\"gone\\": executable file not found in \$PATH"'
    assert re.fullmatch(rf'time="{RFC3339.pattern}" level=error {message}\n', (scratch / "log").read_text())


# ---- the process and who is its parent -------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["create", "run"])
def test_the_process_is_the_callers_child_and_the_only_one(
    verb: str, runtime: Runtime, make_bundle: MakeBundle, scratch: Path
) -> None:
    """The caller is a subreaper, as this test is; the pid file has no newline and is there in time."""
    before, pid_file = leftovers.children(), scratch / "pid"
    container = Container(runtime, runtime.new_id(), make_bundle(args=SLEEP))
    runtime.containers.append(container)
    flags = ["--detach"] if verb == "run" else []
    words = [verb, *flags, "--bundle", str(container.bundle.path), "--pid-file", str(pid_file), container.id]
    runtime.run(*words, check=True)
    pid = pid_file.read_text()
    assert pid.isdigit()
    assert [str(child) for child in leftovers.children() if child not in before] == [pid]
    assert fields(container.proc("status"))["PPid"] == str(os.getpid())
    assert [entry.name for entry in scratch.iterdir() if "pid" in entry.name] == ["pid"]
    assert container.pid == int(pid)

    container.kill("TERM", check=None)
    container.kill("KILL")
    assert os.waitstatus_to_exitcode(os.waitpid(int(pid), 0)[1]) == -signal.SIGKILL
    assert container.status == "stopped"
    container.delete()


@pytest.mark.parametrize("verb", ["create", "run"])
def test_no_pid_file_tells_of_a_process_that_never_ran(
    verb: str, runtime: Runtime, make_bundle: MakeBundle, scratch: Path
) -> None:
    bundle = str(make_bundle(args=["gone"]).path)
    runtime.run(verb, "--bundle", bundle, "--pid-file", str(scratch / "pid"), runtime.new_id(), check=False)
    assert not (scratch / "pid").exists()


def test_signals_of_the_caller_are_reset(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """Conmon ignores SIGPIPE, and Python some of its own."""

    def ignore_and_block() -> None:
        for number in (signal.SIGPIPE, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGCHLD})

    container = runtime.start(make_bundle(args=SLEEP), preexec_fn=ignore_and_block, restore_signals=False)
    status = fields(container.proc("status"))
    assert {status[name] for name in ("SigIgn", "SigBlk", "SigCgt")} == {"0" * 16}
    container.stop()


@pytest.mark.parametrize("verb", ["create", "run"])
def test_a_death_signal_of_the_caller_is_not_the_containers(
    verb: str, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    """The container outlives the runtime, for whom the caller has set PR_SET_PDEATHSIG."""
    libc = ctypes.CDLL(None)

    def die_with_parent() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)

    bundle = make_bundle(args=SLEEP)
    if verb == "run":
        runtime.run_container(bundle, "--detach", check=True, preexec_fn=die_with_parent)
    else:
        runtime.start(bundle, preexec_fn=die_with_parent)
    container = runtime.containers[0]
    assert container.status == "running"
    container.stop()


# ---- delete and kill, again and again --------------------------------------------------------------------------------


def test_delete_by_force_succeeds_again_and_again(runtime: Runtime, make_bundle: MakeBundle) -> None:
    container = runtime.start(make_bundle(args=SLEEP))
    for _ in range(2):
        result = container.delete("--force")
        assert (result.stdout, result.stderr) == ("", "")
    assert "does not exist" in container.delete(check=False).stderr


@pytest.mark.parametrize("name", ["9", "KILL", "SIGKILL", "kill"])
def test_a_signal_has_a_number_and_names(name: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    container = runtime.start(make_bundle(args=SLEEP))
    container.kill(name)
    container.wait_stopped()
    container.delete()


def test_kill_without_a_signal_is_term(runtime: Runtime, make_bundle: MakeBundle) -> None:
    container = runtime.start(
        make_bundle(args=["sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.01; done"])
    )
    wait_for(lambda: container.stdout, "the trap is set")
    pid = container.pid
    runtime.run("kill", container.id, check=True)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    container.delete()


def test_kill_all_of_a_stopped_container_reaches_who_is_left(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """Without a pid namespace others outlive the first process; the shim kills them when it has reaped that one."""
    bundle = make_bundle(args=["sh", "-c", "sleep 600 & echo $!"], linux=NO_PID_NAMESPACE)
    container = runtime.start(bundle)
    container.wait_stopped()
    other = int(container.stdout)
    os.kill(other, 0)
    assert "container not running" in container.kill("TERM", check=False).stderr
    assert runtime.run("kill", "--all", container.id, "9", check=True).stderr == ""
    wait_for(lambda: leftovers.reap(other), "the other is gone")
    container.delete()


def test_kill_all_of_a_stopped_container_with_nobody_left_is_no_error(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    container = runtime.start(make_bundle())
    container.wait_stopped()
    assert runtime.run("kill", "-a", container.id, "9", check=True).stderr == ""
    container.delete()


def test_annotations_of_4_mebibytes_reach_the_state_and_the_hooks(
    runtime: Runtime, make_bundle: MakeBundle, scratch: Path
) -> None:
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat > {scratch}/given"]}
    large = {"large": 'x"' * (2 << 20)}
    container = runtime.start(make_bundle(args=["sleep", "600"], annotations=large, hooks={"createRuntime": [hook]}))
    assert container.state()["annotations"] == large
    assert json.loads((scratch / "given").read_text())["annotations"] == large
    assert runtime.run("list", "--format=json", check=True).json()[0]["annotations"] == large
    runtime.run("exec", container.id, "true", check=True)
    container.kill("KILL")
    container.wait_stopped()
    container.delete()


@pytest.mark.parametrize(("flags", "shown"), [((), "ID "), (("--format=json",), "[]"), (("--quiet",), "")])
def test_a_root_that_does_not_exist_lists_nothing(runtime: Runtime, flags: tuple[str, ...], shown: str) -> None:
    assert not runtime.root.exists()
    done = runtime.run("list", *flags, check=True)
    assert (done.stdout.startswith(shown), done.stdout.count("\n") <= 1, done.stderr) == (True, True, "")
    assert not runtime.root.exists()
