"""quick_delete on real cgroups: EBUSY comes and goes there as on no other filesystem."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocirt.container import delete, kill, state
from ocirt.linux._kernel import lib
from tests.unit.container.conftest import is_zombie, wait_until

pytestmark = [pytest.mark.root, pytest.mark.cgroup]
Make = Callable[..., state.State]


@pytest.fixture
def parent() -> Iterator[Path]:
    """A cgroup of the test's own."""
    hierarchies = [path.parent for path in Path("/sys/fs/cgroup").glob("*/cgroup.procs")] or [Path("/sys/fs/cgroup")]
    path = min(hierarchies, key=lambda path: path.name != "pids") / f"ocirt-test-{os.getpid()}"
    path.mkdir()
    yield path
    for directory in sorted(path.rglob("*/"), reverse=True):
        directory.rmdir()
    if path.exists():
        path.rmdir()


def test_delete_waits_for_processes_that_are_leaving(
    root: str, make: Make, sleeper: Callable[[], int], parent: Path
) -> None:
    own = parent / "web"
    own.mkdir()
    late = sleeper()
    (own / "cgroup.procs").write_text(str(late))
    make("web", cgroups=[str(own)], made=[str(own), str(parent)])
    threading.Timer(0.1, os.kill, (late, signal.SIGKILL)).start()
    assert lib.quick_delete(root.encode(), b"web", 0) == lib.QUICK_DONE
    assert is_zombie(late)
    assert not parent.exists()
    assert os.listdir(root) == []


def test_cgroups_that_the_container_made_below_its_own_are_removed_as_well(root: str, make: Make, parent: Path) -> None:
    own = parent / "web"
    (own / "inner/most").mkdir(parents=True)
    make("web", cgroups=[str(own)], made=[str(own), str(parent)])
    begin = time.monotonic()
    assert lib.quick_delete(root.encode(), b"web", 0) == lib.QUICK_PYTHON
    assert time.monotonic() - begin < 0.5
    delete.delete(root, "web")
    assert not parent.exists()
    assert os.listdir(root) == []


def test_what_shares_the_pid_namespace_is_killed_with_the_container(
    root: str, make: Make, sleeper: Callable[[], int], parent: Path
) -> None:
    own = parent / "web"
    own.mkdir()
    first, other = sleeper(), sleeper()
    for pid in (first, other):
        (own / "cgroup.procs").write_text(str(pid))
    make("web", pid=first, pid_namespace=False, cgroups=[str(own)], made=[str(own), str(parent)])
    delete.delete(root, "web", force=True)
    wait_until(lambda: is_zombie(first) and is_zombie(other))
    assert not parent.exists()
    assert os.listdir(root) == []


@pytest.mark.parametrize(
    "members",
    [
        {"boot_id": "f00d0000-0000-0000-0000-000000000000"},  # who is there now came after the host's restart
        {"phase": "creating"},  # create was killed before it could see that the cgroup is in use
    ],
)
def test_a_cgroup_that_is_somebody_elses_by_now_keeps_its_processes(
    members: dict[str, str], root: str, make: Make, sleeper: Callable[[], int], parent: Path
) -> None:
    own = parent / "web"
    own.mkdir()
    stranger = sleeper()
    (own / "cgroup.procs").write_text(str(stranger))
    made = [str(own), str(parent)] if "boot_id" in members else []
    for pid_namespace in (False, True):
        make("web", pid_namespace=pid_namespace, cgroups=[str(own)], made=made, **members)
        kill.kill(root, "web", signal.SIGKILL, all=True)
        delete.delete(root, "web", force=True)
        assert os.listdir(root) == []
    assert (own / "cgroup.procs").read_text() == f"{stranger}\n"
    os.kill(stranger, signal.SIGKILL)
    wait_until(lambda: is_zombie(stranger))
