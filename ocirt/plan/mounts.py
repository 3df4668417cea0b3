"""mounts → operations, in the order of the config; cgroup mounts have their own file, cgroup_mounts.py."""

from __future__ import annotations

from errno import EOPNOTSUPP, EPERM, EROFS

from ocirt.errors import ConfigError, Problem, UnsupportedError
from ocirt.linux.consts import (
    FSCONFIG_VALUE_MAX,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_NOSYMFOLLOW,
    MOUNT_ATTR_RDONLY,
    MOUNT_COPY_SYMLINK,
    MOUNT_COPY_UP,
    MOUNT_INHERIT_MODE,
    MOUNT_NO_SYMLINKS,
    MOUNT_PROC_OK,
    MOUNT_RECURSIVE,
    MS_I_VERSION,
    MS_REC,
    MS_SLAVE,
    SLOT_NONE,
)
from ocirt.linux.paths import PROC_MOUNTS, normal
from ocirt.plan import cgroup_mounts, holes, namespaces, ops, options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocirt.plan.context import Context
    from ocirt.plan.ops import Op

# mount(2): the data is one page at most, with its NUL
DATA_MAX = 4095

# CVE-2023-27561: an image whose /proc is a symlink would get its procfs elsewhere.
REAL_DIRECTORIES = {"/proc", "/sys"}

# Filesystems that take an SELinux context; the kernel labels the others itself, or they are shared with the host.
LABELLED = {"tmpfs", "devpts", "overlay", "ramfs"}
# Those that the kernel has made already when they are mounted: only their root gets a label.
LABELLED_LATER = {"mqueue"}
LABEL_OPTION = "run.oci.mount_context_type"


# What a bind mount has of its source's mount where no flag is asked for. One that is replaces them all, as by mount(2)
# with MS_REMOUNT|MS_BIND, which runc and crun do; but what is bound to be read-only keeps them, as with crun.
OF_THE_SOURCE = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSYMFOLLOW


class Mount:
    """One entry of mounts: its pointer, where it goes (normalised), and its options."""

    __slots__ = ("entry", "fstype", "options", "pointer", "target")

    def __init__(self, entry: dict[str, Any], pointer: str) -> None:
        self.entry = entry
        self.pointer = pointer
        self.target = normal(entry["destination"])
        self.fstype: str = entry.get("type") or ""
        self.options = options.parse(entry, pointer)

    @property
    def bind(self) -> bool:
        """True for a bind mount: by its options, or, as engines write it, by its type."""
        return self.options.bind or self.fstype in ("bind", "none")

    @property
    def source(self) -> str:
        """What is mounted; a filesystem without a device has its type for a name."""
        return self.entry.get("source") or self.fstype

    @property
    def idmap_pointer(self) -> str:
        """What asks for an idmapped mount: mappings of its own, as engines write it, or an option; "" for nothing."""
        return f"{self.pointer}/uidMappings" if self.entry.get("uidMappings") else self.options.idmap

    def place(self, word: str) -> str:
        """The JSON pointer of an option, or of a part of one."""
        index = next((at for at, text in enumerate(self.options.words) if word in text), 0)
        return f"{self.pointer}/options/{index}"

    def flags(self) -> int:
        """MOUNT_… that follow from where it goes."""
        found = self.options.flags
        if self.target in PROC_MOUNTS:
            found |= MOUNT_PROC_OK
        if self.fstype in ("proc", "sysfs") or self.target in REAL_DIRECTORIES:
            found |= MOUNT_NO_SYMLINKS
        return found


def mounts(c: Context) -> list[Op]:
    """Everything of `mounts`. Raises ConfigError, UnsupportedError."""
    found: list[Op] = []
    entries = c.config.get("mounts") or ()
    if entries and "mount" not in c.namespaces:
        c.warnings.append("/mounts: none is made, for without a mount namespace they would be the host's")
        return found
    for index, entry in enumerate(entries):
        found += one(c, Mount(entry, f"/mounts/{index}"))
    return found


def one(c: Context, mount: Mount) -> list[Op]:
    """The operations of one entry."""
    check(c, mount)
    later = [ops.mount_attr(mount.pointer, mount.target, (0, 0), flags, 0) for flags in mount.options.propagations[1:]]
    return kind(c, mount) + later


