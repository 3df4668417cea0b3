"""linux.resources: each limit as the kernel shows it, set at create and by update; and limits that bite."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import leftovers, limits_table
from tests.integration.limits_table import Refused, Row, Shown, at_the_top, shows
from tests.integration.support import Container, Runtime
from tests.integration.views import MakeBundle

MIB = 1 << 20

pytestmark = pytest.mark.cgroup

IDS = [f"{row.pointer}-{index}" for index, row in enumerate(limits_table.ROWS)]
ASLEEP = ["sleep", "600"]


@pytest.fixture(scope="module", autouse=True)
def scheduler() -> Iterator[None]:
    """The device that the rows limit has the scheduler that knows weights."""
    device = limits_table.loop()
    if not device:
        yield
        return
    file = device / "queue/scheduler"
    before = file.read_text().split("[")[1].split("]")[0]
    file.write_text("bfq")
    yield
    file.write_text(before)


def expected(row: Row) -> Shown | Refused:
    """What is to be seen on this host; skips where the host lacks a disk."""
    if "DISK" in str(row.resources) and not limits_table.disk():
        pytest.skip("no block device that could be limited")
    if "weightDevice" in str(row.resources) and not limits_table.loop():
        pytest.skip("no idle block device with the scheduler bfq")
    version = limits_table.version(row)
    if version == 0:
        return Refused(f'needs the cgroup controller "{row.controllers[0] or row.controllers[1]}"')
    return row.v1 if version == 1 else row.v2


def judge(row: Row, error: str, words: str) -> None:
    """A refusal is one line that names the field and the reason."""
    pointer = row.pointer.split("*")[0].rstrip("/")
    assert pointer in error, error
    assert words in error, error
    assert error.count("\n") == 1, error


def test_the_table_has_every_limit_of_the_schema(project: Path) -> None:
    rows = {row.pointer for row in limits_table.ROWS}
    assert rows == limits_table.properties(project)
    for file in limits_table.ELSEWHERE.values():
        assert (Path(__file__).parent / file).exists()


@pytest.mark.parametrize("row", limits_table.ROWS, ids=IDS)
def test_create_sets_the_limit(row: Row, runtime: Runtime, make_bundle: MakeBundle) -> None:
    want = expected(row)
    name = runtime.new_id()
    resources = limits_table.with_disk(row.resources)
    bundle = make_bundle(args=ASLEEP, linux={**at_the_top(name), "resources": resources})
    if isinstance(want, Shown):
        shows(runtime.create(bundle, container_id=name), want)
        return
    failed = runtime.run("create", "--bundle", str(bundle.path), name, check=False)
    judge(row, failed.stderr, want.words)
    assert "config.json: /linux/resources" in failed.stderr


@pytest.mark.parametrize("row", limits_table.ROWS, ids=IDS)
def test_update_sets_the_limit(row: Row, runtime: Runtime, make_bundle: MakeBundle) -> None:
    want = expected(row)
    name = runtime.new_id()
    container = runtime.create(make_bundle(args=ASLEEP, linux=at_the_top(name)), container_id=name)
    document = json.dumps(limits_table.with_disk(row.resources)).encode()
    if isinstance(want, Shown):
        runtime.run("update", "--resources", "-", name, stdin=document, check=True)
        shows(container, want)
        return
    failed = runtime.run("update", "--resources=-", name, stdin=document, check=False)
    judge(row, failed.stderr, want.words)
    assert "ocirt: resources: /" in failed.stderr


MOUNTED = """
mount -t cgroup -o net_cls,net_prio ocirt-test "$1" || exit 77
"$2" --root "$3" create --bundle "$4" "$5" </dev/null && cat "$1/$5/net_cls.classid" "$1/$5/net_prio.ifpriomap"
"$2" --root "$3" delete --force "$5"
"""


def active(controller: str) -> bool:
    """Whether some v1 hierarchy has the controller, mounted or not yet gone (proc_cgroups: field 2)."""
    lines = [line.split() for line in Path("/proc/cgroups").read_text().splitlines()]
    return any(fields[0] == controller and fields[1] != "0" for fields in lines)


@pytest.fixture
def unused_controllers(tmp_path: Path) -> Iterator[Path]:
    """A mount point for net_cls and net_prio, which v1 alone has and hosts do not mount any more."""
    if "net_cls" not in Path("/proc/cgroups").read_text() or active("net_cls") or active("net_prio"):
        pytest.skip("net_cls or net_prio are in use, or the kernel lacks them")
    yield tmp_path
    for pid in leftovers.children():
        leftovers.reap(pid)  # a dead process keeps its cgroup, and that the hierarchy
    for _ in range(10):  # which outlives its mount where a cgroup of it is not gone yet: the next unmount ends it
        for _ in range(10):
            if not active("net_cls"):
                return
            time.sleep(0.1)
        again = 'mount -t cgroup -o net_cls,net_prio ocirt-test "$1"; sleep 0.2'
        subprocess.run(["unshare", "-m", "sh", "-c", again, "sh", str(tmp_path)], check=False)
    raise AssertionError("the hierarchy of net_cls does not go away")


def test_packets_are_tagged_where_the_controllers_are_mounted_after_all(
    unused_controllers: Path, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    name = runtime.new_id()
    network = {"classID": 1048577, "priorities": [{"name": "lo", "priority": 5}]}
    bundle = make_bundle(args=ASLEEP, linux={**at_the_top(name), "resources": {"network": network}})
    script = ["unshare", "-m", "sh", "-c", MOUNTED, "sh", str(unused_controllers)]
    with (runtime.scratch / "mounted").open("wb") as out:
        done = subprocess.run(
            [*script, runtime.program, str(runtime.root), str(bundle.path), name], stdout=out, stderr=out, check=False
        )
    if done.returncode == 77:
        pytest.skip("the kernel does not mount net_cls and net_prio")
    lines = (runtime.scratch / "mounted").read_text().splitlines()
    assert done.returncode == 0, lines
    assert "1048577" in lines
    assert "lo 5" in lines


# -- limits that bite --------------------------------------------------------------------------------------------------


def test_a_container_over_its_number_of_tasks_cannot_fork(runtime: Runtime, make_bundle: MakeBundle) -> None:
    script = "sleep 9 & sleep 9 & sleep 9 & sleep 9 & echo all"
    bundle = make_bundle(args=["sh", "-c", script], linux={"resources": {"pids": {"limit": 3}}})
    done = runtime.run_container(bundle)
    assert done.code != 0
    assert "can't fork" in done.stderr
    assert "all" not in done.stdout


def test_no_task_at_all_is_a_limit_too(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """config-linux.md, "PIDs": 0 is no "unlimited". The process itself is there already."""
    script = "echo here; sleep 0 & echo forked"
    bundle = make_bundle(args=["sh", "-c", script], linux={"resources": {"pids": {"limit": 0}}})
    done = runtime.run_container(bundle)
    assert done.stdout == "here\n"
    assert "can't fork" in done.stderr


def test_a_container_over_its_memory_is_killed(runtime: Runtime, make_bundle: MakeBundle) -> None:
    resources = {"memory": {"limit": 16 * MIB, "swap": 16 * MIB}}
    bundle = make_bundle(
        args=["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"], linux={"resources": resources}
    )
    container = runtime.create(bundle)
    container.start()
    container.wait_stopped()
    counts = container.cgroup_file("memory.oom_control") or container.cgroup_file("memory.events")
    assert "oom_kill 1" in counts.splitlines()


def cpu_seconds(container: Container) -> float:
    """CPU time that its processes have had."""
    if text := container.cgroup_file("cpuacct.usage"):
        return int(text) / 1e9
    lines = dict(line.split() for line in container.cgroup_file("cpu.stat").splitlines())
    return int(lines["usage_usec"]) / 1e6


def test_a_quota_holds_cpu_time_to_its_share(runtime: Runtime, make_bundle: MakeBundle) -> None:
    resources = {"cpu": {"quota": 2000, "period": 20000}}
    loop = ["sh", "-c", "while :; do :; done"]
    container = runtime.create(make_bundle(args=loop, linux={"resources": resources}))
    container.start()
    begin, begin_cpu = time.monotonic(), cpu_seconds(container)
    time.sleep(1)
    share = (cpu_seconds(container) - begin_cpu) / (time.monotonic() - begin)
    assert share < 0.15  # a tenth, and what a period more or less makes
    statistics = "".join(
        (path / "cpu.stat").read_text() for path in container.cgroups() if (path / "cpu.stat").exists()
    )
    assert int(statistics.split("nr_throttled ")[1].split()[0]) > 0


def test_a_container_with_one_mebibyte_runs_true(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """The runtime's own memory must not be charged to the container."""
    resources = {"memory": {"limit": MIB, "swap": MIB}}
    runtime.run_container(make_bundle(args=["true"], linux={"resources": resources}), check=True)
