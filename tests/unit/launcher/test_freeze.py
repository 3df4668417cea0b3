"""What freeze.py refuses to freeze, and how it puts data into a program."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from ocirt.launcher import freeze

MAPS = b"""\
00400000-00422000 r--p 00000000 fe:00 1 /tmp/program with a space
00422000-00500000 rw-p 00022000 fe:00 1 /tmp/program with a space
00500000-00600000 rw-p 00000000 00:00 0
0ca63000-0ca84000 rw-p 00000000 00:00 0 [heap]
7f9700000000-7f9700100000 r-xp 00000000 fe:00 2 /lib/libc.so.6
7ffca8900000-7ffca8a00000 rw-p 00000000 00:00 0 [stack]
"""
START, END = 0x423004, 0x600000


def strays(*words: int) -> list[tuple[int, int]]:
    return list(freeze.pointers(data(*words), START, freeze.elsewhere(MAPS, START, END)))


def data(*words: int) -> bytes:
    return (bytes(4) + struct.pack(f"<{len(words)}Q", *words)).ljust(END - START, b"\0")


def verdict(monkeypatch: pytest.MonkeyPatch, one: int, other: int) -> str:
    """What is said of a program that has these words at the same place in two runs."""
    dumps = iter(freeze.Dump(START, data(word), 0x7F9700000040, (), MAPS) for word in (one, other))
    monkeypatch.setattr(freeze, "dump", lambda *_: next(dumps))
    try:
        freeze.data_of("program", "parent")
    except SystemExit as error:
        return str(error)
    return ""


def test_a_pointer_is_refused_and_what_only_looks_like_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "0x423008 is a pointer" in verdict(monkeypatch, 0x7F9700000000, 0x7F9700000000)  # no randomization
    assert "0x423008 is a pointer" in verdict(monkeypatch, 0x0CA63010, 0x0CA64010)
    assert verdict(monkeypatch, 0x0CA63010, 0x0CA63010) == ""  # code: the heap has moved, this has not
    assert verdict(monkeypatch, 0x0CA63010, 7) == ""
    assert verdict(monkeypatch, 0x7F9700000040, 0x7F9700000040) == ""  # the thread's


def test_pointers_to_libraries_the_heap_and_the_stack_are_found() -> None:
    found = [0x7F9700000000, 0x0CA63010, 0x7FFCA8900008]
    assert strays(*found) == [(START + 4 + 8 * index, value) for index, value in enumerate(found)]


def test_pointers_into_the_program_and_mere_numbers_are_not() -> None:
    assert strays(0, 1, 0x400000, 0x5FFFFF, 0x7F9700100000, 0x7FFFFFFFFFFFFFFF, 2**64 - 1) == []


SOURCE = """
#include <stdio.h>
static int first = 1;
static int later[100000];
int main(void) { printf("%d %d\\n", first, later[0]); return 0; }
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """One whose data end in zeros that the file does not have."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler or not shutil.which("nm"):
        pytest.skip("needs a C compiler and nm")
    (tmp_path / "program.c").write_text(SOURCE)
    subprocess.run([compiler, "-fno-pie", "-no-pie", "-o", tmp_path / "program", tmp_path / "program.c"], check=True)
    return tmp_path / "program"


def symbol(program: Path, name: str) -> int:
    for line in subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout.splitlines():
        if line.split()[-1] == name:
            return int(line.split()[0], 16)
    raise LookupError(name)


def test_a_program_begins_with_the_data_that_it_is_given(program: Path) -> None:
    first, later, start = (symbol(program, name) for name in ("first", "later", "__data_start"))
    data = bytearray(later - start + 4)
    struct.pack_into("<i", data, first - start, 23)
    struct.pack_into("<i", data, later - start, 42)
    frozen = freeze.Program(str(program))
    frozen.replace(start, bytes(data))
    program.write_bytes(frozen.image)
    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == "23 42\n"
    assert symbol(program, "first") == first


def test_data_for_nowhere_are_refused(program: Path) -> None:
    with pytest.raises(SystemExit, match="no segment of data"):
        freeze.Program(str(program)).replace(16, b"")
