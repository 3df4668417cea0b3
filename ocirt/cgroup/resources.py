"""Carries out linux.resources: writes what limits.py says. The words for what the kernel refuses are in refusals.py."""

from __future__ import annotations

from errno import EINVAL, ENOENT

from ocirt.cgroup import limits, tree
from ocirt.errors import ContainerError, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    from ocirt.cgroup.hierarchies import Hierarchy
    from ocirt.cgroup.limits import Write
    from ocirt.errors import OcirtError

    Homes = dict[str, str]
    T = TypeVar("T")


def in_config(pointer: str) -> str:
    """Where a limit of config.json stands."""
    return f"config.json: /linux/resources{pointer}"


def apply(
    paths: Sequence[str],
    hs: Sequence[Hierarchy],
    resources: dict[str, Any],
    name: Callable[[str], str] = in_config,
) -> None:
    """Write all that `resources` ask for, devices excepted. `paths` are the container's cgroups in `hs`, which exist.

    name    the words for a JSON pointer below /linux/resources, for errors
    Raises UnsupportedError for what the host or the caller's rights do not allow, SystemCallError for what the kernel
    refuses, ContainerError for what checkBeforeUpdate does; what was written until then stays.
    """
    homes = homes_of(paths, hs)
    todo = writes(resources, homes, name)
    for member, limit in above_usage(resources, homes):
        refuse_usage(homes[""], member, limit, name)
    for group in groups(todo):
        refused = in_any_order(group, lambda write: _write(homes, write, name))
        if refused:
            raise _explained(homes, *refused, name)


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


def in_any_order(todo: Sequence[T], write: Callable[[T], None]) -> tuple[T, OSError] | None:
    """Write in order; what is refused as EINVAL is tried again after the others, as long as any of them goes through.

    Values depend on each other: memory with swap, quota with period and burst, idle with weight. Which has to be
    changed first depends on what is set now, and the kernel knows. Returns the first of those that are refused in the
    end. Raises what `write` does for any other reason.
    """
    while todo:
        refused: list[tuple[T, OSError]] = []
        for one in todo:
            try:
                write(one)
            except OSError as error:
                if error.errno != EINVAL:
                    raise
                refused.append((one, error))
        if refused and len(refused) == len(todo):
            return refused[0]
        todo = [one for one, _ in refused]
    return None


def _write(homes: Homes, write: Write, name: Callable[[str], str]) -> None:
    """Raises OSError with EINVAL, the error in words for any other reason."""
    _, _, file, text, _, otherwise = write
    for number, (other, text_) in enumerate(((file, text), *otherwise)):
        if not other:
            return  # it is gone without
        try:
            tree.write(f"{home(homes, write)}/{other}", text_.encode("utf-8", "surrogateescape"))
        except OSError as error:
            if error.errno == ENOENT and number < len(otherwise):
                continue
            if error.errno == EINVAL:
                raise
            raise _explained(homes, write, error, name) from None
        return


def _explained(homes: Homes, write: Write, error: OSError, name: Callable[[str], str]) -> OcirtError:
    from ocirt.cgroup import refusals

    return refusals.explain(home(homes, write), write, error, name)
