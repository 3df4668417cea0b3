"""Cold: the runtime's errands in words, for `ocirt explain` and for errors."""

from __future__ import annotations

import errno as numbers
from typing import TYPE_CHECKING, Any

from ocirt.plan import scheduling

if TYPE_CHECKING:
    from collections.abc import Callable

    from ocirt.plan.compile import Plan
    from ocirt.plan.context import IdMap
    from ocirt.plan.errands import Errand

POLICY_NAMES = {number: name for name, number in scheduling.POLICIES.items()}
IO_CLASS_NAMES = {number: name for name, number in scheduling.IO_CLASSES.items()}


def describe(errand: Errand) -> str:
    """One line that says what the runtime does."""
    return WORDS[errand[0]][0](*errand[2])


def syscalls(errand: Errand) -> str:
    """The calls that it takes."""
    return WORDS[errand[0]][1](*errand[2])


def scheduler(attributes: bytes) -> str:
    """The policy with what is set for it."""
    _, policy, flags, nice, priority, runtime, deadline, period, _, _ = scheduling.SCHED_ATTR.unpack(attributes)
    given = {"nice": nice, "priority": priority, "runtime": runtime, "deadline": deadline, "period": period}
    words = [f"{name} {value}" for name, value in given.items() if value]
    words += [name for name, bit in scheduling.SCHED_FLAGS.items() if flags & bit]
    more = f" ({', '.join(words)})" if words else ""
    return f"set the scheduling policy {POLICY_NAMES[policy]}{more}"


def io_priority(value: int) -> str:
    """The class and the level."""
    name = IO_CLASS_NAMES[value >> scheduling.IO_CLASS_SHIFT]
    return f"set the I/O priority {name}, {value & (1 << scheduling.IO_CLASS_SHIFT) - 1}"


def seccomp_listener(path: str, *_: Any) -> str:
    """Where the agent listens."""
    return f'connect to the seccomp agent "{path}"'


def net_device(host: str, name: str) -> str:
    """From where and to which name."""
    return f"move the network device {host} into the container{'' if name == host else f' as {name}'}"


def resctrl(section: dict[str, Any], container_id: str, make: bool) -> str:
    """The class, and what is made for it."""
    name = section.get("closID") or container_id
    words = ["made where it is missing"] if make else []
    words += ["with a monitoring group"] if section.get("enableMonitoring") else []
    more = f" ({', '.join(words)})" if words else ""
    return f"put the process into the resctrl group {name}{more}"


WORDS: dict[str, tuple[Callable[..., str], Callable[..., str]]] = {
    "scheduler": (scheduler, lambda attributes: f"sched_setattr(pid, {len(attributes)} bytes, 0)"),
    "io_priority": (io_priority, lambda value: f"ioprio_set(IOPRIO_WHO_PROCESS, pid, {value:#x})"),
    "net_device": (
        net_device,
        lambda host, name: f"RTM_SETLINK({host}, IFLA_NET_NS_FD), RTM_SETLINK(IFLA_IFNAME {name}), RTM_NEWADDR",
    ),
    "resctrl": (resctrl, lambda *_: "mkdir(group), write(schemata), write(tasks)"),
    "seccomp_listener": (seccomp_listener, lambda path, *_: f'connect("{path}")'),
}

# Errand, errno → words that help
HINTS: dict[tuple[str, str], str] = {
    (
        "scheduler",
        "EPERM",
    ): "a real-time policy and a lower nice value require CAP_SYS_NICE on the host; where the kernel "
    "schedules real-time tasks by cgroup, also /linux/resources/cpu/realtimeRuntime",
    ("scheduler", "EINVAL"): "the kernel does not know this policy or these values together",
    ("scheduler", "EBUSY"): "the CPUs have no time left for another deadline task",
    ("scheduler", "EOPNOTSUPP"): "the kernel is built without utilization clamping",
    ("seccomp_listener", "ENOENT"): "the agent must listen before the container is created",
    ("seccomp_listener", "ECONNREFUSED"): "nobody listens there any more",
    ("net_device", "ENODEV"): "the host has no such device",
    ("net_device", "EEXIST"): "the container has a device of that name",
    ("net_device", "EINVAL"): "the kernel keeps devices of this kind where they are",
    ("net_device", "EPERM"): "it requires CAP_NET_ADMIN on the host",
    ("net_device", "EACCES"): "it requires CAP_NET_ADMIN on the host",
    ("io_priority", "EPERM"): "IOPRIO_CLASS_RT requires CAP_SYS_NICE on the host",
}


def hint(errand: Errand, errno: int) -> str:
    """What is known to help, "" where nothing is."""
    return HINTS.get((errand[0], numbers.errorcode.get(errno, "")), "")


def failure(errand: Errand, errno: int) -> str:
    """What was tried, for an error to which the kernel's reason is added; a hint goes in front of that."""
    help_words = hint(errand, errno)
    return f"{describe(errand)}{f' ({help_words})' if help_words else ''}"


def idmap(host: str, wanted: IdMap) -> str:
    """Which ids a tree shows."""
    uids, gids, path, below = wanted
    how = f"as the user namespace {path} does" if path else f"uids {_ranges(uids)}, gids {_ranges(gids)}"
    return f"map the ids of {host}{' with all below it' if below else ''}: {how}"


def _ranges(listed: list[tuple[int, int, int]]) -> str:
    return ", ".join(f"{first} to {second}{f' ({size} of them)' if size > 1 else ''}" for first, second, size in listed)


def lines(plan: Plan) -> list[dict[str, Any]]:
    """What the runtime does as JSON objects: words, syscalls, pointer."""
    found = []
    for slot, host, recursive, pointer in plan.trees:
        if slot in plan.idmaps:
            clone = f'open_tree("{host}", OPEN_TREE_CLONE{"|AT_RECURSIVE" if recursive else ""})'
            calls = f'{clone}, mount_setattr(fd, "", {{MOUNT_ATTR_IDMAP}})'
            found.append({"words": idmap(host, plan.idmaps[slot]), "syscalls": calls, "pointer": pointer})
    for errand in plan.errands:
        found.append({"words": describe(errand), "syscalls": syscalls(errand), "pointer": errand[1]})
    return found
