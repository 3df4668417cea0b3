"""SCMP_ACT_NOTIFY: the agent gets the container's state and a listener, and answers for the kernel."""

from __future__ import annotations

import array
import errno
import fcntl
import json
import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import Json, Runtime, wait_for
from tests.integration.views import MakeBundle, fields, user_namespace

NOTIFY, ALLOW = "SCMP_ACT_NOTIFY", "SCMP_ACT_ALLOW"
MKDIR = {"names": ["mkdir", "mkdirat"], "action": NOTIFY}
TRY = ["sh", "-c", "mkdir /tmp/new 2>&1; echo $?"]

# <linux/seccomp.h>: struct seccomp_notif (id, pid, flags, data), seccomp_notif_resp (id, val, error, flags)
RECEIVE, SEND = 0xC0502100, 0xC0182101
CONTINUE = 1


class Agent:
    """Listens, takes one state for each connection, and answers what the filter asks: `answer` is an errno, 0 or -1.

    -1: the kernel goes on with the system call.
    """

    def __init__(self, path: Path, answer: int) -> None:
        self.path = str(path)
        self.answer = answer
        self.states: list[Json] = []
        self.asked = 0
        self.errors: list[Exception] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(self.path)
        self._socket.listen(1)
        self._listeners: list[int] = []
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._guarded)
        self._thread.start()

    def close(self) -> None:
        """End it; what it found wrong is raised."""
        os.write(self._stopped, b"x")
        self._thread.join(10)
        for fd in (*self._listeners, self._stop, self._stopped):
            os.close(fd)
        self._socket.close()
        assert not self.errors, self.errors

    def _guarded(self) -> None:
        try:
            self._serve()
        except (OSError, AssertionError, ValueError) as error:
            self.errors.append(error)

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._stop, select.POLLIN)
        poll.register(self._socket, select.POLLIN)
        while True:
            for fd, event in poll.poll(20_000):
                if fd == self._stop:
                    return
                if fd == self._socket.fileno():
                    listener = self._accept()
                    self._listeners.append(listener)
                    poll.register(listener, select.POLLIN)
                elif event & select.POLLIN:
                    self._reply(fd)
                else:
                    poll.unregister(fd)

    def _accept(self) -> int:
        connection, _ = self._socket.accept()
        connection.settimeout(10)
        with connection:
            data, ancillary, _, _ = connection.recvmsg(16384, socket.CMSG_SPACE(64))
            fds = array.array("i")
            for _, _, content in ancillary:
                fds.frombytes(content)
            assert len(fds) == 1
            while more := connection.recv(16384):  # the connection is closed behind one state
                data += more
        self.states.append(json.loads(data))
        return fds[0]

    def _reply(self, listener: int) -> None:
        buffer = bytearray(80)
        try:
            fcntl.ioctl(listener, RECEIVE, buffer)
            self.asked += 1
            (number,) = struct.unpack_from("<Q", buffer)
            flags, error = (CONTINUE, 0) if self.answer < 0 else (0, -self.answer)
            fcntl.ioctl(listener, SEND, struct.pack("<QqiI", number, 0, error, flags))
        except OSError as error:
            if error.errno != errno.ENOENT:  # whoever asked is gone
                raise


@pytest.fixture
def agent(runtime: Runtime, scratch: Path) -> Iterator[Callable[[int], Agent]]:
    """agent(answer): a listening agent."""
    made: list[Agent] = []

    def make(answer: int) -> Agent:
        made.append(Agent(scratch / f"agent-{len(made)}.sock", answer))
        return made[-1]

    yield make
    for one in made:
        one.close()


def notifying(agent: Agent, *rules: Json, default: str = ALLOW, **more: Any) -> Json:
    """A `linux` delta."""
    return {"seccomp": {"defaultAction": default, "syscalls": list(rules), "listenerPath": agent.path, **more}}


