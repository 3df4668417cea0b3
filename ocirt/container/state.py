"""The record of a container below the state root: claimed, written, read, locked, removed.

Who claims an id holds the lock of <root>/<id>/ (flock(2)) until the container is made or given up; start and delete
take it too. The first thing in it is the mark, a file (place.MARK): a directory without one, and without a state.json
of ours, is another runtime's and is left alone. Mode 01700 tells that there is no state.json yet, or none any more: a
claim or delete is at work, or was killed there.
What a container is at the moment is found out by launcher/quick.c, see quick.py; what to say of a directory that is
ours and cannot be read, and how its id is freed, is damage.py's.
"""

from __future__ import annotations

import posix
from errno import ELOOP, ENOENT, ENOTDIR
from fcntl import LOCK_EX, LOCK_NB, flock

from ocirt import notes
from ocirt.container import place, quick
from ocirt.container.ids import check_id
from ocirt.container.record import State, boot_id, decode, document
from ocirt.errors import (
    BundleError,
    ContainerExists,
    ContainerNotFound,
    ContainerNotRunning,
    OcirtError,
    StateDamaged,
    StateUntrusted,
    SystemCallError,
    failed,
)
from ocirt.linux._kernel import lib
from ocirt.linux.calls import Fd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "State", "claim_left", "config", "document", "is_leftover", "kept_file", "living", "lock",
    "public", "read", "read_at", "remove", "sweep", "unclaimed",
]  # fmt: skip

STATE = "state.json"
CONFIG = "config.json"
LIMIT = 65 << 20  # bytes of state.json: a config.json's 64 MiB may be annotations; STATE_MAX of launcher/record.h
UNFINISHED = 0o1700
PLAIN = 0o700
MODE_BITS = 0o7777


def claim_left(root: str, container_id: str) -> int:
    """The fd of the id's directory, where a killed claim or delete has left it: locked, emptied and marked.

    Raises ContainerExists, which says what is in the way, and SystemCallError.
    """
    with Fd(place.open_root(root)) as directory:
        try:
            fd = posix.open(container_id, place.OPEN_DIRECTORY, dir_fd=directory.number)
        except OSError as error:
            if error.errno in {ENOENT, ENOTDIR, ELOOP}:  # no directory; or somebody is removing it
                raise _taken(root, container_id) from None
            raise failed(f'make the state directory "{root}/{container_id}"', error) from None
    with Fd(fd) as held:
        try:
            if _take(fd):
                return held.take()
        except OSError as error:
            raise failed(f'make the state directory "{root}/{container_id}"', error) from None
    raise _taken(root, container_id)


def unclaimed(root: str, container_id: str, number: int) -> OcirtError:
    """Why the id could not be claimed, errno `number`. Raises StateUntrusted, SystemCallError for the root."""
    posix.close(place.open_root(root, make=True))
    return SystemCallError(f'make the state directory "{root}/{container_id}"', number)


def read(root: str, container_id: str) -> State:
    """The record of a container of ours.

    Raises ContainerNotFound, InvalidID, SystemCallError; StateDamaged, StateUnknown, StateUntrusted for one that is
    there and cannot be read.
    """
    notes.step(f'read "{root}/{container_id}/state.json"')
    fd = place.open_directory(root, container_id)
    try:
        return read_at(fd, container_id)
    finally:
        posix.close(fd)


def living(root: str, container_id: str) -> tuple[State, str]:
    """The state of a container whose process exists, and its status: "created", "running" or "paused".

    Raises ContainerNotFound, ContainerNotRunning, InvalidID, SystemCallError.
    """
    record = read(root, check_id(container_id))
    status, _ = quick.status(root, container_id)
    if status in {"creating", "stopped"}:
        raise ContainerNotRunning(container_id, status)
    return record, status


def read_at(directory: int, container_id: str) -> State:
    """`read`, from the container's directory."""
    try:
        state = decode(place.read_file(directory, STATE, LIMIT))
        if state.container_id != container_id:  # copied or renamed: the process is that of the other
            raise ValueError(f'it is that of container "{state.container_id}"')
    except (OSError, ValueError, StateUntrusted) as error:
        from ocirt.container import damage

        raise damage.explained(directory, container_id, error) from None
    if state.boot_id != boot_id():
        # Gone with that boot; one of the same name is somebody else's.
        state.cgroups, state.made, state.unit = [], [], ""
    return state


