"""Cgroups as the host plan makes them, without a container: for tests of what the kernel makes of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ocirt import cgroup
from ocirt.cgroup import host_steps
from ocirt.cgroup.hierarchies import Hierarchy
from ocirt.container import state
from ocirt.container.performer import Performer
from ocirt.errors import OcirtError
from ocirt.linux._kernel import lib
from ocirt.plan import host_ops

if TYPE_CHECKING:
    from ocirt.plan.ops import Op


def perform(ops: Sequence[Op], root: str = "/nonexistent") -> Performer:
    """Carry out operations that are about cgroups."""
    performer = Performer(root, "box", "/bundle")
    try:
        performer.perform(ops)
    finally:
        performer.close()
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
    performer = Performer("/nonexistent", "box", "/bundle")
    ops = host_steps.make(list(paths), around(paths) if hs is None else hs, "")
    try:
        performer.perform([op for op in ops if op[0] != "refuse_shared"])
        return performer.performance.made()
    except OcirtError:
        cgroup.remove([], made=performer.performance.made())
        raise
    finally:
        performer.close()


def missing(paths: Sequence[str]) -> list[str]:
    """The directories that `create` would make, as the state names them ahead of it."""
    performer = Performer("/nonexistent", "box", "/bundle")
    performer.perform([host_ops.expect_cgroups("", list(paths), "")])
    try:
        return performer.performance.made()
    finally:
        performer.close()


def apply(paths: Sequence[str], hs: Sequence[Hierarchy], resources: dict[str, Any]) -> None:
    """Set limits."""
    perform(host_steps.limit(paths, hs, resources))


def restrict_devices(paths: Sequence[str], hs: Sequence[Hierarchy], listed: Sequence[dict[str, Any]]) -> None:
    """Put device rules into force."""
    perform(host_steps.restrict_devices(paths, hs, listed))


def freezers(paths: Sequence[str], hs: Sequence[Hierarchy] | None = None) -> list[str]:
    """The files that tell whether the container is frozen."""
    notes = host_steps.note_freezers(paths, around(paths) if hs is None else hs)
    about = host_ops.record("", "1.3.0", "/bundle", "/bundle/rootfs", [], "root", "cgroupfs", "", 1)
    with tempfile.TemporaryDirectory() as root:
        perform([host_ops.claim("", root, "box"), about, *notes, host_ops.write_state("", "created")])
        return state.read(root, "box").freezers


def attach(paths: Sequence[str], pid: int) -> None:
    """Move a process into them."""
    performer = Performer("/nonexistent", "box", "/bundle")
    performer.numbers[lib.PERFORM_PID] = pid
    performer.perform([host_ops.attach("", str(path), 0) for path in paths])
    performer.close()
