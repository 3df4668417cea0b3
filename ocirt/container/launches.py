"""A launch is kept: the plans of a command, with the strings that they only carry left open.

The launcher gives the key, all that the plans depend on (launcher/launch.c). They are compiled from a config whose
holes nobody can look into (plan/holes.py): launches_create.py, launches_exec.py. What they are written to here the
launcher reads, and carries out: this time, and for each command that has an equal key. It is a help, no more: what
cannot be kept is compiled as it is, docs/why.md says what.
"""

from __future__ import annotations

import posix
from _struct import Struct
from errno import EKEYREJECTED

from ocirt import notes
from ocirt.config import load
from ocirt.container import host_actions, performer, place
from ocirt.errors import OcirtError
from ocirt.linux._kernel import ffi, lib
from ocirt.plan import holes
from ocirt.spawn import parent, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ocirt.container.performer import Performer
    from ocirt.plan.ops import Op

    # What the launcher gives: creation.py, `kept`
    Kept = tuple[bytes, bytes, tuple[bytes, ...], bytes, bytes]

DIRECTORY = "@launches"  # of the state root; no id may have that name
MISSES = "misses"  # there: how many were compiled, while others were kept
KEPT, SIZE_MAX = 64, 1 << 20  # files, and bytes of one; launcher/launch.h
TOTAL_MAX = 16 << 20  # bytes of all
ROOM = 1 << 20  # bytes that are free where one is to be written: a container's state comes first
HEAD = Struct("<Q8IQ")  # struct launch_head there
PATCH = Struct("<III")
# Holes that are not of the config; HOLE_… there
ID, BUNDLE, RAW, PID_FILE, CONSOLE, CGROUP = range(6)  # a cgroup is the first of several
FIRST = 64  # of those of the config
PLACES = {
    ID: (holes.WORD, "the id"), BUNDLE: (holes.ABSOLUTE, "the bundle"), PID_FILE: (holes.ABSOLUTE, "the pid file"),
    CONSOLE: (holes.ABSOLUTE, "the console socket"),
}  # fmt: skip
MARKED = 0xFFFF << 48  # no word of a plan is as large: offsets end before 2 ** 32, lengths before 2 ** 31
# What launcher/launch.c and launch_exec.c do besides what perform.c does
LAUNCHERS = {"commit", "open_process"}


class Template(wire.Heap):
    """A heap of which some words are to be filled in: what belongs there, by the word that holds the place."""

    __slots__ = ("marked",)

    def __init__(self, base: int) -> None:
        super().__init__(base)
        self.marked: list[tuple[str | holes.Hole, ...]] = []

    def text(self, value: str) -> int:
        """A string, or the mark of one that is not known."""
        return self.mark(value.pieces) if isinstance(value, holes.Opaque) else super().text(value)

    def add(self, data: bytes, length: int) -> int:
        """Bytes, or the mark of those of a hole."""
        if isinstance(data, holes.Raw):
            return self.mark((holes.Hole(data.number, ""),))
        return super().add(data, length)

    def mark(self, pieces: tuple[str | holes.Hole, ...]) -> int:
        """A word that stands for them."""
        self.marked.append(pieces)
        return MARKED | len(self.marked)


def hand_over(root: str, kept: Kept, make: Callable[[], bytes], p: Performer) -> bytes:
    """Keep the launch that `make` gives, and have the launcher carry it out; returns where either cannot be done.

    Then `p` has taken over what was done by then, of the config.json that is returned; b"" for none, and with `exec`.
    """
    name, _, plans = kept[:3]
    if not name or plans[0] or not keep(root, name.decode(), make):
        return b""
    parent.carry_out()
    return p.take_stopped()


def keep(root: str, name: str, make: Callable[[], bytes]) -> bool:
    """Write what `make` gives, unless it says that this cannot be kept; whether it was."""
    try:
        directory = open_directory(root, True)
    except holes.Unkeepable as error:
        notes.step(f"the launch is not kept: {error}")
        return False
    except (OcirtError, OSError):  # it will be said of the container's
        return False
    try:
        count_miss(directory)
        data = make()
        if len(data) > SIZE_MAX:
            raise holes.Unkeepable("it is too large")
        write(directory, name, data)
        return True
    except (holes.Unkeepable, OcirtError, OSError, ValueError) as error:  # ValueError: a hole in a plain string
        notes.step(f"the launch is not kept: {error}")
    except Exception as error:
        notes.warn(f"the launch is not kept: {error!r}")
    finally:
        posix.close(directory)
    return False


def hole(number: int, given: str | None = "yes") -> str:
    """One that is not of the config; "" where none is given."""
    letter, place = PLACES[number]
    return holes.Hole(number, letter, place=place) if given else ""


def file(key: bytes, parts: Sequence[Half], seen: bytes) -> bytes:
    """The bytes of a launch. Raises Unkeepable, and what encoding raises."""
    blobs, patches, pool = [], b"", b""
    for number, (_, ops, kinds, size_max) in enumerate(parts):
        blob, found = template(ops, kinds, size_max) if ops else (b"", [])
        blobs.append(blob)
        for offset, pieces in found:
            patches += PATCH.pack(number, offset, len(pieces))
            for piece in pieces:
                packed, text = packed_piece(piece, len(pool))
                patches += packed
                pool += text
    sizes = [len(part) for part in (key, *blobs, patches, pool, seen)]
    return HEAD.pack(lib.ocirt_plan_magic, *sizes, 0) + b"".join([key, *blobs, patches, pool, seen])


Half = tuple[str, "Sequence[Op]", wire.Kinds, int]
Found = list[tuple[str, str]]  # class and JSON pointer of each hole, in the order of the text


def part(data: bytes) -> bytes:
    """One part of a key."""
    return len(data).to_bytes(4, "little") + data


