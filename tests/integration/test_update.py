"""`update`: its flags and documents, what it leaves as it is, and changes that the kernel takes in one order only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration import limits_table
from tests.integration.limits_table import Shown, at_the_top, shows
from tests.integration.support import Container, Runtime
from tests.integration.views import MakeBundle

MIB = 1 << 20
ASLEEP = ["sleep", "600"]

pytestmark = pytest.mark.cgroup

FLAGS = [
    (["--pids-limit", "10"], "pids.max", "10", "pids.max", "10"),
    (["--pids-limit=-1"], "pids.max", "max", "pids.max", "max"),
    (["--memory", "50M"], "memory.limit_in_bytes", "52428800", "memory.max", "52428800"),
    (["--memory", "1.5mb"], "memory.limit_in_bytes", "1572864", "memory.max", "1572864"),
    (["--memory-reservation", "16777216"], "memory.soft_limit_in_bytes", "16777216", "memory.low", "16777216"),
    (["--memory=50M", "--memory-swap=60M"], "memory.memsw.limit_in_bytes", "62914560", "memory.swap.max", "10485760"),
    (["--kernel-memory-tcp", "1M"], "memory.kmem.tcp.limit_in_bytes", "1048576", "", "flag --kernel-memory-tcp: "),
    (["--cpu-share", "512"], "cpu.shares", "512", "cpu.weight", "59"),
    (["--cpu-period", "50000"], "cpu.cfs_period_us", "50000", "cpu.max", "max 50000"),
    (["--cpu-quota", "50000"], "cpu.cfs_quota_us", "50000", "cpu.max", "50000 100000"),
    (["--cpu-quota=5000", "--cpu-burst=4000"], "cpu.cfs_burst_us", "4000", "cpu.max.burst", "4000"),
    (["--cpu-idle", "1"], "cpu.idle", "1", "cpu.idle", "1"),
    (["--cpu-rt-period", "500000"], "cpu.rt_period_us", "500000", "", "flag --cpu-rt-period: "),
    (["--cpu-rt-runtime", "3000"], "cpu.rt_runtime_us", "3000", "", "flag --cpu-rt-runtime: "),
    (["--cpuset-cpus", "0"], "cpuset.cpus", "0", "cpuset.cpus", "0"),
    (["--cpuset-mems", "0"], "cpuset.mems", "0", "cpuset.mems", "0"),
]


def carried(file: str) -> int:
    """The version of the hierarchy that has this file of v1; 0 where none has."""
    names = file.split(".", maxsplit=1)[0]
    row = next(row for row in limits_table.ROWS if row.controllers[0] == names)
    return limits_table.version(row)


@pytest.mark.parametrize(("flags", "v1", "line1", "v2", "line2"), FLAGS, ids=lambda value: str(value)[:30])
def test_each_flag_of_update_sets_its_limit(
    flags: list[str], v1: str, line1: str, v2: str, line2: str, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    name = runtime.new_id()
    container = runtime.create(make_bundle(args=ASLEEP, linux=at_the_top(name)), container_id=name)
    done = runtime.run("update", *flags, name)
    if carried(v1) == 1:
        assert done.code == 0, done.stderr
        shows(container, Shown(v1, line1))
    elif carried(v1) == 2 and v2:
        assert done.code == 0, done.stderr
        shows(container, Shown(v2, line2))
    else:
        assert done.code == 1
        assert f"flag {flags[0].split('=')[0]}: " in done.stderr


@pytest.fixture
def limited(runtime: Runtime, make_bundle: MakeBundle) -> Container:
    """A running container with limits of memory, processor and tasks."""
    resources = {
        "memory": {"limit": 32 * MIB, "swap": 48 * MIB},
        "cpu": {"shares": 100, "quota": 20000, "period": 100000},
        "pids": {"limit": 20},
    }
    name = runtime.new_id()
    bundle = make_bundle(args=ASLEEP, linux={**at_the_top(name), "resources": resources})
    container = runtime.create(bundle, container_id=name)
    container.start()
    return container


def memory_of(container: Container) -> tuple[int, int]:
    """Its limits in MiB: of memory, and of memory and swap together."""
    if text := container.cgroup_file("memory.limit_in_bytes"):
        total = container.cgroup_file("memory.memsw.limit_in_bytes") or text
        return int(text) // MIB, int(total) // MIB
    limit, swap = container.cgroup_file("memory.max"), container.cgroup_file("memory.swap.max") or "0"
    return int(limit) // MIB, (int(limit) + int(swap)) // MIB


def test_memory_and_swap_grow_and_shrink_together(limited: Container) -> None:
    assert memory_of(limited) == (32, 48)
    for memory, swap in ((64, 80), (24, 30), (200, 200), (16, 64)):
        limited.runtime.run("update", "--memory", f"{memory}M", "--memory-swap", f"{swap}M", limited.id, check=True)
        assert memory_of(limited) == (memory, swap)


def test_the_total_of_memory_and_swap_outlives_a_change_of_memory_alone(limited: Container) -> None:
    limited.runtime.run("update", "--memory", "40M", limited.id, check=True)
    assert memory_of(limited) == (40, 48)
    too_much = limited.runtime.run("update", "--memory", "64M", limited.id, check=False)
    assert too_much.stderr.startswith("ocirt: flag --memory")
    assert memory_of(limited) == (40, 48)


def bandwidth_of(container: Container) -> str:
    """Quota and period in microseconds, as v2 writes them."""
    if text := container.cgroup_file("cpu.max"):
        return text.strip()
    quota = container.cgroup_file("cpu.cfs_quota_us").strip()
    return f"{quota.replace('-1', 'max')} {container.cgroup_file('cpu.cfs_period_us').strip()}"


def test_quota_and_period_are_changed_one_by_one_and_together(limited: Container) -> None:
    assert bandwidth_of(limited) == "20000 100000"
    for flags, shown in (
        (["--cpu-period", "50000"], "20000 50000"),
        (["--cpu-quota", "30000"], "30000 50000"),
        (["--cpu-quota", "-1"], "max 50000"),
        (["--cpu-quota", "3000", "--cpu-period", "10000", "--cpu-burst", "2000"], "3000 10000"),
        (["--cpu-quota", "1000", "--cpu-burst", "1000"], "1000 10000"),
        (["--cpu-quota", "900000", "--cpu-period", "1000000"], "900000 1000000"),
    ):
        limited.runtime.run("update", *flags, limited.id, check=True)
        assert bandwidth_of(limited) == shown, flags


def test_bandwidth_is_changed_within_what_the_parent_allows(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """A lower period before its quota would exceed the parent's share for a moment, which the kernel refuses."""
    pod = runtime.new_id()
    linux = {"cgroupsPath": f"/{pod}/box", "resources": {"cpu": {"quota": 50000, "period": 100000}}}
    container = runtime.create(make_bundle(args=ASLEEP, linux=linux))
    for directory in container.cgroups():
        for name, text in (("cpu.cfs_quota_us", "50000"), ("cpu.max", "50000 100000")):
            if (directory.parent / name).exists():
                (directory.parent / name).write_text(text)
    runtime.run("update", "--cpu-quota", "60000", container.id, check=None)
    runtime.run("update", "--cpu-period", "10000", "--cpu-quota", "3000", container.id, check=True)
    assert bandwidth_of(container) == "3000 10000"


