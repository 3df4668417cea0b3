"""What the kernel counts for a container, as the `data` of a stats event: one row for each figure. Cold.

    (file of the cgroup, place in the document, what makes a value of the file's text)

The shape is that of runc's events, and so are the units: nanoseconds, bytes. A figure of nothing is left out, but for
those that EMPTY has. On a hybrid host both tables count: v1's figures first, v2 adds what they lack. Sources: the
kernel's admin-guide/cgroup-v1/*.rst and cgroup-v2.rst.
"""

from __future__ import annotations

import copy
import posix
import re

from ocirt.cgroup import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    Reader = Callable[[str], Any]
    Row = tuple[str, str, Reader]

NO_LIMIT = (1 << 64) - 1
NS_OF_TICK = 1_000_000_000 // posix.sysconf("SC_CLK_TCK")
NS_OF_USEC = 1000

_CPUSET = (
    "cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page", "memory_spread_slab",
    "memory_pressure", "sched_load_balance", "sched_relax_domain_level",
)  # fmt: skip
EMPTY: dict[str, Any] = {
    "cpu": {"usage": {"kernel": 0, "user": 0}, "throttling": {}},
    "cpuset": dict.fromkeys(_CPUSET, 0),
    "memory": {name: {"limit": 0, "failcnt": 0} for name in ("usage", "swap", "kernel", "kernelTCP")},
    "pids": {},
    "blkio": {},
    "hugetlb": {},
    "intel_rdt": {},
    "network_interfaces": None,
}


def stats(paths: Sequence[str]) -> dict[str, Any]:
    """Return the figures of a container's cgroups; what is not counted here, or not any more, is left out."""
    document = copy.deepcopy(EMPTY)
    for path in reversed(paths):  # v2 comes first in `paths`
        try:
            names = set(posix.listdir(path))
        except OSError:
            continue  # a hierarchy that is not the runtime's to write, or the cgroup has gone
        v2 = "cgroup.controllers" in names
        texts = {name: text for name in names & _FILES[v2] if (text := _text(f"{path}/{name}")) is not None}
        for name, place, value_of in TABLES[v2]:
            if name in texts:
                _put(document, place, value_of(texts[name]))
        document["hugetlb"].update(_hugetlb(path, names, *_HUGETLB[v2]))
        if v2 and "memory.current" in texts:
            _as_v1_counts_swap(document["memory"])
    return document


def key(name: str, unit: int = 1) -> Reader:
    """The value of the line "name value"."""
    return lambda text: pairs(text).get(name, 0) * unit


def pairs(text: str) -> dict[str, int]:
    """The lines "name value"."""
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}


def number(text: str) -> int:
    """One number; no limit, "max", is the largest."""
    return NO_LIMIT if text.strip() == "max" else int(text)


def limit(text: str) -> int:
    """One number; no limit is 0."""
    return 0 if text.strip() == "max" else int(text)


def numbers(text: str) -> list[int]:
    """Numbers on one line, one a CPU."""
    return [int(word) for word in text.split()]


def column(name: str) -> Reader:
    """A column of a table with a header, one row a CPU."""

    def value(text: str) -> list[int]:
        header, *rows = (line.split() for line in text.splitlines())
        return [int(row[header.index(name)]) for row in rows] if name in header else []

    return value


def ids(text: str) -> list[int]:
    """The ids of a list as "0-3,5" (cpuset(7), "List format")."""
    found: list[int] = []
    for part in text.strip().split(",") if text.strip() else ():
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def pressure(text: str) -> dict[str, dict[str, float | int]]:
    """Pressure stall information: "some avg10=0.00 … total=0" (accounting/psi.rst)."""
    found: dict[str, dict[str, float | int]] = {}
    for line in text.splitlines():
        kind, *fields = line.split()
        split = (field.split("=") for field in fields)
        found[kind] = {name: int(value) if name == "total" else float(value) for name, value in split}
    return found


def block_v1(text: str) -> list[dict[str, Any]]:
    """Lines "major:minor operation value" or "major:minor value"; the total of all devices is no device."""
    return [
        _entry(device, op[0] if op else "", int(value))
        for device, *op, value in (line.split() for line in text.splitlines())
        if ":" in device
    ]


def block_v2(read: str, write: str) -> Reader:
    """Of lines "major:minor rbytes=0 wbytes=0 …" the two fields that v1 has too."""

    def value(text: str) -> list[dict[str, Any]]:
        found = []
        for line in text.splitlines():
            device, *fields = line.split()
            given = dict(field.split("=", 1) for field in fields)
            found += [
                _entry(device, op, int(given[name])) for name, op in ((read, "Read"), (write, "Write")) if name in given
            ]
        return found

    return value


def _entry(device: str, op: str, value: int) -> dict[str, Any]:
    major, _, minor = device.partition(":")
    found = {"major": int(major), "minor": int(minor), "op": op, "value": value}
    return {name: figure for name, figure in found.items() if figure}


def _memory_v1(place: str, prefix: str) -> Iterator[Row]:
    for name, file in (("usage", "usage_in_bytes"), ("max", "max_usage_in_bytes"), ("limit", "limit_in_bytes")):
        yield f"memory.{prefix}{file}", f"memory.{place}.{name}", number
    yield f"memory.{prefix}failcnt", f"memory.{place}.failcnt", number


# In the order of preference: a disk has one of these schedulers, and throttling counts whatever the scheduler is.
_BLOCK_V1 = ("bfq.{}_recursive", "{}_recursive", "throttle.{}_recursive", "throttle.{}")
_BLOCK_FIELDS = {
    "io_service_bytes": "ioServiceBytesRecursive",
    "io_serviced": "ioServicedRecursive",
    "io_queued": "ioQueueRecursive",
    "io_service_time": "ioServiceTimeRecursive",
    "io_wait_time": "ioWaitTimeRecursive",
    "io_merged": "ioMergedRecursive",
    "time": "ioTimeRecursive",
    "sectors": "sectorsRecursive",
}

