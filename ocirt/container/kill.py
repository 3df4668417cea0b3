"""Kill: a signal to the container's process, or to all of its processes."""

from __future__ import annotations

import posix

from ocirt import cgroup
from ocirt.container import process, quick, state
from ocirt.container.ids import check_id
from ocirt.errors import ContainerNotRunning, UsageError
from ocirt.linux.consts import SIGKILL


def signal_number(text: str) -> int:
    """The number of a signal given as number (0 to 64), name with or without SIG, or RTMIN+n. Raises UsageError."""
    number = quick.signal_number(text)
    if number < 0:
        raise UsageError(
            f'unknown signal "{text}": expected a signal name (TERM, SIGKILL) or a number from 0 to 64', "kill"
        )
    return number


def kill(root: str, container_id: str, signal: int, all: bool = False) -> None:
    """Send `signal` to the container's first process; with `all` to every process in its cgroups, where it is in any.

    Without a pid namespace of its own, SIGKILL goes to every process too, for the first one's death ends no other.
    `all` of a container that is stopped is whoever is left, and nobody is no error.
    Raises ContainerNotFound, ContainerNotRunning, InvalidID, SystemCallError.
    """
    check_id(container_id)
    if not all and quick.kill(root, container_id, signal):
        return
    found = state.read(root, container_id)
    status, _ = quick.status(root, container_id)
    gone = status in {"creating", "stopped"}
    cgroups = found.own_cgroups()
    # To `all` it is no matter whether the first process lives: others may, and engines call this once it is reaped.
    if gone and not (all and status == "stopped"):
        raise ContainerNotRunning(container_id, status)
    everyone = all or (signal == SIGKILL and not found.pid_namespace)
    # An ordinary user's container may be in none of its cgroups.
    if not (everyone and cgroup.kill(cgroups, signal)) and not gone:
        _send(found, signal)
    if signal == SIGKILL and status == "paused":
        cgroup.thaw(cgroups)  # v1: a frozen process dies when it is thawed


def _send(found: state.State, signal: int) -> None:
    pidfd = process.open_process(found)
    try:
        if pidfd < 0 or not process.send(pidfd, found.pid, signal):
            raise ContainerNotRunning(found.container_id)
    finally:
        if pidfd >= 0:
            posix.close(pidfd)