@pytest.mark.parametrize("privileges", [True, False], ids=["no_new_privs", "privileged"])
def test_the_agent_answers_for_the_kernel(
    runtime: Runtime, make_bundle: MakeBundle, agent: Callable[[int], Agent], privileges: bool
) -> None:
    listening = agent(errno.EMEDIUMTYPE)
    bundle = make_bundle(args=TRY, process={"noNewPrivileges": privileges}, linux=notifying(listening, MKDIR))
    result = runtime.run_container(bundle)
    assert result.stdout == f"mkdir: can't create directory '/tmp/new': {os.strerror(errno.EMEDIUMTYPE)}\n1\n"
    assert listening.asked == 1


@pytest.mark.parametrize("privileges", [True, False], ids=["no_new_privs", "privileged"])
def test_the_state_is_there_when_the_container_is_created(
    runtime: Runtime, make_bundle: MakeBundle, agent: Callable[[int], Agent], privileges: bool
) -> None:
    listening = agent(-1)
    bundle = make_bundle(
        args=["sh", "-c", "mkdir /tmp/new; cat /proc/self/status; exec sleep 600"],
        annotations={"my.key": 'a "value"'},
        process={"noNewPrivileges": privileges},
        linux=notifying(listening, MKDIR, listenerMetadata='opaque "text" ü'),
    )
    container = runtime.create(bundle)
    (state,) = wait_for(lambda: listening.states, "the state")
    assert state == {
        "ociVersion": "1.3.0",
        "fds": ["seccompFd"],
        "pid": container.pid,
        "metadata": 'opaque "text" ü',
        "state": state["state"],
    }
    inner = state["state"]
    assert (inner["id"], inner["status"], inner["pid"]) == (container.id, "creating", container.pid)
    assert (inner["bundle"], inner["annotations"]) == (str(bundle.path), {"my.key": 'a "value"'})
    container.start()
    assert fields(container.proc("status"))["Seccomp"] == "2"


def test_without_metadata_there_is_none(
    runtime: Runtime, make_bundle: MakeBundle, agent: Callable[[int], Agent]
) -> None:
    listening = agent(-1)
    runtime.run_container(make_bundle(linux=notifying(listening, MKDIR)), check=True)
    assert "metadata" not in wait_for(lambda: listening.states, "the state")[0]


def test_a_state_longer_than_a_message_comes_whole(
    runtime: Runtime, make_bundle: MakeBundle, agent: Callable[[int], Agent]
) -> None:
    listening = agent(-1)
    linux = notifying(listening, MKDIR, listenerMetadata="x" * 100_000)
    runtime.run_container(make_bundle(linux=linux), check=True)
    assert wait_for(lambda: listening.states, "the state")[0]["metadata"] == "x" * 100_000


def test_the_agent_may_be_asked_about_every_system_call(
    runtime: Runtime, make_bundle: MakeBundle, agent: Callable[[int], Agent]
) -> None:
    """Even those by which the init hands the listener over, waits for start and executes the process."""
    listening = agent(-1)
    bundle = make_bundle(args=["echo", "done"], linux=notifying(listening, default=NOTIFY))
    container = runtime.create(bundle)
    container.start()
    container.wait_stopped()
    assert container.stdout == "done\n"
    assert listening.asked > 10


@pytest.mark.parametrize("flag", ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_LOG"])
def test_a_flag_goes_with_a_listener(
    runtime: Runtime, make_bundle: MakeBundle, agent: Callable[[int], Agent], flag: str
) -> None:
    features = runtime.run("features", check=True).json()["linux"]["seccomp"]
    assert flag in features["knownFlags"]
    if flag not in features["supportedFlags"]:
        pytest.skip("newer than this kernel")
    linux = notifying(agent(0), MKDIR, flags=[flag])
    assert runtime.run_container(make_bundle(args=TRY, linux=linux)).stdout == "0\n"


def test_hooks_in_the_container_run_behind_the_filter(
    runtime: Runtime, make_bundle: MakeBundle, agent: Callable[[int], Agent]
) -> None:
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "exit 7"]}
    bundle = make_bundle(hooks={"startContainer": [hook]}, linux=notifying(agent(-1), MKDIR))
    result = runtime.run_container(bundle, check=False)
    assert "exited with status 7" in result.stderr


