"""What the compiler and the linker were told, as the built programs show it; and that a build can be repeated."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from ocirt.linux import _flags

PROJECT = Path(__file__).parent.parent
INIT, LAUNCHER, PACK = "ocirt/_bin/ocirt-init", "ocirt/_bin/ocirt", "ocirt/_bin/hot.bin"
SHIM = ("ocirt/linux/_kernel.abi3.so", "ocirt/linux/_seccomp.abi3.so")
PROGRAMS = (INIT, LAUNCHER, *SHIM)
PARTS = ("ocirt", "spec", "setup.py", "pyproject.toml", "README.md")
MADE = ("__pycache__", "_bin", "*.so", "_kernel.c", "_seccomp.c")
# In the section of each object's compiler, which strip(1) and --gc-sections leave.
MARK = '__asm__(".pushsection .comment; .string \\"" OCIRT_CC " " OCIRT_CPP " cflags\\"; .popsection");\n'

pytestmark = pytest.mark.skipif(shutil.which("readelf") is None, reason="needs binutils")


@cache
def elf(path: Path, *what: str) -> str:
    """What readelf(1) says."""
    return subprocess.check_output(["readelf", "-W", *what, path], text=True)


def segments(path: Path) -> list[tuple[str, str]]:
    """Type and flags of each."""
    found = re.findall(r"^  ([A-Z_]+) +(?:0x\w+ +){5}([RWE ]{3}) ", elf(path, "-l"), re.MULTILINE)
    return [(kind, flags.replace(" ", "")) for kind, flags in found]


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_memory_is_writable_and_executable(name: str) -> None:
    found = segments(PROJECT / name)
    assert ("LOAD", "RE") in found
    assert not [flags for _, flags in found if "W" in flags and "E" in flags]
    assert ("GNU_STACK", "RW") in found


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_relocated_is_read_only_then_and_nothing_is_bound_late(name: str) -> None:
    assert ("GNU_RELRO", "R") in segments(PROJECT / name)
    assert re.search(r"BIND_NOW|Flags: .*NOW", elf(PROJECT / name, "-d"))


@pytest.mark.parametrize("name", PROGRAMS)
def test_position_independent(name: str) -> None:
    assert "DYN (" in elf(PROJECT / name, "-h")


def test_the_init_asks_for_no_dynamic_linker() -> None:
    assert not {"INTERP"} & {kind for kind, _ in segments(PROJECT / INIT)}
    assert "NEEDED" not in elf(PROJECT / INIT, "-d")


@pytest.mark.parametrize("name", [LAUNCHER, SHIM[0]])
def test_stacks_are_guarded(name: str) -> None:
    assert "__stack_chk_fail" in elf(PROJECT / name, "-s")


@pytest.mark.parametrize("name", [LAUNCHER, SHIM[0]])
def test_copies_are_fortified(name: str) -> None:
    assert re.search(r"__\w+_chk@", elf(PROJECT / name, "-s").replace("__stack_chk", ""))


@pytest.mark.parametrize("name", PROGRAMS)
def test_branches_are_marked_where_all_that_is_linked_has_the_marks(name: str) -> None:
    if not _flags.choose(_flags.BRANCHES):
        pytest.skip("the compiler has no such thing")
    start = subprocess.check_output([*_flags.compiler(), "-print-file-name=crti.o"], text=True).strip()
    marked = re.search("IBT|BTI", elf(Path(start), "-n")) is not None
    if name == INIT or marked:
        assert re.search("IBT, SHSTK|BTI", elf(PROJECT / name, "-n"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two builds of this tree with what a distribution may set: elsewhere, later, of files with other times."""
    made = [tmp_path_factory.mktemp(name) / "tree" for name in ("one", "another-place")]
    mark = made[0].parent / "mark.h"
    mark.write_text(MARK)
    environment = {
        **os.environ,
        "CC": "gcc '-DOCIRT_CC=\"cc\"'",
        "CPPFLAGS": "-Wdate-time -D_FORTIFY_SOURCE=2 '-DOCIRT_CPP=\"cppflags\"'",
        "CFLAGS": f"-g -O2 -fexceptions -fstack-protector-strong -Wformat -Werror=format-security -include {mark}",
        "LDFLAGS": "-Wl,-z,relro -Wl,--build-id=0x0c1f7000",
        "SOURCE_DATE_EPOCH": "1600000000",
    }
    for number, tree in enumerate(made):
        copy(tree, 1_600_000_000 * number)
        environment["TZ"] = ("UTC", "Asia/Tokyo")[number]
        command = [sys.executable, "-W", "ignore", "setup.py", "--quiet", "build_ext", "--inplace"]
        subprocess.run(command, cwd=tree, env=environment, check=True)
    return made


def copy(tree: Path, time: int) -> None:
    """The sources; at `time`, if it is not 0."""
    tree.mkdir()
    for name in PARTS:
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, tree / name, ignore=shutil.ignore_patterns(*MADE))
        else:
            shutil.copy(PROJECT / name, tree / name)
    for path in tree.rglob("*") if time else ():
        os.utime(path, (time, time))


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_flags_of_the_environment_reach_each_compile_and_link(built: list[Path], name: str) -> None:
    assert "cc cppflags cflags" in elf(built[0] / name, "-p", ".comment")
    assert "Build ID: 0c1f7000" in elf(built[0] / name, "-n")


def test_a_program_that_is_built_with_other_flags_runs(built: list[Path]) -> None:
    assert subprocess.check_output([built[0] / LAUNCHER, "--version"], text=True).startswith("ocirt version")


@pytest.mark.parametrize("name", [*PROGRAMS, PACK])
def test_a_build_elsewhere_and_later_gives_the_same_bytes(built: list[Path], name: str) -> None:
    one, other = ((tree / name).read_bytes() for tree in built)
    assert one == other
    assert str(built[0]).encode() not in one