def check(c: Context, mount: Mount) -> None:
    """Raise UnsupportedError for options that this kind of mount has not; warn of those that mean nothing here."""
    flags, bound = mount.options.flags, mount.bind and not mount.options.remount
    if flags & MOUNT_COPY_UP and (bound or mount.options.remount or mount.fstype != "tmpfs"):
        raise UnsupportedError("tmpcopyup requires a tmpfs", mount.place("tmpcopyup"))
    if flags & MOUNT_COPY_SYMLINK and not bound:
        raise UnsupportedError("copy-symlink requires a bind mount", mount.place("copy-symlink"))
    for word in mount.options.fstab:
        c.warnings.append(f'{mount.pointer}/options: "{word}" is ignored, it is for /etc/fstab')
    if bound or mount.options.remount:
        for word in mount.options.words:
            if word in options.SUPERBLOCK:
                why = "a bind mount" if bound else "mounted already"
                c.warnings.append(f'{mount.pointer}/options: "{word}" is ignored, {mount.target} is {why}')


def kind(c: Context, mount: Mount) -> list[Op]:
    """The operations of one entry, by what kind of mount it is."""
    if mount.bind and not mount.options.remount:
        return bind(c, mount)
    if mount.idmap_pointer:
        raise UnsupportedError("only a bind mount can be idmapped", mount.idmap_pointer)
    if mount.options.remount:
        return remount(mount)
    if mount.fstype in ("cgroup", "cgroup2"):
        return namespaces.cgroup(c) + cgroup_mounts.cgroup(c, mount)
    if not mount.fstype:
        raise ConfigError([Problem(f"{mount.pointer}/type", "is missing, and the options hold neither bind nor rbind")])
    return filesystem(c, mount)


def remount(mount: Mount) -> list[Op]:
    """Change the mount that is there. What its filesystem was mounted with stays."""
    refuse_data(mount, "a remount changes the mount, not its filesystem")
    wanted = mount.options
    add, remove = wanted.set | wanted.recursive_set, wanted.clear | wanted.recursive_clear
    recursive = int(bool(wanted.recursive_set | wanted.recursive_clear))
    return [ops.mount_attr(mount.pointer, mount.target, (add, remove), wanted.propagation, recursive)]


def bind(c: Context, mount: Mount) -> list[Op]:
    """A bind mount: of a tree that the runtime opens where the init could not reach it."""
    ignore_data(c, mount)
    source = holes.given(mount.entry.get("source"))
    if not holes.is_given(source):
        raise ConfigError([Problem(f"{mount.pointer}/source", "is missing, a bind mount needs it")])
    host, wanted = c.host_path(source), mount.options
    # A symlink that is made again must be seen as one, and a tree has its source followed already.
    by_path = wanted.flags & MOUNT_COPY_SYMLINK
    if mount.idmap_pointer:
        from ocirt.plan import idmapped

        slot = idmapped.tree(c, mount, host)
    else:
        slot = SLOT_NONE if by_path else c.tree(host, wanted.recursive, f"{mount.pointer}/source")
    propagation = wanted.propagation
    if slot != SLOT_NONE and not propagation:
        # A tree from the host's namespace is a peer of its source: mounts inside would show up on the host.
        propagation = MS_SLAVE | MS_REC
    flags = mount.flags() | (MOUNT_RECURSIVE if wanted.recursive else 0)
    return [ops.mount_bind(mount.pointer, mount.target, host, slot, bind_attributes(wanted), propagation, flags)]


def bind_attributes(wanted: options.Options) -> tuple[int, int, int, int]:
    """The attributes of a bind mount, as ops.mount_bind takes them."""
    add, remove, below, removed_below = wanted.attributes
    if wanted.given and not (add | below) & MOUNT_ATTR_RDONLY:
        remove |= OF_THE_SOURCE & ~(add | below)
    return (add, remove, below, removed_below)


def ignore_data(c: Context, mount: Mount) -> None:
    """Pass over what is meant for a filesystem, as mount(2) does; a word without a value is a misspelt option."""
    mount.options.data, ignored = [word for word in mount.options.data if "=" not in word], mount.options.data
    refuse_data(mount, "a bind mount has the options of the filesystem that is there already")
    for word in ignored:
        c.warnings.append(f'{mount.pointer}/options: "{word}" is ignored, {mount.target} is a bind mount')


