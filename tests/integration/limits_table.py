"""Every limit of linux.resources, and where the kernel shows it on each version of cgroups: the one table.

test_limits.py applies each row at create and by update; a property of spec/config-linux.json without a row fails there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ocirt import cgroup
from tests.integration.support import Container

Json = dict[str, Any]
MIB = 1 << 20


class Shown(NamedTuple):
    """What a file says once the limit is set; `otherwise` is the file of a kernel that lacks the first."""

    file: str
    line: str
    otherwise: tuple[str, str] = ("", "")


class Refused(NamedTuple):
    """What the error says, beside the field."""

    words: str


class Row(NamedTuple):
    """One limit. In texts DISK stands for major:minor of a block device."""

    pointer: str
    resources: Json
    controllers: tuple[str, str]
    v1: Shown | Refused
    v2: Shown | Refused


V1_ALONE = Refused("is of cgroup v1 alone")
NO_CONTROLLER = Refused("cgroup v2 has no such controller")
NO_CFQ = Refused("this kernel has no")
NO_DEVICE = Refused("write")

PIDS, MEMORY, CPU, CPUSET, BLKIO = (
    ("pids", "pids"),
    ("memory", "memory"),
    ("cpu", "cpu"),
    ("cpuset",) * 2,
    ("blkio", "io"),
)
HUGETLB, NET_CLS, NET_PRIO, RDMA = ("hugetlb", "hugetlb"), ("net_cls", ""), ("net_prio", ""), ("rdma", "rdma")


def throttle(name: str, v1: str, v2: str, rest: str) -> Row:
    """A rate of the first block device."""
    return Row(
        f"/blockIO/{name}/*/rate",
        {"blockIO": {name: [{"DISK": "", "rate": 12345}]}},
        BLKIO,
        Shown(f"blkio.throttle.{v1}_device", "DISK 12345"),
        Shown(
            "io.max", f"DISK {rest.format(**{'rbps': 'max', 'wbps': 'max', 'riops': 'max', 'wiops': 'max', v2: 12345})}"
        ),
    )


RATES = "rbps={rbps} wbps={wbps} riops={riops} wiops={wiops}"

ROWS = [
    Row("/pids/limit", {"pids": {"limit": 33}}, PIDS, Shown("pids.max", "33"), Shown("pids.max", "33")),
    Row("/pids/limit", {"pids": {"limit": -1}}, PIDS, Shown("pids.max", "max"), Shown("pids.max", "max")),
    Row("/pids/limit", {"pids": {"limit": 0}}, PIDS, Shown("pids.max", "1"), Shown("pids.max", "1")),
    Row(
        "/memory/limit",
        {"memory": {"limit": 64 * MIB}},
        MEMORY,
        Shown("memory.limit_in_bytes", str(64 * MIB)),
        Shown("memory.max", str(64 * MIB)),
    ),
    Row(
        "/memory/reservation",
        {"memory": {"reservation": 16 * MIB}},
        MEMORY,
        Shown("memory.soft_limit_in_bytes", str(16 * MIB)),
        Shown("memory.low", str(16 * MIB)),
    ),
    Row(
        "/memory/swap",
        {"memory": {"limit": 64 * MIB, "swap": 96 * MIB}},
        MEMORY,
        Shown("memory.memsw.limit_in_bytes", str(96 * MIB)),
        Shown("memory.swap.max", str(32 * MIB)),
    ),
    # Linux takes it without doing anything; where it still does, the file shows it.
    Row("/memory/kernel", {"memory": {"kernel": 32 * MIB}}, MEMORY, Shown("memory.kmem.limit_in_bytes", "*"), V1_ALONE),
    Row(
        "/memory/kernelTCP",
        {"memory": {"kernelTCP": 8 * MIB}},
        MEMORY,
        Shown("memory.kmem.tcp.limit_in_bytes", str(8 * MIB)),
        V1_ALONE,
    ),
    Row("/memory/swappiness", {"memory": {"swappiness": 7}}, MEMORY, Shown("memory.swappiness", "7"), V1_ALONE),
    Row(
        "/memory/disableOOMKiller",
        {"memory": {"disableOOMKiller": True}},
        MEMORY,
        Shown("memory.oom_control", "oom_kill_disable 1"),
        V1_ALONE,
    ),
    Row(
        "/memory/useHierarchy",
        {"memory": {"useHierarchy": True, "limit": 64 * MIB}},
        MEMORY,
        Shown("memory.use_hierarchy", "1"),
        Shown("memory.max", str(64 * MIB)),
    ),
    Row(
        "/memory/checkBeforeUpdate",
        {"memory": {"checkBeforeUpdate": True, "limit": 64 * MIB}},
        MEMORY,
        Shown("memory.limit_in_bytes", str(64 * MIB)),
        Shown("memory.max", str(64 * MIB)),
    ),
    Row("/cpu/shares", {"cpu": {"shares": 512}}, CPU, Shown("cpu.shares", "512"), Shown("cpu.weight", "59")),
    Row(
        "/cpu/quota",
        {"cpu": {"quota": 20000}},
        CPU,
        Shown("cpu.cfs_quota_us", "20000"),
        Shown("cpu.max", "20000 100000"),
    ),
    Row(
        "/cpu/period",
        {"cpu": {"period": 50000}},
        CPU,
        Shown("cpu.cfs_period_us", "50000"),
        Shown("cpu.max", "max 50000"),
    ),
    Row(
        "/cpu/burst",
        {"cpu": {"quota": 20000, "period": 50000, "burst": 3000}},
        CPU,
        Shown("cpu.cfs_burst_us", "3000"),
        Shown("cpu.max.burst", "3000"),
    ),
    Row("/cpu/idle", {"cpu": {"idle": 1}}, CPU, Shown("cpu.idle", "1"), Shown("cpu.idle", "1")),
    Row(
        "/cpu/realtimeRuntime",
        {"cpu": {"realtimeRuntime": 5000}},
        CPU,
        Shown("cpu.rt_runtime_us", "5000"),
        V1_ALONE,
    ),
    Row(
        "/cpu/realtimePeriod",
        {"cpu": {"realtimePeriod": 500000}},
        CPU,
        Shown("cpu.rt_period_us", "500000"),
        V1_ALONE,
    ),
    Row("/cpu/cpus", {"cpu": {"cpus": "0"}}, CPUSET, Shown("cpuset.cpus", "0"), Shown("cpuset.cpus", "0")),
    Row("/cpu/mems", {"cpu": {"mems": "0"}}, CPUSET, Shown("cpuset.mems", "0"), Shown("cpuset.mems", "0")),
    Row(
        "/blockIO/weight",
        {"blockIO": {"weight": 505}},
        BLKIO,
        Shown("blkio.weight", "505", ("blkio.bfq.weight", "505")),
        Shown("io.bfq.weight", "default 505", ("io.weight", "default 5000")),
    ),
    Row("/blockIO/leafWeight", {"blockIO": {"leafWeight": 500}}, BLKIO, NO_CFQ, V1_ALONE),
    throttle("throttleReadBpsDevice", "read_bps", "rbps", RATES),
    throttle("throttleWriteBpsDevice", "write_bps", "wbps", RATES),
    throttle("throttleReadIOPSDevice", "read_iops", "riops", RATES),
    throttle("throttleWriteIOPSDevice", "write_iops", "wiops", RATES),
    Row(
        "/blockIO/weightDevice/*/weight",
        {"blockIO": {"weightDevice": [{"DISK": "", "weight": 300}]}},
        BLKIO,
        Shown("blkio.weight_device", "DISK 300", ("blkio.bfq.weight_device", "DISK 300")),
        Shown("io.bfq.weight", "DISK 300", ("io.weight", "DISK 2930")),
    ),
    Row(
        "/blockIO/weightDevice/*/leafWeight",
        {"blockIO": {"weightDevice": [{"DISK": "", "leafWeight": 300}]}},
        BLKIO,
        NO_CFQ,
        V1_ALONE,
    ),
    Row(
        "/hugepageLimits/*/limit",
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]},
        HUGETLB,
        Shown("hugetlb.2MB.limit_in_bytes", str(4 * MIB)),
        Shown("hugetlb.2MB.max", str(4 * MIB)),
    ),
    Row(
        "/hugepageLimits/*/limit",
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]},
        HUGETLB,
        Shown("hugetlb.2MB.rsvd.limit_in_bytes", str(4 * MIB)),
        Shown("hugetlb.2MB.rsvd.max", str(4 * MIB)),
    ),
    Row(
        "/network/classID",
        {"network": {"classID": 1048577}},
        NET_CLS,
        Shown("net_cls.classid", "1048577"),
        NO_CONTROLLER,
    ),
    Row(
        "/network/priorities/*/priority",
        {"network": {"priorities": [{"name": "lo", "priority": 5}]}},
        NET_PRIO,
        Shown("net_prio.ifpriomap", "lo 5"),
        NO_CONTROLLER,
    ),
    # No machine of ours has such a device: the kernel's refusal shows that it was asked.
    Row("/rdma/*/hcaHandles", {"rdma": {"none0": {"hcaHandles": 3}}}, RDMA, NO_DEVICE, NO_DEVICE),
    Row("/rdma/*/hcaObjects", {"rdma": {"none0": {"hcaObjects": 3}}}, RDMA, NO_DEVICE, NO_DEVICE),
    Row(
        "/unified/*",
        {"unified": {"memory.high": str(48 * MIB)}, "memory": {"limit": 64 * MIB}},
        ("", "memory"),
        Refused("is for cgroup v2"),
        Shown("memory.high", str(48 * MIB)),
    ),
    Row(
        "/unified/*",
        {"unified": {"pids.max": "9"}, "pids": {"limit": 3}},
        ("", "pids"),
        Refused("is for cgroup v2"),
        Shown("pids.max", "9"),
    ),
]

# What says which device, page or interface a limit is for.
NAMES = {"major", "minor", "pageSize", "name"}
# Limits that other tests show.
ELSEWHERE = {"devices": "test_devices.py"}


def properties(project: Path) -> set[str]:
    """JSON pointers below linux.resources of all limits in the schema, "*" for any member or entry."""
    schema = json.loads((project / "spec/config-linux.json").read_text())["$defs"]

    def walk(node: Json, pointer: str) -> Iterator[str]:
        reference = node.get("$ref", "")
        if reference.startswith("#/$defs/"):
            node = schema[reference.removeprefix("#/$defs/")]
        elif reference.endswith("/stringMap"):
            yield pointer + "/*"
            return
        if node.get("type") == "array":
            yield from walk(node["items"], pointer + "/*")
        elif isinstance(node.get("additionalProperties"), dict):
            yield from walk(node["additionalProperties"], pointer + "/*")
        elif "properties" in node:
            for name, member in node["properties"].items():
                if name not in NAMES:
                    yield from walk(member, f"{pointer}/{name}")
        else:
            yield pointer

    return {pointer for pointer in walk(schema["resources"], "") if pointer.split("/")[1] not in ELSEWHERE}


def loop() -> Path | None:
    """A loop device that nobody uses, and that can have the scheduler whose weights the kernel accepts."""
    found = sorted(Path("/sys/class/block").glob("loop*/queue/scheduler"), reverse=True)
    idle = [path for path in found if "bfq" in path.read_text() and (path.parent.parent / "size").read_text() == "0\n"]
    return idle[os.getpid() % len(idle)].parent.parent if idle else None


def disk() -> str:
    """major:minor of the device that the rows limit, the loop device or else the machine's disk; "" where none is."""
    device = loop()
    real = [path for path in sorted(Path("/sys/block").iterdir()) if (path / "device").exists()]
    return ((device or real[0]) / "dev").read_text().strip() if device or real else ""


