"""The cgroup layer against the hierarchies that the kernel has mounted; everything made here is removed here."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocirt import cgroup
from ocirt.errors import ContainerError, OcirtError, SystemCallError
from tests import cgroups

HS = cgroup.hierarchies()
WRITABLE = [h for h in HS if os.access(h.mount, os.W_OK)]

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not WRITABLE, reason="no writable cgroup hierarchy"),
]

COUNTER = itertools.count()


def views() -> dict[str, list[cgroup.Hierarchy]]:
    """Return what hosts of other layouts would have, as subsets of what this one has; empty where it lacks them."""
    v1 = [h for h in WRITABLE if h.version == 1]
    without = [h for h in v1 if h.controllers.split(",")[0] in {"pids", "devices", "name=systemd"}]
    freezer = [h for h in v1 if "freezer" in h.controllers]
    return {
        "all": WRITABLE,
        "v2": [h for h in WRITABLE if h.version == 2],
        "v1": v1 if freezer else [],
        "v1 without freezer": without,
    }


class Cgroup:
    """A container's cgroups under a name of their own, with processes to put in."""

    def __init__(self, hs: list[cgroup.Hierarchy]) -> None:
        self.name = f"/ocirt-test-{os.getpid()}-{next(COUNTER)}"
        self.hs = hs
        self.paths = cgroup.paths_for(self.name + "/c", "", hs)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.made = cgroups.create(self.paths)

    def run(self, *argv: str, paths: list[str] | None = None) -> subprocess.Popen[bytes]:
        """Start a process and put it in; it execs `argv` only then."""
        wait = ["/bin/sh", "-c", 'read -r go; exec "$@"', "sh", *argv]
        process = subprocess.Popen(wait, stdin=subprocess.PIPE, start_new_session=True)
        self.processes.append(process)
        cgroups.attach(self.paths if paths is None else paths, process.pid)
        assert process.stdin
        process.stdin.write(b"go\n")
        process.stdin.close()
        return process

    def sub(self, name: str) -> list[str]:
        paths = [f"{path}/{name}" for path in self.paths]
        cgroups.create(paths)
        return paths

    def clean(self) -> None:
        for path in self.paths:  # each hierarchy alone, whatever a test froze or left where
            cgroup.kill([path])
            if cgroups.freezers([path]):
                cgroup.thaw([path])
        for process in self.processes:
            process.kill()
            process.wait(10)
        cgroup.remove(self.paths, made=self.made)

    def left(self) -> list[str]:
        return [h.mount + self.name for h in self.hs if os.path.exists(h.mount + self.name)]


@pytest.fixture(params=["all", "v2", "v1", "v1 without freezer"])
def box(request: pytest.FixtureRequest) -> Iterator[Cgroup]:
    yield from made_of(views()[request.param], request.param)


@pytest.fixture(params=["v2", "v1"])
def freezable(request: pytest.FixtureRequest) -> Iterator[Cgroup]:
    yield from made_of(views()[request.param], request.param)


@pytest.fixture
def full() -> Iterator[Cgroup]:
    yield from made_of(WRITABLE, "all")


def made_of(hs: list[cgroup.Hierarchy], name: str) -> Iterator[Cgroup]:
    if not hs:
        pytest.skip(f"this host has no writable {name} hierarchies")
    box = Cgroup(hs)
    try:
        yield box
    finally:
        box.clean()
    assert box.left() == []


