"""What parts of linux.resources mean in the files of cgroup v1 (kernel, admin-guide/cgroup-v1); pure.

Each function takes one part and yields (file, text, JSON pointer below /linux/resources, otherwise), see limits.py.
Values that depend on each other come in the order that suits a new cgroup; for another, resources.py tries again.
"""

from __future__ import annotations

from ocirt.errors import step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    Write = tuple[str, str, str, tuple[tuple[str, str], ...]]

WITHOUT = ("", "")
GO_WITHOUT = (WITHOUT,)

# (property, file): written unless absent or 0
CPU = (
    ("shares", "cpu.shares"),
    ("period", "cpu.cfs_period_us"),
    ("quota", "cpu.cfs_quota_us"),
)
# The kernel lets no real-time process in before there is time for it; resources are applied ahead of any process.
REALTIME = (
    ("realtimePeriod", "cpu.rt_period_us"),
    ("realtimeRuntime", "cpu.rt_runtime_us"),
)
MEMORY = (
    ("reservation", "memory.soft_limit_in_bytes"),
    ("kernel", "memory.kmem.limit_in_bytes"),  # accepted and ignored since Linux 6.1
    ("kernelTCP", "memory.kmem.tcp.limit_in_bytes"),
)
CPUSET = (
    ("cpus", "cpuset.cpus"),
    ("mems", "cpuset.mems"),
)
THROTTLES = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
)


class Unmet(Exception):
    """What is asked for can't be had: `pointer` is the JSON pointer below /linux/resources."""

    def __init__(self, pointer: str, reason: str) -> None:
        super().__init__(pointer, reason)
        self.pointer = pointer
        self.reason = reason


def plain(part: str, values: dict[str, Any], table: Sequence[tuple[str, str]]) -> Iterator[Write]:
    """One write for each property of `table` that is neither absent, nor 0, nor empty."""
    for name, file in table:
        if values.get(name):
            yield file, str(values[name]), f"/{part}/{name}", ()


def newer(part: str, values: dict[str, Any], table: Sequence[tuple[str, str]]) -> Iterator[Write]:
    """The same of files that a kernel may lack, where 0 is what it does anyway."""
    for name, file in table:
        if values.get(name) is not None:
            yield file, str(values[name]), f"/{part}/{name}", () if values[name] else GO_WITHOUT


def pids(values: dict[str, Any]) -> Iterator[Write]:
    """The number of tasks. 0 is written as 1: nobody can fork then either, but on v2 the first process can be born."""
    limit = values.get("limit")
    if limit is not None:
        yield "pids.max", "max" if limit < 0 else str(limit or 1), "/pids/limit", ()


def memory(values: dict[str, Any]) -> Iterator[Write]:
    """Limits of memory. Without a limit of its own, swap is as unlimited as memory is made."""
    limit, swap = values.get("limit") or 0, values.get("swap") or 0
    if limit:
        yield "memory.limit_in_bytes", str(limit), "/memory/limit", ()
    if swap or limit == -1:
        unlimited = swap in {0, -1}
        file = "memory.memsw.limit_in_bytes"
        yield file, str(swap or -1), "/memory/swap" if swap else "/memory/limit", GO_WITHOUT if unlimited else ()
    yield from plain("memory", values, MEMORY)
    if values.get("swappiness") is not None:
        yield "memory.swappiness", str(values["swappiness"]), "/memory/swappiness", ()
    for name, file in (("disableOOMKiller", "memory.oom_control"), ("useHierarchy", "memory.use_hierarchy")):
        wanted = values.get(name)
        if wanted is not None:
            default = wanted is (name == "useHierarchy")
            yield file, "1" if wanted else "0", f"/memory/{name}", GO_WITHOUT if default else ()


def cpu(values: dict[str, Any]) -> Iterator[Write]:
    """Shares and bandwidth. Shares before idle: those of an idle cgroup can't be changed."""
    yield from plain("cpu", values, CPU)
    yield from newer("cpu", values, (("burst", "cpu.cfs_burst_us"), ("idle", "cpu.idle")))  # both since Linux 5.15
    yield from plain("cpu", values, REALTIME)


def cpuset(values: dict[str, Any]) -> Iterator[Write]:
    """Processors and memory nodes."""
    yield from plain("cpu", values, CPUSET)


def block_io(values: dict[str, Any]) -> Iterator[Write]:
    """Weights, of CFQ up to Linux 4.20 and of BFQ, and rates."""
    if values.get("weight"):
        weight = str(values["weight"])
        yield "blkio.weight", weight, "/blockIO/weight", (("blkio.bfq.weight", weight),)
    if values.get("leafWeight"):
        yield "blkio.leaf_weight", str(values["leafWeight"]), "/blockIO/leafWeight", ()
    for index, device in enumerate(values.get("weightDevice") or ()):
        number, pointer = f"{device['major']}:{device['minor']}", f"/blockIO/weightDevice/{index}"
        if device.get("weight"):
            text = f"{number} {device['weight']}"
            yield "blkio.weight_device", text, f"{pointer}/weight", (("blkio.bfq.weight_device", text),)
        if device.get("leafWeight"):
            yield "blkio.leaf_weight_device", f"{number} {device['leafWeight']}", f"{pointer}/leafWeight", ()
    for name, file in THROTTLES:
        for index, device in enumerate(values.get(name) or ()):
            text = f"{device['major']}:{device['minor']} {device['rate']}"
            yield file, text, f"/blockIO/{name}/{index}/rate", ()


def hugepages(limits: list[dict[str, Any]], limit: str = "limit_in_bytes") -> Iterator[Write]:
    """Both the reservations, which the specification prefers (since Linux 5.7), and the use; `limit` ends the files."""
    for index, entry in enumerate(limits):
        file, text, pointer = f"hugetlb.{entry['pageSize']}", str(entry["limit"]), f"/hugepageLimits/{index}/limit"
        yield f"{file}.{limit}", text, pointer, ()
        yield f"{file}.rsvd.{limit}", text, pointer, GO_WITHOUT


def net_cls(values: dict[str, Any]) -> Iterator[Write]:
    """The tag of packets."""
    yield from plain("network", values, (("classID", "net_cls.classid"),))


def net_prio(values: dict[str, Any]) -> Iterator[Write]:
    """Priorities of packets, by interface."""
    for index, entry in enumerate(values.get("priorities") or ()):
        text = f"{entry['name']} {entry['priority']}"
        yield "net_prio.ifpriomap", text, f"/network/priorities/{index}", ()


def rdma(devices: dict[str, dict[str, int]]) -> Iterator[Write]:
    """Handles and objects, by device; one that is not named stays as it is."""
    for name, values in devices.items():
        keys = (("hca_handle", "hcaHandles"), ("hca_object", "hcaObjects"))
        text = " ".join([name, *(f"{key}={values[property_]}" for key, property_ in keys if property_ in values)])
        yield "rdma.max", text, "/rdma/" + step(name), ()
