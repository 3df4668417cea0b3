"""The interpreter in the launcher: the same in each build, and nothing of the machine that it was frozen on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ocirt.launcher import freeze
from tests.static_library import STATIC_LIBRARY

PROJECT = Path(__file__).parent.parent.parent
RAW = PROJECT / "build/frozen/ocirt-_bin-ocirt"
# The C library's four that a program has copies of, the thread's number, and what is left of it as an int.
SET_ANEW = 10

pytestmark = pytest.mark.skipif(not STATIC_LIBRARY.exists(), reason="this Python has no static library")


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
    done = subprocess.run([RAW, "--freeze", tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "ocirt: the packed modules: there are none\n"


def test_it_starts_wherever_the_kernel_puts_the_rest(launcher: str) -> None:
    """Libraries, heap and stack are elsewhere each time, and with setarch -R always at the same place."""
    for _ in range(20):
        subprocess.run([launcher, "features"], stdout=subprocess.DEVNULL, check=True)
    subprocess.run(["setarch", "-R", launcher, "features"], stdout=subprocess.DEVNULL, check=True)


def test_a_program_without_its_data_says_so_and_reads_nothing(tmp_path: Path) -> None:
    """As one that was stripped by a tool that does not know better; of a directory that it is told it takes no code."""
    (tmp_path / "list/ocirt/_bin").mkdir(parents=True)
    (tmp_path / "list/ocirt/_bin/hot.bin").write_bytes(b"none")
    done = subprocess.run([RAW, "list"], capture_output=True, text=True, cwd=tmp_path, check=False)
    lost = "ocirt: corrupt executable: the embedded snapshot is missing: reinstall ocirt\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", lost)


@pytest.mark.parametrize("command", ["strip -s", "strip -g", "objcopy --remove-section=.comment"])
def test_a_program_that_is_stripped_still_runs(launcher: str, command: str) -> None:
    """Packages of distributions are."""
    program = Path(launcher).with_name(f"stripped-{os.getpid()}")  # beside the package
    shutil.copy(launcher, program)
    try:
        subprocess.run([*command.split(), program], check=True)
        assert subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    finally:
        program.unlink()


PRELOADED = """
#include <pthread.h>
#include <stdio.h>
static pthread_key_t key;
__attribute__((constructor)) static void take(void) { pthread_key_create(&key, 0); pthread_setspecific(key, &key); }
__attribute__((destructor)) static void tell(void) { fprintf(stderr, "%s", pthread_getspecific(key) == &key
	? "" : "lost"); }
"""


def test_a_preloaded_library_keeps_what_it_has(launcher: str, tmp_path: Path) -> None:
    """Agents take a key for their threads before CPython would take the same."""
    (tmp_path / "agent.c").write_text(PRELOADED)
    agent = tmp_path / "agent.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", agent, tmp_path / "agent.c"], check=True)
    done = subprocess.run(
        [launcher, "--version"], env={"LD_PRELOAD": str(agent)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("ocirt version")
    assert done.stderr == ""


def test_the_build_is_made_again_for_another_library(tmp_path: Path) -> None:
    """Of the same name, and older than what was built: as after an update."""
    command = [sys.executable, "-c", FORGETTING, str(tmp_path)]
    setup = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=True)
    assert setup.stdout.split() == ["True", "False", "True"]


FORGETTING = """
import os, sys
text = open("setup.py").read().split("\\nsetup(")[0]
names = {"__file__": os.path.abspath("setup.py"), "__name__": "setup"}
exec(text, names)
target, archive = sys.argv[1] + "/program", sys.argv[1] + "/lib.a"
open(archive, "w").close()
names["forget_if_changed"](target, ["cc", archive])
open(target, "w").close()
names["forget_if_changed"](target, ["cc", archive])
print(os.path.exists(target))
os.utime(archive, (1, 1))
names["forget_if_changed"](target, ["cc", archive])
print(os.path.exists(target))
open(target, "w").close()
names["forget_if_changed"](target, ["cc", archive])
print(os.path.exists(target))
"""
