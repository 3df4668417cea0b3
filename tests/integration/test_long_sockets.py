"""Unix sockets whose paths are longer than sun_path (unix(7)): engines' directories have ids of 64 digits in them."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import Container, Runtime
from tests.integration.views import MakeBundle

LONGEST_IN_SUN_PATH = 107


class Listener:
    """Listens at a path; `receive` takes the one message of the one connection, and its descriptors."""

    def __init__(self, scratch: Path, length: int) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(10)
        self._socket.bind(str(scratch / "short"))
        self._socket.listen(1)
        directory = scratch / "d"
        while len(str(directory)) < length - 220:
            directory /= "d" * 100
        directory.mkdir(parents=True, exist_ok=True)
        self.path = str(directory / ("n" * (length - len(str(directory)) - 1)))
        os.rename(scratch / "short", self.path)

    def receive(self) -> tuple[bytes, list[int]]:
        connection, _ = self._socket.accept()
        with connection:
            connection.settimeout(10)
            data, fds, _, _ = socket.recv_fds(connection, 16384, 1)
        return data, fds

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=[LONGEST_IN_SUN_PATH, LONGEST_IN_SUN_PATH + 1, 200, 1000])
def listener(request: pytest.FixtureRequest, scratch: Path, runtime: Runtime) -> Iterator[Listener]:
    found = Listener(scratch, request.param)
    assert len(found.path) == request.param
    yield found
    found.close()


def test_a_terminal_is_sent_there(runtime: Runtime, make_bundle: MakeBundle, listener: Listener) -> None:
    bundle = make_bundle(args=["sleep", "600"], process={"terminal": True})
    runtime.create(bundle, "--console-socket", listener.path)
    _, fds = listener.receive()
    assert os.isatty(fds[0])
    os.close(fds[0])


def test_that_of_exec_too(sleeper: Container, detached: Callable[..., int], listener: Listener) -> None:
    detached("-t", "--console-socket", listener.path)
    _, fds = listener.receive()
    assert os.isatty(fds[0])
    os.close(fds[0])


def test_a_pidfd_is_sent_there(sleeper: Container, detached: Callable[..., int], listener: Listener) -> None:
    pid = detached("--pidfd-socket", listener.path)
    _, fds = listener.receive()
    assert f"\nPid:\t{pid}\n" in Path(f"/proc/self/fdinfo/{fds[0]}").read_text()
    os.close(fds[0])


def test_a_seccomp_agent_is_reached_there(runtime: Runtime, make_bundle: MakeBundle, listener: Listener) -> None:
    rule: dict[str, Any] = {"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], "listenerPath": listener.path}
    container = runtime.create(make_bundle(args=["true"], linux={"seccomp": profile}))
    data, fds = listener.receive()
    os.close(fds[0])
    assert json.loads(data)["state"]["id"] == container.id


def test_a_path_that_is_not_there_is_told(runtime: Runtime, make_bundle: MakeBundle, scratch: Path) -> None:
    bundle, path = make_bundle(process={"terminal": True}), f"{scratch}/{'x' * 150}"
    done = runtime.run("create", "--bundle", str(bundle.path), "--console-socket", path, runtime.new_id(), check=False)
    assert done.stderr == f'ocirt: connect to the console socket "{path}": no such file or directory\n'


def test_what_is_no_socket_is_told(runtime: Runtime, make_bundle: MakeBundle, scratch: Path) -> None:
    bundle, path = make_bundle(process={"terminal": True}), scratch / ("x" * 150)
    path.touch()
    flags = ["--bundle", str(bundle.path), "--console-socket", str(path)]
    done = runtime.run("create", *flags, runtime.new_id(), check=False)
    assert done.stderr == f'ocirt: connect to the console socket "{path}": connection refused\n'
