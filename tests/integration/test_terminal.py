"""process.terminal with a console socket: what the engine is sent, /dev/console, sizes."""

from __future__ import annotations

import fcntl
import os
import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.support import ConsoleSocket, Container, Runtime
from tests.integration.terminals import read_until, set_size, size
from tests.integration.views import MakeBundle, user_namespace

SIZE = {"height": 31, "width": 97}
Terminal = Callable[..., tuple[Container, int]]


@pytest.fixture
def terminal(runtime: Runtime, make_bundle: MakeBundle, console_socket: ConsoleSocket) -> Iterator[Terminal]:
    """A function: a started container with a terminal that runs a script, and the terminal's master."""
    masters = []

    def start(script: str, process: dict[str, Any] | None = None, **delta: Any) -> tuple[Container, int]:
        bundle = make_bundle(args=["sh", "-c", script], process={"terminal": True, **(process or {})}, **delta)
        container = runtime.create(bundle, "--console-socket", str(console_socket.path))
        master, name = console_socket.receive()
        masters.append(master)
        assert name
        container.start()
        return container, master

    yield start
    for master in masters:
        os.close(master)


def test_the_process_has_a_terminal_on_all_three_and_controls_it(terminal: Terminal) -> None:
    script = "for fd in 0 1 2; do test -t $fd && readlink /proc/self/fd/$fd; done; tty; echo x >/dev/tty; echo end"
    _, master = terminal(script)
    lines = read_until(master, b"end\n").decode().split()
    assert lines == ["/dev/pts/0"] * 4 + ["x", "end"] or lines == ["/dev/console"] * 4 + ["x", "end"]


def test_what_is_typed_arrives(terminal: Terminal) -> None:
    _, master = terminal("stty -echo; echo ready; read line; echo got $line")
    read_until(master, b"ready\n")
    os.write(master, b"hello\n")
    assert b"got hello\n" in read_until(master, b"got hello\n")


def test_control_c_interrupts(terminal: Terminal) -> None:
    _, master = terminal("trap 'echo interrupted; exit' INT; echo ready; while :; do sleep 0.1; done")
    read_until(master, b"ready\n")
    os.write(master, b"\x03")
    read_until(master, b"interrupted\n")


def test_dev_console_is_the_terminal(terminal: Terminal) -> None:
    _, master = terminal("echo by console >/dev/console; stat -c '%F %t:%T' -L /dev/console; echo end")
    lines = read_until(master, b"end\n").decode().splitlines()
    assert lines[0] == "by console"
    assert lines[1] == "character special file 88:0"


def test_the_size_is_the_configured_one(terminal: Terminal) -> None:
    _, master = terminal("stty size; echo end", process={"consoleSize": SIZE})
    assert read_until(master, b"end\n").decode().split()[:2] == ["31", "97"]
    assert size(master) == (31, 97)


def test_a_new_size_is_seen_inside(terminal: Terminal) -> None:
    _, master = terminal("trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.1; done")
    read_until(master, b"ready\n")
    set_size(master, 12, 34)
    read_until(master, b"12 34\n")


@pytest.mark.parametrize("uid", [0, 1000])
def test_the_terminal_belongs_to_the_user(terminal: Terminal, uid: int) -> None:
    account = {"user": {"uid": uid, "gid": uid}}
    _, master = terminal("stat -c 'owner %u' /dev/pts/0; echo opened >/dev/pts/0; echo end", process=account)
    text = read_until(master, b"end\n").decode()
    assert f"owner {uid}\n" in text
    assert "opened\n" in text


def test_a_terminal_works_in_a_user_namespace(terminal: Terminal) -> None:
    _, master = terminal("tty && echo x >/dev/console && echo end", linux=user_namespace())
    read_until(master, b"end\n")


def test_a_terminal_works_with_a_read_only_root(terminal: Terminal) -> None:
    _, master = terminal("echo x >/dev/console; touch /x; echo end", root={"readonly": True})
    assert b"Read-only" in read_until(master, b"end\n")


def test_create_lets_go_of_its_own_stdio(
    runtime: Runtime, make_bundle: MakeBundle, console_socket: ConsoleSocket
) -> None:
    """An engine reads create's output to its end; a waiting init that held it would hang the engine."""
    bundle = make_bundle(args=["sleep", "600"], process={"terminal": True})
    ours, theirs = os.pipe()
    container = runtime.create(
        bundle, "--console-socket", str(console_socket.path), stdout=theirs, stderr=theirs, stdin=theirs
    )
    os.close(theirs)
    try:
        assert select.select([ours], [], [], 5)[0]
        assert os.read(ours, 1) == b""
    finally:
        os.close(ours)
    os.close(console_socket.receive()[0])
    assert container.status == "created"


def test_the_message_is_one_descriptor_and_a_name(
    runtime: Runtime, make_bundle: MakeBundle, console_socket: ConsoleSocket
) -> None:
    runtime.create(make_bundle(process={"terminal": True}), "--console-socket", str(console_socket.path))
    master, name = console_socket.receive()
    assert 1 <= len(name) < 4096
    assert fcntl.fcntl(master, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
    os.close(master)


def test_hanging_up_is_a_signal_to_the_process(terminal: Terminal) -> None:
    container, master = terminal("trap 'exit 1' HUP; echo ready; while :; do sleep 0.1; done")
    read_until(master, b"ready\n")
    replacement = os.open("/dev/null", os.O_RDONLY)
    os.dup2(replacement, master)
    os.close(replacement)
    container.wait_stopped()


@pytest.mark.parametrize(("on", "flags"), [(True, ()), (False, ("--console-socket", "{}"))])
def test_terminal_and_socket_go_together(
    runtime: Runtime, make_bundle: MakeBundle, console_socket: ConsoleSocket, on: bool, flags: tuple[str, ...]
) -> None:
    words = [flag.format(console_socket.path) for flag in flags]
    bundle = make_bundle(process={"terminal": on})
    result = runtime.run("create", "--bundle", str(bundle.path), *words, runtime.new_id(), check=False)
    assert "console-socket" in result.stderr
    assert "/process/terminal" in result.stderr


def test_a_listener_that_accepts_nobody_holds_create_up_for_seconds_only(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    path = str(runtime.scratch / "full.sock")
    bundle = make_bundle(process={"terminal": True})
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        listener.bind(path)
        listener.listen(0)
        waiting.connect(path)
        argv = ("create", "--bundle", str(bundle.path), "--console-socket", path, runtime.new_id())
        assert "connect to the console socket" in runtime.run(*argv, check=False, timeout=15).stderr
