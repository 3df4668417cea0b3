"""What is known of a container, and its text: state.json, the mark, and the state that hooks and `state` show.

docs/plan.md, "The state directory", fixes the lines, for C reads them as well; state.py keeps them in a directory.
"""

from __future__ import annotations

import posix
from _json import encode_basestring as quoted
from errno import EIO, ESRCH
from time import gmtime, time_ns

from ocirt.errors import BundleError, SystemCallError, failed
from ocirt.linux._kernel import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

FORMAT = 2  # of what is written; STATE_FORMAT of launcher/record.h
KNOWN = (1, 2)  # the first had no number, and no mark


class State:
    """What create learned of a container.

    oci_version, container_id, bundle, rootfs, annotations    as in config.json; paths absolute
    pid             the container's process as the runtime sees it; 0 until it exists
    start_time      of the process, in clock ticks after boot (proc_pid_stat(5), field 22)
    boot_id         of the boot that both belong to
    created         RFC 3339, UTC, nanoseconds
    owner           name of the user who created it
    phase           "creating" or "created"
    manager         "cgroupfs", "systemd" or "disabled"
    unit            the unit of systemd to end with it, "" for none
    pid_namespace   whether the process is the first of a pid namespace made for it
    python          why a verb is not quick: "poststart", "poststop", "noprocess", separated by spaces; and "oldkeyring"
                    where the container has the session keyring of its caller
    freezers        the files that tell whether the container is frozen: one, two on a hybrid host
    cgroups, made   its cgroup directories; all directories that create made for them, deepest first
    """

    __slots__ = (
        "annotations", "boot_id", "bundle", "cgroups", "container_id", "created", "freezers", "made", "manager",
        "oci_version", "owner", "phase", "pid", "pid_namespace", "python", "rootfs", "start_time", "unit",
    )  # fmt: skip

    def __init__(self, container_id: str, oci_version: str, bundle: str, rootfs: str) -> None:
        self.container_id = container_id
        self.oci_version = oci_version
        self.bundle = bundle
        self.rootfs = rootfs
        self.annotations: dict[str, str] = {}
        self.pid = 0
        self.start_time = 0
        self.boot_id = boot_id()
        self.created = now()
        self.owner = owner()
        self.phase = "creating"
        self.manager = "cgroupfs"
        self.unit = ""
        self.pid_namespace = False
        self.python = ""
        self.freezers: list[str] = []
        self.cgroups: list[str] = []
        self.made: list[str] = []

    def born(self, pid: int) -> None:
        """Take note of the container's process. Raises SystemCallError."""
        self.start_time = start_time(pid)
        if not self.start_time:  # not reaped, it has one: without it the container would be taken for stopped
            raise SystemCallError(f"read /proc/{pid}/stat", EIO)
        self.pid = pid

    def own_cgroups(self) -> list[str]:
        """The cgroups that hold nobody but the container; until it is created, one that was there may be anybody's."""
        return self.cgroups if self.phase == "created" else [path for path in self.cgroups if path in self.made]


def document(state: State, status: str, pid: int) -> bytes:
    """The state of runtime.md, as JSON: what `state` prints and hooks read."""
    return _bytes([*_public(state, status, pid), "}"])


def encode(state: State, number: int = FORMAT) -> bytes:
    """The text of state.json, in the format of that number."""
    own = (
        *([f'"format": {number}'] if number > 1 else ()),
        f'"phase": "{state.phase}"',
        f'"startTime": {state.start_time}',
        f'"bootId": {quoted(state.boot_id)}',
        f'"manager": {quoted(state.manager)}',
        f'"unit": {quoted(state.unit)}',
        f'"pidNamespace": {"true" if state.pid_namespace else "false"}',
        f'"python": {quoted(state.python)}',
        f'"freezers": {_list(state.freezers)}',
        f'"cgroups": {_list(state.cgroups)}',
        f'"made": {_list(state.made)}',
    )
    lines = _public(state, state.phase, state.pid)
    lines[-1] += ","
    return _bytes([*lines, '  "ocirt": {', ",\n".join(f"    {line}" for line in own), "  }", "}"])


def mark(state: State | None = None) -> bytes:
    """The text of the mark: the format's number; once it is known, what `delete` needs should state.json be lost."""
    lines = [f'"format": {FORMAT}']
    if state:
        lines += [
            f'"pid": {state.pid}',
            f'"startTime": {state.start_time}',
            f'"bootId": {quoted(state.boot_id)}',
            f'"unit": {quoted(state.unit)}',
            f'"cgroups": {_list(state.own_cgroups())}',
            f'"made": {_list(state.made)}',
        ]
    return _bytes(["{", ",\n".join([f"  {line}" for line in lines]), "}"])


