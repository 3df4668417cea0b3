"""linux.devices, the default devices and the links of /dev → operations; access to them is the cgroup's matter."""

from __future__ import annotations

from errno import EPERM

from ocirt.linux.consts import (
    MOUNT_DEVICE,
    MS_REC,
    MS_SLAVE,
    S_IFBLK,
    S_IFCHR,
    S_IFIFO,
    SLOT_NONE,
)
from ocirt.linux.paths import normal
from ocirt.plan import ops
from ocirt.plan.mounts import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocirt.plan.context import Context
    from ocirt.plan.ops import Op

    Device = dict[str, Any]

# config-linux.md "Default Devices"; numbers: the kernel's admin-guide/devices.txt
DEFAULTS: tuple[Device, ...] = (
    {"path": "/dev/null", "type": "c", "major": 1, "minor": 3},
    {"path": "/dev/zero", "type": "c", "major": 1, "minor": 5},
    {"path": "/dev/full", "type": "c", "major": 1, "minor": 7},
    {"path": "/dev/random", "type": "c", "major": 1, "minor": 8},
    {"path": "/dev/urandom", "type": "c", "major": 1, "minor": 9},
    {"path": "/dev/tty", "type": "c", "major": 5, "minor": 0},
)

# runtime-linux.md "Dev symbolic links", and /dev/ptmx of config-linux.md
LINKS = (
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
)

TYPES = {"c": S_IFCHR, "u": S_IFCHR, "b": S_IFBLK, "p": S_IFIFO}
DEFAULT_MODE = 0o666


def devices(c: Context) -> list[Op]:
    """All devices and links. A /dev that is bound from the host has its own: nothing is made in it."""
    bound = dev_is_bound(c)
    found: list[Op] = []
    listed = {}
    for index, entry in enumerate(c.linux.get("devices") or ()):
        listed[normal(entry["path"])] = (entry, f"/linux/devices/{index}")
    for entry in DEFAULTS:
        if not bound and entry["path"] not in listed:
            found += device(c, entry, entry["path"], "/linux/devices")
    for path, (entry, pointer) in listed.items():
        if not (bound and path.startswith("/dev/")):
            found += device(c, entry, path, pointer)
    if not bound:
        found += [ops.symlink("/linux/devices", text, path) for text, path in LINKS]
    return found


def dev_is_bound(c: Context) -> bool:
    """True where the last mount on /dev is a bind mount."""
    bound = False
    for index, entry in enumerate(c.config.get("mounts") or ()):
        mount = Mount(entry, f"/mounts/{index}")
        if mount.target == "/dev" and not mount.options.remount:
            bound = mount.bind
    return bound


def device(c: Context, entry: Device, path: str, pointer: str) -> list[Op]:
    """One device: a node, or, where the kernel allows no node, the host's own bound.

    What is bound has the right name; whether it is the right device shows when the node is to be made where it is.
    That the host's /dev/null is one is taken for granted.
    """
    kind = TYPES[entry["type"]]
    mode = kind | (entry.get("fileMode", DEFAULT_MODE) & 0o7777)
    number = makedev(entry["major"], entry["minor"]) if kind != S_IFIFO else 0
    node = ops.mknod(pointer, path, mode, number, entry.get("uid") or 0, entry.get("gid") or 0)
    if kind == S_IFIFO or "mount" not in c.namespaces:
        return [node]
    verified = [] if entry in DEFAULTS else [node]
    if "user" in c.namespaces:
        # user_namespaces(7): no capability inside makes device nodes.
        return [bind(pointer, path, c.tree(path, False, pointer)), *verified]
    return ops.fallback(node, (EPERM,), [bind(pointer, path, SLOT_NONE), *verified])


def bind(pointer: str, path: str, slot: int) -> Op:
    """The host's device of the same path."""
    propagation = 0 if slot == SLOT_NONE else MS_SLAVE | MS_REC
    return ops.mount_bind(pointer, path, path, slot, (0, 0, 0, 0), propagation, MOUNT_DEVICE)


def makedev(major: int, minor: int) -> int:
    """The number as makedev(3) makes it: 12 and 20 bits, interleaved."""
    return (major & 0xFFF) << 8 | (major & ~0xFFF) << 32 | minor & 0xFF | (minor & ~0xFF) << 12
