"""Pause: every process of a container is stopped where it stands, by the freezer of its cgroup."""

from __future__ import annotations

from ocirt import cgroup
from ocirt.container import quick, state
from ocirt.errors import ContainerNotRunning


def pause(root: str, container_id: str) -> None:
    """Return once all processes stand still; on failure they run as before.

    A container that waits for its start can be paused too, and goes on waiting after `resume`. Raises
    ContainerNotFound, InvalidID, ContainerNotRunning for one that is stopped or paused, ContainerError for one without
    a freezer, SystemCallError.
    """
    record = state.read(root, container_id)
    status, _ = quick.status(root, container_id)
    if status not in {"created", "running"}:
        raise ContainerNotRunning(container_id, status)
    cgroup.freeze(record.own_cgroups())
