"""The interpreter in the launcher: the same in each build, and nothing of the machine that it was frozen on."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from ocirt.launcher import freeze

PROJECT = Path(__file__).parent.parent.parent
RAW = PROJECT / "build/frozen/ocirt-_bin-ocirt"
# The C library's four that a program has copies of, the thread's number, and what is left of it as an int.
SET_ANEW = 10

pytestmark = pytest.mark.skipif(not RAW.exists(), reason="no interpreter is frozen into the program")


def test_two_builds_have_the_same_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses of libraries, hashes, times, process ids: whatever is another one each time would show."""
    one = freeze.dump(str(RAW), str(PROJECT))
    time.sleep(0.01)
    monkeypatch.setenv("OCIRT_TEST_SECRET", "of the build")
    other = freeze.dump(str(RAW), str(PROJECT))
    assert one.start == other.start
    size = len(one.data) // 8 * 8
    pairs = zip(memoryview(one.data[:size]).cast("Q"), memoryview(other.data[:size]).cast("Q"), strict=True)
    assert sum(a != b for a, b in pairs) <= SET_ANEW
    assert b"OCIRT_TEST_SECRET" not in other.data


def test_the_program_has_no_environment_of_the_build(launcher: str) -> None:
    program = Path(launcher).read_bytes()
    for name in ("PATH", "HOME", "PWD"):
        if len(os.environ.get(name, "")) > 4:
            assert f"{name}={os.environ[name]}\0".encode() not in program


def test_a_raw_program_says_what_it_lacks(tmp_path: Path) -> None:
    done = subprocess.run([RAW, tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "ocirt: the packed modules: there are none\n"


def test_it_starts_wherever_the_kernel_puts_the_rest(launcher: str) -> None:
    """Libraries, heap and stack are elsewhere each time, and with setarch -R always at the same place."""
    for _ in range(20):
        subprocess.run([launcher, "features"], stdout=subprocess.DEVNULL, check=True)
    subprocess.run(["setarch", "-R", launcher, "features"], stdout=subprocess.DEVNULL, check=True)
