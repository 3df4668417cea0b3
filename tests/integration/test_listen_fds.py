"""LISTEN_FDS in the runtime's environment: which descriptors of socket activation the process gets (docs/why.md)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.integration.support import Container, Json, Runtime
from tests.integration.views import MakeBundle

# What the process has from 3 on, and is told of them.
SHOW = "cat /proc/self/fd/3 /proc/self/fd/4 2>/dev/null; echo ${LISTEN_FDS-none} ${LISTEN_PID-none}"


def activated(runtime: Runtime, variables: str, *argv: str, files: int = 1) -> str:
    """stdout of the runtime with so many files from 3 on, and with shell words for the variables."""
    opened = ""
    for number in range(files):
        path = runtime.scratch / f"word-{number}"
        path.write_text(f"{number} ")
        opened += f" {number + 3}<{path}"
    script = f'exec{opened}; {variables} exec "$@"'
    command = ["sh", "-c", script, "sh", runtime.program, "--root", str(runtime.root), *argv]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# variables, flags, env of the process, files that are open, what the process says
CASES: dict[str, tuple[str, list[str], list[str], int, str]] = {
    "the runtime is named": ("LISTEN_FDS=1 LISTEN_PID=$$", [], [], 2, "0 1 1"),
    "nobody is named": ("LISTEN_FDS=2", [], [], 2, "0 1 2 1"),
    "nobody is named, by an empty variable": ("LISTEN_FDS=1 LISTEN_PID=", [], [], 1, "0 1 1"),
    "nobody is named, and one is not there": ("LISTEN_FDS=2", [], [], 1, "none none"),
    "another process is named": ("LISTEN_FDS=1 LISTEN_PID=1", [], [], 1, "none none"),
    "behind --preserve-fds": ("LISTEN_FDS=1 LISTEN_PID=$$", ["--preserve-fds", "1"], [], 2, "0 1 1 1"),
    "the engine has counted them": ("LISTEN_FDS=1", ["--preserve-fds", "1"], ["LISTEN_FDS=1"], 2, "0 1 none"),
    "the engine has, and names us": (
        "LISTEN_FDS=1 LISTEN_PID=$$",
        ["--preserve-fds", "1"],
        ["LISTEN_FDS=1", "LISTEN_PID=1"],
        2,
        "0 1 1",
    ),
    "no number": ("LISTEN_FDS=x", [], [], 1, "none none"),
    "none": ("LISTEN_FDS=0", [], [], 1, "none none"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_process_gets_them_once(
    case: tuple[str, list[str], list[str], int, str], runtime: Runtime, make_bundle: MakeBundle
) -> None:
    variables, flags, env, files, said = case
    bundle = make_bundle(args=["sh", "-c", SHOW], process={"env": ["PATH=/bin", *env]})
    assert activated(
        runtime, variables, "run", *flags, "-b", str(bundle.path), runtime.new_id(), files=files
    ).split() == (said.split())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_process_that_exec_adds_gets_them_too(
    case: tuple[str, list[str], list[str], int, str], sleeper: Container, tmp_path: Path
) -> None:
    variables, flags, env, files, said = case
    process: Json = {"args": ["sh", "-c", SHOW], "cwd": "/", "env": ["PATH=/bin", *env]}
    (tmp_path / "process.json").write_text(json.dumps(process))
    words = ["exec", *flags, "--process", str(tmp_path / "process.json"), sleeper.id]
    # without them first, and again: a plan that is kept has no descriptors
    assert activated(sleeper.runtime, "", *words, files=files if flags else 0).split()[-1] == env_pid(env)
    for _ in range(2):
        assert activated(sleeper.runtime, variables, *words, files=files).split() == said.split()


def env_pid(env: list[str]) -> str:
    """What the process's own environment says of LISTEN_PID."""
    return "1" if "LISTEN_PID=1" in env else "none"
