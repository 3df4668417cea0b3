"""linux.resources and annotations as properties of a systemd unit: (name, D-Bus signature, value); pure.

systemd is told what it would otherwise undo, at a daemon-reload or when it changes a unit beside: its own idea of the
limits has to agree with the files, which resources.py writes in any case, for systemd knows fewer limits and rounds.
What a property is called depends on the version of cgroups. Sources: systemd.resource-control(5), the D-Bus interface
org.freedesktop.systemd1(5); conversions as runc and crun do them.
"""

from __future__ import annotations

from ocirt.cgroup import devices
from ocirt.cgroup.limits_v1 import THROTTLES, Unmet
from ocirt.cgroup.limits_v2 import io_weight, swap_max, weight_from_shares
from ocirt.errors import ConfigError, Problem, step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Property = tuple[str, str, Any]

INFINITY = 2**64 - 1  # "no limit" of every property of type t
DIGITS_MAX = 20  # of it

DEFAULT_PERIOD_USEC = 100_000  # cpu.max, cpu.cfs_period_us

# CPUQuotaPerSecUSec is kept as a percentage: a fraction of one is rounded up, or the container's own cgroups could not
# have the whole of what they were promised.
PERCENT_USEC = 10_000

# By version: v1's names are deprecated since systemd 252 and gone with v1 itself.
MEMORY = {False: "MemoryLimit", True: "MemoryMax"}
ACCOUNTING = {
    False: ("CPUAccounting", "MemoryAccounting", "BlockIOAccounting", "TasksAccounting"),
    True: ("CPUAccounting", "MemoryAccounting", "IOAccounting", "TasksAccounting"),
}
THROTTLE = {
    "throttleReadBpsDevice": ("BlockIOReadBandwidth", "IOReadBandwidthMax"),
    "throttleWriteBpsDevice": ("BlockIOWriteBandwidth", "IOWriteBandwidthMax"),
    "throttleReadIOPSDevice": ("", "IOReadIOPSMax"),
    "throttleWriteIOPSDevice": ("", "IOWriteIOPSMax"),
}

# Files of v2 with a property of the same meaning, whose text is a number or "max"
UNIFIED = {
    "memory.min": "MemoryMin", "memory.low": "MemoryLow", "memory.high": "MemoryHigh", "memory.max": "MemoryMax",
    "memory.swap.max": "MemorySwapMax", "pids.max": "TasksMax", "cpu.weight": "CPUWeight",
}  # fmt: skip

CPUSETS = {"cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes"}

# More than any kernel has of either (CONFIG_NR_CPUS, MAX_NUMNODES)
NUMBERS_MAX = 8192

ANNOTATION = "org.systemd.property."

# Which processes a unit has, and where: an annotation could put any process of the host among those that delete kills.
RESERVED = {"PIDs", "PIDFDs", "Slice"}

# Types of numbers that a time in seconds can be written as
SECONDS = "ynqiuxtd"


def of_resources(resources: dict[str, Any], v2: bool) -> list[Property]:
    """Return the properties for linux.resources of a checked config; `v2`: whether the layout is v2 alone.

    What there is no property for is left out.
    """
    found: list[Property] = []
    for part, function in PARTS.items():
        if values := resources.get(part):
            found += function(values, v2)
    if v2:
        unified = list(_unified(resources.get("unified") or {}))
        replaced = {name for name, _, _ in unified}
        found = [each for each in found if each[0] not in replaced] + unified
    return found


def of_devices(default: bool, rules: list[tuple[Any, ...]]) -> list[Property]:
    """Return the properties for device rules as devices.effective gives them.

    systemd knows a list of what is allowed. Where the rules have an exception from that, it is told to allow everything
    and the rules are enforced by ourselves alone.
    """
    if default or not all(rule[0] for rule in rules):
        return [("DevicePolicy", "s", "auto"), ("DeviceAllow", "a(ss)", [])]
    allowed = [(_device(kind, major, minor), devices.letters(access)) for _, kind, major, minor, access, _ in rules]
    # The empty list takes back what systemd allows by itself, or what was allowed before an update.
    return [
        ("DevicePolicy", "s", "strict"),
        ("DeviceAllow", "a(ss)", []),
        ("DeviceAllow", "a(ss)", [(path, access) for path, access in allowed if path]),
    ]


def of_annotations(annotations: dict[str, str]) -> list[Property]:
    """Return the properties that annotations org.systemd.property.NAME ask for, in their order.

    Values are GVariant text. A NAME that ends in Sec takes seconds, and becomes NAME of …USec, as unit files have it.
    Raises ConfigError.
    """
    found: list[Property] = []
    for key, text in annotations.items():
        if not key.startswith(ANNOTATION):
            continue
        from ocirt.cgroup import gvariant

        name, pointer = key[len(ANNOTATION) :], "/annotations/" + step(key)
        if len(name) < 3 or not (name.isascii() and name.isalpha()):
            reason = f'"{name}" is not the name of a property, which has three letters or more, and letters alone'
            raise ConfigError([Problem(pointer, reason)])
        if name in RESERVED:
            raise ConfigError([Problem(pointer, f"{name} is reserved for the runtime")])
        try:
            signature, value = gvariant.parse(text)
            if name.endswith("Sec") and name[-4:-3].islower():
                name, signature, value = name[:-3] + "USec", "t", _microseconds(signature, value)
        except ValueError as error:
            raise ConfigError([Problem(pointer, f"{text!r}: {error}")]) from None
        found.append((name, signature, value))
    return found


