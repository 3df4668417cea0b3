"""exec --tty: the terminal of a process that enters, relayed in the foreground or sent to an engine."""

from __future__ import annotations

import json
import os
import select
import signal
import termios
from collections.abc import Callable, Iterator

import pytest

from tests.integration import leftovers
from tests.integration.support import DEV, PROC, ConsoleSocket, Container, Runtime, wait_for
from tests.integration.terminals import Foreground, read_until, set_size, size
from tests.integration.views import MakeBundle


@pytest.fixture
def foreground(sleeper: Container) -> Iterator[Callable[..., Foreground]]:
    """A function: `exec --tty` of a script, on a terminal of the test's own."""
    running = []
    before = leftovers.children()

    def start(script: str, *flags: str) -> Foreground:
        running.append(Foreground(sleeper.runtime, "exec", "--tty", *flags, sleeper.id, "sh", "-c", script))
        return running[-1]

    yield start
    for run in running:
        run.close()
    for orphan in set(leftovers.children()) - set(before):  # ours now, and pid 1 does not go before they are reaped
        os.kill(orphan, signal.SIGKILL)
        os.waitpid(orphan, 0)


def test_the_process_has_a_terminal_of_the_containers_devpts(foreground: Callable[..., Foreground]) -> None:
    script = "for fd in 0 1 2; do test -t $fd && readlink /proc/self/fd/$fd; done; echo x >/dev/tty; echo end"
    run = foreground(script)
    assert read_until(run.master, b"end\n").decode().split() == ["/dev/pts/0"] * 3 + ["x", "end"]
    assert run.process.wait(10) == 0


def test_bytes_go_both_ways_and_the_exit_code_is_the_processs(foreground: Callable[..., Foreground]) -> None:
    run = foreground("stty -echo; echo ready; read line; echo got $line; exit 5")
    read_until(run.master, b"ready\n")
    os.write(run.master, b"hello\n")
    read_until(run.master, b"got hello\n")
    assert run.process.wait(10) == 5


@pytest.mark.parametrize("script", ["stty raw; echo done", "echo done; kill -9 $$"])
def test_the_callers_terminal_is_as_before_when_it_is_over(foreground: Callable[..., Foreground], script: str) -> None:
    run = foreground(script)
    read_until(run.master, b"done\n")
    assert run.process.wait(10) in {0, 137}
    assert termios.tcgetattr(run.slave) == run.before


def test_the_callers_terminal_is_as_before_when_it_cannot_begin(sleeper: Container) -> None:
    run = Foreground(sleeper.runtime, "exec", "-t", sleeper.id, "nosuch")
    try:
        assert b"not found in $PATH" in read_until(run.master, b"PATH\n")
        assert run.process.wait(10) == 255
        assert termios.tcgetattr(run.slave) == run.before
    finally:
        run.close()


def test_keys_that_signal_go_to_the_process(foreground: Callable[..., Foreground]) -> None:
    run = foreground("trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.1; done")
    read_until(run.master, b"ready\n")
    os.write(run.master, b"\x03")
    read_until(run.master, b"caught\n")
    assert run.process.wait(10) == 9


def test_a_shell_has_job_control(foreground: Callable[..., Foreground]) -> None:
    run = foreground("exec sh -i")
    os.write(run.master, b"sleep 600\n")
    wait_for(lambda: b"sleep" in children_of(run), "the sleeper")
    os.write(run.master, b"\x1a")
    read_until(run.master, b"Stopped")
    os.write(run.master, b"fg\n")
    read_until(run.master, b"fg\nsleep 600\n")
    os.write(run.master, b"\x03")
    os.write(run.master, b"exit 6\n")
    assert run.process.wait(10) == 6


def children_of(run: Foreground) -> bytes:
    names = b""
    for child in run.children():
        with open(f"/proc/{child}/task/{child}/children", encoding="ascii") as file:
            for pid in file.read().split():
                with open(f"/proc/{pid}/comm", "rb") as comm:
                    names += comm.read()
    return names


def test_the_size_is_the_callers_and_follows_it(foreground: Callable[..., Foreground]) -> None:
    run = foreground("stty size; trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.1; done")
    assert b"20 70\n" in read_until(run.master, b"ready\n")
    set_size(run.master, 44, 55)
    run.process.send_signal(signal.SIGWINCH)
    read_until(run.master, b"44 55\n")


def test_megabytes_arrive_whole(foreground: Callable[..., Foreground]) -> None:
    run = foreground("seq 1 200000; echo end")
    lines = read_until(run.master, b"end\n", 40).split()
    assert lines == [str(number).encode() for number in range(1, 200001)] + [b"end"]
    assert run.process.wait(10) == 0


def test_a_reader_that_has_gone_does_not_hold_the_process_up(sleeper: Container) -> None:
    reader, writer = os.pipe()
    process = sleeper.runtime.popen("exec", "-t", sleeper.id, "sh", "-c", "seq 1 100000; exit 4", stdout=writer)
    os.close(writer)
    assert os.read(reader, 3)
    os.close(reader)
    assert process.wait(20) == 4


def test_hanging_up_is_a_signal_to_the_process(foreground: Callable[..., Foreground], sleeper: Container) -> None:
    run = foreground("trap 'exit 1' HUP; echo ready; while :; do sleep 0.1; done")
    read_until(run.master, b"ready\n")
    run.process.kill()
    run.process.wait(10)
    wait_for(lambda: "ready" not in sleeper.exec("ps", "-o", "args").stdout, "the process gone")


def test_it_works_on_pipes_too(sleeper: Container) -> None:
    done = sleeper.exec(
        "sh", "-c", "read line; tty; echo got $line; cat; echo end", flags=["-t"], stdin=b"hello\nmore\n"
    )
    text = done.stdout.replace("\r", "")
    assert "got hello\n" in text
    assert text.endswith("end\n")


# ---- with a console socket -------------------------------------------------------------------------------------------


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
