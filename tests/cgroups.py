"""Cgroups as the host plan makes them, without a container: for tests of what the kernel makes of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ocirt import cgroup
from ocirt.cgroup import host_steps
from ocirt.cgroup.hierarchies import Hierarchy
from ocirt.container.performer import Performer
from ocirt.container.state import State
from ocirt.errors import OcirtError

if TYPE_CHECKING:
    from ocirt.plan.ops import Op


def perform(ops: Sequence[Op], root: str = "/nonexistent") -> Performer:
    """Carry out operations that are about cgroups."""
    performer = Performer(root, State("box", "1.3.0", "/bundle", "/bundle/rootfs"))
    performer.perform(ops)
    return performer


def around(paths: Sequence[str]) -> list[Hierarchy]:
    """Hierarchies for the paths, by the files that they have, or by their names; one controller each."""
    found = []
    for index, path in enumerate(map(str, paths)):
        for hierarchy in cgroup.hierarchies():
            if path.startswith(hierarchy.mount + "/"):
                found.append(hierarchy)
                break
        else:
            v1 = index > 0 or os.access(f"{path}/freezer.state", os.F_OK)
            found.append(Hierarchy("freezer,cpuset" if v1 else "", path.rpartition("/")[0], "/", 1 if v1 else 2))
    return found


def create(paths: Sequence[str], hs: Sequence[Hierarchy] | None = None) -> list[str]:
    """Make the cgroups; what was made, children before parents. If it fails, that is removed again."""
    performer = Performer("/nonexistent", State("box", "1.3.0", "/bundle", "/bundle/rootfs"))
    ops = host_steps.make(list(paths), around(paths) if hs is None else hs, "")
    try:
        performer.perform([op for op in ops if op[0] != "refuse_shared"])
    except OcirtError:
        cgroup.remove([], made=(performer.new or [])[::-1])
        raise
    performer.note_made()
    return performer.record.made


def apply(paths: Sequence[str], hs: Sequence[Hierarchy], resources: dict[str, Any]) -> None:
    """Set limits."""
    perform(host_steps.limit(paths, hs, resources))


def restrict_devices(paths: Sequence[str], hs: Sequence[Hierarchy], listed: Sequence[dict[str, Any]]) -> None:
    """Put device rules into force."""
    perform(host_steps.restrict_devices(paths, hs, listed))


def freezers(paths: Sequence[str], hs: Sequence[Hierarchy] | None = None) -> list[str]:
    """The files that tell whether the container is frozen."""
    return perform(host_steps.note_freezers(paths, around(paths) if hs is None else hs)).record.freezers
