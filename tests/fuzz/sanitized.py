"""A build of ocirt in which a wrong access or undefined behaviour of its C ends the program, for lives.py.

The launcher and the modules that Python loads are under ASan and UBSan. The init has no libc for a sanitizer to stand
on: its undefined behaviour is an illegal instruction.

    python -m tests.fuzz.sanitized      prints the path of the program
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
TREE = PROJECT / "build/sanitized"
PARTS = ("ocirt", "spec", "setup.py", "pyproject.toml", "README.md")
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g", "-fno-omit-frame-pointer"]
INIT = ["-fno-sanitize=address", "-fsanitize-undefined-trap-on-error", "-Wno-error"]
# Leaks: the programs end at once, and let the kernel take back what they have.
OPTIONS = {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1"}


def newest(*paths: Path) -> float:
    files = [path for top in paths for path in (top.rglob("*.[ch]"), top.rglob("*.py"))]
    return max(file.stat().st_mtime for found in files for file in found)


def build() -> Path:
    """The program, built in a copy of the sources where one of them is newer. Raises CalledProcessError."""
    program = TREE / "ocirt/_bin/ocirt"
    if program.exists() and program.stat().st_mtime > newest(PROJECT / "ocirt"):
        return program
    shutil.rmtree(TREE, ignore_errors=True)
    TREE.mkdir(parents=True)
    for name in PARTS:
        source = PROJECT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "_bin", "*.so", "_kernel.c", "_seccomp.c")
            shutil.copytree(source, TREE / name, ignore=ignored)
        else:
            shutil.copy(source, TREE / name)
    with (TREE / "ocirt/linux/_flags.py").open("a") as file:
        file.write(f'\nKINDS["init"] = KINDS["init"]._replace(after=(*KINDS["init"].after, *{INIT!r}))\n')
    environment = {**os.environ, **OPTIONS, "CC": " ".join(["gcc", *SANITIZERS])}
    environment["CPPFLAGS"] = "-U_FORTIFY_SOURCE"  # what glibc checks in their place ASan does not see
    library = subprocess.check_output(["gcc", "-print-file-name=libasan.so"], text=True).strip()
    environment["LD_PRELOAD"] = library  # the interpreter that packs the modules loads the sanitized ones
    command = [sys.executable, "-W", "ignore", "setup.py", "--quiet", "build_ext", "--inplace"]
    subprocess.run(command, cwd=TREE, env=environment, check=True)
    return program


if __name__ == "__main__":
    print(build())
