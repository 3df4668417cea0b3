"""The program itself: quick verbs without an interpreter, all else in one that nothing from outside can reach."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocirt.container import quick, state
from tests import launchers
from tests.integration.support import INTERPRETER
from tests.unit.container.conftest import is_zombie, wait_until

Make = Callable[..., state.State]
Done = subprocess.CompletedProcess[str]


def run(*argv: str, **options: Any) -> Done:
    """One command, its output as text."""
    return subprocess.run(argv, text=True, capture_output=True, timeout=30, check=False, **options)


@pytest.fixture
def traced(tmp_path: Path, launcher: str) -> Callable[..., tuple[Done, str]]:
    """traced(*arguments) → what the command did, and its system calls that open or execute files."""
    if not shutil.which("strace") or run("strace", "-o", "/dev/null", "true").returncode:
        pytest.skip("needs strace, and leave to trace")

    def trace(*arguments: str) -> tuple[Done, str]:
        log = tmp_path / "trace"
        done = run("strace", "-f", "-e", "trace=open,openat,execve", "-o", str(log), launcher, *arguments)
        return done, log.read_text()

    return trace


def test_state_start_kill_and_delete_start_no_interpreter(
    root: str, waiting: Make, traced: Callable[..., tuple[Done, str]]
) -> None:
    made = waiting("web")
    for name in ("exec-1.plan", "exec-2.plan"):  # as exec keeps them
        Path(root, "web", name).touch()
    for arguments in (
        ["state", "web"],
        ["start", "web"],
        ["state", "web"],
        ["kill", "web", "0"],
        ["kill", "web", "KILL"],
    ):
        done, calls = traced("--root", root, *arguments)
        assert (done.returncode, done.stderr) == (0, ""), arguments
        assert INTERPRETER not in calls, arguments
    wait_until(lambda: is_zombie(made.pid))
    for arguments in (["delete", "web"], ["delete", "--force", "web"]):
        done, calls = traced("--root", root, *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), arguments
        assert INTERPRETER not in calls, arguments
    assert os.listdir(root) == []


@pytest.mark.parametrize(
    "options",
    [
        ["--root", "ROOT"], ["--root=ROOT"], ["-root", "ROOT"], ["-root=ROOT"],
        ["--root", "ROOT", "--log", "LOG", "--log-format", "json", "--systemd-cgroup", "--rootless=false"],
        ["--cgroup-manager=disabled", "--criu", "/x", "--root", "ROOT", "-systemd-cgroup=true", "--rootless", "true"],
    ],
)  # fmt: skip
def test_engines_ways_of_writing_global_options_stay_quick(
    root: str,
    tmp_path: Path,
    make: Make,
    sleeper: Callable[[], int],
    traced: Callable[..., tuple[Done, str]],
    options: list[str],
) -> None:
    make("web", pid=sleeper())
    given = [option.replace("ROOT", root).replace("LOG", f"{tmp_path}/log") for option in options]
    done, calls = traced(*given, "state", "web")
    assert json.loads(done.stdout) == state.public(root, "web")
    assert INTERPRETER not in calls


@pytest.mark.parametrize(
    "arguments",
    [
        ["--root", "ROOT", "--log-format=yaml", "state", "web"], ["--root", "ROOT", "--nope", "state", "web"],
        ["--root", "ROOT", "state", "web", "more"], ["--root", "ROOT", "state"], ["--root", "ROOT", "nope"], [],
        ["--root", "ROOT", "state", "--nope", "web"], ["--root", "ROOT", "kill", "web", "NOPE"],
        ["--root=", "state", "web"], ["--root"],
    ],
)  # fmt: skip
def test_a_command_line_that_is_wrong_is_explained_by_python(
    root: str, make: Make, launcher: str, arguments: list[str]
) -> None:
    make("web")
    done = run(launcher, *[argument.replace("ROOT", root) for argument in arguments])
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("ocirt: ")
    assert "Traceback" not in done.stderr


def test_an_error_has_one_line_on_stderr_and_one_record_in_the_log(root: str, launcher: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = run(launcher, "--root", root, "--log", str(log), "--log-format", "json", "kill", "web", "9")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == 'ocirt: container "web": container does not exist\n'
    assert json.loads(log.read_text())["level"] == "error"


def test_success_leaves_an_empty_log(root: str, make: Make, launcher: str, tmp_path: Path) -> None:
    make("web")
    run(launcher, "--root", root, "--log", f"{tmp_path}/log", "state", "web")
    assert (tmp_path / "log").read_bytes() == b""


def test_kill_takes_the_signal_before_or_after_the_id_and_term_without_one(
    root: str, make: Make, sleeper: Callable[[], int], launcher: str
) -> None:
    for words, number in (
        (["web"], 15),
        (["web", "USR1"], 10),
        (["-s", "SIGINT", "web"], 2),
        (["--signal", "9", "web"], 9),
    ):
        made = make("web", pid=sleeper())
        assert run(launcher, "--root", root, "kill", *words).returncode == 0
        assert os.waitstatus_to_exitcode(os.waitpid(made.pid, 0)[1]) == -number
        assert run(launcher, "--root", root, "delete", "web").returncode == 0


def test_a_state_that_cannot_be_written_out_is_an_error(root: str, make: Make, launcher: str) -> None:
    make("web")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [launcher, "--root", root, "state", "web"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert b"no space left on device" in done.stderr


# ---- the environment is hostile ----


def test_modules_of_the_current_directory_and_the_environment_are_not_imported(launcher: str, tmp_path: Path) -> None:
    for name in ("json", "ocirt", "posix", "_json", "encodings", "sitecustomize", "usercustomize", "argparse"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    hostile = {
        "PYTHONPATH": str(tmp_path), "PYTHONHOME": str(tmp_path), "PYTHONSTARTUP": f"{tmp_path}/json.py",
        "HOME": str(tmp_path), "PYTHONUSERBASE": str(tmp_path), "PYTHONIOENCODING": "utf-16", "LC_ALL": "xx_YY.latin1",
        "PYTHONOPTIMIZE": "2", "PYTHONPLATLIBDIR": "nope", "PYTHONEXECUTABLE": "/nope", "PYTHONUTF8": "0",
        "PYTHONINSPECT": "1", "PYTHONVERBOSE": "1",
    }  # fmt: skip
    done = run(launcher, "--help", cwd=tmp_path, env=hostile, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (0, "")
    assert "create" in done.stdout


def test_an_empty_environment_is_enough(launcher: str) -> None:
    done = run(launcher, "--version", env={})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ocirt version ")


def test_arguments_that_are_not_utf8_arrive(launcher: str, root: str) -> None:
    done = subprocess.run([launcher, b"--root", root, b"state", b"\xff\xc3"], capture_output=True, check=False)
    assert done.returncode == 1
    assert b"container ID" in done.stderr
    assert b"Traceback" not in done.stderr


def test_nothing_is_compiled_to_disk(launcher: str, project: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (project / "ocirt").rglob("*.pyc")}
    run(launcher, "features")
    assert {path: path.stat().st_mtime_ns for path in (project / "ocirt").rglob("*.pyc")} == before


@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1, 2]])
def test_a_closed_standard_stream_is_taken_by_nobody_else(
    root: str, make: Make, launcher: str, tmp_path: Path, closed: list[int]
) -> None:
    """With fd 1 closed, the first file that is opened would get what is meant for stdout."""
    make("web")
    before = Path(root, "web/state.json").read_bytes()
    for arguments in (["state", "web"], ["list"], ["delete", "nope"]):
        command = " ".join(
            [f"exec {' '.join(f'{fd}>&-' for fd in closed)};", "exec", launcher, "--root", root, *arguments]
        )
        assert run("sh", "-c", command, cwd=tmp_path).returncode == (arguments[0] == "delete")
    assert Path(root, "web/state.json").read_bytes() == before


def test_a_closed_pipe_is_an_error_and_no_death_by_signal(launcher: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([launcher, "--help"], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert done.returncode in {0, 1}
    assert b"Traceback" not in done.stderr


def test_descriptors_that_a_caller_left_open_are_not_passed_on(
    root: str, make: Make, launcher: str, tmp_path: Path
) -> None:
    made = make("web", python="poststop")
    script = f"ls /proc/self/fd > {tmp_path}/fds"
    hooks = {"hooks": {"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]}}
    Path(root, made.container_id, "config.json").write_text(json.dumps(hooks))
    reader, writer = os.pipe()
    done = run(launcher, "--root", root, "delete", "web", pass_fds=[writer])
    os.close(reader)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")
    assert str(writer) not in (tmp_path / "fds").read_text().split()


def test_debug_tells_that_the_program_started_the_fast_way(launcher: str, root: str) -> None:
    """A silent fallback costs ten milliseconds a command."""
    done = run(launcher, "--root", root, "--debug", "create", "--bundle", "/none", "web")
    assert "started: packed modules in an interpreter" in done.stderr


# ---- where libpython is not shared ----


@pytest.fixture(scope="module")
def without_library(project: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A launcher built as for an interpreter without a shared library, in a tree that has its package."""
    return launchers.without_library(project, tmp_path_factory.mktemp("tree"))


