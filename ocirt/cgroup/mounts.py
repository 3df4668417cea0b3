"""Find a hierarchy in mountinfo (proc_pid_mountinfo(5)); cold: only where it is not mounted by convention."""

from __future__ import annotations

import os
import re

from ocirt.cgroup.hierarchies import PROBE, Hierarchy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def search(controllers: str, own: str, mountinfo: str) -> Hierarchy | None:
    """Return the hierarchy with these controllers ("" for v2), or None when it is mounted nowhere.

    `own` is the runtime's cgroup as the kernel writes it. Where the mount shows only a part of the hierarchy (a bind
    mount, a container's view) it becomes relative to that part, or "/" where it lies outside.
    """
    version = 1 if controllers else 2
    try:
        for fields, after in entries(mountinfo):
            mount = unescaped(fields[4])
            # Where the probe is not there, another mount lies over it.
            if _matches(after, controllers, version) and os.access(mount + PROBE[version], os.F_OK):
                return Hierarchy(controllers, mount, _seen_from(mount, unescaped(fields[3]), own, version), version)
    except OSError:
        pass
    return None


def entries(mountinfo: str) -> Iterator[tuple[list[str], list[str]]]:
    """The fields of each line, those before and those after the separator, as the kernel wrote them. Raises OSError."""
    with open(mountinfo, errors="surrogateescape") as file:
        for line in file.read().split("\n"):
            before, separator, after = line.partition(" - ")
            if separator:
                yield before.split(" "), after.split(" ")


def _matches(fields: list[str], controllers: str, version: int) -> bool:
    if version == 2:
        return fields[0] == "cgroup2"
    return fields[0] == "cgroup" and set(controllers.split(",")) <= set(fields[2].split(","))


def _seen_from(mount: str, root: str, own: str, version: int) -> str:
    if root != "/" and (own == root or own.startswith(root + "/")):
        own = own[len(root) :]
    if own in {"", "/"} or "/.." in own or not os.access(mount + own + PROBE[version], os.F_OK):
        return "/"
    return own


def unescaped(field: str) -> str:
    """Undo the kernel's octal escapes of space, tab, newline and backslash."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