def refuse_data(mount: Mount, reason: str) -> None:
    """Raise UnsupportedError, with the option's own pointer, where there are options for a filesystem."""
    if mount.options.data:
        word = mount.options.data[0]
        raise UnsupportedError(f'unknown option "{word}": {reason}', mount.place(word))


def filesystem(c: Context, mount: Mount) -> list[Op]:
    """A new filesystem."""
    made = [new(c, mount)]
    if mount.fstype == "sysfs" and "user" in c.namespaces:
        # The kernel lets the network namespace's owner alone mount a sysfs; the host's, read-only, is what is left.
        return ops.fallback(made[0], (EPERM,), [host_sys(mount)])
    wanted = holes.given(c.linux.get("mountLabel"))
    if holes.is_given(wanted) and mount.fstype in LABELLED_LATER:
        made.append(ops.ignoring(ops.label("/linux/mountLabel", mount.target, wanted), EOPNOTSUPP, EROFS))
    if mount.options.single & MOUNT_ATTR_RDONLY and late(mount):
        c.late_readonly.append((mount.target, mount.pointer))
    return made


def late(mount: Mount) -> bool:
    """True for mounts that are filled (with targets of other mounts, devices, what they covered) before they close."""
    return mount.fstype == "tmpfs" or mount.target == "/dev"


def new(c: Context, mount: Mount) -> Op:
    """The operation that makes the filesystem; values that fsconfig(2) refuses go by mount(2)."""
    wanted = mount.options
    data = wanted.data + label(c, mount)
    flags, attributes = mount.flags(), wanted.single
    if late(mount):
        attributes &= ~MOUNT_ATTR_RDONLY
    if mount.fstype == "tmpfs" and not any(word.startswith("mode=") for word in wanted.data):
        flags |= MOUNT_INHERIT_MODE
    if any(too_long(word) for word in data) or wanted.superblock & MS_I_VERSION:
        return legacy(mount, data, flags)
    words = [name for bit, name in options.SUPERBLOCK_NAMES if wanted.superblock & bit]
    if attributes & MOUNT_ATTR_RDONLY and mount.source[:1] == "/":
        # A block device is opened for writing unless the filesystem itself is read-only.
        words.append("ro")
    return ops.mount_fs(
        mount.pointer, mount.target, mount.fstype, mount.source, words + data, attributes, wanted.propagation, flags
    )


def legacy(mount: Mount, data: list[str], flags: int) -> Op:
    """The same by mount(2). Raises UnsupportedError where the data is more than it takes."""
    text = ",".join(data)
    if len(text.encode()) > DATA_MAX:
        raise UnsupportedError(f"the options are longer than {DATA_MAX} bytes", f"{mount.pointer}/options")
    kept = mount.options.legacy() & ~(MOUNT_ATTR_RDONLY if late(mount) else 0)  # MS_RDONLY is the same bit
    return ops.mount_legacy(
        mount.pointer, mount.target, mount.fstype, mount.source, text, kept, mount.options.propagation, flags
    )


def too_long(word: str) -> bool:
    """True for an option whose value fsconfig(2) does not take. A label that is a hole is short (perform/holes.def)."""
    return not isinstance(word, holes.Opaque) and len(word.partition("=")[2].encode()) > FSCONFIG_VALUE_MAX


def label(c: Context, mount: Mount) -> list[str]:
    """linux.mountLabel as an option of the filesystem, where it takes one."""
    wanted = holes.given(c.linux.get("mountLabel"))
    if not holes.is_given(wanted) or mount.fstype not in LABELLED:
        return []
    name = (c.config.get("annotations") or {}).get(LABEL_OPTION) or "context"
    quote = '"' if any(too_long(word) for word in mount.options.data) else ""
    return [holes.concat(f"{name}={quote}", wanted, quote)]


def host_sys(mount: Mount) -> Op:
    """The host's /sys in place of a new sysfs: read-only throughout, for cgroups lie below it (CVE-2023-25809)."""
    attributes = mount.options.single | MOUNT_ATTR_RDONLY
    flags = mount.flags() | MOUNT_RECURSIVE
    propagation = mount.options.propagation or MS_SLAVE | MS_REC
    return ops.mount_bind(
        mount.pointer, mount.target, "/sys", SLOT_NONE, (attributes, 0, MOUNT_ATTR_RDONLY, 0), propagation, flags
    )