def test_idle_is_set_and_taken_back_with_shares_beside_it(limited: Container) -> None:
    for flags in (["--cpu-idle", "1"], ["--cpu-idle", "0", "--cpu-share", "200"]):
        limited.runtime.run("update", *flags, limited.id, check=True)
        assert limited.cgroup_file("cpu.idle").strip() == flags[1]
    assert "200" in limited.cgroup_file("cpu.shares") or limited.cgroup_file("cpu.weight")


def test_unlimited_again(limited: Container) -> None:
    run = limited.runtime.run
    run("update", "--memory", "-1", "--pids-limit", "-1", "--cpu-quota", "-1", limited.id, check=True)
    assert limited.cgroup_file("pids.max") == "max\n"
    assert bandwidth_of(limited) == "max 100000"
    if top := limited.cgroup_file("memory.limit_in_bytes"):
        assert int(top) > 1 << 60
        assert int(limited.cgroup_file("memory.memsw.limit_in_bytes")) > 1 << 60
    else:
        assert limited.cgroup_file("memory.max") == "max\n"
        assert limited.cgroup_file("memory.swap.max") in {"max\n", ""}


def test_what_engines_send_as_unchanged_stays(limited: Container) -> None:
    """Docker sends 0 for what was not named, CRI all of linux.resources with its devices, Go may write null."""
    document = {
        "memory": {"limit": 0, "swap": 0, "reservation": 0, "kernel": 0, "disableOOMKiller": False, "swappiness": None},
        "cpu": {"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "cpus": "", "mems": ""},
        "blockIO": {"weight": 0, "weightDevice": None},
        "devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "nonsense"}],
        "pids": None,
        "unknown": 1,
    }
    before = [limited.cgroup_file(file) for file in ("devices.list", "cpu.shares", "cpu.weight", "pids.max")]
    limited.runtime.run("update", "--resources=-", limited.id, stdin=json.dumps(document).encode(), check=True)
    after = [limited.cgroup_file(file) for file in ("devices.list", "cpu.shares", "cpu.weight", "pids.max")]
    assert after == before
    assert memory_of(limited) == (32, 48)
    assert bandwidth_of(limited) == "20000 100000"


def test_a_document_comes_from_a_file_too_and_makes_the_flags_ignored(limited: Container, scratch: Path) -> None:
    (scratch / "limits.json").write_text('{"pids": {"limit": 11}}')
    run = limited.runtime.run
    run("update", "-r", str(scratch / "limits.json"), "--pids-limit", "77", limited.id, check=True)
    assert limited.cgroup_file("pids.max") == "11\n"
    run("update", limited.id, check=True)  # podman: nothing to change
    assert limited.cgroup_file("pids.max") == "11\n"


WRONG = [
    ('{"pids": {"limit": "many"}}', "resources: /pids/limit: "),
    ('{"memory": {"swappiness": 101}}', "resources: /memory/swappiness: "),
    ('{"memory": []}', "resources: /memory: "),
    ("[]", "standard input must hold a JSON object"),
    ('{"memory": ', "standard input:1:"),
    ('{"cpu": {"cpus": "none"}}', "resources: /cpu/cpus: "),
    ('{"cpu": {"idle": 7}}', "resources: /cpu/idle: "),
    (
        '{"blockIO": {"throttleReadBpsDevice": [{"major": 4000, "minor": 1, "rate": 1}]}}',
        "resources: /blockIO/",
    ),
]


@pytest.mark.parametrize(("document", "words"), WRONG, ids=lambda value: value[:30])
def test_a_document_that_is_wrong_is_refused_by_field(document: str, words: str, limited: Container) -> None:
    failed = limited.runtime.run("update", "--resources", "-", limited.id, stdin=document.encode(), check=False)
    assert failed.stderr.startswith(f"ocirt: {words}"), failed.stderr
    assert failed.stderr.count("\n") == 1


def test_update_of_what_has_no_process_is_refused(limited: Container) -> None:
    limited.kill("KILL")
    limited.wait_stopped()
    stopped = limited.runtime.run("update", "--pids-limit", "3", limited.id, check=False)
    assert "container not running" in stopped.stderr
    unknown = limited.runtime.run("update", "--pids-limit", "3", "nobody", check=False)
    assert "container does not exist" in unknown.stderr


def test_a_limit_below_what_is_in_use_is_refused_when_that_is_to_be_checked(limited: Container) -> None:
    document = b'{"memory": {"limit": 4096, "swap": 4096, "checkBeforeUpdate": true}}'
    failed = limited.runtime.run("update", "--resources", "-", limited.id, stdin=document, check=False)
    assert "/memory/" in failed.stderr
    assert memory_of(limited) == (32, 48)
    assert limited.status == "running"


def test_an_update_that_fails_half_way_leaves_all_as_it_was(limited: Container) -> None:
    if not limits_table.disk():
        pytest.skip("no block device that could be limited")
    throttles: dict[str, list[dict[str, Any]]] = {"throttleReadBpsDevice": [{"DISK": "", "rate": 54321}]}
    throttles["throttleWriteIOPSDevice"] = [{"major": 4000, "minor": 1, "rate": 1}]
    document = {
        "pids": {"limit": 5},
        "memory": {"limit": 200 * MIB, "swap": 300 * MIB, "reservation": 5 * MIB},
        "cpu": {"shares": 999, "quota": 7000, "cpus": "0"},
        "blockIO": throttles,
    }
    files = [
        "pids.max", "memory.soft_limit_in_bytes", "memory.low", "cpu.shares", "cpu.weight", "cpuset.effective_cpus",
        "cpuset.cpus.effective", "blkio.throttle.read_bps_device", "io.max",
    ]  # fmt: skip
    before = {file: limited.cgroup_file(file) for file in files}
    text = json.dumps(limits_table.with_disk(document)).encode()
    failed = limited.runtime.run("update", "--resources=-", limited.id, stdin=text, check=False)
    assert "/blockIO/throttleWriteIOPSDevice/0/rate: write" in failed.stderr
    assert {file: limited.cgroup_file(file) for file in files} == before
    assert memory_of(limited) == (32, 48)
    assert bandwidth_of(limited) == "20000 100000"
