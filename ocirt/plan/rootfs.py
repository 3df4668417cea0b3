"""root, rootfsPropagation, maskedPaths, readonlyPaths → operations around the container's root mount."""

from __future__ import annotations

from errno import EACCES, ENOENT, ENOTDIR, EROFS

from ocirt.linux.consts import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MS_PRIVATE,
    MS_REC,
    MS_SHARED,
    MS_SLAVE,
    MS_UNBINDABLE,
    SLOT_EMPTY,
    SLOT_NONE,
    SLOT_NULL,
)
from ocirt.linux.paths import normal
from ocirt.plan import ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.plan.context import Context
    from ocirt.plan.ops import Op

# rootfsPropagation → of every mount of the new namespace at first, of the root in the end (0: as it is then).
# Slave and private go to every mount even without the "r": a mount that stayed shared would show ours to the host.
# An unbindable root cannot be cloned, so that it becomes one when all is done.
PROPAGATION = {
    "": (MS_SLAVE | MS_REC, 0),
    "slave": (MS_SLAVE | MS_REC, 0),
    "rslave": (MS_SLAVE | MS_REC, 0),
    "private": (MS_PRIVATE | MS_REC, 0),
    "rprivate": (MS_PRIVATE | MS_REC, 0),
    "shared": (MS_SHARED, MS_SHARED),
    "rshared": (MS_SHARED | MS_REC, MS_SHARED | MS_REC),
    "unbindable": (MS_PRIVATE | MS_REC, MS_UNBINDABLE),
    "runbindable": (MS_PRIVATE | MS_REC, MS_UNBINDABLE | MS_REC),
}

# The smallest filesystem: one inode for its root, and one that some kernels count beside it.
EMPTY = ["nr_blocks=1", "nr_inodes=2", "mode=755"]
EMPTY_ATTRIBUTES = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC


def propagation(c: Context) -> tuple[int, int]:
    """The row of PROPAGATION that the config asks for."""
    return PROPAGATION[c.linux.get("rootfsPropagation") or ""]


def root(c: Context) -> list[Op]:
    """The container's root becomes a mount of its own, from which nothing gets back to the host."""
    pointer = "/root/path"
    host = c.host_path(c.config["root"]["path"])
    if "mount" not in c.namespaces:
        return [ops.root_dir(pointer, host)]
    if c.joined("mount"):
        # Others live in that namespace: what its mounts propagate is theirs, only ours is made private.
        own = MS_PRIVATE | MS_REC
        return [ops.rootfs(pointer, host, SLOT_NONE, 0), ops.root_attr(pointer, (0, 0), own, 1)]
    first, _ = propagation(c)
    slot = c.tree(host, True, pointer)
    found = [
        ops.propagate("/linux/rootfsPropagation" if c.linux.get("rootfsPropagation") else pointer, first),
        ops.rootfs(pointer, host, slot, int(bool(first & MS_SHARED))),
    ]
    if slot != SLOT_NONE:
        # The runtime's clone is a peer of the host's mount; it must not stay one.
        found.append(ops.root_attr(pointer, (0, 0), (MS_SLAVE if first & MS_SLAVE else MS_PRIVATE) | MS_REC, 1))
    return found


def null_device(c: Context) -> list[Op]:
    """The host's /dev/null, for masks: opened before the container's own could be taken for it (CVE-2025-31133)."""
    if not c.linux.get("maskedPaths"):
        return []
    return [ops.open_tree("/linux/maskedPaths", SLOT_NULL, "/dev/null", 0)]


def working_directory(c: Context) -> list[Op]:
    """process.cwd is made where it is missing. Where that fails, chdir says so, in the words that engines know."""
    path = normal(c.process["cwd"]) if c.process else "/"
    return [] if path == "/" else [ops.ignoring(ops.mkdir("/process/cwd", path, 0o755), EROFS, EACCES)]


def enter(c: Context) -> list[Op]:
    """The root becomes "/"."""
    if not c.new("mount"):
        # pivot_root(2) would move every process of a joined namespace.
        return [ops.chroot("/root/path")]
    return [ops.move_root("/root/path") if c.launch.no_pivot else ops.pivot("/root/path")]


def read_only(c: Context) -> list[Op]:
    """What is read-only as a whole: from here on nothing is made any more."""
    found = []
    for target, pointer in c.late_readonly:
        found.append(ops.mount_attr(pointer, target, (MOUNT_ATTR_RDONLY, 0), 0, 0))
    if c.config["root"].get("readonly"):
        c.need_mount_namespace("/root/readonly", "a read-only root")
        found.append(ops.root_attr("/root/readonly", (MOUNT_ATTR_RDONLY, 0), 0, 0))
    return found


def readonly_paths(c: Context) -> list[Op]:
    """Before the masks: a mask that is inside a read-only path is mounted on it, not cloned with it."""
    found = []
    for index, path in enumerate(c.linux.get("readonlyPaths") or ()):
        pointer = f"/linux/readonlyPaths/{index}"
        c.need_mount_namespace(pointer, "a read-only path")
        found.append(ops.ignoring(ops.readonly(pointer, normal(path), 0), ENOENT, ENOTDIR))
    return found


def masked_paths(c: Context) -> list[Op]:
    """Hide paths; one that is not there needs no mask, one that is listed twice needs one."""
    paths = c.linux.get("maskedPaths")
    if not paths:
        return []
    found = [ops.tree_fs("/linux/maskedPaths", SLOT_EMPTY, "tmpfs", EMPTY, EMPTY_ATTRIBUTES)]
    seen = set()
    for index, path in enumerate(paths):
        pointer = f"/linux/maskedPaths/{index}"
        c.need_mount_namespace(pointer, "a masked path")
        target = normal(path)
        if target not in seen:
            seen.add(target)
            found.append(ops.ignoring(ops.mask(pointer, target, SLOT_NULL, SLOT_EMPTY), ENOENT, ENOTDIR))
    found.append(ops.close("/linux/maskedPaths", SLOT_NULL))
    found.append(ops.close("/linux/maskedPaths", SLOT_EMPTY))
    return found


def close_mounts(c: Context) -> list[Op]:
    """From here on nothing is resolved below a mount of ours; keep.py says which were open for that."""
    return [ops.close_mounts("/mounts")] if c.config.get("mounts") and "mount" in c.namespaces else []


def root_propagation(c: Context) -> list[Op]:
    """The last of all mounts: what the runtime mounts does not propagate, and what is unbindable is not cloned."""
    _, last = propagation(c)
    if not last or not c.new("mount"):
        return []
    recursive = int(bool(last & MS_REC))
    return [ops.root_attr("/linux/rootfsPropagation", (0, 0), last, recursive)]
