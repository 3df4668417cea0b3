"""Operations of perform/cgroup.c and limit.c on the hierarchies that the kernel has mounted."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from errno import EBUSY, EINVAL, ENOTEMPTY
from pathlib import Path

import pytest

from ocirt import cgroup
from ocirt.cgroup import host_steps
from ocirt.linux._kernel import lib
from ocirt.plan import host_ops
from tests.performances import go_on, perform, performance

WRITABLE = [h for h in cgroup.hierarchies() if os.access(h.mount, os.W_OK)]
COUNTER = itertools.count()

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not WRITABLE, reason="no writable cgroup hierarchy"),
]


@pytest.fixture
def paths() -> Iterator[list[str]]:
    """A container's cgroups, not made yet; at the end they are gone with their parents."""
    name = f"/ocirt-perform-{os.getpid()}-{next(COUNTER)}"
    found = [f"{h.mount}{name}/c" for h in WRITABLE]
    yield found
    cgroup.kill(found)
    if any(map(frozen, found)):
        cgroup.thaw(found)
    cgroup.remove(found, made=[os.path.dirname(path) for path in found])
    assert not [path for path in found if os.path.exists(os.path.dirname(path))]


def frozen(path: str) -> bool:
    return os.path.exists(path) and cgroup.frozen([path])


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A process of nobody's."""
    process = subprocess.Popen(["sleep", "60"])
    yield process.pid
    process.kill()
    process.wait()


def memberships(pid: int) -> set[str]:
    return {line.split(":", 2)[2] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()}


def home(paths: list[str], controller: str) -> str:
    """The path in the hierarchy of a controller of v1."""
    for path, hierarchy in zip(paths, WRITABLE, strict=True):
        if controller in hierarchy.controllers.split(","):
            return path
    pytest.skip(f"this host has no {controller} on cgroup v1")


def test_a_process_enters_cgroups_that_were_made_and_they_are_in_use_then(paths: list[str], sleeper: int) -> None:
    with performance() as p:
        p.numbers[lib.PERFORM_FIRST] = sleeper
        ops = host_steps.make(paths, WRITABLE, "")
        assert go_on(p, *ops, *[host_ops.attach("", path, 0) for path in paths]) == 0
        own = "/" + "/".join(paths[0].split("/")[-2:])
        assert own in memberships(sleeper)
        for path in paths:
            assert Path(path, "cgroup.procs").read_text().split() == [str(sleeper)], path
            assert go_on(p, host_ops.make_cgroup("", path)) == -ENOTEMPTY
        p.numbers[lib.PERFORM_FIRST] = 0  # it is not its to reap


def test_cgroups_that_are_empty_can_be_used_again(paths: list[str]) -> None:
    ops = [host_ops.make_cgroup("", path) for path in paths]
    assert perform(*ops) == perform(*ops) == 0


@pytest.mark.parametrize("version", [1, 2])
def test_a_frozen_cgroup_is_refused_and_so_is_one_below_it(paths: list[str], version: int) -> None:
    at = [path for path, h in zip(paths, WRITABLE, strict=True) if h.version == version]
    if version == 1:
        at = [home(paths, "freezer")]
    if not at:
        pytest.skip("this host has no cgroup v2")
    below = host_ops.make_cgroup("", f"{at[0]}/below")
    assert perform(below, host_ops.refuse_frozen("", f"{at[0]}/below", version)) == 0
    cgroup.freeze(at[:1])
    for path in (at[0], f"{at[0]}/below"):
        assert perform(host_ops.refuse_frozen("", path, version)) == -EBUSY


def test_a_threaded_cgroup_is_refused(paths: list[str]) -> None:
    if WRITABLE[0].version != 2:
        pytest.skip("this host has no cgroup v2")
    path = f"{paths[0]}/threaded"
    assert perform(host_ops.make_cgroup("", path)) == 0
    Path(path, "cgroup.type").write_text("threaded")
    assert perform(host_ops.refuse_frozen("", path, 2)) == -EBUSY
    assert perform(host_ops.make_cgroup("", path)) == 0, "its cgroup.procs can't be read, and that is no process"
    assert perform(host_ops.refuse_frozen("", paths[0], 2)) == 0, "the domain of threaded cgroups is no part of them"


def test_limits_are_in_force_in_the_order_that_the_kernel_wants(paths: list[str]) -> None:
    memory = home(paths, "memory")
    assert perform(host_ops.make_cgroup("", memory)) == 0
    files = [
        file for file in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes") if os.path.exists(f"{memory}/{file}")
    ]
    for limit in (1 << 24, 1 << 28, 1 << 26):  # up or down, one of the two orders is EINVAL
        writes = [host_ops.write_limit("", memory, file, str(limit), 1) for file in files]
        assert perform(host_ops.try_again("", len(writes)), *writes) == 0
        assert [Path(memory, file).read_text() for file in files] == [f"{limit}\n" for _ in files]


def test_device_rules_are_in_force_up_to_the_one_that_is_refused(paths: list[str]) -> None:
    path = home(paths, "devices")
    assert perform(host_ops.make_cgroup("", path), host_ops.device_rules("", path, "devices.deny", ["a"], [""], 1)) == 0
    with performance() as p:
        lines = ["c 1:3 rw", "c 1:5 r", "c one:5 r", "c 1:7 r"]
        assert go_on(p, host_ops.device_rules("", path, "devices.allow", lines, [""] * 4, 1)) == -EINVAL
        assert p.numbers[lib.PERFORM_DETAIL] == 2
    assert Path(path, "devices.list").read_text() == "c 1:3 rw\nc 1:5 r\n"
