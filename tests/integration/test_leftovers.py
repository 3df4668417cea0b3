"""The oracle of left-overs finds what it must: else every other test here proves less than it says."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.integration import leftovers
from tests.integration.support import Runtime, wait_for


@pytest.fixture
def leaky() -> Runtime:
    """A runtime that is never run, for tests that leave things in its name."""
    scratch = Path(tempfile.mkdtemp(prefix="ocirt-test-"))
    return Runtime("false", scratch, f"leak{os.getpid()}n")


def found(leaky: Runtime) -> list[str]:
    """What the oracle says, and that it says nothing the second time."""
    first = leftovers.leave_nothing(leaky, [])
    assert leftovers.leave_nothing(leaky, []) == []
    return first


def test_nothing_is_found_where_nothing_is_left(leaky: Runtime) -> None:
    assert found(leaky) == []


def test_an_orphan_is_found_and_killed(leaky: Runtime) -> None:
    script = "sleep 600 >/dev/null 2>&1 & echo $!"
    shell = subprocess.run(["sh", "-c", script], capture_output=True, check=True, text=True, timeout=30)
    pid = shell.stdout.strip()
    assert found(leaky) == [f"process {pid}: sleep 600"]
    assert not Path(f"/proc/{pid}").exists()


def test_an_exited_orphan_is_not_a_leftover_and_is_reaped(leaky: Runtime) -> None:
    subprocess.run(["sh", "-c", "true &"], check=True)
    (orphan,) = leftovers.children()
    wait_for(lambda: ") Z " in Path(f"/proc/{orphan}/stat").read_text(), "the orphan's exit")
    assert found(leaky) == []
    assert leftovers.children() == []


def test_a_mount_is_found_and_undone(leaky: Runtime) -> None:
    target = leaky.scratch / "target"
    target.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(target)], check=True)
    assert found(leaky) == [f"mount: {target}"]
    assert str(target) not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.cgroup
def test_a_cgroup_is_found_and_removed(leaky: Runtime) -> None:
    hierarchies = [path.parent for path in Path("/sys/fs/cgroup").glob("**/cgroup.procs") if len(path.parts) < 7]
    parent = next(path for path in hierarchies if os.access(path, os.W_OK))
    cgroup = parent / f"{leaky.prefix}-1"
    cgroup.mkdir()
    assert found(leaky) == [f"cgroup: {cgroup}"]
    assert not cgroup.exists()


def test_a_state_directory_is_found_and_removed(leaky: Runtime) -> None:
    (leaky.root / "box").mkdir(parents=True)
    assert found(leaky) == ["state: box"]
    assert not leaky.root.exists()


def test_an_open_file_is_seen(leaky: Runtime) -> None:
    before = leftovers.open_fds()
    fd = os.open("/dev/null", os.O_RDONLY)
    try:
        assert {what for name, what in leftovers.open_fds().items() if name not in before} == {"/dev/null"}
    finally:
        os.close(fd)
    assert wait_for(lambda: leftovers.open_fds().keys() == before.keys(), "closed")
    assert found(leaky) == []
