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

ST_RDONLY = 1  # statvfs(3)

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
    """The error for a write to a file of `directory` that failed; `name`: of a pointer below /linux/resources."""
    version, controller, file, text, pointer, _ = write
    denied = error.errno in tree.DENIED
    if error.errno == ENOENT or denied:
        if not posix.access(directory, posix.F_OK):
            return UnsupportedError(f"{name(pointer)}: {missing(directory)}")
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


def moving(path: str, pid: int, error: OSError) -> OcirtError:
    """The error for process `pid` that could not be moved into cgroup `path`.

    cgroup-v2.rst, "Delegation Containment": who moves it must also be allowed to write the cgroup.procs of the common
    ancestor of both cgroups. A user's session is not below what systemd has delegated to that user.
    """
    what = f'move process {pid} into cgroup "{path}"'
    own = _own(pid) if error.errno == EACCES else ""
    if not own:
        return failed(what, error)
    mount = path
    while posix.access(tree.parent(mount) + "/cgroup.procs", posix.F_OK):
        mount = tree.parent(mount)
    above = mount + own
    while not f"{path}/".startswith(f"{above}/"):
        above = tree.parent(above)
    if posix.access(above + "/cgroup.procs", posix.W_OK):
        return failed(what, error)
    why = f'out of "{mount}{own}" requires write access to "{above}/cgroup.procs", the nearest cgroup above both'
    return failed(f"{what} ({why}: start ocirt below what is delegated, as by systemd-run --user --scope)", error)


def _own(pid: int) -> str:
    """The cgroup of a process in the v2 hierarchy, "" for one outside of what this cgroup namespace shows."""
    for line in tree.read(f"/proc/{pid}/cgroup").decode("utf-8", "surrogateescape").splitlines():
        if line.startswith("0::") and not line.startswith("0::/.."):
            return line[3:].rstrip("/")
    return ""


def missing(directory: str) -> str:
    """Why there is no cgroup to set a limit in."""
    why = "limits need root or delegation"
    if read_only(directory):
        why = "the hierarchy is mounted read-only here, as in a container: mount it writable, or use"
        why += " --cgroup-manager disabled"
    return f'needs the cgroup "{directory}", which is not there: {why}'


def read_only(directory: str) -> bool:
    """Whether nothing can be made in what there is of `directory`, for its mount is read-only."""
    while directory and not posix.access(directory, posix.F_OK):
        directory = tree.parent(directory)
    return bool(posix.statvfs(directory or "/").f_flag & ST_RDONLY)


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
