"""Which cgroup hierarchies this host has, where they are mounted, and where in them the runtime stands.

Making, entering and removing cgroups is left to the package; parsing mountinfo, where that is needed, to mounts.py.

    /proc/self/cgroup (cgroups(7))         mounted, by convention, at
    4:memory:/user                         /sys/fs/cgroup/memory
    2:cpu,cpuacct:/                        /sys/fs/cgroup/cpu,cpuacct, or …/cpuacct,cpu, or …/cpu
    1:name=systemd:/                       /sys/fs/cgroup/systemd
    0::/                                   /sys/fs/cgroup (v2 alone), /sys/fs/cgroup/unified (hybrid)
"""

from __future__ import annotations

import posix

from ocirt.cgroup import tree
from ocirt.errors import failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocirt.cgroup.mounts import Mount

PROC = "/proc/self"
ROOT = "/sys/fs/cgroup"

# One file that each version has in every cgroup and the other has in none: a v2 cgroup that happens to be called
# "freezer" must not pass for the v1 hierarchy, nor a v1 mount for v2.
PROBE = {1: "/tasks", 2: "/cgroup.controllers"}


class Hierarchy:
    """One mounted hierarchy.

    controllers   as the kernel writes them: "freezer", "cpu,cpuacct", "name=systemd"; "" for v2
    mount         absolute directory where it is mounted, without a slash at the end
    own           the runtime's own cgroup below `mount`, absolute: "/" or "/user/1000"
    version       1 or 2
    """

    __slots__ = ("controllers", "mount", "own", "version")

    def __init__(self, controllers: str, mount: str, own: str, version: int) -> None:
        self.controllers = controllers
        self.mount = mount
        self.own = own
        self.version = version

    def __repr__(self) -> str:
        return f"Hierarchy({self.controllers!r}, {self.mount!r}, {self.own!r}, {self.version})"


def hierarchies(proc: str = PROC, root: str = ROOT) -> list[Hierarchy]:
    """Return the mounted hierarchies, v2 first, then v1 in the kernel's order; [] on a host without cgroups.

    `proc` is the directory of the process's own files in procfs, `root` where cgroups are mounted by convention.
    Raises SystemCallError when /proc/self/cgroup cannot be read for another reason than being absent.
    """
    try:
        text = tree.read(f"{proc}/cgroup")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise failed(f'read "{proc}/cgroup"', error) from None
    found: list[Hierarchy] = []
    mounted: Sequence[Mount] | None = None
    for line in text.decode("utf-8", "surrogateescape").split("\n"):
        fields = line.split(":", 2)  # the path may hold colons
        if len(fields) == 3:
            hierarchy = _located(fields[1], _in_view(fields[2]), root)
            if hierarchy is None:
                from ocirt.cgroup import mounts

                # The kernel lists v2 even where nobody has mounted it.
                mounted = mounts.mounted(f"{proc}/mountinfo") if mounted is None else mounted
                hierarchy = mounts.search(fields[1], fields[2], mounted)
            if hierarchy:
                found.insert(0 if hierarchy.version == 2 else len(found), hierarchy)
    return found


def silent(proc: str = PROC, root: str = ROOT) -> list[str]:
    """Return the files that were looked for and not found: with one of them `hierarchies` would have found another.

    Raises OSError.
    """
    found = []
    for line in tree.read(f"{proc}/cgroup").decode("utf-8", "surrogateescape").split("\n"):
        fields = line.split(":", 2)
        if len(fields) == 3:
            probe = _probe(_in_view(fields[2]), 1 if fields[1] else 2)
            for name in _candidates(fields[1]):
                if posix.access(path := root + name + probe, posix.F_OK):
                    break
                found.append(path)
    return found


def layout(hs: Sequence[Hierarchy]) -> str:
    """Return "v1", "v2", "hybrid" (v1 controllers beside v2) or "none".

    A named v1 hierarchy without controllers beside v2 does not make a host hybrid.
    """
    v1 = any(h.version == 1 for h in hs)
    v2 = any(h.version == 2 for h in hs)
    if v1 and v2:
        v1 = any(h.version == 1 and not h.controllers.startswith("name=") for h in hs)
        return "hybrid" if v1 else "v2"
    return "v1" if v1 else "v2" if v2 else "none"


def _in_view(own: str) -> str:
    """Outside the cgroup namespace "/../…" is shown (cgroup_namespaces(7)); nothing can be named from there."""
    return "/" if own == "/.." or own.startswith("/../") else own


def _candidates(controllers: str) -> list[str]:
    if not controllers:
        # With v2 alone the root itself answers; on a hybrid host the root is a tmpfs and does not.
        return ["", "/unified"]
    names = [name[5:] if name.startswith("name=") else name for name in controllers.split(",")]
    if len(names) == 1:
        return ["/" + names[0]]
    return ["/" + ",".join(names), "/" + ",".join(names[::-1]), "/" + names[0]]


def _probe(own: str, version: int) -> str:
    return PROBE[version] if own == "/" else own + PROBE[version]


def _located(controllers: str, own: str, root: str) -> Hierarchy | None:
    version = 1 if controllers else 2
    probe = _probe(own, version)
    for name in _candidates(controllers):
        if posix.access(root + name + probe, posix.F_OK):
            return Hierarchy(controllers, root + name, own, version)
    return None
