"""wait_start: what a container that was created does until, and when, it is started."""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from tests.kernel import harness, plans
from tests.kernel.harness import WIRE, Init, Op, op
from tests.kernel.plans import execute

pytestmark = pytest.mark.root


class Waiting:
    """An init that waits for start on a socket, and a way to connect to it."""

    def __init__(self, path: Path, init: Init, *end: Op) -> None:
        self.path, self.init = path, init
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(path))
        listening.listen(8)
        init.send_plan(
            [op("clone", harness.CLONE_NEWPID), op("sync", WIRE["SYNC_CREATED"]), op("wait_start", 5), *end],
            {5: listening.fileno()},
        )
        listening.close()
        init.until(WIRE["SYNC_CREATED"])
        init.go(WIRE["SYNC_CREATED"])

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(harness.DEADLINE)
        connection.connect(str(self.path))
        return connection


def test_start_lets_the_process_be_executed_and_the_connection_closes(tmp_path: Path) -> None:
    with Init() as init:
        waiting = Waiting(tmp_path / "sock", init, *execute("/bin/busybox", "echo", "started"))
        with waiting.connect() as connection:
            connection.send(b"s")
            assert connection.recv(10) == b""
        assert init.finish().output == "started\n"
        with pytest.raises(ConnectionRefusedError):
            waiting.connect()


def test_a_probe_changes_nothing(tmp_path: Path) -> None:
    with Init() as init:
        waiting = Waiting(tmp_path / "sock", init, *execute("/bin/busybox", "echo", "started"))
        for byte in (b"", b"x", b""):
            with waiting.connect() as probe:
                probe.send(byte)
        with waiting.connect() as connection:
            connection.send(b"s")
            assert connection.recv(10) == b""
        assert init.finish().output == "started\n"


def test_a_failure_after_start_is_told_to_the_one_who_started(tmp_path: Path) -> None:
    with Init() as init:
        waiting = Waiting(tmp_path / "sock", init, op("hostname", "x" * 65))
        with waiting.connect() as connection:
            connection.send(b"s")
            message = harness.parse(connection.recv(2048))
            assert (message.type, message.value, message.error) == (WIRE["MSG_ERROR"], 3, errno.EINVAL)
            assert connection.recv(10) == b""
        assert os.WEXITSTATUS(init.reap().status) == 1


def test_waiting_uses_no_time_and_survives_the_runtime(tmp_path: Path) -> None:
    with Init() as init:
        waiting = Waiting(tmp_path / "sock", init, *execute("/bin/true"))
        init.ours.shutdown(socket.SHUT_RDWR)
        time.sleep(0.1)
        before = Path(f"/proc/{init.pid}/schedstat").read_text()
        time.sleep(0.2)
        assert Path(f"/proc/{init.pid}/schedstat").read_text() == before
        with waiting.connect() as connection:
            connection.send(b"s")
            assert connection.recv(10) == b""
        assert init.reap().status == 0


def test_a_waiting_init_can_be_killed(tmp_path: Path) -> None:
    with Init() as init:
        waiting = Waiting(tmp_path / "sock", init)
        os.kill(init.pid, signal.SIGKILL)
        assert os.WTERMSIG(init.reap().status) == signal.SIGKILL
        with pytest.raises(ConnectionRefusedError):
            waiting.connect()


def test_two_starts_at_once_start_it_once(tmp_path: Path) -> None:
    with Init() as init:
        waiting = Waiting(
            tmp_path / "sock",
            init,
            plans.hook("/bin/busybox", ["sleep", "0.2"]),
            *execute("/bin/busybox", "echo", "once"),
        )
        ends: list[bytes | int] = []

        def start() -> None:
            try:
                with waiting.connect() as connection:
                    connection.send(b"s")
                    ends.append(connection.recv(10))
            except ConnectionError as error:
                ends.append(error.errno or 0)

        threads = [threading.Thread(target=start) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ends.count(b"") == 1
        assert init.finish().output == "once\n"