def kept_file(root: str, container_id: str, name: str, limit: int) -> bytes:
    """A file of a container's directory. Raises OSError, ValueError beyond `limit`, and as `read`."""
    fd = place.open_directory(root, container_id)
    try:
        return place.read_file(fd, name, limit)
    finally:
        posix.close(fd)


def config(root: str, container_id: str, locked: bool = False) -> dict[str, Any]:
    """The config of a container as it was at create. `locked`: the caller has the lock. Raises as `read`."""
    from ocirt.config import load

    try:
        doc = load.settled(kept_file(root, container_id, CONFIG, load.LIMIT), CONFIG)
        if type(doc) is dict:
            return doc
        reason = f"{CONFIG} holds no object"
    except OSError as error:
        reason = f"{CONFIG}: {posix.strerror(error.errno or 0).lower()}"
    except (BundleError, ValueError) as error:
        reason = str(error)
    if not locked:
        posix.close(lock(root, container_id))  # it may be in the midst of a delete
    raise StateDamaged(container_id, f"{root}/{container_id}", reason)


def lock(root: str, container_id: str) -> int:
    """The fd of the container's directory once its lock is ours; closing it lets go.

    Raises ContainerNotFound, also when it was deleted meanwhile, InvalidID, StateUntrusted, SystemCallError.
    """
    notes.step(f'lock "{root}/{container_id}"')
    fd = place.open_directory(root, container_id)
    flock(fd, LOCK_EX)
    if posix.fstat(fd).st_nlink:
        return fd
    posix.close(fd)
    raise ContainerNotFound(container_id)


def public(root: str, container_id: str) -> dict[str, Any]:
    """The state of a container as `state` and `list` show it. Raises as `read`."""
    state = read(root, container_id)
    status, pid = quick.status(root, container_id)
    return {
        "ociVersion": state.oci_version,
        "id": state.container_id,
        "pid": pid,
        "status": status,
        "bundle": state.bundle,
        "rootfs": state.rootfs,
        "created": state.created,
        "annotations": state.annotations,
        "owner": state.owner,
    }


def remove(root: str, container_id: str, directory: int) -> None:
    """Remove the container's directory, whose lock is held, state.json last. Raises SystemCallError."""
    notes.step(f'remove "{root}/{container_id}"')
    try:
        place.empty(directory, [name for name in posix.listdir(directory) if name != STATE])
        posix.fchmod(directory, UNFINISHED)
        place.empty(directory, [STATE])
        posix.rmdir(f"{root}/{container_id}")
    except OSError as error:
        raise failed(f'remove "{root}/{container_id}"', error) from None


def sweep(root: str, container_id: str) -> None:
    """Remove a directory that a killed claim or delete left behind, and nothing else. Raises as `lock`."""
    try:
        fd = place.open_directory(root, container_id)
    except ContainerNotFound:
        return
    try:
        if not is_leftover(fd):
            return
        flock(fd, LOCK_EX)  # of a claim or delete that is alive
        if posix.fstat(fd).st_nlink and is_leftover(fd):
            remove(root, container_id, fd)
    finally:
        posix.close(fd)


def is_leftover(fd: int) -> bool:
    """Whether the directory is ours, and no container: without a state yet, or without one any more."""
    status = posix.fstat(fd)
    if status.st_mode & MODE_BITS != UNFINISHED or status.st_uid != posix.geteuid():
        return False
    return not place.has(fd, STATE)


def _taken(root: str, container_id: str) -> ContainerExists:
    from ocirt.container import damage

    return ContainerExists(container_id, damage.in_the_way(root, container_id))


def _take(fd: int) -> bool:
    """Lock and mark a directory left behind. Who comes second just then finds it locked or gone."""
    try:
        flock(fd, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    if not posix.fstat(fd).st_nlink or not is_leftover(fd):
        return False
    place.empty(fd, posix.listdir(fd))
    result = lib.state_mark(fd)
    if result < 0:
        raise OSError(-result, posix.strerror(-result))
    return True
