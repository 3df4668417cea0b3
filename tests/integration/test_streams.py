"""Documents that can be read but once: a pipe, /dev/fd/N, a fifo, where the command line names the file."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import Container, Json, Runtime
from tests.integration.views import MakeBundle

PROCESS: Json = {"args": ["sh", "-c", "pwd"], "cwd": "/tmp", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}


def piped(document: Json, use: Callable[..., Any]) -> Any:
    """use(PATH, pass_fds=…) with the document in a pipe, of which nobody holds the other end any more."""
    reader, writer = os.pipe()
    try:
        os.write(writer, json.dumps(document).encode())
        os.close(writer)
        return use(f"/dev/fd/{reader}", pass_fds=[reader])
    finally:
        os.close(reader)


@pytest.mark.parametrize("again", [False, True], ids=["first", "after one that is kept"])
def test_exec_takes_its_process_from_a_pipe(again: bool, sleeper: Container) -> None:
    """As the shell's <(jq … process.json) names it."""
    if again:
        path = sleeper.runtime.scratch / "process.json"
        path.write_text(json.dumps(PROCESS))
        sleeper.exec(flags=["--process", str(path)])
    done = piped(PROCESS, lambda path, **popen: sleeper.exec(flags=["--process", path], **popen))
    assert done.stdout == "/tmp\n"


def test_exec_waits_for_the_writer_of_a_fifo_who_is_heard_to_the_end(sleeper: Container, scratch: Path) -> None:
    """To open it, look, and open it again would end the writer by SIGPIPE."""
    path = scratch / "fifo"
    os.mkfifo(path)
    document = json.dumps({**PROCESS, "env": ["PATH=/bin", "LONG=" + "x" * 100_000]})
    failures: list[OSError] = []

    def write() -> None:
        try:
            path.write_text(document)
        except OSError as error:
            failures.append(error)

    writer = threading.Thread(target=write)
    process = sleeper.runtime.popen("exec", "--process", str(path), sleeper.id, stdout=subprocess.PIPE)
    writer.start()
    said, _ = process.communicate(timeout=30)
    writer.join(30)
    assert (process.returncode, said, failures) == (0, b"/tmp\n", [])


def test_standard_input_has_more_names_than_one(sleeper: Container) -> None:
    for name in ("-", "/dev/stdin", "/proc/self/fd/0"):
        done = sleeper.exec(flags=["--process", name], stdin=json.dumps(PROCESS).encode())
        assert done.stdout == "/tmp\n", name


UNREADABLE = {
    "/": '"/" is neither a regular file nor a pipe',
    "/dev/null": "is empty",
    "/nowhere": '"/nowhere": no such',
}


@pytest.mark.parametrize("path", UNREADABLE)
def test_what_cannot_be_read_is_told_in_a_line(path: str, sleeper: Container) -> None:
    failed = sleeper.exec(flags=["--process", path], check=False)
    assert failed.code == 255
    assert UNREADABLE[path] in failed.stderr
    assert failed.stderr.count("\n") == 1


def test_a_config_comes_from_a_pipe_where_the_command_line_names_it(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["echo", "heard"])
    (bundle.path / "config.json").unlink()

    def run(path: str, **popen: Any) -> str:
        return runtime.run_container(bundle, "--config", path, check=True, **popen).stdout

    def validate(path: str, **popen: Any) -> str:
        return runtime.run("validate", "--config", path, str(bundle.path), check=True, **popen).stdout

    assert piped(bundle.config, run) == "heard\n"
    assert piped(bundle.config, validate).endswith(" is valid\n")


def test_limits_come_from_a_pipe_too(sleeper: Container) -> None:
    def update(path: str, **popen: Any) -> int:
        return sleeper.runtime.run("update", "--resources", path, sleeper.id, check=True, **popen).code

    assert piped({"pids": None}, update) == 0
