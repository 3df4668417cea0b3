"""exec --tty with a console socket: the terminal of a process that enters, sent to an engine."""

from __future__ import annotations

import json
import os
import select
import signal

import pytest

from tests.integration.support import DEV, PROC, ConsoleSocket, Container, Runtime
from tests.integration.terminals import read_until, size
from tests.integration.views import MakeBundle


@pytest.mark.parametrize("form", ["flags", "file"])
def test_an_engine_gets_the_terminal(sleeper: Container, console_socket: ConsoleSocket, form: str) -> None:
    flags = ["-d", "--console-socket", str(console_socket.path), "--pid-file", str(sleeper.runtime.scratch / "pid")]
    words = ["sh", "-c", "stty -echo; stty size; echo ready; read line; echo got $line"]
    if form == "file":
        path = sleeper.runtime.scratch / "process.json"
        document = {"args": words, "cwd": "/", "env": ["PATH=/bin"], "terminal": True}
        path.write_text(json.dumps({**document, "consoleSize": {"height": 31, "width": 97}}))
        flags += ["--process", str(path)]
    sleeper.exec(*([] if form == "file" else words), flags=[*flags, *([] if form == "file" else ["-t"])])
    master, name = console_socket.receive()
    try:
        assert 1 <= len(name) < 4096
        text = read_until(master, b"ready\n")
        if form == "file":
            assert b"31 97\n" in text
            assert size(master) == (31, 97)
        os.write(master, b"hello\n")
        read_until(master, b"got hello\n")
    finally:
        os.close(master)
    os.waitpid(int((sleeper.runtime.scratch / "pid").read_text()), 0)


def test_exec_lets_go_of_its_own_stdio(sleeper: Container, console_socket: ConsoleSocket) -> None:
    """An engine reads exec's output to its end; a process that held it would hang the engine."""
    ours, theirs = os.pipe()
    pid_file = sleeper.runtime.scratch / "pid"
    flags = ["-d", "-t", "--console-socket", str(console_socket.path), "--pid-file", str(pid_file)]
    process = sleeper.runtime.popen(
        "exec", *flags, sleeper.id, "sleep", "600", stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        assert process.wait(10) == 0
        assert select.select([ours], [], [], 5)[0]
        assert os.read(ours, 1) == b""
    finally:
        os.close(ours)
    os.close(console_socket.receive()[0])
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    os.waitpid(int(pid_file.read_text()), 0)


@pytest.mark.parametrize("flags", [("-d", "-t"), ("--console-socket", "{}")])
def test_terminal_and_socket_go_together(
    sleeper: Container, console_socket: ConsoleSocket, flags: tuple[str, ...]
) -> None:
    done = sleeper.exec("true", flags=[flag.format(console_socket.path) for flag in flags], check=False)
    assert "console-socket" in done.stderr
    assert done.code == 255


def test_what_the_container_made_of_its_ptmx_is_looked_at_before_it_is_opened(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    """CVE-2025-52565, CVE-2026-41579: a fifo would hang the runtime, a symlink lead it to other devices."""
    container = runtime.start(make_bundle(args=["sleep", "600"], mounts=[PROC, DEV]))
    for trap in ("mkfifo /dev/ptmx", "ln -s /dev/null /dev/ptmx", "ln -s /proc/1/root/dev/zero /dev/ptmx"):
        container.exec("sh", "-c", f"rm -f /dev/ptmx; {trap}")
        done = container.exec("true", flags=["-t"], check=False, timeout=10)
        assert (done.code, "set up the terminal" in done.stderr) == (255, True), trap