def accounting(v2: bool) -> list[Property]:
    """Return the properties that make systemd put the unit into every controller's hierarchy."""
    return [(name, "b", True) for name in ACCOUNTING[v2]]


def _microseconds(signature: str, value: Any) -> int:
    if signature not in SECONDS or value < 0:
        raise ValueError("seconds are a number, from 0 up")
    result = int(value * 1_000_000)
    if result > INFINITY:
        raise ValueError("value out of range")
    return result


def _pids(values: dict[str, Any], v2: bool) -> Iterator[Property]:
    del v2
    limit = values.get("limit")
    if limit is not None:
        yield "TasksMax", "t", INFINITY if limit < 0 else limit or 1  # as limits_v1.pids; systemd takes no 0


def _memory(values: dict[str, Any], v2: bool) -> Iterator[Property]:
    limit, swap = values.get("limit") or 0, values.get("swap") or 0
    if limit:
        yield MEMORY[v2], "t", INFINITY if limit < 0 else limit
    if not v2:
        return
    if reservation := values.get("reservation"):
        yield "MemoryLow", "t", INFINITY if reservation < 0 else reservation
    if swap or limit == -1:
        try:
            yield "MemorySwapMax", "t", _amount(swap_max(limit, swap))
        except Unmet:
            pass  # said by who writes the file


def _cpu(values: dict[str, Any], v2: bool) -> Iterator[Property]:
    shares, idle = values.get("shares"), values.get("idle")
    if shares and not idle:  # an idle cgroup has no weight
        yield ("CPUWeight", "t", weight_from_shares(shares)) if v2 else ("CPUShares", "t", shares)
    yield from _quota(values.get("quota") or 0, values.get("period") or 0)
    for file, name in CPUSETS.items():
        if bits := mask(values.get(file[len("cpuset.") :]) or ""):
            yield name, "ay", bits


def _quota(quota: int, period: int) -> Iterator[Property]:
    """A quota per period, each in microseconds, as a quota per second; 0 is absent, below it unlimited."""
    if period:
        yield "CPUQuotaPeriodUSec", "t", period
    if quota > 0:
        per_second = quota * 1_000_000 // (period or DEFAULT_PERIOD_USEC)
        yield "CPUQuotaPerSecUSec", "t", -(-per_second // PERCENT_USEC) * PERCENT_USEC
    elif quota or period:
        yield "CPUQuotaPerSecUSec", "t", INFINITY


def _block_io(values: dict[str, Any], v2: bool) -> Iterator[Property]:
    prefix = "IO" if v2 else "BlockIO"
    if weight := values.get("weight"):
        yield f"{prefix}Weight", "t", io_weight(weight) if v2 else weight
    devices = [entry for entry in values.get("weightDevice") or () if entry.get("weight")]
    if devices:
        weights = [(_block(entry), io_weight(entry["weight"]) if v2 else entry["weight"]) for entry in devices]
        yield f"{prefix}DeviceWeight", "a(st)", weights
    for name, _ in THROTTLES:
        limits = [(_block(entry), entry["rate"] or INFINITY) for entry in values.get(name) or ()]
        if limits and THROTTLE[name][v2]:
            yield THROTTLE[name][v2], "a(st)", limits


PARTS: dict[str, Callable[[dict[str, Any], bool], Iterator[Property]]] = {
    "pids": _pids,
    "memory": _memory,
    "cpu": _cpu,
    "blockIO": _block_io,
}


def _unified(entries: dict[str, str]) -> Iterator[Property]:
    """The properties for files of v2; a text that systemd would not understand is left to the kernel."""
    for name, text in entries.items():
        words = text.split()
        if name in UNIFIED and len(words) == 1 and (words[0] == "max" or _is_number(words[0])):
            yield UNIFIED[name], "t", _amount(words[0])
        elif name == "cpu.max" and words and all(word == "max" or _is_number(word) for word in words):
            quota = -1 if words[0] == "max" else int(words[0])
            yield from _quota(quota, int(words[1]) if len(words) > 1 else 0)
        elif name in CPUSETS and (bits := mask(text)):
            yield CPUSETS[name], "ay", bits


def _is_number(text: str) -> bool:
    """Whether it is one that fits into any property."""
    return text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX and int(text) <= INFINITY


def _amount(text: str) -> int:
    return INFINITY if text == "max" else int(text)


def mask(numbers: str) -> bytes:
    """A list as "0-2,7" of cpuset(7), a bit each, the lowest eight in the first byte; b"" for none, and for no list."""
    bits = 0
    for part in numbers.split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not (_is_number(first) and _is_number(last) and int(first) <= int(last) < NUMBERS_MAX):
            return b""
        bits |= (1 << (int(last) + 1)) - (1 << int(first))
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def _block(entry: dict[str, Any]) -> str:
    return f"/dev/block/{entry['major']}:{entry['minor']}"


def _device(kind: str, major: int, minor: int) -> str:
    """How DeviceAllow names devices; "" for those of any major and one minor, of which it has no name."""
    word = {"c": "char", "b": "block"}[kind]
    if minor >= 0:
        return f"/dev/{word}/{major}:{minor}" if major >= 0 else ""
    return f"{word}-{major}" if major >= 0 else f"{word}-*"
