"""Find a hierarchy in mountinfo (proc_pid_mountinfo(5)); cold: only where it is not mounted by convention."""

from __future__ import annotations

import os
import re

from ocirt.cgroup.hierarchies import PROBE, Hierarchy


def search(controllers: str, own: str, mountinfo: str) -> Hierarchy | None:
    """Return the hierarchy with these controllers ("" for v2), or None when it is mounted nowhere.

    `own` is the runtime's cgroup as the kernel writes it. Where the mount shows only a part of the hierarchy (a bind
    mount, a container's view) it becomes relative to that part, or "/" where it lies outside.
    """
    version = 1 if controllers else 2
    try:
        with open(mountinfo, errors="surrogateescape") as file:
            lines = file.read().split("\n")
    except OSError:
        return None
    for line in lines:
        before, separator, after = line.partition(" - ")
        if separator and _matches(after.split(" "), controllers, version):
            fields = before.split(" ")
            mount = unescaped(fields[4])
            if os.access(mount + PROBE[version], os.F_OK):  # else another mount lies over it
                return Hierarchy(controllers, mount, _seen_from(mount, unescaped(fields[3]), own, version), version)
    return None


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
