"""Resume: the processes of a paused container go on, whichever freezer stopped them."""

from __future__ import annotations

from ocirt import cgroup
from ocirt.container import quick, state
from ocirt.errors import ContainerError


def resume(root: str, container_id: str) -> None:
    """Return once the processes run again.

    Raises ContainerNotFound, InvalidID, ContainerError for a container that is not paused or is held by a frozen
    cgroup above its own, SystemCallError.
    """
    record = state.read(root, container_id)
    status, _ = quick.status(root, container_id)
    if status != "paused":
        raise ContainerError(f'container "{container_id}": container not paused (it is {status})')
    cgroup.thaw(record.own_cgroups())
