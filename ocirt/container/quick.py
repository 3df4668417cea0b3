"""Typed face of launcher/quick.h, the verbs that the launcher runs without Python; leaves the words to its callers."""

from __future__ import annotations

from errno import EBADMSG, EINVAL, EKEYREJECTED, ENOENT, ENOTDIR

from ocirt import notes
from ocirt.errors import ContainerNotFound, OcirtError, SystemCallError
from ocirt.linux import calls
from ocirt.linux._kernel import ffi, lib

NO_STATE = {ENOENT, ENOTDIR, EBADMSG, EKEYREJECTED}  # of container_open, launcher/record.h
STATUSES = ("creating", "created", "running", "paused", "stopped")  # STATUS_… of quick.h


def status(root: str, container_id: str) -> tuple[str, int]:
    """What the container is now, and the pid of its process, 0 when stopped.

    Raises as state.read.
    """
    pid = bytearray(calls.INT.size)
    found = int(lib.quick_status(path_bytes(root), container_id.encode(), ffi.from_buffer("int[]", pid)))
    if found < 0:
        raise _refused(root, container_id, -found)
    notes.step(f'container "{container_id}" is {STATUSES[found]}, its process is {calls.number_at(pid)}')
    return STATUSES[found], calls.number_at(pid)


def start(root: str, container_id: str) -> tuple[int, bytes]:
    """Let the process be executed: (0, b""); or (1, the init's message); or (a negative errno, b"").

    -EINVAL: the container is not created. Raises as state.read.
    """
    notes.step(f'let the process of "{root}/{container_id}" be executed')
    message = bytearray(lib.MESSAGE_HEAD + lib.MSG_TEXT_MAX)
    result = int(
        lib.quick_start_report(path_bytes(root), container_id.encode(), ffi.from_buffer("struct message *", message))
    )
    if -result in NO_STATE:
        raise _refused(root, container_id, -result)
    return result, bytes(message).rstrip(b"\0").ljust(lib.MESSAGE_HEAD, b"\0") if result == 1 else b""


def kill(root: str, container_id: str, signal: int) -> bool:
    """Send `signal` to the process; False when nothing was done and somebody must say why."""
    notes.step(f'send signal {signal} to the process of "{root}/{container_id}"')
    return bool(lib.quick_kill(path_bytes(root), container_id.encode(), signal) == lib.QUICK_DONE)


def delete(root: str, container_id: str, force: bool) -> bool:
    """Remove the container; False when it is not removed, or not whole, for a reason that somebody must find."""
    kill = "kill the process, " if force else ""
    notes.step(f'{kill}remove the cgroups and the state directory of "{root}/{container_id}"')
    return bool(lib.quick_delete(path_bytes(root), container_id.encode(), force) == lib.QUICK_DONE)


def signal_number(text: str) -> int:
    """Number, 0 to 64, of a signal given by name or number; -EINVAL for anything else."""
    return -EINVAL if "\0" in text else int(lib.signal_number(text.encode("utf-8", "surrogateescape")))


def _refused(root: str, container_id: str, number: int) -> OcirtError:
    if number in {ENOENT, ENOTDIR}:
        return ContainerNotFound(container_id)
    if number not in NO_STATE:
        return SystemCallError(f'read the state of container "{container_id}" in "{root}"', number)
    from ocirt.container import damage

    return damage.found(root, container_id, number)


def path_bytes(path: str) -> bytes:
    """A path as the kernel takes it. Raises SystemCallError for one with a NUL byte, which C would cut off there."""
    if "\0" in path:
        raise SystemCallError(f"open {path!r}", EINVAL)
    return path.encode("utf-8", "surrogateescape")