def with_disk(value: Any) -> Any:
    """`value` with the numbers and the text of `disk()` in place of DISK."""
    if isinstance(value, dict):
        found = {key: with_disk(member) for key, member in value.items() if key != "DISK"}
        if "DISK" in value:
            found["major"], found["minor"] = map(int, disk().split(":"))
        return found
    if isinstance(value, list):
        return [with_disk(member) for member in value]
    return value.replace("DISK", disk()) if isinstance(value, str) else value


def version(row: Row) -> int:
    """The version of the hierarchy that carries the row's controller here; 0 where none does."""
    hierarchies = cgroup.hierarchies()
    v1, v2 = row.controllers
    if v1 and any(v1 in h.controllers.split(",") for h in hierarchies if h.version == 1):
        return 1
    for hierarchy in hierarchies:
        controllers = Path(hierarchy.mount) / "cgroup.controllers"
        if hierarchy.version == 2 and (not v2 or v2 in controllers.read_text().split()):
            return 2
    return 0


def shows(container: Container, shown: Shown) -> None:
    """The kernel has taken over the limit."""
    for file, line in ((shown.file, shown.line), shown.otherwise):
        text = container.cgroup_file(file) if file else ""
        if text:
            lines = [with_disk(line)] if line != "*" else text.splitlines()
            assert set(lines) <= {found.strip() for found in text.splitlines()}, (file, text)
            return
    raise AssertionError(f"no {shown.file} in any cgroup of the container")


def at_the_top(name: str) -> dict[str, Any]:
    """A `linux` delta: a cgroup right below the root, where the kernel leaves time for real-time processes."""
    return {"cgroupsPath": f"/{name}"}
