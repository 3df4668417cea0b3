"""Changes the limits of a container that has some already: what the change leaves out comes from the kernel. Cold.

Nothing is remembered between updates: the files hold what is set, whoever has set it.
"""

from __future__ import annotations

from ocirt.cgroup import resources, tree
from ocirt.cgroup.limits_v1 import THROTTLES
from ocirt.errors import OcirtError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ocirt.cgroup.hierarchies import Hierarchy
    from ocirt.cgroup.limits import Write

    Limits = dict[str, Any]
    Name = Callable[[str], str]


# Files with a line for each device or interface that has a limit → the text of none
NOTHING_SET = {
    "io.max": "rbps=max wbps=max riops=max wiops=max",
    "rdma.max": "hca_handle=max hca_object=max",
    "net_prio.ifpriomap": "0",
    **dict.fromkeys((file for _, file in THROTTLES), "0"),
}


def change(
    paths: Sequence[str],
    hs: Sequence[Hierarchy],
    wanted: Limits,
    name: Name,
    apply: Callable[[Limits], None],
    tell: Callable[[Limits], None] | None = None,
) -> None:
    """Set `wanted`, a part of linux.resources, on the cgroups `paths` in `hs`; devices stay as they are.

    name    the words for a JSON pointer below /linux/resources, for errors
    apply   sets limits
    tell    is told of the limits, completed, once the kernel has taken them: it may write the files too (systemd)
    Raises as `apply`; then what had been set until then is put back as it was.
    """
    homes = resources.homes_of(paths, hs)
    unified = homes.get("", "")
    if unified and "memory" not in homes:
        wanted = with_present_memory(wanted, unified)
    if unified and "cpu" not in homes:
        wanted = with_present_quota(wanted, unified)
    before = present(homes, resources.writes(wanted, homes, name))
    try:
        apply(wanted)
        if tell:
            tell(wanted)
            apply(wanted)  # systemd rounds
    except OcirtError:
        put_back(before)
        raise


def present(homes: dict[str, str], todo: Sequence[Write]) -> list[tuple[str, str]]:
    """What to write to have all as it is now, before the writes `todo`: paths of files and texts."""
    found: dict[tuple[str, str], None] = {}
    for write in todo:
        _, _, file, text, _, otherwise = write
        for name in (file, *[other for other, _ in otherwise]):
            path = f"{resources.home(homes, write)}/{name}"
            for line in former(name, text, path):
                found[path, line] = None
    return list(found)


def former(file: str, text: str, path: str) -> list[str]:
    """The lines that undo the write of `text`, from what the file says now; [] where it is not there."""
    try:
        lines = tree.read(path).decode("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []
    if file == "memory.oom_control":  # its other lines are counts
        return [line.split()[1] for line in lines if line.startswith("oom_kill_disable")]
    if file in NOTHING_SET:
        key = text.split(maxsplit=1)[0]
        return [line for line in lines if line.split()[0] == key] or [f"{key} {NOTHING_SET[file]}"]
    if path.endswith((".cpus", ".mems")) and not "".join(lines):
        return former(file, text, path + ".effective")  # v2: one with processes can't be emptied again (ENOSPC)
    return lines


def put_back(todo: list[tuple[str, str]]) -> None:
    """Write all that the kernel takes; as with try_again, the order may matter. What can't be put back stays."""
    while todo:
        refused = []
        for path, line in todo:
            try:
                tree.write(path, line.encode("utf-8", "surrogateescape"))
            except OSError:
                refused.append((path, line))
        if len(refused) == len(todo):
            return
        todo = refused


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