def test_a_container_in_a_user_namespace_notifies_too(
    runtime: Runtime, make_bundle: MakeBundle, agent: Callable[[int], Agent]
) -> None:
    linux = {**user_namespace(), **notifying(agent(errno.EXDEV), MKDIR)}
    assert os.strerror(errno.EXDEV) in runtime.run_container(make_bundle(args=TRY, linux=linux)).stdout


@pytest.mark.parametrize("privileges", [True, False], ids=["no_new_privs", "privileged"])
def test_a_process_that_exec_adds_has_a_listener_of_its_own(
    runtime: Runtime, make_bundle: MakeBundle, agent: Callable[[int], Agent], privileges: bool
) -> None:
    listening = agent(errno.EMEDIUMTYPE)
    process = {"noNewPrivileges": privileges}
    container = runtime.start(make_bundle(args=["sleep", "600"], process=process, linux=notifying(listening, MKDIR)))
    result = runtime.run("exec", container.id, *TRY, check=True)
    assert result.stdout == f"mkdir: can't create directory '/tmp/new': {os.strerror(errno.EMEDIUMTYPE)}\n1\n"
    first, second = wait_for(lambda: listening.states if len(listening.states) == 2 else None, "both states")
    assert second["pid"] != first["pid"] == container.pid
    assert (second["state"]["status"], second["state"]["pid"]) == ("running", container.pid)


def test_no_descriptor_and_no_process_of_the_hand_over_stays(
    runtime: Runtime, make_bundle: MakeBundle, agent: Callable[[int], Agent]
) -> None:
    container = runtime.start(make_bundle(args=["sleep", "600"], linux=notifying(agent(-1), MKDIR)))
    wait_for(lambda: container.proc("comm") == "sleep\n", "executed")
    assert sorted(os.listdir(f"/proc/{container.pid}/fd")) == ["0", "1", "2"]
    assert container.proc(f"task/{container.pid}/children") == ""
    assert int(fields(container.proc("status"))["SigIgn"], 16) == 0


def test_nobody_who_listens_is_an_error_that_names_the_field(
    runtime: Runtime, make_bundle: MakeBundle, scratch: Path
) -> None:
    linux = {"seccomp": {"defaultAction": ALLOW, "syscalls": [MKDIR], "listenerPath": f"{scratch}/nobody"}}
    result = runtime.run_container(make_bundle(linux=linux), check=False)
    assert f'config.json: /linux/seccomp/listenerPath: connect to the seccomp agent "{scratch}/nobody"' in result.stderr
    assert result.stderr.rstrip().endswith("no such file or directory")


def test_an_agent_that_hangs_up_is_an_error(runtime: Runtime, make_bundle: MakeBundle, scratch: Path) -> None:
    path = scratch / "hangs-up"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(1)

        def accept_and_close() -> None:
            connection, _ = listener.accept()
            connection.close()

        hang_up = threading.Thread(target=accept_and_close)
        hang_up.start()
        linux = {"seccomp": {"defaultAction": ALLOW, "syscalls": [MKDIR], "listenerPath": str(path)}}
        # The filter comes after much else: the connection is closed by then.
        result = runtime.run_container(make_bundle(linux=linux), check=False)
        hang_up.join(10)
    assert "config.json: /linux/seccomp: load the seccomp filter and send its listener to the agent" in result.stderr
    assert "broken pipe (the agent has closed its connection)" in result.stderr


def test_a_path_without_a_notifying_rule_is_ignored(inside: Any, scratch: Path) -> None:
    rule = {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}
    linux = {"seccomp": {"defaultAction": ALLOW, "syscalls": [rule], "listenerPath": f"{scratch}/nobody"}}
    assert inside("echo", "fine", linux=linux) == "fine\n"