def decode(data: bytes) -> State:
    """The State of a state.json. Raises ValueError when the text is not one of ours, or is of an unknown format."""
    from ocirt.config import load

    try:
        doc: Any = load.parse(data, "state.json")
        own = doc["ocirt"]
        if own.get("format", 1) not in KNOWN:
            raise ValueError("its format is none that this version knows")
        state = State.__new__(State)
        for slot, (part, member, kind) in MEMBERS.items():
            value = (own if part else doc)[member]
            if type(value) is not kind or (isinstance(value, int) and not 0 <= value < LARGEST[member]):
                raise ValueError(f"{member} has a value that create never writes")
            setattr(state, slot, value)
        if encode(state, own.get("format", 1)) != data:  # C would not read it
            raise ValueError("it is not laid out as create writes it")
    except KeyError as error:
        raise ValueError(f"{error.args[0]} is missing") from None
    except (BundleError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(str(error)) from None
    return state


# What C can hold
LARGEST = {"pid": 1 << 31, "startTime": 10**19, "pidNamespace": 2}
# slot → (in the part "ocirt"?, member, type)
MEMBERS = {
    "oci_version": (False, "ociVersion", str),
    "container_id": (False, "id", str),
    "pid": (False, "pid", int),
    "bundle": (False, "bundle", str),
    "rootfs": (False, "rootfs", str),
    "created": (False, "created", str),
    "annotations": (False, "annotations", dict),
    "owner": (False, "owner", str),
    "phase": (True, "phase", str),
    "start_time": (True, "startTime", int),
    "boot_id": (True, "bootId", str),
    "manager": (True, "manager", str),
    "unit": (True, "unit", str),
    "pid_namespace": (True, "pidNamespace", bool),
    "python": (True, "python", str),
    "freezers": (True, "freezers", list),
    "cgroups": (True, "cgroups", list),
    "made": (True, "made", list),
}


def boot_id() -> str:
    """The id of this boot (random(4)). Raises SystemCallError."""
    path = "/proc/sys/kernel/random/boot_id"
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            return posix.read(fd, 64).decode().strip()
        finally:
            posix.close(fd)
    except OSError as error:
        raise failed(f"read {path}", error) from None


def start_time(pid: int) -> int:
    """When the process was started, in clock ticks after boot (proc_pid_stat(5), field 22); 0 for no process.

    Raises SystemCallError.
    """
    ticks = bytearray(8)
    result = lib.process_start_time(pid, ffi.from_buffer(ticks))
    if result in {0, -ESRCH}:
        return int.from_bytes(ticks, "little")
    raise SystemCallError(f"read /proc/{pid}/stat", -result)


def now() -> str:
    """The time, RFC 3339 in UTC, with nanoseconds."""
    seconds, nanoseconds = divmod(time_ns(), 1_000_000_000)
    year, month, day, hour, minute, second = gmtime(seconds)[:6]
    return f"{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z"


def owner() -> str:
    """The name of the effective user, or its number where it has none."""
    uid = posix.geteuid()
    if uid == 0:
        return "root"  # name services may take long, and this is what they say
    from pwd import getpwuid

    try:
        return getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _public(state: State, status: str, pid: int) -> list[str]:
    annotations = ", ".join([f"{quoted(key)}: {quoted(value)}" for key, value in state.annotations.items()])
    members = (
        f'"ociVersion": {quoted(state.oci_version)}',
        f'"id": {quoted(state.container_id)}',
        f'"pid": {pid}',
        f'"status": "{status}"',
        f'"bundle": {quoted(state.bundle)}',
        f'"rootfs": {quoted(state.rootfs)}',
        f'"created": {quoted(state.created)}',
        f'"annotations": {{{annotations}}}',
        f'"owner": {quoted(state.owner)}',
    )
    return ["{", ",\n".join([f"  {member}" for member in members])]


def _list(values: Iterable[str]) -> str:
    return "[" + ", ".join([quoted(value) for value in values]) + "]"


def _bytes(lines: list[str]) -> bytes:
    # A path that is not UTF-8 has lone surrogates (PEP 383): as this error handler writes them, so does JSON.
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")
