"""The cgroup filesystems of mountinfo (proc_pid_mountinfo(5)), for a hierarchy that is not at its usual place."""

from __future__ import annotations

import posix

from ocirt.cgroup import tree
from ocirt.cgroup.hierarchies import PROBE, Hierarchy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    # Mount point, root of the mount within the hierarchy, version, options of the superblock (v1: the controllers)
    Mount = tuple[str, str, int, Sequence[str]]


def mounted(mountinfo: str) -> list[Mount]:
    """Every cgroup filesystem, in the order of the file; [] where that cannot be read."""
    found: list[Mount] = []
    try:
        for before, (kind, _, options) in entries(mountinfo):
            if kind in {"cgroup", "cgroup2"}:
                mount = unescaped(before[4]), unescaped(before[3]), 1 if kind == "cgroup" else 2, options.split(",")
                found.append(mount)
    except OSError:
        pass
    return found


def entries(mountinfo: str) -> list[tuple[list[str], list[str]]]:
    """The fields of each line, those before and the three after the separator, as written there. Raises OSError."""
    lines = tree.read(mountinfo).decode("utf-8", "surrogateescape").split("\n")
    return [
        (before.split(" "), after.split(" ", 2)) for before, _, after in [x.partition(" - ") for x in lines] if after
    ]


def search(controllers: str, own: str, mounts: Sequence[Mount]) -> Hierarchy | None:
    """Return the hierarchy with these controllers ("" for v2), or None when it is mounted nowhere.

    `own` is the runtime's cgroup as the kernel writes it. Where the mount shows only a part of the hierarchy (a bind
    mount, a container's view) it becomes relative to that part, or "/" where it lies outside.
    """
    wanted = 1 if controllers else 2
    names = set(controllers.split(",")) if controllers else set()
    for mount, root, version, options in mounts:
        # Where the probe is not there, another mount lies over it.
        if version == wanted and names <= set(options) and posix.access(mount + PROBE[version], posix.F_OK):
            return Hierarchy(controllers, mount, _seen_from(mount, root, own, version), version)
    return None


def _seen_from(mount: str, root: str, own: str, version: int) -> str:
    if root != "/" and (own == root or own.startswith(root + "/")):
        own = own[len(root) :]
    if own in {"", "/"} or "/.." in own or not posix.access(mount + own + PROBE[version], posix.F_OK):
        return "/"
    return own


def unescaped(field: str) -> str:
    """Undo the kernel's octal escapes of space, tab, newline and backslash: always three digits."""
    first, *others = field.split("\\")
    return first + "".join([chr(int(part[:3], 8)) + part[3:] for part in others])
