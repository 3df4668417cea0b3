"""Operations of `exec`: all namespaces of a process joined at once, its cgroups of v1 entered by oneself."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel import harness
from tests.kernel.harness import WIRE, Init, carry_out, op, refused
from tests.kernel.plans import begin, execute, mount_proc

pytestmark = pytest.mark.root

ALL = harness.NAMESPACES | harness.CLONE_NEWNET
KINDS = ("mnt", "uts", "ipc", "pid", "net")
TARGET = 252


def namespaces(pid: int | str) -> list[str]:
    return [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in KINDS]


@pytest.fixture
def other(root: Path) -> Iterator[int]:
    """A process in namespaces of its own; its pid."""
    with Init() as init:
        ops = [*begin(root, mount_proc(), flags=ALL), op("pivot"), op("hostname", "other")]
        init.send_plan([*ops, op("sync", WIRE["SYNC_START"])])
        init.until(WIRE["SYNC_START"])
        yield init.pid


def test_all_namespaces_are_joined_at_once_by_a_pidfd(other: int) -> None:
    pidfd = os.pidfd_open(other)
    ops = [op("join", TARGET, ALL), op("close", TARGET), op("clone", 0), op("root_dir", "/")]
    with Init() as init:
        init.send_plan([*ops, op("sync", WIRE["SYNC_START"]), *execute("/bin/busybox", "hostname")], {TARGET: pidfd})
        os.close(pidfd)
        init.until(WIRE["SYNC_START"])
        assert namespaces(init.pid) == namespaces(other)
        assert namespaces(init.pid) != namespaces("self")
        init.go(WIRE["SYNC_START"])
        assert init.finish().ok() == "other\n"


def test_a_process_that_has_exited_is_not_joined() -> None:
    pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
    pidfd = os.pidfd_open(pid)
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.waitpid(pid, 0)
    try:
        refused(carry_out([op("join", TARGET, ALL)], {TARGET: pidfd}), errno.ESRCH, "NONE")
    finally:
        os.close(pidfd)


def test_the_namespaces_of_nobody_are_not_joined() -> None:
    refused(carry_out([op("join", TARGET, ALL)]), errno.EBADF, "NONE")


@pytest.fixture
def v1() -> Iterator[Path]:
    """A cgroup of v1, which must be empty in the end."""
    top = next((path.parent for path in Path("/sys/fs/cgroup").glob("*/tasks") if "pids" in str(path)), None)
    if top is None:
        pytest.skip("needs the pids hierarchy of cgroup v1")
    path = top / f"ocirt-entering-{os.getpid()}"
    path.mkdir()
    yield path
    path.rmdir()


def test_a_process_enters_a_cgroup_of_v1_by_itself(v1: Path) -> None:
    tasks = os.open(v1 / "tasks", os.O_WRONLY)
    with Init() as init:
        init.send_plan([op("clone", 0), op("enter_cgroup", 20), op("sync", WIRE["SYNC_START"])], {20: tasks})
        os.close(tasks)
        init.until(WIRE["SYNC_START"])
        assert (v1 / "cgroup.procs").read_text() == f"{init.pid}\n"
        assert not any("tasks" in os.readlink(f"/proc/{init.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{init.pid}/fd"))


def test_a_cgroup_that_cannot_be_entered_is_an_error(tmp_path: Path) -> None:
    refused(carry_out([op("enter_cgroup", 20)]), errno.EBADF, "NONE")
    fd = os.open("/dev/full", os.O_WRONLY)
    try:
        refused(carry_out([op("enter_cgroup", 20)], {20: fd}), errno.ENOSPC, "NONE")
    finally:
        os.close(fd)
