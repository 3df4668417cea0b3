"""What the runtime makes of messages: whoever has seized the container's process can send any."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess

import pytest

from ocirt.container.performer import Performer
from ocirt.errors import OcirtError
from ocirt.linux._kernel import lib
from ocirt.plan import host_ops
from ocirt.spawn import failures, wire

HEAD = struct.Struct("<IIII")
NUMBERS = (0, 1, 2, 3, 5, 9, 0x7F, 0xFF, 0x137F, 0x1000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
PLAN = [
    ("hook", "/hooks/startContainer/0", 0, ("/hook", ["/hook"], [], 0, 0, 0, b"", 0)),
    ("exec", "/process/args", 0, (["true"], [])),
    ("mount_fs", "/mounts/0", 0, ("/proc", "proc", "proc", [], 0, 0, 0)),
]


def told(*messages: bytes) -> Performer:
    """What hears an init that has said that, and has ended."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for message in messages:
        theirs.send(message)
    theirs.close()
    performer = Performer("/nonexistent", "box", "/bundle")
    performer.numbers[lib.PERFORM_SOCKET] = ours.detach()
    performer.numbers[lib.PERFORM_SENT] = 1
    performer.ops = PLAN
    return performer


def wait(performer: Performer) -> None:
    performer.perform([host_ops.wait("", lib.SYNC_START)])


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 5, 6, 0xFFFFFFFF])
@pytest.mark.parametrize("text", [b"", b"\xff\x1b[0m\n\n"])
def test_any_message_is_an_error_in_words(kind: int, text: bytes) -> None:
    details = [*range(lib.DETAIL_KILLED + 2), 0xFFFFFFFF] if kind == lib.MSG_ERROR else [0]
    for value in NUMBERS:
        for number in NUMBERS:
            for detail in details:
                init = told(HEAD.pack(kind, value, number, detail) + text)
                if kind == lib.MSG_SYNC and value == lib.SYNC_START:  # which it may well say
                    wait(init)
                else:
                    with pytest.raises(OcirtError):
                        wait(init)
                init.close()


@pytest.mark.parametrize("length", range(1, HEAD.size))
def test_a_message_that_is_cut_off(length: int) -> None:
    whole = HEAD.pack(lib.MSG_ERROR, 0, 1, 0)
    init = told(whole[:length])
    with pytest.raises(OcirtError):
        wait(init)
    init.close()
    with pytest.raises(OcirtError):
        raise failures.explain(wire.Message(whole[:length]), b"")


def test_the_process_is_told_once() -> None:
    """While it waits for the runtime it may name another, for these to be done to that one."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as own, subprocess.Popen(["true"]) as first:
        init = told(HEAD.pack(lib.MSG_PID, own.pid, 0, 0), HEAD.pack(lib.MSG_PID, 1, 0, 0))
        init.numbers[lib.PERFORM_FIRST] = first.pid
        init.perform([host_ops.wait_process("")])
        assert init.pid == own.pid
        with pytest.raises(OcirtError, match="process 1 is not the one"):
            wait(init)
        assert init.pid == own.pid
        init.close()


def test_a_process_that_nobody_has_heard_of_yet_is_reaped_too() -> None:
    """A program that calls the library would keep it as a zombie."""
    own = subprocess.Popen(["sleep", "600"])
    with subprocess.Popen(["sleep", "600"]) as first:
        init = told(HEAD.pack(lib.MSG_LOCKED, 0, 1, 0), HEAD.pack(lib.MSG_PID, own.pid, 0, 0))
        init.numbers[lib.PERFORM_FIRST] = first.pid
        assert init.performance.end() == signal.SIGKILL
        first.returncode = -9  # reaped already
    init.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(own.pid, 0)
    own.returncode = -9  # reaped already


def test_a_stranger_is_not_killed_for_being_named() -> None:
    with subprocess.Popen(["sleep", "600"]) as first:
        init = told(HEAD.pack(lib.MSG_PID, os.getppid(), 0, 0))
        init.numbers[lib.PERFORM_FIRST] = first.pid
        assert init.performance.end() == signal.SIGKILL
        first.returncode = -9  # reaped already
    init.close()