V1: tuple[Row, ...] = (
    ("cpuacct.usage", "cpu.usage.total", number),
    ("cpuacct.usage_percpu", "cpu.usage.percpu", numbers),
    ("cpuacct.usage_all", "cpu.usage.percpu_kernel", column("system")),
    ("cpuacct.usage_all", "cpu.usage.percpu_user", column("user")),
    ("cpuacct.stat", "cpu.usage.kernel", key("system", NS_OF_TICK)),
    ("cpuacct.stat", "cpu.usage.user", key("user", NS_OF_TICK)),
    ("cpu.stat", "cpu.throttling.periods", key("nr_periods")),
    ("cpu.stat", "cpu.throttling.throttledPeriods", key("nr_throttled")),
    ("cpu.stat", "cpu.throttling.throttledTime", key("throttled_time")),
    ("cpuset.cpus", "cpuset.cpus", ids),
    ("cpuset.mems", "cpuset.mems", ids),
    *((f"cpuset.{name}", f"cpuset.{name}", number) for name in _CPUSET),
    ("memory.stat", "memory.cache", key("cache")),
    ("memory.stat", "memory.raw", pairs),
    *_memory_v1("usage", ""),
    *_memory_v1("swap", "memsw."),
    *_memory_v1("kernel", "kmem."),
    *_memory_v1("kernelTCP", "kmem.tcp."),
    ("pids.current", "pids.current", number),
    ("pids.max", "pids.limit", limit),
    *(
        ("blkio." + form.format(file), f"blkio.{name}", block_v1)
        for file, name in _BLOCK_FIELDS.items()
        for form in _BLOCK_V1
    ),
)

V2: tuple[Row, ...] = (
    ("cpu.stat", "cpu.usage.total", key("usage_usec", NS_OF_USEC)),
    ("cpu.stat", "cpu.usage.kernel", key("system_usec", NS_OF_USEC)),
    ("cpu.stat", "cpu.usage.user", key("user_usec", NS_OF_USEC)),
    ("cpu.stat", "cpu.throttling.periods", key("nr_periods")),
    ("cpu.stat", "cpu.throttling.throttledPeriods", key("nr_throttled")),
    ("cpu.stat", "cpu.throttling.throttledTime", key("throttled_usec", NS_OF_USEC)),
    ("cpu.pressure", "cpu.psi", pressure),
    ("memory.stat", "memory.cache", key("file")),
    ("memory.stat", "memory.raw", pairs),
    ("memory.current", "memory.usage.usage", number),
    ("memory.peak", "memory.usage.max", number),  # Linux 5.19
    ("memory.max", "memory.usage.limit", number),
    ("memory.events", "memory.usage.failcnt", key("max")),
    ("memory.swap.current", "memory.swap.usage", number),
    ("memory.swap.max", "memory.swap.limit", number),
    ("memory.swap.events", "memory.swap.failcnt", key("max")),
    ("memory.pressure", "memory.psi", pressure),
    ("pids.current", "pids.current", number),
    ("pids.max", "pids.limit", limit),
    ("io.stat", "blkio.ioServiceBytesRecursive", block_v2("rbytes", "wbytes")),
    ("io.stat", "blkio.ioServicedRecursive", block_v2("rios", "wios")),
    ("io.pressure", "blkio.psi", pressure),
)

TABLES = (V1, V2)
_FILES = tuple(frozenset(row[0] for row in table) for table in TABLES)

# The suffix of the usage, and what else is told of a page size: (member, suffix, reader)
_HUGETLB: tuple[tuple[str, tuple[tuple[str, str, Reader], ...]], ...] = (
    ("usage_in_bytes", (("max", "max_usage_in_bytes", number), ("failcnt", "failcnt", number))),
    ("current", (("failcnt", "events", key("max")),)),
)


def _hugetlb(
    path: str, names: set[str], usage: str, others: tuple[tuple[str, str, Reader], ...]
) -> dict[str, dict[str, int]]:
    """Of each page size; of reservations where the kernel counts them (Linux 5.7), for those are what is limited."""
    found = {}
    for size in sorted({match[1] for name in names if (match := re.fullmatch(r"hugetlb\.([^.]+)\..*", name))}):
        reserved = f"hugetlb.{size}.rsvd."
        stem = reserved if reserved + usage in names else f"hugetlb.{size}."
        figures = {"failcnt": 0}
        for member, suffix, value_of in (("usage", usage, number), *others):
            if (text := _text(f"{path}/{stem}{suffix}")) is not None and (value := value_of(text)):
                figures[member] = value
        found[size] = figures
    return found


def _put(document: dict[str, Any], place: str, value: Any) -> None:
    """The first figure that is not nothing stays."""
    *above, name = place.split(".")
    for step in above:
        document = document[step]
    if value and not document.get(name):
        document[name] = value


def _as_v1_counts_swap(memory: dict[str, Any]) -> None:
    """v1 counts memory and swap in one figure."""
    swap, usage = memory["swap"], memory["usage"]
    swap["usage"] = swap.get("usage", 0) + usage.get("usage", 0)
    if swap["limit"] != NO_LIMIT:
        swap["limit"] = min(swap["limit"] + usage["limit"], NO_LIMIT)


def _text(path: str) -> str | None:
    """The file, None where it is gone or the kernel does not count (PSI switched off: EOPNOTSUPP)."""
    try:
        return tree.read(path).decode()
    except OSError:
        return None