def until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def ignored(pid: int) -> int:
    """The signals that a process ignores, as bits (proc_pid_status(5))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("SigIgn:"))


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_container_is_in_its_own_cgroup_in_every_hierarchy(full: Cgroup) -> None:
    process = full.run("sleep", "60")
    lines = Path(f"/proc/{process.pid}/cgroup").read_text().splitlines()
    at = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in lines}
    assert {h.controllers: at[h.controllers] for h in WRITABLE} == {h.controllers: full.name + "/c" for h in WRITABLE}


def test_the_hosts_hierarchies_are_those_of_mountinfo() -> None:
    mounted = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup" in line}
    assert {h.mount for h in HS} <= mounted
    assert len({h.mount for h in HS}) == len(HS)


def test_nothing_is_left_after_remove_not_even_parents(box: Cgroup) -> None:
    box.run("sleep", "60")
    box.sub("inner")
    cgroup.kill(box.paths)
    cgroup.remove(box.paths, made=box.made)
    assert box.left() == []


def test_the_default_parent_goes_with_the_last_container_whoever_made_it() -> None:
    above = f"/ocirt-test-{os.getpid()}-{next(COUNTER)}"
    one, two = [cgroup.paths_for(f"{above}/{cgroup.DEFAULT_PARENT}/{name}", "", WRITABLE) for name in ("one", "two")]
    made_one = cgroups.create(one)
    made_two = cgroups.create(two)
    cgroup.remove(one, made=made_one)
    assert all(os.path.isdir(path) for path in two)
    cgroup.remove(two, made=made_two)
    for h in WRITABLE:
        os.rmdir(h.mount + above)  # fails where the default parent is there


def test_containers_that_come_and_go_at_once_share_a_parent_without_failing() -> None:
    parent = f"/ocirt-test-{os.getpid()}-{next(COUNTER)}"
    hs = WRITABLE[:2]
    children: list[int] = []
    for number in range(3):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for turn in range(40):
                    paths = cgroup.paths_for(f"{parent}/{number}-{turn}", "", hs)
                    made = [*cgroups.create(paths), *(h.mount + parent for h in hs)]
                    cgroup.remove(paths, made=made)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0, 0, 0]
    assert [h.mount for h in hs if os.path.exists(h.mount + parent)] == []


def test_a_cgroup_with_a_process_is_refused_for_another_container(full: Cgroup) -> None:
    process = full.run("sleep", "60", paths=full.sub("inner"))
    with pytest.raises(ContainerError, match=f"is not empty, it holds process {process.pid}$"):
        cgroups.create(full.paths)


def test_a_create_that_fails_half_way_leaves_only_what_was_there(full: Cgroup) -> None:
    if len(full.paths) < 2:
        pytest.skip("needs two hierarchies")
    full.run("sleep", "60")
    fresh = f"{WRITABLE[0].mount}{full.name}/x/y"
    with pytest.raises(ContainerError):
        cgroups.create([fresh, full.paths[1]])
    assert not os.path.exists(os.path.dirname(fresh))
    assert os.path.isdir(full.paths[1])


def test_a_frozen_cgroup_is_refused_and_so_is_one_in_a_frozen_parent(freezable: Cgroup) -> None:
    cgroup.freeze(freezable.paths)
    for paths in (freezable.paths, [path + "/new" for path in freezable.paths]):
        with pytest.raises(ContainerError, match="is frozen"):
            cgroups.create(paths)
    cgroup.thaw(freezable.paths)
    assert [path for path in freezable.paths if os.path.exists(path + "/new")] == []


def test_a_cpuset_can_be_entered_however_deep(full: Cgroup) -> None:
    deep = full.sub("a/b/c")
    process = full.run("sleep", "60", paths=deep)
    assert cgroup.pids(full.paths) == [process.pid]
    for path in deep:
        if os.path.exists(path + "/cpuset.cpu_exclusive"):
            assert Path(path, "cpuset.cpus").read_text().strip() != ""


def test_members_of_all_levels_are_listed_once(box: Cgroup) -> None:
    outer = box.run("sleep", "60")
    inner = box.run("sleep", "60", paths=box.sub("in/ner"))
    assert sorted(cgroup.pids(box.paths)) == sorted([outer.pid, inner.pid])


def test_attaching_a_process_that_is_gone_is_an_error(box: Cgroup) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    with pytest.raises(SystemCallError, match=f"^move process {process.pid} into cgroup"):
        cgroups.attach(box.paths, process.pid)


def test_sigkill_reaches_every_process_of_every_level(box: Cgroup) -> None:
    outer = box.run("sh", "-c", "sleep 60 & sleep 60")
    inner = box.run("sleep", "60", paths=box.sub("inner"))
    assert until(lambda: len(cgroup.pids(box.paths)) >= 3)
    cgroup.kill(box.paths)
    assert outer.wait(10) == inner.wait(10) == -signal.SIGKILL
    assert until(lambda: cgroup.pids(box.paths) == [])


def test_sigkill_leaves_no_survivor_of_processes_that_fork_all_the_time(box: Cgroup) -> None:
    for _ in range(3):
        box.run("sh", "-c", "while :; do (:) & wait; done")
    assert until(lambda: len(cgroup.pids(box.paths)) >= 3)
    cgroup.kill(box.paths)
    cgroup.remove(box.paths, 5.0)
    assert [process.wait(10) for process in box.processes] == [-signal.SIGKILL] * 3


def test_another_signal_reaches_all_and_leaves_the_cgroup_running(box: Cgroup) -> None:
    processes = [box.run("sleep", "60"), box.run("sleep", "60", paths=box.sub("inner"))]
    survivor = box.run("sh", "-c", "trap '' TERM; while :; do :; done")
    assert until(lambda: ignored(survivor.pid) & 1 << signal.SIGTERM - 1 > 0)
    cgroup.kill(box.paths, signal.SIGTERM)
    assert [process.wait(10) for process in processes] == [-signal.SIGTERM] * 2
    before = cpu_ticks(survivor.pid)
    assert until(lambda: cpu_ticks(survivor.pid) > before)
    assert not cgroup.frozen(box.paths)


def test_signal_0_changes_nothing(box: Cgroup) -> None:
    process = box.run("sleep", "60")
    cgroup.kill(box.paths, 0)
    assert process.poll() is None


def test_killing_an_empty_or_removed_cgroup_is_no_error(box: Cgroup) -> None:
    cgroup.kill(box.paths)
    cgroup.remove(box.paths)
    cgroup.kill(box.paths)
    assert cgroup.pids(box.paths) == []


def test_frozen_processes_stand_still_until_thawed(freezable: Cgroup) -> None:
    process = freezable.run("sh", "-c", "while :; do :; done")
    assert until(lambda: cpu_ticks(process.pid) > 0)
    cgroup.freeze(freezable.paths)
    assert cgroup.frozen(freezable.paths)
    before = cpu_ticks(process.pid)
    time.sleep(0.05)
    assert cpu_ticks(process.pid) == before
    cgroup.thaw(freezable.paths)
    assert not cgroup.frozen(freezable.paths)
    assert until(lambda: cpu_ticks(process.pid) > before)


def test_the_freezer_file_says_what_frozen_says(freezable: Cgroup) -> None:
    file = Path(cgroups.freezers(freezable.paths)[0])
    freezable.run("sleep", "60")
    told = []
    for act in (cgroup.freeze, cgroup.thaw):
        act(freezable.paths)
        text = file.read_text()
        told.append("frozen 1\n" in text or text == "FROZEN\n")
    assert told == [True, False]


def test_a_paused_container_stays_paused_for_a_signal_but_dies_of_sigkill(freezable: Cgroup) -> None:
    process = freezable.run("sh", "-c", "trap '' USR1; while :; do :; done")
    assert until(lambda: ignored(process.pid) & 1 << signal.SIGUSR1 - 1 > 0)
    cgroup.freeze(freezable.paths)
    cgroup.kill(freezable.paths, signal.SIGUSR1)
    assert cgroup.frozen(freezable.paths)
    cgroup.kill(freezable.paths)
    assert process.wait(10) == -signal.SIGKILL
    cgroup.remove(freezable.paths, 5.0)


def test_remove_waits_for_processes_that_are_about_to_be_gone(box: Cgroup) -> None:
    box.run("sleep", "0.2")
    begin = time.monotonic()
    cgroup.remove(box.paths, 10.0)
    assert [path for path in box.paths if os.path.exists(path)] == []
    assert time.monotonic() - begin < 5


def test_remove_names_the_process_that_holds_a_cgroup_and_touches_it_not(box: Cgroup) -> None:
    process = box.run("sleep", "60", paths=box.sub("inner"))
    with pytest.raises(
        SystemCallError, match=rf"^rmdir .* \(held by process {process.pid}\): device or resource busy$"
    ):
        cgroup.remove(box.paths, 0.02)
    assert process.poll() is None


def test_cgroups_nested_deeper_than_a_path_can_say_are_removed() -> None:
    box = Cgroup(WRITABLE[:1])
    fd = os.open(box.paths[0], os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=fd)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    box.clean()
    assert box.left() == []


def test_without_privileges_nothing_is_made_and_nothing_fails() -> None:
    paths = cgroup.paths_for(None, f"test-{os.getpid()}-{next(COUNTER)}", HS)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            made = cgroups.create(paths)
            cgroups.attach(paths, os.getpid())
            cgroup.kill(paths)
            cgroup.remove(paths, made=made)
            code = 2 if made else 0
        except OcirtError:
            code = 3
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [path for path in paths if os.path.exists(path)] == []
