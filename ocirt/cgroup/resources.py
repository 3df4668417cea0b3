"""Carries out linux.resources: writes what limits.py says. The words for what the kernel refuses are in refusals.py."""

from __future__ import annotations

from errno import EINVAL

from ocirt.cgroup import limits, tree
from ocirt.errors import ContainerError, UnsupportedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ocirt.cgroup.hierarchies import Hierarchy
    from ocirt.cgroup.limits import Write
    from ocirt.errors import OcirtError

    Homes = dict[str, str]


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
    memory = resources.get("memory") or {}
    if memory.get("checkBeforeUpdate") and "" in homes and "memory" not in homes:
        _check_usage(memory, homes[""], name)
    for unified in (False, True):  # these take precedence, so they come last
        _write_all([write for write in todo if write[4].startswith("/unified/") is unified], homes, name)


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


def home(homes: Homes, write: Write) -> str:
    """The directory that a write goes to."""
    return homes["" if write[0] == 2 else write[1]]


def _check_usage(memory: dict[str, int], directory: str, name: Callable[[str], str]) -> None:
    """Refuse a limit below what is in use, as v1 does by itself; v2 would kill (config-linux.md, checkBeforeUpdate)."""
    try:
        usage = int(tree.read(f"{directory}/memory.current"))
    except (OSError, ValueError):
        return  # the file is missing with the controller, and then the limit is refused for that
    for member in ("swap", "limit"):
        limit = memory.get(member) or 0
        if 0 < limit <= usage:
            raise ContainerError(
                f"{name('/memory/' + member)}: rejecting memory limit {limit}, {usage} bytes are in use"
            )


def _write_all(todo: list[Write], homes: Homes, name: Callable[[str], str]) -> None:
    """Write in order; what is refused as EINVAL is tried again after the others, as long as any of them goes through.

    Values depend on each other: memory with swap, quota with period and burst, idle with weight. Which has to be
    changed first depends on what is set now, and the kernel knows.
    """
    while todo:
        refused: list[tuple[Write, OSError]] = []
        for write in todo:
            try:
                _write(home(homes, write), write)
            except OSError as error:
                if error.errno != EINVAL:
                    raise _explained(homes, write, error, name) from None
                refused.append((write, error))
        if refused and len(refused) == len(todo):
            first, why = refused[0]
            raise _explained(homes, first, why, name)
        todo = [write for write, _ in refused]


def _write(directory: str, write: Write) -> None:
    _, _, file, text, _, otherwise = write
    try:
        tree.write(f"{directory}/{file}", text.encode("utf-8", "surrogateescape"))
    except FileNotFoundError:
        for other, text_ in otherwise:
            if not other:
                return
            tree.write(f"{directory}/{other}", text_.encode())
            return
        raise


def _explained(homes: Homes, write: Write, error: OSError, name: Callable[[str], str]) -> OcirtError:
    from ocirt.cgroup import refusals

    return refusals.explain(home(homes, write), write, error, name)
