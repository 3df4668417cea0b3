"""What this host is, asked once and handed to plan/ as a value; leaves cgroup hierarchies to cgroup/."""

from __future__ import annotations

import posix

from ocirt.linux._kernel import lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    class HierarchyFacts(Protocol):
        """A mounted cgroup hierarchy as plan/ needs it."""

        controllers: str
        mount: str
        own: str
        version: int


class Facts:
    """One host as the compiler sees it.

    euid           effective user id of the runtime
    capabilities   those that a process of the runtime's can hold, as bits
    setgroups      False: the user namespace of the runtime denies setgroups(2), and so do all below it
    last_cap       the highest capability number that the kernel knows (capabilities(7))
    lsm            which of "apparmor" and "selinux" are enforcing
    hierarchies    the mounted cgroup hierarchies
    layout         "v1", "hybrid", "v2" or "none"
    cgroup_paths   the container's own cgroup directory in each of `hierarchies`
    """

    __slots__ = ("capabilities", "cgroup_paths", "euid", "hierarchies", "last_cap", "layout", "lsm", "setgroups")

    def __init__(self, hierarchies: Sequence[HierarchyFacts], layout: str, cgroup_paths: Sequence[str]) -> None:
        self.euid = posix.geteuid()
        self.capabilities = capabilities()
        self.setgroups = read("/proc/self/setgroups") != "deny\n"
        self.last_cap = last_cap()
        self.lsm = lsm()
        self.hierarchies = hierarchies
        self.layout = layout
        self.cgroup_paths = cgroup_paths


def read(path: str, size: int = 4096) -> str:
    """Up to `size` bytes of a file as text; "" where it cannot be read."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return posix.read(fd, size).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        posix.close(fd)


def in_user_namespace() -> bool:
    """Whether ids here are others than the host's (user_namespaces(7)); no where /proc does not say."""
    return bool(lib.in_user_namespace())


def capabilities() -> int:
    """The capability bounding set; all where /proc does not say."""
    text = read("/proc/self/status").partition("\nCapBnd:")[2]
    return int(text.split(None, 1)[0], 16) if text else (1 << 64) - 1


def last_cap() -> int:
    """The kernel's highest capability number; 40 (CAP_CHECKPOINT_RESTORE, Linux 5.9) where /proc does not say."""
    text = read("/proc/sys/kernel/cap_last_cap")
    return int(text) if text else 40


def lsm() -> frozenset[str]:
    """The security modules that can label a process on this host."""
    found = set()
    if read("/sys/module/apparmor/parameters/enabled").startswith("Y"):
        found.add("apparmor")
    if read("/sys/fs/selinux/enforce"):
        found.add("selinux")
    return frozenset(found)
