"""linux.resources as a list of writes to cgroup files, in their order; pure. Devices are left to devices.py.

Each controller is translated for the version of the hierarchy that carries it: on a hybrid host that differs from one
to the next. Carrying the writes out is left to resources.py.

Zero means "as it is" where the specification gives it no meaning of its own, for so engines send it: memory limits,
shares, quotas, periods, weights.
"""

from __future__ import annotations

from ocirt.cgroup import limits_v1, limits_v2
from ocirt.cgroup.limits_v1 import Unmet
from ocirt.errors import step

__all__ = ["Unmet", "writes"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    # (version, controller, file, text, pointer below /linux/resources, otherwise)
    # otherwise: (file, text) to write where the kernel lacks `file`; ("", "") to go without
    Write = tuple[int, str, str, str, str, tuple[tuple[str, str], ...]]

# (part of linux.resources, function of limits_v1 and limits_v2, controller of v1, of v2: "" where that has none)
PARTS = (
    ("pids", "pids", "pids", "pids"),
    ("memory", "memory", "memory", "memory"),
    ("cpu", "cpu", "cpu", "cpu"),
    ("cpu", "cpuset", "cpuset", "cpuset"),
    ("blockIO", "block_io", "blkio", "io"),
    ("hugepageLimits", "hugepages", "hugetlb", "hugetlb"),
    ("network", "net_cls", "net_cls", ""),
    ("network", "net_prio", "net_prio", ""),
    ("rdma", "rdma", "rdma", "rdma"),
)


def writes(resources: dict[str, Any], controllers: Collection[str], v2: bool) -> list[Write]:
    """Return the writes that `resources`, linux.resources of a checked config, ask for; those of `unified` come last.

    controllers   those that have a v1 hierarchy
    v2            whether there is a v2 hierarchy: it is taken to have all others, until a file turns out to be missing

    Raises Unmet.
    """
    found: list[Write] = []
    for part, name, on_v1, on_v2 in PARTS:
        value = resources.get(part)
        if not value:
            continue
        if on_v1 in controllers:
            found += [(1, on_v1, *write) for write in getattr(limits_v1, name)(value)]
        elif v2 and on_v2:
            found += [(2, on_v2, *write) for write in getattr(limits_v2, name)(value)]
        else:
            _refuse(list(getattr(limits_v1, name)(value)), on_v1, controllers, v2)
    for name, value in (resources.get("unified") or {}).items():
        found += _unified(name, value, v2)
    return found


def _refuse(asked: list[limits_v1.Write], controller: str, controllers: Collection[str], v2: bool) -> None:
    """Raise Unmet for the first limit of a controller that the host lacks; what can be gone without is none."""
    for _, _, pointer, otherwise in asked:
        if limits_v1.WITHOUT not in otherwise:
            if v2 and controllers:
                reason = "no v1 hierarchy with it is mounted, and cgroup v2 has no such controller"
            elif v2:
                reason = "cgroup v2 has no such controller"
            elif controllers:
                reason = "no hierarchy with it is mounted"
            else:
                reason = "the container has no cgroups"
            raise Unmet(pointer, f'needs the cgroup controller "{controller}", but {reason}')


def _unified(name: str, value: str, v2: bool) -> list[Write]:
    """The writes of one entry, a line each, as nested keyed files want it (cgroup-v2.rst, "Format")."""
    pointer = "/unified/" + step(name)
    controller, dot, _ = name.partition(".")
    if not v2:
        raise Unmet(pointer, "is for cgroup v2, which is not mounted on this host")
    if "/" in name or not (controller and dot):
        raise Unmet(pointer, f'"{name}" is not the name of a file as "memory.high"')
    # An empty value resets a cpuset; a write of no bytes would not reach the kernel.
    lines = [line for line in value.split("\n") if line] or ["\n"]
    return [(2, controller, name, line, pointer, ()) for line in lines]
