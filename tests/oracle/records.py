"""The texts of a container's record, written in Python: the oracle that perform/text.c is compared with."""

from __future__ import annotations

from _json import encode_basestring as quoted
from collections.abc import Iterable
from errno import EIO
from time import gmtime, time_ns

from ocirt.container import record
from ocirt.container.record import FORMAT, boot_id, owner, start_time
from ocirt.errors import SystemCallError


class State(record.State):
    """One that was not read."""

    __slots__ = ()

    def __init__(self, container_id: str, oci_version: str, bundle: str, rootfs: str) -> None:
        super().__init__()
        self.container_id = container_id
        self.oci_version = oci_version
        self.bundle = bundle
        self.rootfs = rootfs
        self.boot_id = boot_id()
        self.created = now()
        self.owner = owner()
        self.phase = "creating"
        self.manager = "cgroupfs"

    def born(self, pid: int) -> None:
        """Take note of the container's process. Raises SystemCallError."""
        self.start_time = start_time(pid)
        if not self.start_time:  # not reaped, it has one: without it the container would be taken for stopped
            raise SystemCallError(f"read /proc/{pid}/stat", EIO)
        self.pid = pid


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


def now() -> str:
    """The time, RFC 3339 in UTC, with nanoseconds."""
    seconds, nanoseconds = divmod(time_ns(), 1_000_000_000)
    year, month, day, hour, minute, second = gmtime(seconds)[:6]
    return f"{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z"


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
