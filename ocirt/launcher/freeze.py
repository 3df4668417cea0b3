"""Build time: the program with an interpreter frozen into it (freeze.h).

    python freeze.py PROGRAM PARENT OUTPUT

PROGRAM writes its data when the interpreter in it has loaded the packed modules of PARENT. They go to the end of a
copy, which has its segment of data there in place of the one that the linker made; what that has before the data proper
is for the dynamic linker, which has it as it was. Source: elf(5); 64 bits.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HEADER = struct.Struct("<16s2HI3QI6H")
SEGMENT = struct.Struct("<2I6Q")
SECTION = struct.Struct("<2I4Q2I2Q")
ENTRY = struct.Struct("<2Q")  # of the dynamic section
LOAD, DYNAMIC = 1, 2
WRITABLE = 2
INIT_ARRAY_SIZE = 27
HIGH = 1 << 32
PROGBITS, NOBITS, TLS = 1, 8, 0x400
HEAD = struct.Struct("<7Q")  # write_data of freeze.c


class Dump(NamedTuple):
    """What the program has written of itself."""

    start: int
    data: bytes
    thread: int
    set_anew: tuple[int, ...]
    maps: bytes


def dump(program: str, parent: str) -> Dump:
    """Run the program. Raises CalledProcessError, SystemExit."""
    # Without an environment: what is the build's own has no place in the program.
    done = subprocess.run(
        [program, "--freeze", parent], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env={}, check=True
    )
    start, end, thread, *set_anew = HEAD.unpack_from(done.stdout)
    begin = HEAD.size + 8 + struct.unpack_from("<Q", done.stdout, HEAD.size)[0]
    data = done.stdout[begin:]
    if len(data) != end - start:
        raise SystemExit(f"{len(data)} bytes of data in place of {end - start}")
    return Dump(start, data, thread, tuple(set_anew), done.stdout[HEAD.size + 8 : begin])


def data_of(program: str, parent: str) -> tuple[int, bytes]:
    """Where the program's data begin, and what they are. Raises CalledProcessError; SystemExit for a stray pointer."""
    one, other = dump(program, parent), dump(program, parent)
    again = strays(other)
    for place, value in strays(one).items():
        # The heap is low, among what is code as well: but code is the same the next time.
        if place in again and (value >= HIGH or value != again[place]):
            raise SystemExit(f"at {place:#x} is a pointer to what is elsewhere each time, {value:#x}")
    return one.start, cleared(one)


def cleared(found: Dump) -> bytes:
    """The data without what is set in each process."""
    data = bytearray(found.data)
    places = {place for place in found.set_anew if found.start <= place < found.start + len(data)}
    thread = struct.pack("<Q", found.thread)
    at = data.find(thread)
    while at >= 0:
        places.add(found.start + at)
        at = data.find(thread, at + 8)
    for place in places:
        data[place - found.start : place - found.start + 8] = bytes(8)
    return bytes(data)


def strays(found: Dump) -> dict[int, int]:
    """What looks like pointers to what the program is not, by place; but for what is set in each process."""
    pairs = pointers(found.data, found.start, elsewhere(found.maps, found.start, found.start + len(found.data)))
    return {place: value for place, value in pairs if value != found.thread and place not in found.set_anew}


def elsewhere(maps: bytes, start: int, end: int) -> list[range]:
    """The addresses of what the program is not: libraries, the heap, stacks."""
    lines = [line.split() for line in maps.decode().splitlines()]
    mine = {line[5] for line in lines if start in addresses(line[0])}
    return [addresses(line[0]) for line in lines if line[5:] != list(mine) and addresses(line[0]).start >= end]


def addresses(text: str) -> range:
    """The addresses "from-to" of a line of proc_pid_maps(5)."""
    first, _, last = text.partition("-")
    return range(int(first, 16), int(last, 16))


def pointers(data: bytes, start: int, ranges: list[range]) -> Iterator[tuple[int, int]]:
    """Each aligned word of `data` that points into one of the ranges: its own address, what it holds."""
    skipped = -start % 8
    words = memoryview(data[skipped : skipped + (len(data) - skipped) // 8 * 8]).cast("Q")
    lowest, highest = min(r.start for r in ranges), max(r.stop for r in ranges)
    for index, word in enumerate(words):
        if lowest <= word < highest and any(word in r for r in ranges):
            yield start + skipped + 8 * index, word


class Segment(NamedTuple):
    """A program header."""

    kind: int
    flags: int
    offset: int
    address: int
    physical: int
    size: int
    memory: int
    align: int

    @classmethod
    def at(cls, image: bytearray, place: int) -> Segment:
        """The one that is there."""
        return cls(*SEGMENT.unpack_from(image, place))

    def addresses(self) -> range:
        """What it has in memory."""
        return range(self.address, self.address + self.memory)


class Program:
    """An executable, whose segment of data is to be replaced."""

    def __init__(self, path: str) -> None:
        self.image = bytearray(Path(path).read_bytes())
        header = HEADER.unpack_from(self.image)
        self.headers = [header[5] + i * header[9] for i in range(header[10])]
        self.sections = [header[6] + i * header[11] for i in range(header[12])]

    def replace(self, start: int, data: bytes) -> None:
        """Put `data` at the address `start`. Raises SystemExit where there is no segment of data."""
        old = self.segment(start)
        whole = bytes(self.image[old.offset : old.offset + start - old.address]) + data
        place = len(self.image) + (old.address - len(self.image)) % old.align
        self.image += bytes(place - len(self.image)) + whole
        for header in self.headers:
            part = Segment.at(self.image, header)
            if part.address in old.addresses():
                moved = part._replace(offset=place + part.address - old.address)
                SEGMENT.pack_into(self.image, header, *(moved._replace(size=len(whole)) if part == old else moved))
        self.move_sections(old.addresses(), place)
        self.drop_constructors()

    def drop_constructors(self) -> None:
        """They have run, and what they did is among the data; 3.13's mimalloc would say so a second time."""
        for part in (Segment.at(self.image, header) for header in self.headers):
            for at in range(part.offset, part.offset + part.size * (part.kind == DYNAMIC), ENTRY.size):
                tag, _ = ENTRY.unpack_from(self.image, at)
                if tag == INIT_ARRAY_SIZE:
                    ENTRY.pack_into(self.image, at, tag, 0)

    def segment(self, address: int) -> Segment:
        """The writable segment in which an address is."""
        for header in self.headers:
            part = Segment.at(self.image, header)
            if part.kind == LOAD and part.flags & WRITABLE and address in part.addresses():
                return part
        raise SystemExit("no segment of data")

    def move_sections(self, addresses: range, place: int) -> None:
        """Where in the file the sections are now, for strip(1) and debuggers; all of them have their bytes there."""
        for at in self.sections:
            values = list(SECTION.unpack_from(self.image, at))
            if values[3] in addresses:
                values[4] = place + values[3] - addresses.start
                if values[1] == NOBITS and not values[2] & TLS:
                    values[1] = PROGBITS
                SECTION.pack_into(self.image, at, *values)


def main() -> None:
    """Freeze."""
    source, parent, target = sys.argv[1:]
    program = Program(source)
    program.replace(*data_of(source, parent))
    new = Path(target + ".new")
    new.write_bytes(program.image)
    new.chmod(0o755)
    new.replace(target)


if __name__ == "__main__":
    main()
