"""A launch that is kept, held against what the compiler makes of the same config; and why there is none. Cold.

With --kept verify, and with --debug, the launcher fills the plans in and does not carry them out: they have to be,
operation by operation, those that were compiled, which then are carried out.
"""

from __future__ import annotations

import posix
from itertools import zip_longest

from ocirt import notes
from ocirt.container import launches, launches_create, place
from ocirt.errors import LaunchDiffers, OcirtError
from ocirt.spawn import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ocirt.container.creation import Creation
    from ocirt.container.entry import Entry
    from ocirt.container.launches import Kept
    from ocirt.plan.ops import Op

NONE = b"none is kept for such a container"  # of launcher/launch.c
# The parts of a key, in the order of launcher/launch_key.c; those of proc_pid_status(5) name themselves.
PARTS = (
    "the version of ocirt", "the program", "ocirt-init", "hot.bin", *[""] * 8, "the boot", "the user namespace",
    "the mount namespace", "the cgroup namespace", "the pid namespace", "SELinux", "/proc/self/setgroups", "the verb",
)  # fmt: skip
CREATES = (*PARTS, "/proc/self/cgroup", "--root", "the flags", "config.json")
EXECS = (
    *PARTS, "the flags", "how the cgroups are entered", "--no-new-keyring", "the seccomp filter", "config.json",
    "what is asked for",
)  # fmt: skip
TOKENS = "{}[],:"


def launch(creation: Creation, kept: Kept, first: Sequence[Op], rest: Sequence[Op]) -> None:
    """Say whether the launch is kept, or why it is not. Raises LaunchDiffers."""
    if is_kept(creation.root, kept):
        warnings = creation.host.compilation.context.warnings
        held_against(kept, launches_create.halves(creation.host, first, rest), warnings)


def errand(entry: Entry, kept: Kept) -> None:
    """The same of `exec`. Raises LaunchDiffers."""
    if not is_kept(entry.root, kept):
        return
    from ocirt.container import launches_exec

    held_against(kept, launches_exec.halves(entry.host), entry.host.plan.warnings)


def is_kept(root: str, kept: Kept) -> bool:
    """Whether there is a launch; why not is said."""
    _, key, plans, words, _ = kept
    if plans and plans[0]:
        return True
    found = nearest(root, key) if words == NONE else ""
    notes.step(f"no kept launch: {found or words.decode('utf-8', 'replace')}")
    return False


def held_against(kept: Kept, fresh: Sequence[launches.Half], warnings: Sequence[str]) -> None:
    """Raises LaunchDiffers."""
    name = kept[0].decode()
    compare(name, kept[2], fresh)
    if warnings:
        raise LaunchDiffers(name, "it has no warnings")
    notes.step(f"kept launch {name}: the plans are the same")


def compare(name: str, plans: Sequence[bytes], fresh: Sequence[launches.Half]) -> None:
    """Raises LaunchDiffers."""
    for plan, (what, ops, kinds, size_max) in zip(plans, fresh, strict=True):
        pairs = zip_longest(
            wire.operations(plan, kinds) if plan else (),
            wire.operations(wire.encode(ops, kinds, size_max), kinds) if ops else (),
        )
        for number, (ours, theirs) in enumerate(pairs, 1):
            if ours != theirs:
                raise LaunchDiffers(name, f"{what}, operation {number}: {ours} is {theirs}")


def nearest(root: str, key: bytes) -> str:
    """What differs from the launch that comes nearest; "" where there is none."""
    ours = list(parts(key))
    found: list[tuple[int, int, str]] = []
    for other in kept_keys(root):
        theirs = list(parts(other))
        index = next((i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
        if index is not None:
            names = EXECS if ours[len(PARTS) - 1] == b"exec" else CREATES
            found.append((index, *difference(names[index], ours[index], theirs[index])))
    return max(found)[2] if found else ""


def difference(name: str, ours: bytes, theirs: bytes) -> tuple[int, str]:
    """How far the two are the same; what differs, in words."""
    same = next((i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), len(ours))
    if name == CREATES[-1]:
        return same, f"the nearest differs in {pointer(ours, same) or name}"
    if name == EXECS[-1]:
        return same, f"the nearest differs in {pointer(ours, same) or name}, which is asked for"
    return same, f"the nearest differs in {name or ours.partition(b':')[0].decode('utf-8', 'replace')}"


def parts(key: bytes) -> Iterator[bytes]:
    """The parts of a key."""
    offset = 0
    while offset + 4 <= len(key):
        size = int.from_bytes(key[offset : offset + 4], "little")
        yield key[offset + 4 : offset + 4 + size]
        offset += 4 + size


def kept_keys(root: str) -> Iterator[bytes]:
    """Those of the launches of a state root that can be read."""
    try:
        directory = launches.open_directory(root)
    except (OSError, OcirtError):
        return
    try:
        for name in posix.listdir(directory):
            try:
                data = place.read_file(directory, name, launches.SIZE_MAX)
            except (OSError, OcirtError, ValueError):
                continue
            if len(data) >= launches.HEAD.size:
                yield data[launches.HEAD.size :][: launches.HEAD.unpack_from(data)[1]]
    finally:
        posix.close(directory)


def pointer(shape: bytes, offset: int) -> str:
    """The JSON pointer of what stands there in a shape."""
    way: list[str | int] = []
    for kind, text, end in tokens(shape):
        if end > offset:
            return "".join([f"/{step}" for step in (way[:-1] if kind in {"]", "}"} else way)])
        if kind == "[":
            way.append(0)
        elif kind == "{":
            way.append("")
        elif kind in {"]", "}"} and way:
            way.pop()
        elif kind == "," and way and isinstance(way[-1], int):
            way[-1] += 1
        elif kind == "name" and way:
            way[-1] = text
    return ""


def tokens(shape: bytes) -> Iterator[tuple[str, str, int]]:
    """Kind ("name", "value" or the character itself), text and end of each token."""
    offset = 0
    while offset < len(shape):
        start = offset
        char = chr(shape[offset])
        if char == '"':
            offset += 1
            while offset < len(shape) and shape[offset] != 0x22:
                offset += 2 if shape[offset] == 0x5C else 1
            offset += 1
            name = shape[offset : offset + 1] == b":"
            yield "name" if name else "value", shape[start + 1 : offset - 1].decode("utf-8", "replace"), offset
            continue
        offset += 1
        if char in TOKENS:
            yield char, char, offset
            continue
        if char == "\1":
            offset = shape.index(b"\1", offset + 2) + 1 if shape[offset + 1 : offset + 2] == b"e" else offset + 2
        else:
            while offset < len(shape) and chr(shape[offset]) not in TOKENS:
                offset += 1
        yield "value", "", offset
