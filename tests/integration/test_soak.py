"""Many containers, one after another and all at once: nothing is left of them, and nothing grows."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.growth import run_program
from tests.integration.leftovers import all_reaped, assert_nothing_is_left, children, count_mounts
from tests.integration.support import Bundle, Runtime, wait_for
from tests.integration.views import MakeBundle

pytestmark = pytest.mark.slow

CYCLES = 1000
ALIVE = 200

CHURN = f"""
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


def small(make_bundle: MakeBundle) -> Bundle:
    return make_bundle(args=["sleep", "600"])


def test_a_thousand_containers_of_one_python_program_leave_nothing_and_it_does_not_grow(
    runtime: Runtime, make_bundle: MakeBundle, project: Path
) -> None:
    mounts_before = count_mounts()
    argv = (runtime.root, small(make_bundle).path, runtime.new_id())
    run_program(CHURN, *argv, project=project, seconds=120)
    assert_nothing_is_left(runtime, mounts_before)


def test_a_thousand_containers_of_the_command_line_leave_nothing(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """Half of them by either of two shells, so that they come and go at once."""
    bundle, mounts_before, before = str(small(make_bundle).path), count_mounts(), children()
    argv = ["sh", "-euc", LOOP, runtime.program, str(runtime.root), bundle]
    names = [runtime.new_id(), runtime.new_id()]
    shells = [subprocess.Popen([*argv, name], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) for name in names]
    try:
        assert [shell.wait(150) for shell in shells] == [0, 0]
    finally:
        for shell in shells:
            shell.kill()
    wait_for(lambda: all_reaped(before), "the end of the orphans")
    assert_nothing_is_left(runtime, mounts_before)


def test_two_hundred_containers_live_at_once_and_all_are_deleted(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle, ids = str(small(make_bundle).path), [runtime.new_id() for _ in range(ALIVE)]
    mounts_before = count_mounts()
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
    wait_for(lambda: all_reaped(before), "their processes' end")
    assert_nothing_is_left(runtime, mounts_before)
