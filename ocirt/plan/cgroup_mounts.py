"""A mount of type cgroup → what the host's layout makes of it: v2, or v1 with a directory per hierarchy.

v2          mount_fs cgroup2                      in a cgroup namespace
            mount_bind of the container's cgroup  without one, or where the kernel refuses the first
v1, hybrid  mount_fs tmpfs, and in it per hierarchy of v1 mount_fs cgroup or mount_bind, as above;
            symlinks from "cpu" to "cpu,cpuacct"; with "ro" the tmpfs is read-only in the end. The v2 hierarchy
            of a hybrid host is left out, as by runc and crun: a systemd inside would take it for its own

Writable unless "ro" is said, as by all runtimes; docs/why.md tells what keeps release_agent (CVE-2022-0492) out of
reach.
"""

from __future__ import annotations

from errno import EBUSY, ENOENT, EPERM

from ocirt.linux.consts import MOUNT_ATTR_RDONLY, MOUNT_RECURSIVE, SLOT_NONE
from ocirt.plan import ids, ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.linux.facts import HierarchyFacts
    from ocirt.plan.context import Context
    from ocirt.plan.mounts import Mount
    from ocirt.plan.ops import Op

V1_TMPFS = ["mode=755"]


def cgroup(c: Context, mount: Mount) -> list[Op]:
    """The operations of one cgroup mount."""
    pairs = list(zip(c.facts.hierarchies, c.facts.cgroup_paths, strict=False))
    unified = [(hierarchy, own) for hierarchy, own in pairs if hierarchy.version == 2]
    attributes = mount.options.single
    if c.facts.layout == "v2" and delegated(c, mount):
        user = (c.process.get("user") or {}).get("uid") or 0
        c.cgroup_owner = ids.host_uid(c, user)
    if unified and (c.facts.layout == "v2" or mount.fstype == "cgroup2"):
        return hierarchy_at(c, mount, mount.target, unified[0], attributes)
    if not pairs:
        c.warnings.append(f"{mount.pointer}: no cgroup hierarchy is in use, {mount.target} is empty")
        c.late_readonly.append((mount.target, mount.pointer))
        return [empty(mount, 0)]
    return v1(c, mount, [pair for pair in pairs if pair[0].version == 1])


def delegated(c: Context, mount: Mount) -> bool:
    """Whether the process's user shall own the container's cgroup (config-linux.md "Cgroup ownership")."""
    conventional = mount.source == "cgroup" and mount.target == "/sys/fs/cgroup"
    return conventional and c.new("cgroup") and not mount.options.single & MOUNT_ATTR_RDONLY


def empty(mount: Mount, read_only: int) -> Op:
    """An empty directory: nothing of the host's cgroups shows through."""
    attributes = mount.options.single & ~MOUNT_ATTR_RDONLY | read_only
    return ops.mount_fs(mount.pointer, mount.target, "tmpfs", "tmpfs", V1_TMPFS, attributes, 0, 0)


def v1(c: Context, mount: Mount, pairs: list[tuple[HierarchyFacts, str]]) -> list[Op]:
    """One directory per hierarchy."""
    attributes, pointer, target = mount.options.single, mount.pointer, mount.target
    writable = attributes & ~MOUNT_ATTR_RDONLY
    for word in mount.options.data:
        c.warnings.append(f'{pointer}/options: "{word}" is ignored, {target} shows several hierarchies of v1')
    found = [ops.mount_fs(pointer, target, "tmpfs", "cgroup", V1_TMPFS, writable, mount.options.propagation, 0)]
    for pair in pairs:
        directory = pair[0].mount.rpartition("/")[2]
        found += hierarchy_at(c, mount, f"{target}/{directory}", pair, attributes)
        names = pair[0].controllers.split(",")
        if len(names) > 1:
            found += [ops.symlink(pointer, directory, f"{target}/{name}") for name in names if name != directory]
    if attributes & MOUNT_ATTR_RDONLY:
        c.late_readonly.append((target, pointer))  # other mounts may have targets in it that are to be made
    return found


def hierarchy_at(c: Context, mount: Mount, target: str, pair: tuple[HierarchyFacts, str], attributes: int) -> list[Op]:
    """One hierarchy: the cgroup namespace's view of it, or the container's own cgroup bound."""
    hierarchy, own = pair
    flags = mount.options.flags
    recursive = attributes & MOUNT_ATTR_RDONLY
    bind = ops.mount_bind(
        mount.pointer,
        target,
        own,
        SLOT_NONE,
        (attributes, 0, recursive, 0),
        mount.options.propagation,
        flags | MOUNT_RECURSIVE,
    )
    # The runtime makes no cgroup where it may not write; then there is none to show, and nothing else in its place.
    alone = target == mount.target
    bound = ops.fallback(bind, (ENOENT,), [empty(mount, MOUNT_ATTR_RDONLY)]) if alone else [ops.ignoring(bind, ENOENT)]
    if "cgroup" not in c.namespaces:
        return bound
    fstype, words = "cgroup", hierarchy.controllers.split(",")
    if hierarchy.version == 2:
        fstype, words = "cgroup2", mount.options.data
    view = ops.mount_fs(mount.pointer, target, fstype, "cgroup", words, attributes, mount.options.propagation, flags)
    # EPERM: the namespace is not owned by the user namespace; EBUSY: the hierarchy cannot be mounted a second time.
    return ops.fallback(view, (EPERM, EBUSY), bound)
