"""The launcher's interpreter: frozen, and the other ways in which it gets one: libpython opened, Python executed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import launchers
from tests.integration.support import Runtime
from tests.integration.views import MakeBundle

PACKAGE = ("ocirt", "spec", "setup.py", "pyproject.toml", "README.md", "LICENSE")


def copied(project: Path, where: Path) -> Path:
    """A tree that is built, all files as old as they are."""
    for name in PACKAGE:
        if (project / name).is_dir():
            shutil.copytree(project / name, where / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (project / name).exists():
            shutil.copy2(project / name, where / name)
    return where / "ocirt/_bin/ocirt"


@pytest.fixture(scope="module")
def late(project: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program without an interpreter, which opens libpython."""
    if not shutil.which("gcc"):
        pytest.skip("needs a C compiler")
    where = tmp_path_factory.mktemp("late")
    program = copied(project, where)
    build = [sys.executable, "-W", "ignore", "setup.py", "--quiet", "build_ext", "--inplace"]
    subprocess.run(build, cwd=where, env={**os.environ, "OCIRT_FREEZE": "0"}, check=True, timeout=300)
    needed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    assert "libm.so" not in needed, "an interpreter is linked in"
    return str(program)


@pytest.fixture(scope="module")
def executing(project: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program that has no libpython to open, and executes Python."""
    return launchers.without_library(project, tmp_path_factory.mktemp("executing"))


@pytest.fixture(params=["late", "executing"])
def other(request: pytest.FixtureRequest, runtime: Runtime) -> Runtime:
    """The runtime, by another program."""
    runtime.program = request.getfixturevalue(request.param)
    return runtime


def test_a_container_lives_and_is_entered(other: Runtime, make_bundle: MakeBundle) -> None:
    container = other.create(make_bundle(args=["sleep", "600"]))
    assert container.state()["status"] == "created"
    container.start()
    done = container.exec("sh", "-c", "echo in; exit 3", check=False)
    assert (done.code, done.stdout) == (3, "in\n")
    assert container.exec("cat", "/proc/1/comm").stdout == "sleep\n"
    container.delete("--force")


STARTED = {
    "late": "packed modules in an interpreter",
    "executing": "Python executed, for there is no interpreter in the program that fits",
}


@pytest.mark.parametrize("way", STARTED)
def test_debug_tells_how_the_program_started(request: pytest.FixtureRequest, runtime: Runtime, way: str) -> None:
    runtime.program = request.getfixturevalue(way)
    said = runtime.run("--debug", "create", "--bundle", "/none", runtime.new_id(), check=False).stderr
    assert f"started: {STARTED[way]}" in said


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