def test_without_a_shared_library_an_isolated_interpreter_is_executed(without_library: str, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('imported')")
    done = run(without_library, "--version", cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ocirt version ")
    done = run(without_library, "--root", "/nowhere", "state", "web")
    assert (done.returncode, done.stderr) == (1, 'ocirt: container "web": container does not exist\n')


def test_a_program_that_has_lost_its_package_says_so_in_one_line(launcher: str, tmp_path: Path) -> None:
    shutil.copy(launcher, tmp_path / "ocirt")
    done = run(str(tmp_path / "ocirt"), "list")
    assert done.returncode == 1
    assert re.fullmatch(r"ocirt: no Python package ocirt near the program: .*\n", done.stderr)


def test_ctrl_c_is_an_error_of_one_line(launcher: str, root: str, make: Make) -> None:
    """So a create that is interrupted gets to undo what it has done; here, a delete runs a hook meanwhile."""
    make("web", python="poststop")
    hooks = {"hooks": {"poststop": [{"path": "/bin/sleep", "args": ["sleep", "0.5"]}]}}
    Path(root, "web/config.json").write_text(json.dumps(hooks))
    process = subprocess.Popen([launcher, "--root", root, "delete", "web"], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text() != "")
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=10)
    assert (process.returncode, error) == (1, "ocirt: interrupted\n")
    assert quick.status(root, "web")[0] == "stopped"
