"""The record of a container below the state root: claimed, written, read, locked, removed.

Who claims an id holds the lock of <root>/<id>/ (flock(2)) until the container is made or given up; start and delete
take it too. A directory without a state.json is another runtime's and is left alone, unless it bears the mark (mode
01700): then claim or delete was killed between making or removing the two.
What a container is at the moment is found out by launcher/quick.c, see quick.py.
"""

from __future__ import annotations

import posix
from errno import ELOOP, ENOENT, ENOTDIR
from fcntl import LOCK_EX, LOCK_NB, flock

from ocirt import notes
from ocirt.container import quick
from ocirt.container.ids import check_id
from ocirt.container.record import State, boot_id, decode, document, encode
from ocirt.errors import (
    ContainerError,
    ContainerExists,
    ContainerNotFound,
    ContainerNotRunning,
    OcirtError,
    UnsupportedError,
    failed,
)
from ocirt.linux.calls import Fd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "State", "claim", "claim_into", "document", "keep", "living", "lock", "public", "read", "read_at", "read_file",
    "remove", "sweep", "write", "write_file",
]  # fmt: skip

KEPT = 64  # plans of exec in one directory
LIMIT = 65 << 20  # bytes of state.json: a config.json's 64 MiB may be annotations; STATE_MAX of launcher/record.h
MARK = 0o1700
PLAIN = 0o700
MODE_BITS = 0o7777
OPEN_DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
OPEN_ROOT = posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC
OPEN_NEW = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_NOFOLLOW | posix.O_CLOEXEC


def claim(root: str, container_id: str, into: Fd | None = None) -> int:
    """Take the id: the fd of its new directory, locked, still empty and marked. Makes the root where it is missing.

    `into` has the fd before this returns: whoever is interrupted then finds it there.
    Raises ContainerExists, InvalidID, SystemCallError, ContainerError for a root that is not ours alone.
    """
    check_id(container_id)
    path = f"{root}/{container_id}"
    notes.step(f'make the state directory "{path}"')
    made, fd = False, -1
    try:
        with Fd(_open_root(root)) as directory:
            made = _mkdir(container_id, MARK, directory.number)
            fd = posix.open(container_id, OPEN_DIRECTORY, dir_fd=directory.number)
        if _take(fd):
            if into:
                into.number = fd
            return fd
    except OSError as error:
        _give_up(path if made else "", fd)
        if fd < 0 and error.errno in {ENOENT, ENOTDIR, ELOOP} and _exists(f"{root}/."):
            raise ContainerExists(container_id) from None  # a foreign file; or somebody is removing it at this moment
        raise failed(f'make the state directory "{path}"', error) from None
    except KeyboardInterrupt:
        _give_up("", fd)
        sweep(root, container_id)
        raise
    posix.close(fd)
    raise ContainerExists(container_id)


def claim_into(directory: Fd, root: str, container_id: str) -> None:
    """`claim`, whose fd is in `directory` before anything can come between; interrupted, nothing is left."""
    try:
        claim(root, container_id, directory)
    except KeyboardInterrupt:
        directory.close()
        sweep(root, container_id)
        raise


def write(directory: int, state: State) -> None:
    """Write state.json by way of a temporary name. Raises SystemCallError, UnsupportedError for one that is too large.

    No fsync: containers do not outlive a power cut, and the root is a tmpfs nearly always.
    """
    notes.step(f'write the state of container "{state.container_id}"')
    data = encode(state)
    if len(data) > LIMIT:  # nobody would read it: the container could not be deleted
        raise UnsupportedError(f"make a state of more than {LIMIT >> 20} MiB", "/annotations")
    try:
        write_file(directory, ".state.json.tmp", data)
        posix.rename(".state.json.tmp", "state.json", src_dir_fd=directory, dst_dir_fd=directory)
        posix.fchmod(directory, PLAIN)
    except OSError as error:
        raise failed(f'write the state of container "{state.container_id}"', error) from None


def write_file(directory: int, name: str, data: bytes) -> None:
    """Make or replace the file `name` with `data`, readable by its owner only. Raises OSError."""
    fd = posix.open(name, OPEN_NEW, 0o600, dir_fd=directory)
    try:
        while data:
            data = data[posix.write(fd, data) :]
    finally:
        posix.close(fd)


def read(root: str, container_id: str) -> State:
    """The record of a container of ours. Raises ContainerNotFound, InvalidID, SystemCallError."""
    notes.step(f'read "{root}/{container_id}/state.json"')
    fd = _open(root, container_id)
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
    """`read`, from the container's directory. Raises ContainerNotFound, SystemCallError."""
    try:
        state = decode(read_file(directory, "state.json"))
        if state.boot_id != boot_id():
            # Gone with that boot; one of the same name is somebody else's.
            state.cgroups, state.made, state.unit = [], [], ""
        return state
    except OSError as error:
        if error.errno in {ENOENT, ELOOP}:
            raise ContainerNotFound(container_id) from None
        raise failed(f'read the state of container "{container_id}"', error) from None
    except ValueError:
        raise ContainerNotFound(container_id) from None


def read_file(directory: int, name: str, limit: int = LIMIT) -> bytes:
    """The bytes of a file of the container's directory, ValueError beyond `limit`. Raises OSError."""
    fd = posix.open(name, posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC, dir_fd=directory)
    try:
        data = b""
        while part := posix.read(fd, 1 << 16):
            data += part
            if len(data) > limit:
                raise ValueError(f"{name} is larger than {limit} bytes")
        return data
    finally:
        posix.close(fd)


