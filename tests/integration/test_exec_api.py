"""The Python API's Container.exec: a handle on the process, with its exit code."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import ocirt
from tests.integration import leftovers
from tests.integration.support import Container, wait_for


@pytest.fixture
def api(sleeper: Container) -> ocirt.Container:
    """A running container as the API sees it."""
    return ocirt.Runtime(str(sleeper.runtime.root)).container(sleeper.id)


def test_words_are_run_and_their_exit_code_is_told(api: ocirt.Container) -> None:
    assert api.exec(["sh", "-c", "exit 7"]).wait() == 7
    with api.exec(["sh", "-c", "kill -9 $$"]) as process:
        assert process.wait(10) == 137
        assert process.wait() == 137, "it can be asked again"


def test_a_command_says_what_the_process_is(api: ocirt.Container, sleeper: Container) -> None:
    script = "echo $A $(id -u) $(pwd) >/tmp/said"
    assert api.exec(ocirt.Command(["sh", "-c", script], uid=1000, gid=1000, env=["A=1"], cwd="/tmp")).wait(10) == 0
    assert (sleeper.bundle.rootfs / "tmp/said").read_text() == "1 1000 /tmp\n"


def test_none_in_a_process_is_as_if_it_were_not_there(api: ocirt.Container, sleeper: Container) -> None:
    script = "echo $(id -u) $(umask) >/tmp/said"
    process = {
        "cwd": "/",
        "args": ["sh", "-c", script],
        "user": {"uid": 7, "umask": None},
        "env": None,
        "rlimits": None,
    }
    before = {**process, "user": dict(process["user"])}  # type: ignore[call-overload]
    assert api.exec(ocirt.Command(process=process)).wait(10) == 0
    assert (sleeper.bundle.rootfs / "tmp/said").read_text() == "7 0022\n"
    assert process == before, "it is the caller's"


def test_options_are_those_of_the_command_line(api: ocirt.Container, tmp_path: Path) -> None:
    options = ocirt.ExecOptions(pid_file=str(tmp_path / "pid"))
    with api.exec(["sleep", "600"], options) as process:
        assert (tmp_path / "pid").read_text() == str(process.pid)
        with pytest.raises(TimeoutError, match="is running after"):
            process.wait(0.05)
        process.kill("KILL")
        assert process.wait(10) == 137
        process.kill("KILL")


@pytest.mark.parametrize(
    ("command", "kind", "words"),
    [
        (["nosuch"], ocirt.ExecError, "executable file not found"),
        (ocirt.Command(["true"], cwd="relative"), ocirt.ConfigError, "must be an absolute path"),
        (ocirt.Command(["true"], terminal=True), ocirt.UnsupportedError, "console-socket"),
        ([], ocirt.UsageError, "COMMAND"),
    ],
)
def test_a_failure_is_an_exception_and_leaves_no_child(
    api: ocirt.Container, command: ocirt.Command | list[str], kind: type[Exception], words: str
) -> None:
    before = leftovers.children(), leftovers.open_fds()
    with pytest.raises(kind, match=words):
        api.exec(command)
    assert (leftovers.children(), leftovers.open_fds()) == before


def test_threads_run_processes_side_by_side(api: ocirt.Container) -> None:
    fds = leftovers.open_fds()
    with ThreadPoolExecutor(4) as pool:
        codes = pool.map(lambda code: api.exec(["sh", "-c", f"exit {code}"]).wait(30), range(12))
        assert list(codes) == list(range(12))
    assert leftovers.open_fds() == fds


def test_a_stopped_container_is_told_so(api: ocirt.Container, sleeper: Container) -> None:
    sleeper.kill("KILL")
    wait_for(lambda: api.status == "stopped", "stopped")
    with pytest.raises(ocirt.ContainerNotRunning):
        api.exec(["true"])