def packed_piece(piece: str | holes.Hole, offset: int) -> tuple[bytes, bytes]:
    """A piece of a string: the number of a hole, or a literal that goes to the pool at `offset`; and that literal."""
    if isinstance(piece, holes.Hole):
        return PATCH.pack(0, piece.number, 0), b""
    text = piece.encode("utf-8", "surrogateescape")
    return PATCH.pack(1, offset, len(text)), text


def refuse(ops: Sequence[Op], warnings: Sequence[str]) -> None:
    """Raise Unkeepable for a host plan that the launcher could not carry out, or could not without a word."""
    if warnings:
        raise holes.Unkeepable("there are warnings to say")
    pythons = {*performer.ACTIONS, *host_actions.ACTIONS} - LAUNCHERS - {"connect_console"}
    for op in ops:
        relayed = op[0] == "connect_console" and not holes.is_given(op[3][1])  # a pair of the runtime's own
        if relayed or op[0] in pythons:
            raise holes.Unkeepable(f"{op[1] or 'the host plan'} asks for {op[0]}, which needs Python")


def with_holes(raw: bytes, found: Found, first: int = FIRST) -> Any:
    """The config, whose holes are such, and have numbers from `first` on. Raises Unkeepable."""
    config: Any = load.settled(raw, "config.json")
    for index, (letter, pointer) in enumerate(found, first):
        *way, last = [word.replace("~1", "/").replace("~0", "~") for word in pointer.split("/")[1:]]
        holder: Any = config
        try:
            for word in way:
                holder = holder[int(word) if isinstance(holder, list) else word]
            key: Any = int(last) if isinstance(holder, list) else last
            value = holder[key]
        except (KeyError, IndexError, TypeError):
            value = None
        if type(value) is not str:
            raise holes.Unkeepable(f"{pointer} can be read in more than one way")
        holder[key] = holes.Hole(index, letter, value.partition("=")[0] if letter == "e" else "", pointer)
    return config


def shape_of(raw: bytes) -> tuple[bytes, Found]:
    """The shape, and its holes. Raises Unkeepable where it has none."""
    shape, found = bytearray(2 * len(raw) + 64), bytearray(8 * len(raw) + 64)
    size = lib.config_shape(raw, len(raw), ffi.from_buffer(shape), len(shape), ffi.from_buffer(found), len(found))
    if size < 0:
        raise holes.Unkeepable("it is too large, or can be read in more than one way")
    records = bytes(found).partition(b"\0\0")[0].decode()
    return bytes(shape[:size]), [(record[1], record[3:]) for record in records.split("\0") if record]


def template(ops: Sequence[Op], kinds: wire.Kinds, size_max: int) -> tuple[bytes, list[tuple[int, Any]]]:
    """The encoded operations; offset of each word that is to be filled in, and of what."""
    heaps: list[Template] = []

    def heap(base: int) -> Template:
        heaps.append(Template(base))
        return heaps[0]

    data = wire.encode(ops, kinds, size_max, heap)
    marked = heaps[0].marked
    words = enumerate(memoryview(data).cast("Q"))
    places = [(8 * index, word - MARKED) for index, word in words if MARKED < word <= MARKED + len(marked)]
    if sorted([number for _, number in places]) != list(range(1, len(marked) + 1)):
        raise holes.Unkeepable("a string looks like a mark of ours")
    return data, [(offset, marked[number - 1]) for offset, number in places]


def write(directory: int, name: str, data: bytes) -> None:
    """Into the directory, where there is no room in place of the one longest unused. Raises OSError."""
    make_room(directory, len(data))
    new = f".{name}.{posix.getpid()}"
    try:
        place.write_file(directory, new, data, posix.O_EXCL)
        posix.rename(new, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:  # a signal too
        place.empty(directory, [new])
        raise


def make_room(directory: int, size: int) -> None:
    """Remove the longest unused until one more of that size is within the limits. Raises OSError."""
    found = []
    for name in posix.listdir(directory):
        if name != MISSES:
            status = posix.stat(name, dir_fd=directory, follow_symlinks=False)
            found.append((status.st_mtime_ns, name, status.st_size))
    found.sort()
    total = size + sum([one[2] for one in found])
    while found and (len(found) >= KEPT or total > TOTAL_MAX):
        _, name, less = found.pop(0)
        total -= less
        place.empty(directory, [name])


def count_miss(directory: int) -> None:
    """One more that was compiled. Raises OSError."""
    flags = posix.O_RDWR | posix.O_CREAT | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC
    fd = posix.open(MISSES, flags, 0o600, dir_fd=directory)
    try:
        count = int.from_bytes(posix.pread(fd, 8, 0), "little") + 1
        posix.pwrite(fd, (count % 2**64).to_bytes(8, "little"), 0)
    finally:
        posix.close(fd)


def open_directory(root: str, make: bool = False) -> int:
    """An fd of the directory that launches are kept in; with `make` it is made.

    Raises OSError, StateUntrusted, SystemCallError; to make it, Unkeepable where that could leave no room for states.
    """
    top = place.open_root(root, make)
    try:
        if make:
            free = posix.fstatvfs(top)
            if free.f_bavail * free.f_frsize < ROOM or (free.f_files and free.f_favail < KEPT):
                raise holes.Unkeepable("the state root is nearly full")
            try:
                posix.mkdir(DIRECTORY, 0o700, dir_fd=top)
            except FileExistsError:
                pass
        fd = posix.open(DIRECTORY, place.OPEN_DIRECTORY, dir_fd=top)
    finally:
        posix.close(top)
    if lib.state_owned(fd) < 0:
        posix.close(fd)
        raise OSError(EKEYREJECTED, posix.strerror(EKEYREJECTED))
    return fd
