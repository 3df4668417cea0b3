"""What linux.resources asks of a container's cgroups, for host_steps.py; the words for what is refused: refusals.py."""

from __future__ import annotations

from ocirt.cgroup import limits, tree
from ocirt.errors import ContainerError, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    from ocirt.cgroup.hierarchies import Hierarchy
    from ocirt.cgroup.limits import Write

    Homes = dict[str, str]
    T = TypeVar("T")


def in_config(pointer: str) -> str:
    """Where a limit of config.json stands."""
    return f"config.json: /linux/resources{pointer}"


def homes_of(paths: Sequence[str], hs: Sequence[Hierarchy]) -> Homes:
    """The container's cgroup by v1 controller; by "" that of v2."""
    homes: Homes = {}
    for hierarchy, path in zip(hs, paths, strict=True):
        for controller in hierarchy.controllers.split(","):
            homes[controller] = path
    return homes


def writes(resources: dict[str, Any], homes: Homes, name: Callable[[str], str] = in_config) -> list[Write]:
    """`limits.writes` for a container with these cgroups. Raises UnsupportedError."""
    try:
        return limits.writes(resources, homes, "" in homes)
    except limits.Unmet as unmet:
        raise UnsupportedError(f"{name(unmet.pointer)}: {unmet.reason}") from None


def above_usage(resources: dict[str, Any], homes: Homes) -> list[tuple[str, int]]:
    """The limits of memory, member and bytes, that must be above what is in use before anything is written."""
    memory = resources.get("memory") or {}
    if not memory.get("checkBeforeUpdate") or "" not in homes or "memory" in homes:
        return []
    return [(member, memory[member]) for member in ("swap", "limit") if (memory.get(member) or 0) > 0]


def groups(todo: Sequence[Write]) -> list[list[Write]]:
    """The writes in groups, within which the order is the kernel's to say; unified takes precedence, and comes last."""
    return [[write for write in todo if write[4].startswith("/unified/") is unified] for unified in (False, True)]


def home(homes: Homes, write: Write) -> str:
    """The directory that a write goes to."""
    return homes["" if write[0] == 2 else write[1]]


def refuse_usage(directory: str, member: str, limit: int, name: Callable[[str], str] = in_config) -> None:
    """Raise ContainerError for a limit of the v2 cgroup that is below what is in use.

    v1 refuses that by itself, v2 would kill (config-linux.md, checkBeforeUpdate). `member` of linux.resources.memory.
    """
    try:
        usage = int(tree.read(f"{directory}/memory.current"))
    except (OSError, ValueError):
        return  # the file is missing with the controller, and then the limit is refused for that
    if limit <= usage:
        raise ContainerError(f"{name('/memory/' + member)}: rejecting memory limit {limit}, {usage} bytes are in use")
