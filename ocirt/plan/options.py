"""mounts[].options in the kernel's terms: what each word sets and clears; leaves what to do with it to mounts.py.

Source: config.md "Linux mount options", mount(8), mount_setattr(2).
"""

from __future__ import annotations

from ocirt.linux.consts import (
    MOUNT_ATTR__ATIME,
    MOUNT_ATTR_NOATIME,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NODIRATIME,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_NOSYMFOLLOW,
    MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_STRICTATIME,
    MOUNT_COPY_SYMLINK,
    MOUNT_COPY_UP,
    MS_DIRSYNC,
    MS_I_VERSION,
    MS_LAZYTIME,
    MS_MANDLOCK,
    MS_NOATIME,
    MS_NODEV,
    MS_NODIRATIME,
    MS_NOEXEC,
    MS_NOSUID,
    MS_NOSYMFOLLOW,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_SHARED,
    MS_SLAVE,
    MS_STRICTATIME,
    MS_SYNCHRONOUS,
    MS_UNBINDABLE,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# Word → bits set, bits cleared, of the mount. Each has a twin with "r" in front, for the mounts below it too.
# Without noatime and strictatime the kernel means relatime, which has no bit of its own: the word clears the field's
# unused one, so that the field counts as given. strictatime is stronger than noatime and that than relatime, in any
# order (mount(2)); norelatime cannot be had since Linux 2.6.30 and changes nothing.
RELATIME = MOUNT_ATTR__ATIME & ~(MOUNT_ATTR_NOATIME | MOUNT_ATTR_STRICTATIME)
ATTRIBUTES = {
    "ro": (MOUNT_ATTR_RDONLY, 0),
    "rw": (0, MOUNT_ATTR_RDONLY),
    "nosuid": (MOUNT_ATTR_NOSUID, 0),
    "suid": (0, MOUNT_ATTR_NOSUID),
    "nodev": (MOUNT_ATTR_NODEV, 0),
    "dev": (0, MOUNT_ATTR_NODEV),
    "noexec": (MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, MOUNT_ATTR_NOEXEC),
    "nodiratime": (MOUNT_ATTR_NODIRATIME, 0),
    "diratime": (0, MOUNT_ATTR_NODIRATIME),
    "nosymfollow": (MOUNT_ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, MOUNT_ATTR_NOSYMFOLLOW),
    "noatime": (MOUNT_ATTR_NOATIME, 0),
    "strictatime": (MOUNT_ATTR_STRICTATIME, 0),
    "relatime": (0, RELATIME),
    "atime": (0, MOUNT_ATTR_NOATIME),
    "nostrictatime": (0, MOUNT_ATTR_STRICTATIME),
    "norelatime": (0, 0),
}

# Word → MS_… set, cleared, of the filesystem
SUPERBLOCK = {
    "sync": (MS_SYNCHRONOUS, 0),
    "async": (0, MS_SYNCHRONOUS),
    "dirsync": (MS_DIRSYNC, 0),
    "mand": (MS_MANDLOCK, 0),
    "nomand": (0, MS_MANDLOCK),
    "lazytime": (MS_LAZYTIME, 0),
    "nolazytime": (0, MS_LAZYTIME),
    "iversion": (MS_I_VERSION, 0),
    "noiversion": (0, MS_I_VERSION),
}

# MS_… as fsconfig(2) names them; MS_I_VERSION has no name there
SUPERBLOCK_NAMES = (
    (MS_SYNCHRONOUS, "sync"),
    (MS_DIRSYNC, "dirsync"),
    (MS_MANDLOCK, "mand"),
    (MS_LAZYTIME, "lazytime"),
)

PROPAGATION = {
    "shared": MS_SHARED,
    "rshared": MS_SHARED | MS_REC,
    "slave": MS_SLAVE,
    "rslave": MS_SLAVE | MS_REC,
    "private": MS_PRIVATE,
    "rprivate": MS_PRIVATE | MS_REC,
    "unbindable": MS_UNBINDABLE,
    "runbindable": MS_UNBINDABLE | MS_REC,
}

# Word → MOUNT_… of the operation, set and cleared
FLAGS = {
    "tmpcopyup": (MOUNT_COPY_UP, 0),
    "notmpcopyup": (0, MOUNT_COPY_UP),
    "copy-symlink": (MOUNT_COPY_SYMLINK, 0),
}

# Of no effect: the defaults, and how much the kernel logs. Engines put "" into lists that they build.
NOTHING = {"", "defaults"}
LOGGING = {"silent", "loud"}
# What mount(8) reads in /etc/fstab, beside all that begins with "x-" or "X-"
FSTAB = {"auto", "noauto", "nofail", "nouser", "_netdev"}

# MOUNT_ATTR_… as mount(2) has it
LEGACY = (
    (MOUNT_ATTR_RDONLY, MS_RDONLY),
    (MOUNT_ATTR_NOSUID, MS_NOSUID),
    (MOUNT_ATTR_NODEV, MS_NODEV),
    (MOUNT_ATTR_NOEXEC, MS_NOEXEC),
    (MOUNT_ATTR_NOATIME, MS_NOATIME),
    (MOUNT_ATTR_STRICTATIME, MS_STRICTATIME),
    (MOUNT_ATTR_NODIRATIME, MS_NODIRATIME),
    (MOUNT_ATTR_NOSYMFOLLOW, MS_NOSYMFOLLOW),
)


class Options:
    """The options of one mount, sorted.

    set, clear                        MOUNT_ATTR_… of the mount
    recursive_set, recursive_clear    the same for it and all mounts below it
    given                             a word of mount(2)'s flags is there: they are what is asked for, as a whole
    superblock                        MS_… of the filesystem
    propagations                      MS_SHARED … | MS_REC, one after the other
    flags                             MOUNT_… of the operation
    bind, recursive, remount          what kind of mount it is
    idmap                             JSON pointer of the word idmap or ridmap, "" where neither is there
    idmap_below                       it is ridmap: the mounts below are mapped too
    idmap_text                        the mappings that stand behind it, "" for none
    data                              words for the filesystem itself
    fstab                             words for /etc/fstab
    words                             all of them
    """

    __slots__ = (
        "bind",
        "clear",
        "data",
        "flags",
        "fstab",
        "given",
        "idmap",
        "idmap_below",
        "idmap_text",
        "propagations",
        "recursive",
        "recursive_clear",
        "recursive_set",
        "remount",
        "set",
        "superblock",
        "words",
    )

    def __init__(self, words: Sequence[str] = ()) -> None:
        self.words = words
        self.set = self.clear = 0
        self.recursive_set = self.recursive_clear = 0
        self.superblock = 0
        self.propagations: list[int] = []
        self.flags = 0
        self.given = self.bind = self.recursive = self.remount = False
        self.idmap = self.idmap_text = ""
        self.idmap_below = False
        self.data: list[str] = []
        self.fstab: list[str] = []

    @property
    def attributes(self) -> tuple[int, int, int, int]:
        """As mount_bind takes them."""
        return (self.set, self.clear, self.recursive_set, self.recursive_clear)

    @property
    def propagation(self) -> int:
        """The first change of propagation, 0 for none."""
        return self.propagations[0] if self.propagations else 0

    @property
    def single(self) -> int:
        """What is set on a mount that has none below it."""
        return self.set | self.recursive_set

    def legacy(self) -> int:
        """The flags of mount(2) for a new filesystem."""
        flags = self.superblock
        for attribute, flag in LEGACY:
            if self.single & attribute:
                flags |= flag
        return flags


def parse(mount: dict[str, Any], pointer: str) -> Options:
    """The options of one mount. What contradicts itself: the later word wins, and one with "r" over one without."""
    found = Options(mount.get("options") or ())
    for index, word in enumerate(found.words):
        if word.partition("=")[0] in {"idmap", "ridmap"}:
            found.idmap = f"{pointer}/options/{index}"
            found.idmap_text = word.partition("=")[2] or found.idmap_text
            found.idmap_below |= word[0] == "r"
        else:
            _apply(found, word)
    found.set, found.clear = _whole_atime(found.set, found.clear)
    found.recursive_set, found.recursive_clear = _whole_atime(found.recursive_set, found.recursive_clear)
    # What is read-only, nosuid … with all below it, stays that at the top; the time of access is as it is below.
    found.clear &= ~found.recursive_set
    if found.recursive_clear & MOUNT_ATTR__ATIME:
        found.set, found.clear = found.set & ~MOUNT_ATTR__ATIME, found.clear & ~MOUNT_ATTR__ATIME
    return found


def _apply(found: Options, word: str) -> None:
    if word in ATTRIBUTES:
        add, remove = ATTRIBUTES[word]
        found.set, found.clear = found.set & ~remove | add, found.clear & ~add | remove
        found.given = True
    elif word in PROPAGATION:
        _propagate(found.propagations, PROPAGATION[word])
    elif word in {"bind", "rbind"}:
        found.bind, found.recursive = True, found.recursive or word == "rbind"
    elif word in SUPERBLOCK:
        add, remove = SUPERBLOCK[word]
        found.superblock = found.superblock & ~remove | add
        found.given = True
    elif word[:1] == "r" and word[1:] in ATTRIBUTES:
        add, remove = ATTRIBUTES[word[1:]]
        found.recursive_set = found.recursive_set & ~remove | add
        found.recursive_clear = found.recursive_clear & ~add | remove
    elif word in FLAGS:
        add, remove = FLAGS[word]
        found.flags = found.flags & ~remove | add
    elif word == "remount":
        found.remount = True
    elif word in LOGGING:
        found.given = True
    elif word in FSTAB or word[:2] in {"x-", "X-"}:
        found.fstab.append(word)
    elif word not in NOTHING:
        found.data += _words(word)


def _propagate(listed: list[int], flags: int) -> None:
    """One change after the other; the same one again only adds the mounts below."""
    if listed and (listed[-1] ^ flags) & ~MS_REC == 0:
        listed[-1] |= flags
    else:
        listed.append(flags)


def _words(text: str) -> list[str]:
    """Filesystem options, which may come several in one string; a quoted or escaped comma separates nothing."""
    return [text] if '"' in text or "\\" in text else [word for word in text.split(",") if word]


def _whole_atime(add: int, remove: int) -> tuple[int, int]:
    """mount_setattr(2): the access-time bits are one field with one value, cleared as a whole when it is set."""
    if add & MOUNT_ATTR_STRICTATIME:
        add &= ~MOUNT_ATTR_NOATIME
    return (add, remove | MOUNT_ATTR__ATIME) if (add | remove) & MOUNT_ATTR__ATIME else (add, remove)
