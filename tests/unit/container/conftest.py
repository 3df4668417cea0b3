"""Containers without an init: a child of the test stands in for it, down to the exchange on start.sock."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import states
from tests.oracle import records

pytest.importorskip("ocirt.linux._kernel", reason="the shim is not built: make build")

from ocirt.container import state
from ocirt.linux._kernel import lib

Make = Callable[..., state.State]
Sleeper = Callable[[], int]


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A state root that does not exist yet."""
    return str(tmp_path / "state")


@pytest.fixture
def children() -> Iterator[Callable[[Callable[[], None]], int]]:
    """fork(body) → pid of a child that runs `body` and exits; killed and reaped after the test."""
    pids = []

    def fork(body: Callable[[], None]) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                body()
            finally:
                os._exit(1)
        pids.append(pid)
        return pid

    yield fork
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


@pytest.fixture
def sleeper(children: Callable[[Callable[[], None]], int]) -> Callable[[], int]:
    """Start a process that does nothing; a signal finds it executed, not Python with its handlers."""

    def start() -> int:
        reader, writer = os.pipe()
        pid = children(lambda: os.execv("/bin/sleep", ["sleep", "60"]))
        os.close(writer)
        os.read(reader, 1)  # ends when execve closes the other end
        os.close(reader)
        return pid

    return start


@pytest.fixture
def make(root: str) -> Callable[..., state.State]:
    """make(id, **members) → its State, recorded below `root` as create does in the end."""

    def make_container(container_id: str, **members: Any) -> state.State:
        directory = states.claim(root, container_id)
        try:
            record = records.State(container_id, "1.3.0", "/srv/bundle", "/srv/bundle/rootfs")
            record.phase = "created"
            record.pid_namespace = True
            for name, value in members.items():
                record.born(value) if name == "pid" else setattr(record, name, value)
            states.write(directory, record)
        finally:
            os.close(directory)
        return record

    return make_container


@pytest.fixture
def waiting(root: str, make: Callable[..., state.State], children: Callable[..., int]) -> Callable[..., state.State]:
    """waiting(id, answer) → a created container whose stand-in answers start: b"" executes, a message refuses."""

    def start_waiting(container_id: str, answer: bytes = b"", **members: Any) -> state.State:
        record = make(container_id, **members)
        listener = listen(f"{root}/{container_id}")
        pid = children(lambda: stand_in(listener, answer))
        listener.close()
        record.born(pid)
        rewrite(root, record)
        return record

    return start_waiting


def listen(directory: str) -> socket.socket:
    """start.sock as create makes it; by way of a short path, for sun_path is short."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"/proc/self/fd/{fd}/start.sock")
    listener.listen(16)
    os.close(fd)
    return listener


def stand_in(listener: socket.socket, answer: bytes) -> None:
    """The `wait_start` of docs/plan.md."""
    while True:
        connection, _ = listener.accept()
        if connection.recv(1) == b"s":
            break
        connection.close()
    listener.close()
    if answer:
        connection.sendall(answer)
        os._exit(1)
    os.execv("/bin/sleep", ["sleep", "60"])


def refusal(op: int = 7, errno: int = 2, text: bytes = b"words") -> bytes:
    """An ERROR message."""
    return struct.pack("=IIII", lib.MSG_ERROR, op, errno, 0) + text


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Look again and again until the condition holds; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.005)


def is_zombie(pid: int) -> bool:
    """Whether the process has exited and nobody has reaped it."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def rewrite(root: str, value: state.State) -> None:
    """Replace the record of a container."""
    directory = state.lock(root, value.container_id)
    states.write(directory, value)
    os.close(directory)


def hooked(root: str, made: state.State, kind: str, script: str) -> None:
    """Give the recorded config hooks of one kind, one for each line of shell."""
    entries = [{"path": "/bin/sh", "args": ["sh", "-c", line]} for line in script.split("\n")]
    Path(root, made.container_id, "config.json").write_text(json.dumps({"hooks": {kind: entries}}))
