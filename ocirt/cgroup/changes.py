"""Changes the limits of a container that has some already: what the change leaves out comes from the kernel. Cold.

Nothing is remembered between updates: the files hold what is set, whoever has set it.
"""

from __future__ import annotations

from ocirt.cgroup import resources, tree, v2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ocirt.cgroup.hierarchies import Hierarchy

    Limits = dict[str, Any]
    Name = Callable[[str], str]


def change(paths: Sequence[str], hs: Sequence[Hierarchy], wanted: Limits, name: Name) -> None:
    """Set `wanted`, a part of linux.resources, on the cgroups `paths` in `hs`; devices stay as they are.

    name    the words for a JSON pointer below /linux/resources, for errors
    Raises as resources.apply.
    """
    homes = resources.homes_of(paths, hs)
    unified = homes.get("", "")
    if unified:  # on a hybrid host, create has done it only where a limit asked for it
        v2.enable_controllers(next(h.mount for h in hs if h.version == 2), unified)
    if unified and "memory" not in homes:
        wanted = with_present_memory(wanted, unified)
    if unified and "cpu" not in homes:
        wanted = with_present_quota(wanted, unified)
    resources.apply(paths, hs, wanted, name)


def with_present_quota(wanted: Limits, cgroup: str) -> Limits:
    """On v2 both share a file: a period alone comes with the quota that is set. A quota alone leaves the period."""
    cpu = wanted.get("cpu") or {}
    quota = number(cgroup, "cpu.max")
    if not cpu.get("period") or cpu.get("quota") or quota <= 0:
        return wanted
    return {**wanted, "cpu": {**cpu, "quota": quota}}


def with_present_memory(wanted: Limits, cgroup: str) -> Limits:
    """On v2 swap is limited alone, but given as a total with memory: each goes with what is set of the other.

    So a total that was limited stays the same when the memory changes, as on v1.
    """
    memory = wanted.get("memory") or {}
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    present, present_swap = number(cgroup, "memory.max"), number(cgroup, "memory.swap.max")
    if swap > 0 and not limit and present:
        return {**wanted, "memory": {**memory, "limit": present}}
    if limit > 0 and not swap and present > 0 and present_swap >= 0:
        return {**wanted, "memory": {**memory, "swap": present + present_swap}}
    return wanted


def number(cgroup: str, file: str) -> int:
    """The first number of a file of v2, -1 for "max", also where the kernel has no such file."""
    try:
        text = tree.read(f"{cgroup}/{file}").decode().split()[0]
    except (OSError, IndexError):
        return -1
    return int(text) if text.isdigit() else -1
