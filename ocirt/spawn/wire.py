"""Operations ↔ bytes: the layout of wire.h; leaves the meaning of operations to plan/ and init/."""

from __future__ import annotations

from _struct import Struct

from ocirt.errors import UnsupportedError
from ocirt.linux._kernel import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from ocirt.plan.ops import Op

HEADER = Struct("<QII")
HEAD = Struct("<HHHH")
PADDING = [b"\0" * (8 - size) for size in range(8)]
MESSAGE = Struct("<IIII")


Kinds = dict[str, tuple[int, str]]


def kinds_of(text: bytes) -> Kinds:
    """Name → (number, kinds of the arguments), of "name:kinds name:kinds …"."""
    return {
        pair.partition(":")[0]: (number, pair.partition(":")[2]) for number, pair in enumerate(text.decode().split())
    }


KINDS = kinds_of(ffi.string(lib.ocirt_operations))  # as ops.def states them


def host_kinds() -> Kinds:
    """Those of host_ops.def."""
    return kinds_of(ffi.string(lib.ocirt_host_operations))


class Heap:
    """The strings and vectors behind the operations: grows, and tells where each piece went."""

    __slots__ = ("base", "parts", "seen", "size", "texts")

    def __init__(self, base: int) -> None:
        self.base = base
        self.size = 0
        self.parts: list[bytes] = []
        self.seen: dict[bytes, int] = {}
        self.texts: dict[str, int] = {}

    def add(self, data: bytes, length: int) -> int:
        """`data` padded to 8 bytes with at least one NUL; the argument word for `length` units there."""
        where = self.seen.get(data)
        if where is None:
            where = self.seen[data] = self.base + self.size
            padded = data + PADDING[len(data) & 7]
            self.parts.append(padded)
            self.size += len(padded)
        return where | length << 32

    def text(self, value: str) -> int:
        """A string; a NUL inside would be cut off by C and is refused here as the last line of defence."""
        word = self.texts.get(value)
        if word is None:
            data = value.encode("utf-8", "surrogateescape")  # a bundle's path need not be UTF-8
            if b"\0" in data:
                raise ValueError("a string of the plan holds a NUL byte")
            word = self.texts[value] = self.add(data, len(data))
        return word

    def vector(self, values: Sequence[str]) -> int:
        """Words of each string, and two words of zero: the end, and room for one entry more (HOME)."""
        words = [self.text(value) for value in values]
        words += (0, 0)
        where = self.base + self.size
        packed = packer(len(words)).pack(*words)
        self.parts.append(packed)
        self.size += len(packed)
        return where | len(values) << 32


packers: dict[int, Struct] = {}


def packer(count: int) -> Struct:
    """What packs `count` words; a plan has few lengths and many operations."""
    found = packers.get(count)
    if found is None:
        found = packers[count] = Struct(f"<{count}Q")
    return found


def encode(
    ops: Sequence[Op], kinds: Kinds = KINDS, size_max: int = lib.PLAN_MAX, heap_of: Callable[[int], Heap] = Heap
) -> bytes:
    """The plan as ocirt-init reads it, or with `host_kinds` the host plan as perform.c does.

    heap_of   makes the heap that begins at an offset

    Raises UnsupportedError for one that is too large, ValueError for a string with a NUL byte, KeyError for an
    operation that ops.def does not know.
    """
    base = HEADER.size
    for op in ops:
        base += 8 + 8 * len(op[3])
    heap = heap_of(base)
    parts: list[bytes] = []
    for name, _, guard, arguments in ops:
        code, kind = kinds[name]
        words = []
        for letter, value in zip(kind, arguments, strict=True):
            if letter in "uf":
                words.append(value)
            elif letter == "s":
                words.append(heap.text(value))
            elif letter == "v":
                words.append(heap.vector(value))
            else:
                words.append(heap.add(value, len(value)))
        # struct op: its number and the guard are one word, the number in the lowest 16 bits
        parts.append(packer(1 + len(words)).pack(code | guard << 16, *words))
    size = base + heap.size
    if size > size_max:
        raise UnsupportedError(f"config.json: it asks for {size} bytes of plan, {size_max} are supported")
    return b"".join((HEADER.pack(lib.ocirt_plan_magic, size, len(ops)), *parts, *heap.parts))


class Message:
    """One message of the init: `type` and `detail` are wire.h's MSG_… and DETAIL_…, `error` an errno."""

    __slots__ = ("detail", "error", "text", "type", "value")

    def __init__(self, data: bytes) -> None:
        self.type, self.value, self.error, self.detail = MESSAGE.unpack_from(data.ljust(MESSAGE.size, b"\0"))
        self.text = data[MESSAGE.size :].rstrip(b"\0").decode("utf-8", "replace")


def go(point: int, slots: Sequence[int] = ()) -> bytes:
    """The runtime's leave to pass `point`, with descriptors for `slots`."""
    return MESSAGE.pack(lib.MSG_GO, point, 0, len(slots)) + Struct(f"<{len(slots)}I").pack(*slots)


def archive(encoded: bytes, ops: Sequence[Op], begun: int = 0) -> bytes:
    """An encoded plan and, behind it, what `decode` needs for whole operations again, one a line.

    `encoded` lacks the first `begun` of `ops`: their number, then the JSON pointer of each of the others.
    """
    return encoded + "\n".join([str(begun), *(op[1] for op in ops[begun:])]).encode()


def decode(archived: bytes) -> list[Op]:
    """The operations of an archived plan, empty ones for those that it lacks (cold: for an error at start)."""
    _, size, _ = HEADER.unpack_from(archived)
    begun, *pointers = archived[size:].decode().split("\n")
    found = zip(pointers, operations(archived), strict=False)
    ops: list[Op] = [("", "", 0, ())] * int(begun)
    return ops + [(name, pointer, guard, arguments) for pointer, (name, guard, arguments) in found]


def operations(encoded: bytes, kinds: Kinds = KINDS) -> Iterator[tuple[str, int, tuple[Any, ...]]]:
    """Name, guard and arguments of each operation of an encoded plan (cold)."""
    _, _, count = HEADER.unpack_from(encoded)
    names = list(kinds.items())

    def text(word: int) -> bytes:
        return encoded[word & 0xFFFFFFFF : (word & 0xFFFFFFFF) + (word >> 32)]

    def vector(word: int) -> list[str]:
        words = Struct(f"<{word >> 32}Q").unpack_from(encoded, word & 0xFFFFFFFF)
        return [text(item).decode("utf-8", "surrogateescape") for item in words]

    readers: dict[str, Callable[[int], Any]] = {
        "u": int,
        "f": int,
        "s": lambda word: text(word).decode("utf-8", "surrogateescape"),
        "b": text,
        "v": vector,
    }
    offset = HEADER.size
    for _ in range(count):
        code, ignore1, ignore2, skip = HEAD.unpack_from(encoded, offset)
        name, (_, kind) = names[code]
        words = Struct(f"<{len(kind)}Q").unpack_from(encoded, offset + 8)
        arguments = tuple(readers[letter](word) for letter, word in zip(kind, words, strict=True))
        yield name, ignore1 | ignore2 << 16 | skip << 32, arguments
        offset += 8 + 8 * len(kind)
