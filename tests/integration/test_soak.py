"""Many containers, one after another and all at once: nothing is left of them, and nothing grows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.leftovers import cgroups_named, children, reap
from tests.integration.support import Bundle, Runtime, wait_for
from tests.integration.views import MakeBundle

pytestmark = pytest.mark.slow

CYCLES = 1000
ALIVE = 200

CHURN = f"""
import os, sys, ocirt

def measure():
    with open("/proc/self/status") as file:
        status = dict(line.split(":", 1) for line in file)
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), int(status["VmRSS"].split()[0])

root, bundle, container_id = sys.argv[1:]
runtime = ocirt.Runtime(root)
for n in range({CYCLES}):
    if n == 50:
        before = measure()
    container = runtime.create(container_id, bundle)
    pid = container.pid
    container.delete(force=True)
    os.waitpid(pid, 0)
after = measure()
assert after[:2] == before[:2], "descriptors or threads: %r, %r" % (before, after)
assert after[2] - before[2] < 1024, "KiB of memory: %r, %r" % (before, after)
"""

# As "sh -c LOOP program root bundle id"
LOOP = f"""
i=0
while [ $i -lt {CYCLES // 2} ]; do
    i=$((i + 1))
    "$0" --root "$1" create --bundle "$2" "$3"
    "$0" --root "$1" delete --force "$3"
done
"""


def mounts() -> int:
    """How many this process sees."""
    return len(Path("/proc/self/mountinfo").read_text().splitlines())


def assert_nothing_is_left(runtime: Runtime, mounts_before: int) -> None:
    assert mounts() == mounts_before
    assert cgroups_named(runtime.prefix) == []
    assert list(runtime.root.iterdir()) == []


def small(make_bundle: MakeBundle) -> Bundle:
    return make_bundle(args=["sleep", "600"])


def test_a_thousand_containers_of_one_python_program_leave_nothing_and_it_does_not_grow(
    runtime: Runtime, make_bundle: MakeBundle, project: Path
) -> None:
    mounts_before = mounts()
    argv = [sys.executable, "-c", CHURN, str(runtime.root), str(small(make_bundle).path), runtime.new_id()]
    environment = {**os.environ, "PYTHONPATH": str(project)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_nothing_is_left(runtime, mounts_before)


def test_a_thousand_containers_of_the_command_line_leave_nothing(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """Half of them by either of two shells, so that they come and go at once."""
    bundle, mounts_before, before = str(small(make_bundle).path), mounts(), children()
    argv = ["sh", "-euc", LOOP, runtime.program, str(runtime.root), bundle]
    names = [runtime.new_id(), runtime.new_id()]
    shells = [subprocess.Popen([*argv, name], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for name in names]
    try:
        assert [shell.wait(150) for shell in shells] == [0, 0]
    finally:
        for shell in shells:
            shell.kill()
    wait_for(lambda: all(pid in before or reap(pid) for pid in children()), "the end of the orphans")
    assert_nothing_is_left(runtime, mounts_before)


def test_two_hundred_containers_live_at_once_and_all_are_deleted(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle, ids = str(small(make_bundle).path), [runtime.new_id() for _ in range(ALIVE)]
    mounts_before = mounts()
    before = children()
    try:
        for container_id in ids:
            argv = ("run", "--detach", "--bundle", bundle, container_id)
            assert runtime.popen(*argv, stem=runtime.scratch / container_id).wait(30) == 0
        listed = runtime.run("list", "--format=json", check=True).json()
        assert {entry["id"] for entry in listed if entry["status"] == "running"} == set(ids)
        assert len({entry["pid"] for entry in listed}) == ALIVE
    finally:
        for container_id in ids:
            runtime.popen("delete", "--force", container_id).wait(30)
    wait_for(lambda: all(pid in before or reap(pid) for pid in children()), "their processes' end")
    assert_nothing_is_left(runtime, mounts_before)
