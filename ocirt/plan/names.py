"""Cold: numbers of operations in the words of the manual pages, for show.py, failures.py and syscalls.py."""

from __future__ import annotations

from ocirt.linux import consts
from ocirt.plan import scheduling
from ocirt.plan.namespaces import KINDS

ATTRIBUTES = {
    consts.MOUNT_ATTR_RDONLY: ("ro", "rw"),
    consts.MOUNT_ATTR_NOSUID: ("nosuid", "suid"),
    consts.MOUNT_ATTR_NODEV: ("nodev", "dev"),
    consts.MOUNT_ATTR_NOEXEC: ("noexec", "exec"),
    consts.MOUNT_ATTR_NOATIME: ("noatime", ""),
    consts.MOUNT_ATTR_STRICTATIME: ("strictatime", ""),
    consts.MOUNT_ATTR_NODIRATIME: ("nodiratime", "diratime"),
    consts.MOUNT_ATTR_NOSYMFOLLOW: ("nosymfollow", "symfollow"),
}
ATIME = consts.MOUNT_ATTR__ATIME

PROPAGATION = {
    consts.MS_SHARED: "shared",
    consts.MS_SLAVE: "slave",
    consts.MS_PRIVATE: "private",
    consts.MS_UNBINDABLE: "unbindable",
}

FLAGS = {
    consts.MOUNT_COPY_UP: "filled with what it covers",
    consts.MOUNT_INHERIT_MODE: "with the mode of what it covers",
    consts.MOUNT_COPY_SYMLINK: "a symlink is copied",
    consts.MOUNT_DEVICE: "a device",
    consts.MOUNT_KEEP: "kept open",
}

CLONE = {value: name for name, value in vars(consts).items() if name.startswith("CLONE_")}
NAMESPACES = {flag: kind for kind, flag in KINDS.items()}
MS = {
    value: name
    for name, value in vars(consts).items()
    if name.startswith("MS_") and not value & (consts.MS_SHARED | consts.MS_SLAVE | consts.MS_PRIVATE)
}
LEGACY_WORDS = {"MS_RDONLY": "ro", "MS_SYNCHRONOUS": "sync", "MS_MANDLOCK": "mand", "MS_I_VERSION": "iversion"}
RLIMITS = {number: name for name, number in consts.RLIMITS.items()}
CAPABILITIES = {number: name for name, number in consts.CAPABILITIES.items()}
DOMAINS = {number: name for name, number in scheduling.DOMAINS.items()}
PROCFS = {
    consts.PROC_WHOLE: "a procfs of its own",
    consts.PROC_PROCESSES: "the processes of a procfs of its own",
    consts.PROC_HOST: "the host's /proc",
}
TYPES = {consts.S_IFCHR: "c", consts.S_IFBLK: "b", consts.S_IFIFO: "p"}


def namespaces(flags: int) -> str:
    """CLONE_NEW… as the types of the specification."""
    return ", ".join(name for bit, name in NAMESPACES.items() if flags & bit)


def bits(flags: int, table: dict[int, str]) -> str:
    """Flags joined as C writes them; "0" for none."""
    return "|".join(name for bit, name in table.items() if flags & bit == bit) or "0"


def attributes(add: int, remove: int = 0, prefix: str = "") -> list[str]:
    """MOUNT_ATTR_… as mount options."""
    words = []
    for bit, (on, off) in ATTRIBUTES.items():
        if add & bit:
            words.append(prefix + on)
        elif remove & bit and off:
            words.append(prefix + off)
    if remove & ATIME and not add & ATIME:
        words.append(prefix + "relatime")
    return words


def propagation(flags: int) -> list[str]:
    """MS_SHARED … as a mount option."""
    recursive = "r" if flags & consts.MS_REC else ""
    return [recursive + name for bit, name in PROPAGATION.items() if flags & bit]


def flags(value: int) -> list[str]:
    """MOUNT_… of wire.h, where they tell a reader something."""
    return [words for bit, words in FLAGS.items() if value & bit]


def device(number: int) -> str:
    """A device number as "major:minor"."""
    major, minor = number >> 8 & 0xFFF | number >> 32 & ~0xFFF, number & 0xFF | number >> 12 & 0xFFF00
    return f"{major}:{minor}"


def capabilities(mask: int) -> str:
    """A set of capabilities; one that is nearly full by what it lacks."""
    names = [name for number, name in CAPABILITIES.items() if mask >> number & 1]
    missing = [name for number, name in CAPABILITIES.items() if not mask >> number & 1]
    if not missing:
        return "all"
    if len(missing) < 8:
        return f"all but {', '.join(missing)}"
    return ", ".join(names) or "none"


def gids(data: bytes) -> list[int]:
    """An array of gid_t."""
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]


def limit(value: int) -> str:
    """A limit; RLIM_INFINITY is all ones."""
    return "unlimited" if value == (1 << 64) - 1 else str(value)


def memory_policy(mode: int, nodes: bytes) -> str:
    """A mode of set_mempolicy(2) with its flags, and the nodes."""
    flags = [name for name, bit in scheduling.MEMORY_FLAGS.items() if mode & bit]
    words = [name for name, number in scheduling.MEMORY_MODES.items() if number == mode & 0xFFF] + flags
    bits = int.from_bytes(nodes, "little")
    listed = ",".join(str(number) for number in range(bits.bit_length()) if bits >> number & 1)
    return "|".join(words) + (f" on nodes {listed}" if listed else "")
