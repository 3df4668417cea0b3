"""scheduler, ioPriority, memoryPolicy, personality, execCPUAffinity in the kernel's terms; loaded where a config asks.

Source: config.md "Linux Process", config-linux.md "Memory policy", sched_setattr(2), ioprio_set(2), set_mempolicy(2).
"""

from __future__ import annotations

from _struct import Struct

from ocirt.errors import ConfigError, Problem
from ocirt.plan import host_ops, ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocirt.plan.context import Context
    from ocirt.plan.ops import Op

# <linux/sched.h>. SCHED_ISO is reserved: no kernel has it, and says so with EINVAL.
POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
SCHED_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
# struct sched_attr with the two fields of Linux 5.3: size, policy, flags, nice, priority, runtime, deadline, period,
# util_min, util_max
SCHED_ATTR = Struct("<IIQiIQQQII")

IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
IO_CLASS_SHIFT = 13

# <linux/mempolicy.h>
MEMORY_MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
MEMORY_FLAGS = {"MPOL_F_NUMA_BALANCING": 1 << 13, "MPOL_F_RELATIVE_NODES": 1 << 14, "MPOL_F_STATIC_NODES": 1 << 15}
NODE_MAX = 1023  # the largest MAX_NUMNODES that a kernel is built with
CPU_MAX = 8191  # the largest NR_CPUS

# <linux/personality.h>
DOMAINS = {"LINUX": 0, "LINUX32": 8}


def scheduler(section: dict[str, Any]) -> bytes:
    """process.scheduler as struct sched_attr; what is not set is 0 (config.md)."""
    flags = 0
    for name in section.get("flags") or ():
        flags |= SCHED_FLAGS[name]
    return SCHED_ATTR.pack(
        SCHED_ATTR.size,
        POLICIES[section["policy"]],
        flags,
        section.get("nice", 0),
        section.get("priority", 0),
        section.get("runtime", 0),
        section.get("deadline", 0),
        section.get("period", 0),
        0,
        0,
    )


def io_priority(section: dict[str, Any]) -> int:
    """process.ioPriority as ioprio_set(2) takes it."""
    priority: int = section["priority"]
    return IO_CLASSES[section["class"]] << IO_CLASS_SHIFT | priority


def errands_of(process: dict[str, Any]) -> list[Op]:
    """What the runtime sets for the process, for the first one and those that exec adds.

    Not the init: it may be in a user namespace, where the privileges of the host that these take are gone. Once the
    process is in its cgroup: a real-time policy takes the cgroup's leave (sched(7)).
    """
    found = []
    if process.get("scheduler"):
        found.append(host_ops.scheduler("/process/scheduler", scheduler(process["scheduler"])))
    if process.get("ioPriority"):
        found.append(host_ops.io_priority("/process/ioPriority", io_priority(process["ioPriority"])))
    return found


def memory_policy(c: Context) -> list[Op]:
    """set_mempolicy(2), which is about the calling process; in the cgroup, whose cpuset limits the nodes."""
    section, pointer = c.linux["memoryPolicy"], "/linux/memoryPolicy"
    mode = MEMORY_MODES[section["mode"]]
    for name in section.get("flags") or ():
        mode |= MEMORY_FLAGS[name]
    nodes = numbers(section.get("nodes") or "", NODE_MAX, f"{pointer}/nodes")
    return [ops.memory_policy(pointer, mode, mask(nodes))]


def personality(c: Context) -> list[Op]:
    """personality(2); config/check refuses flags, for none is defined."""
    return [ops.personality("/linux/personality", DOMAINS[c.linux["personality"]["domain"]])]


def affinity(process: dict[str, Any], when: str) -> list[int]:
    """The CPUs of process.execCPUAffinity for `when`, "initial" (before the cgroup is entered) or "final" (after).

    For sched_setaffinity(2); [] changes nothing. Raises ConfigError.
    """
    text = (process.get("execCPUAffinity") or {}).get(when) or ""
    return numbers(text, CPU_MAX, f"/process/execCPUAffinity/{when}")


def numbers(text: str, most: int, pointer: str) -> list[int]:
    """A list such as "0-3,7", which config/check has passed, as numbers in order.

    Raises ConfigError for one above `most`.
    """
    found: set[int] = set()
    for part in filter(None, map(str.strip, text.split(","))):
        low, _, high = part.partition("-")
        last = int(high or low)
        if last > most:
            raise ConfigError([Problem(pointer, f"found {last}, must be from 0 to {most}")])
        found.update(range(int(low), last + 1))
    return sorted(found)


def mask(found: list[int]) -> bytes:
    """Numbers as bits, in whole words of 64."""
    bits = 0
    for number in found:
        bits |= 1 << number
    return bits.to_bytes((bits.bit_length() + 63) // 64 * 8, "little")
