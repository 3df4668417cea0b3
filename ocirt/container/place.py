"""The directories of the state root and the files in them: opened where nobody else could have written them.

The rule of whom to trust, and the way to the root, are launcher/trust.c's; what the files say is left to state.py.
"""

from __future__ import annotations

import posix
from errno import EKEYREJECTED, ENOENT, ENOTDIR

from ocirt.container.ids import check_id
from ocirt.container.quick import path_bytes
from ocirt.errors import ContainerNotFound, StateUntrusted, SystemCallError
from ocirt.linux._kernel import ffi, lib

MARK = "ocirt.json"  # makes a directory ours, whatever else is in it; MARK_FILE of launcher/trust.h
TEXT_SIZE = 8192
OPEN_DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
OPEN_NEW = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_NOFOLLOW | posix.O_CLOEXEC


def open_root(root: str, make: bool = False) -> int:
    """An O_PATH fd of the state root, with `make` made where it is missing.

    Raises StateUntrusted where somebody else could have written what is in it, SystemCallError.
    """
    text = bytearray(TEXT_SIZE)
    fd = int(lib.state_root(path_bytes(root), make, ffi.from_buffer(text), TEXT_SIZE))
    if fd == -EKEYREJECTED:
        raise StateUntrusted(f'the state root "{root}"', _words(text))
    if fd < 0:
        raise SystemCallError(f'{"make" if make else "open"} the state root "{root}"', -fd)
    return fd


def open_directory(root: str, container_id: str) -> int:
    """The fd of the id's directory. Raises ContainerNotFound, InvalidID, StateUntrusted, SystemCallError."""
    check_id(container_id)
    text = bytearray(TEXT_SIZE)
    fd = int(lib.state_directory(path_bytes(root), container_id.encode(), ffi.from_buffer(text), TEXT_SIZE))
    if fd == -EKEYREJECTED:
        raise StateUntrusted(f'the state of container "{container_id}"', _words(text))
    if fd in {-ENOENT, -ENOTDIR}:
        raise ContainerNotFound(container_id)
    if fd < 0:
        raise SystemCallError(f'open "{root}/{container_id}"', -fd)
    return fd


def read_file(directory: int, name: str, limit: int) -> bytes:
    """The bytes of a regular file of the directory.

    Raises OSError, ELOOP for what is no regular file; ValueError beyond `limit`; StateUntrusted.
    """
    text = bytearray(TEXT_SIZE)
    fd = int(lib.state_file(directory, name.encode(), ffi.from_buffer(text), TEXT_SIZE))
    if fd == -EKEYREJECTED:
        raise StateUntrusted(f'the state in "{path_of(directory)}"', _words(text))
    if fd < 0:
        raise OSError(-fd, posix.strerror(-fd))
    try:
        size = posix.fstat(fd).st_size
        data = posix.read(fd, size + 1) if size <= limit else b""
    finally:
        posix.close(fd)
    if len(data) != size:
        raise ValueError(f"{name} is larger than {limit} bytes" if size > limit else f"{name} is being written")
    return data


def write_file(directory: int, name: str, data: bytes, flags: int = 0) -> None:
    """Make or replace the file `name` with `data`, readable by its owner only; `flags` of open(2). Raises OSError."""
    fd = posix.open(name, OPEN_NEW | flags, 0o600, dir_fd=directory)
    try:
        while data:
            data = data[posix.write(fd, data) :]
    finally:
        posix.close(fd)


def replace_file(directory: int, name: str, data: bytes) -> None:
    """`write_file` by way of a temporary name: whoever reads has the old file or the new one. Raises OSError.

    No fsync: containers do not outlive a power cut, and the root is a tmpfs nearly always.
    """
    write_file(directory, f".{name}.tmp", data)
    posix.rename(f".{name}.tmp", name, src_dir_fd=directory, dst_dir_fd=directory)


def hold(directory: int) -> int:
    """An fd that keeps the directory known, but not the lock of `directory`. Raises OSError."""
    return posix.open(".", posix.O_PATH | posix.O_CLOEXEC, dir_fd=directory)


def is_named(root: str, container_id: str, held: int) -> bool:
    """Whether the id is still that of the directory, and not of another that was made since; `held` is closed."""
    ours = posix.fstat(held)
    posix.close(held)
    try:
        there = posix.lstat(f"{root}/{container_id}")
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def has(directory: int, name: str) -> bool:
    """Whether something has the name, in a directory that may have been removed."""
    try:
        posix.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def empty(directory: int, names: list[str]) -> None:
    """Remove what has these names, whole. Raises OSError."""
    for name in names:
        try:
            posix.unlink(name, dir_fd=directory)
        except IsADirectoryError:
            below = posix.open(name, OPEN_DIRECTORY, dir_fd=directory)
            try:
                empty(below, posix.listdir(below))
            finally:
                posix.close(below)
            posix.rmdir(name, dir_fd=directory)
        except FileNotFoundError:
            pass


def path_of(directory: int) -> str:
    """Where the directory is now."""
    return posix.readlink(f"/proc/self/fd/{directory}")


def _words(text: bytearray) -> str:
    return text.partition(b"\0")[0].decode("utf-8", "surrogateescape")