def keep(root: str, container_id: str, name: str, data: bytes) -> None:
    """Write a file of `exec` to the container's directory, unless somebody is at work there: it is a help, no more.

    By way of a temporary name; when there are too many of them, they are removed first.
    """
    try:
        fd = _open(root, container_id)
    except OcirtError:
        return
    try:
        flock(fd, LOCK_EX | LOCK_NB)
        found = [other for other in posix.listdir(fd) if other.startswith("exec-")]
        if len(found) >= KEPT:
            _empty(fd, found)
        if posix.fstat(fd).st_nlink:
            write_file(fd, "." + name, data)
            posix.rename("." + name, name, src_dir_fd=fd, dst_dir_fd=fd)
    except OSError:
        pass
    finally:
        posix.close(fd)


def lock(root: str, container_id: str) -> int:
    """The fd of the container's directory once its lock is ours; closing it lets go.

    Raises ContainerNotFound, also when it was deleted meanwhile, InvalidID, SystemCallError.
    """
    notes.step(f'lock "{root}/{container_id}"')
    fd = _open(root, container_id)
    flock(fd, LOCK_EX)
    if posix.fstat(fd).st_nlink:
        return fd
    posix.close(fd)
    raise ContainerNotFound(container_id)


def public(root: str, container_id: str) -> dict[str, Any]:
    """The state of a container as `state` and `list` show it. Raises ContainerNotFound, InvalidID, SystemCallError."""
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
        _empty(directory, [name for name in posix.listdir(directory) if name != "state.json"])
        posix.fchmod(directory, MARK)
        _empty(directory, ["state.json"])
        posix.rmdir(f"{root}/{container_id}")
    except OSError as error:
        raise failed(f'remove "{root}/{container_id}"', error) from None


def sweep(root: str, container_id: str) -> None:
    """Remove a marked directory that a killed claim or delete left behind, and nothing else. Raises SystemCallError."""
    try:
        fd = _open(root, container_id)
    except ContainerNotFound:
        return
    try:
        if not _is_leftover(fd):
            return
        flock(fd, LOCK_EX)  # of a claim or delete that is alive
        if posix.fstat(fd).st_nlink and _is_leftover(fd):
            remove(root, container_id, fd)
    finally:
        posix.close(fd)


def _open(root: str, container_id: str) -> int:
    path = f"{root}/{check_id(container_id)}"
    try:
        fd = posix.open(path, OPEN_DIRECTORY)
        if posix.fstat(fd).st_uid == posix.geteuid():
            return fd
    except OSError as error:
        if error.errno in {ENOENT, ENOTDIR, ELOOP}:
            raise ContainerNotFound(container_id) from None
        raise failed(f'open "{path}"', error) from None
    except ValueError:
        raise ContainerError(f"the state root {root!r} has a NUL byte") from None
    # Another user's: its hooks would run, and its pids be killed, with our rights.
    posix.close(fd)
    raise ContainerNotFound(container_id)


def _give_up(made: str, fd: int) -> None:
    """After an error on the way of `claim`: what it has made and opened is undone, as far as that is possible."""
    try:
        if fd >= 0:
            posix.close(fd)
        if made:
            posix.rmdir(made)
    except OSError:
        pass  # `delete --force` knows it by its mark


def _open_root(root: str) -> int:
    """The fd of the state root, made where it is missing. Raises ContainerError, OSError.

    Another user who could rename what is in it could have us change, and later trust, whatever he puts there.
    """
    try:
        fd = posix.open(root, OPEN_ROOT)
    except FileNotFoundError:
        _make_root(root)
        fd = posix.open(root, OPEN_ROOT)
    status = posix.fstat(fd)
    if status.st_uid not in {0, posix.geteuid()}:
        problem = f"belongs to user {status.st_uid}"
    elif status.st_mode & 0o1002 == 0o002:
        problem = "can be written by everybody"
    else:
        return fd
    posix.close(fd)
    raise ContainerError(f'the state root "{root}" {problem}: states in it could not be trusted')


def _make_root(root: str) -> None:
    missing = []
    while root and not _exists(root):
        missing.append(root)
        root = root.rpartition("/")[0]
    for directory in reversed(missing):
        _mkdir(directory, PLAIN if directory == missing[0] else 0o755)


def _mkdir(path: str, mode: int, dir_fd: int | None = None) -> bool:
    """Whether it was missing, and is made."""
    try:
        posix.mkdir(path, mode, dir_fd=dir_fd)
    except FileExistsError:
        return False  # another claim was faster; or the id is taken, or left behind: _take tells
    posix.chmod(path, mode, dir_fd=dir_fd)  # whatever the caller's umask is
    return True


def _take(fd: int) -> bool:
    """Lock a directory just made, or one left behind. Who comes second at the same moment finds it locked or gone."""
    try:
        flock(fd, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        return False
    if not posix.fstat(fd).st_nlink or not _is_leftover(fd):
        return False
    _empty(fd, posix.listdir(fd))
    return True


def _is_leftover(fd: int) -> bool:
    status = posix.fstat(fd)
    if status.st_mode & MODE_BITS != MARK or status.st_uid != posix.geteuid():
        return False
    return "state.json" not in posix.listdir(fd)


def _empty(directory: int, names: list[str]) -> None:
    for name in names:
        try:
            posix.unlink(name, dir_fd=directory)
        except IsADirectoryError:
            below = posix.open(name, OPEN_DIRECTORY, dir_fd=directory)
            try:
                _empty(below, posix.listdir(below))
            finally:
                posix.close(below)
            posix.rmdir(name, dir_fd=directory)
        except FileNotFoundError:
            pass


def _exists(path: str) -> bool:
    try:
        posix.stat(path)
    except OSError:
        return False
    return True
