"""Why a limit could not be set, in words; cold."""

from __future__ import annotations

import posix
from errno import EACCES, EBUSY, EINVAL, ENOENT, ERANGE

from ocirt.cgroup import tree, v2
from ocirt.errors import OcirtError, UnsupportedError, failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ocirt.cgroup.limits import Write

_BANDWIDTH = "a period is from 1000 to 1000000, a quota at least 1000 and no larger share than the cgroup above has"
_CPUSET = "they must exist, and the cgroup above must have them"

# What a value must be, for files that say no without a word
RULES = {
    "cpu.cfs_quota_us": _BANDWIDTH,
    "cpu.cfs_period_us": _BANDWIDTH,
    "cpu.max": _BANDWIDTH,
    "cpu.cfs_burst_us": "a burst is at most the quota",
    "cpu.max.burst": "a burst is at most the quota",
    "cpu.idle": "it is 0 or 1",
    "cpu.shares": "those of an idle cgroup can't be set",
    "cpu.weight": "that of an idle cgroup can't be set",
    "cpu.rt_runtime_us": "no more than the period, nor than the cgroup above has: none, unless it was given some",
    "cpuset.cpus": _CPUSET,
    "cpuset.mems": _CPUSET,
    "memory.limit_in_bytes": "it is at most the limit of memory and swap together",
    "memory.memsw.limit_in_bytes": "it includes memory, so it is at least the limit of that",
    "memory.use_hierarchy": "since Linux 5.11 it is always on",
}


def explain(directory: str, write: Write, error: OSError, name: Callable[[str], str]) -> OcirtError:
    """The error for a write to a file of `directory` that failed; `name` as of resources.apply."""
    version, controller, file, text, pointer, _ = write
    denied = error.errno in tree.DENIED
    if error.errno == ENOENT or denied:
        if not posix.access(directory, posix.F_OK):
            reason = f'needs the cgroup "{directory}", which is not there: limits need root or delegation'
            return UnsupportedError(f"{name(pointer)}: {reason}")
        if version == 2 and controller != "cgroup" and controller not in _available(directory):
            reason = f'needs the cgroup controller "{controller}", which "{directory}" does not have'
            reason += f": {v2.why_lacking(directory, controller)}"
            return UnsupportedError(f"{name(pointer)}: {reason}")
        if not denied:
            return UnsupportedError(f'{name(pointer)}: this kernel has no "{file}" in "{directory}"')
    what = f'{name(pointer)}: write "{text}" to "{directory}/{file}"'
    if error.errno == EBUSY and controller == "memory":
        what += f" while {_usage(directory)} bytes are in use"
    if error.errno in {EINVAL, ERANGE, EACCES} and file in RULES and posix.access(f"{directory}/{file}", posix.W_OK):
        what += f" ({RULES[file]})"
    return failed(what, error)


def _available(directory: str) -> list[str]:
    """The controllers of a v2 cgroup; [] where they can't be read."""
    try:
        return tree.read(f"{directory}/cgroup.controllers").decode().split()
    except OSError:
        return []


def _usage(directory: str) -> str:
    try:
        return tree.read(f"{directory}/memory.usage_in_bytes").decode().strip()
    except OSError:
        return "more"
