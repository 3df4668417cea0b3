"""What parts of linux.resources, which are written for cgroup v1, become on v2 (kernel, cgroup-v2.rst); pure.

As limits_v1. What v2 has no equal of is refused (config-linux.md, "Unified": an error where no conversion is possible),
unless it asks for what v2 does anyway.
"""

from __future__ import annotations

from ocirt.cgroup import limits_v1
from ocirt.cgroup.limits_v1 import CPUSET, GO_WITHOUT, THROTTLES, Unmet, newer, pids, plain, rdma

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from ocirt.cgroup.limits_v1 import Write

__all__ = ["block_io", "cpu", "cpuset", "hugepages", "memory", "pids", "rdma", "weight_from_shares"]

SHARES_MIN, SHARES_MAX = 2, 262144  # what v1 makes of anything below and above
WEIGHT_MAX = 10000

IO_KEYS = dict(zip((name for name, _ in THROTTLES), ("rbps", "wbps", "riops", "wiops"), strict=True))

# Values that v2 satisfies without doing anything, of properties that it lacks
NOTHING: dict[str, tuple[Any, ...]] = {
    "kernel": (0, -1),
    "kernelTCP": (0, -1),
    "swappiness": (),
    "disableOOMKiller": (False,),
    "useHierarchy": (True,),
    "realtimePeriod": (0,),
    "realtimeRuntime": (0,),
    "leafWeight": (0,),
}


def memory(values: dict[str, Any]) -> Iterator[Write]:
    """Limits of memory. v2 limits swap alone: the total less the memory."""
    refuse("memory", values, ("kernel", "kernelTCP", "swappiness", "disableOOMKiller", "useHierarchy"))
    limit, swap = values.get("limit") or 0, values.get("swap") or 0
    if swap or limit == -1:
        text = swap_max(limit, swap)
        # Where the kernel does not account swap there is none to be limited.
        yield "memory.swap.max", text, "/memory/swap", GO_WITHOUT if text in {"0", "max"} else ()
    if limit:
        yield "memory.max", "max" if limit < 0 else str(limit), "/memory/limit", ()
    reservation = values.get("reservation") or 0
    if reservation:
        yield "memory.low", "max" if reservation < 0 else str(reservation), "/memory/reservation", ()


def swap_max(limit: int, swap: int) -> str:
    """The text of memory.swap.max for a limit of memory, and of memory and swap together; 0 is absent, -1 unlimited."""
    if swap <= 0:
        return "max"
    if limit == 0:
        raise Unmet("/memory/swap", "needs memory/limit too: cgroup v2 limits swap alone, the one less the other")
    if limit < 0:
        return str(swap)
    if swap < limit:
        raise Unmet("/memory/swap", f"found {swap}, must be at least memory/limit, {limit}: it includes memory")
    return str(swap - limit)


def cpu(values: dict[str, Any]) -> Iterator[Write]:
    """Weight and bandwidth. Weight before idle: that of an idle cgroup can't be changed."""
    refuse("cpu", values, ("realtimePeriod", "realtimeRuntime"))
    if values.get("shares"):
        yield "cpu.weight", str(weight_from_shares(values["shares"])), "/cpu/shares", ()
    quota, period = values.get("quota") or 0, values.get("period") or 0
    if quota or period:
        # Without a period the kernel keeps the one that is set.
        text = (str(quota) if quota > 0 else "max") + (f" {period}" if period else "")
        yield "cpu.max", text, "/cpu/quota" if quota else "/cpu/period", ()
    yield from newer("cpu", values, (("burst", "cpu.max.burst"), ("idle", "cpu.idle")))  # Linux 5.14, 5.15


def weight_from_shares(shares: int) -> int:
    """cpu.weight, 1 … 10000, for cpu.shares, 2 … 262144, such that the defaults, 100 and 1024, meet.

    The quadratic curve through the three points that runc and crun have agreed on; at both ends the range of v1.
    """
    if shares <= SHARES_MIN:
        return 1
    if shares >= SHARES_MAX:
        return WEIGHT_MAX
    from math import ceil, log2

    exponent = log2(shares)
    return ceil(10 ** ((exponent * exponent + 125 * exponent) / 612 - 7 / 34))


def cpuset(values: dict[str, Any]) -> Iterator[Write]:
    """Processors and memory nodes."""
    yield from plain("cpu", values, CPUSET)


def block_io(values: dict[str, Any]) -> Iterator[Write]:
    """Weights, of BFQ or else of the kernel's cost model, and rates."""
    refuse("blockIO", values, ("leafWeight",))
    if values.get("weight"):
        weight = values["weight"]
        yield "io.bfq.weight", str(weight), "/blockIO/weight", (("io.weight", str(io_weight(weight))),)
    for index, device in enumerate(values.get("weightDevice") or ()):
        number, pointer = f"{device['major']}:{device['minor']}", f"/blockIO/weightDevice/{index}"
        refuse(f"blockIO/weightDevice/{index}", device, ("leafWeight",))
        if device.get("weight"):
            weight = device["weight"]
            otherwise = (("io.weight", f"{number} {io_weight(weight)}"),)
            yield "io.bfq.weight", f"{number} {weight}", f"{pointer}/weight", otherwise
    for name, key in IO_KEYS.items():
        for index, device in enumerate(values.get(name) or ()):
            # v1 takes 0 for no limit, v2 refuses it
            text = f"{device['major']}:{device['minor']} {key}={device['rate'] or 'max'}"
            yield "io.max", text, f"/blockIO/{name}/{index}/rate", ()


def io_weight(weight: int) -> int:
    """io.weight, 1 … 10000, for a weight of v1, 10 … 1000: linear, as runc and crun do it."""
    return 1 + max(weight - 10, 0) * 9999 // 990


def hugepages(limits: list[dict[str, Any]]) -> Iterator[Write]:
    """The same two limits in v2's files."""
    yield from limits_v1.hugepages(limits, "max")


def refuse(part: str, values: dict[str, Any], names: Sequence[str]) -> None:
    """Raise Unmet for the first of `names` that asks for something."""
    for name in names:
        value = values.get(name)
        if value is not None and value not in NOTHING[name]:
            raise Unmet(f"/{part}/{name}", "is of cgroup v1 alone, and this host has cgroup v2; leave it out")
