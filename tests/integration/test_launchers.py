"""The launcher's interpreter, and the other way in which it gets one: Python executed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import launchers
from tests.integration.support import Runtime
from tests.integration.views import MakeBundle


@pytest.fixture(scope="module")
def executing(project: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program that has no libpython to open, and executes Python."""
    return launchers.without_library(project, tmp_path_factory.mktemp("executing"))


@pytest.fixture
def other(executing: str, runtime: Runtime) -> Runtime:
    """The runtime, by that program."""
    runtime.program = executing
    return runtime


def test_a_container_lives_and_is_entered(other: Runtime, make_bundle: MakeBundle) -> None:
    container = other.create(make_bundle(args=["sleep", "600"]))
    assert container.state()["status"] == "created"
    container.start()
    done = container.exec("sh", "-c", "echo in; exit 3", check=False)
    assert (done.code, done.stdout) == (3, "in\n")
    assert container.exec("cat", "/proc/1/comm").stdout == "sleep\n"
    container.delete("--force")


def test_debug_tells_how_the_program_started(other: Runtime) -> None:
    said = other.run("--debug", "create", "--bundle", "/none", other.new_id(), check=False).stderr
    assert "started: Python executed, for libpython cannot be opened" in said


def test_run_gives_the_exit_code_and_takes_descriptors(other: Runtime, make_bundle: MakeBundle) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"through\n")
    os.close(writer)
    try:
        bundle = make_bundle(args=["sh", "-c", "cat <&3; exit 7"])
        done = other.run(
            "run", "--preserve-fds", "1", "--bundle", str(bundle.path), other.new_id(), check=False,
            preexec_fn=lambda: os.dup2(reader, 3), close_fds=False,
        )  # fmt: skip
    finally:
        os.close(reader)
    assert (done.code, done.stdout) == (7, "through\n")


def test_errors_are_told(other: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(process={"cwd": 7})
    done = other.run("create", "--bundle", str(bundle.path), other.new_id(), check=False)
    assert (done.code, done.stdout) == (1, "")
    assert "/process/cwd" in done.stderr
    assert "Traceback" not in done.stderr


ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize("number", ENDING, ids=lambda number: number.name)
@pytest.mark.parametrize("waiting", ["events --interval 60s", "update -r -"])
def test_a_signal_ends_a_command_that_waits(
    runtime: Runtime, make_bundle: MakeBundle, waiting: str, number: signal.Signals
) -> None:
    """It makes nothing that would have to be undone: SIGINT is told, the others end it as they end any program."""
    container = runtime.start(make_bundle(args=["sleep", "600"]))
    command = [runtime.program, "--root", str(runtime.root), *waiting.split(), container.id]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    time.sleep(0.5)
    process.send_signal(number)
    _, said = process.communicate(timeout=5)
    expected = (1, "ocirt: interrupted\n") if number == signal.SIGINT else (-number, "")
    assert (process.returncode, said) == expected


def test_a_traceback_quotes_nothing_of_the_working_directory(runtime: Runtime, tmp_path: Path) -> None:
    """For an engine that is the bundle."""
    for name in ("main.py", "boot.py", "attic", "<ocirt.cli.main>"):
        (tmp_path / name).write_text("OF THE BUNDLE\n" * 1000)
    done = runtime.run("--debug", "create", "--bundle", "/none", "x", check=False, cwd=tmp_path)
    assert done.code == 1
    assert "Traceback" in done.stderr
    assert "OF THE BUNDLE" not in done.stderr


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_many_descriptors_are_handed_on(runtime: Runtime, make_bundle: MakeBundle, verb: str) -> None:
    flags, script = ["--preserve-fds", "300"], ["sh", "-c", "test -e /proc/self/fd/302 && echo there"]
    with Path(os.devnull).open() as opened:
        kept = {"preexec_fn": lambda: [os.dup2(opened.fileno(), fd) for fd in range(3, 303)], "close_fds": False}
        if verb == "run":
            done = runtime.run_container(make_bundle(args=script), *flags, check=True, **kept)
        else:
            container = runtime.start(make_bundle(args=["sleep", "600"]))
            done = container.exec(*script, flags=flags, **kept)
    assert done.stdout == "there\n"
