"""Ps: the processes of a container, those of cgroups that it has made below its own included."""

from __future__ import annotations

import posix

from ocirt import cgroup
from ocirt.container import quick, state


def pids(root: str, container_id: str) -> list[int]:
    """Return their ids in the caller's pid namespace; none for a container that is stopped and has left none.

    Raises ContainerNotFound, InvalidID, SystemCallError.
    """
    record = state.read(root, container_id)
    if found := cgroup.pids(record.own_cgroups()):
        return found
    _, pid = quick.status(root, container_id)
    if not pid:
        return []
    return _namespace_of(pid) if record.pid_namespace else [pid]


def _namespace_of(pid: int) -> list[int]:
    """Without a cgroup, as often for an ordinary user, the members of the pid namespace made for it (namespaces(7))."""
    own = _link(str(pid))
    return sorted(int(name) for name in posix.listdir("/proc") if name.isdigit() and own and _link(name) == own)


def _link(pid: str) -> str:
    try:
        return posix.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""  # gone, or another user's
