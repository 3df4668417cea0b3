"""Compiled seccomp profiles, kept across the containers of a state root: engines give all of theirs the same.

libseccomp takes 20 ms for an engine's profile, several times what the whole rest of `create` takes. What it made is in
<root>/@seccomp, which is no container's id, with the whole profile beside it: that must be the same, and the library
still the same file. A directory or a file that others could have written counts for nothing, and whatever goes wrong
here only means to compile again.
"""

from __future__ import annotations

import marshal
import posix
from _struct import Struct
from fcntl import LOCK_EX, LOCK_NB, flock

from ocirt.container.place import OPEN_DIRECTORY, read_file
from ocirt.errors import StateUntrusted
from ocirt.linux._kernel import lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DIRECTORY = "@seccomp"
PLACES = 16  # a profile has one of these, and takes it from the one before
FORMAT = 2  # of the file; and of what a profile is compiled to: a change of that is another format (a test knows)
HEAD = Struct("<QQQQQ")  # FORMAT, sizes of the profile, of what tells the library, of the program; flags for seccomp(2)
LIMIT = 1 << 20  # bytes; an engine's profile has 20 kB
OPEN_NEW = posix.O_WRONLY | posix.O_CREAT | posix.O_NOFOLLOW | posix.O_CLOEXEC


def compiled(root: str, profile: dict[str, Any]) -> tuple[bytes, int]:
    """The BPF program of linux.seccomp and the flags to load it with. Raises UnsupportedError, as seccomp.compile."""
    try:
        key = marshal.dumps(profile, 2)  # of this version: equal values are equal bytes
    except ValueError:  # nested too deep
        key = b""
    found = _read(root, key) if key else None
    if found:
        return found[:2]
    from ocirt.linux import seccomp

    program, flags = seccomp.compile(profile), seccomp.flags(profile)
    if key and len(key) + len(program) < LIMIT // 2:
        _keep(root, key, program, flags)
    return program, flags


def library(root: str, profile: dict[str, Any]) -> str:
    """The file of the library that the kept program of this profile was made by; "" where none is kept."""
    try:
        found = _read(root, marshal.dumps(profile, 2))
    except ValueError:  # nested too deep
        found = None
    return found[2].partition(b"\n")[0].decode("utf-8", "surrogateescape") if found else ""


def _place(key: bytes) -> str:
    return str(sum(key) % PLACES)


def _read(root: str, key: bytes) -> tuple[bytes, int, bytes] | None:
    """What is kept for this very profile, made by this very library: program, flags, and what tells the library."""
    try:
        data = _data(root, _place(key))
    except (OSError, StateUntrusted, ValueError):
        return None
    if len(data) < HEAD.size:
        return None
    version, size, library_size, program_size, flags = HEAD.unpack_from(data)
    library = HEAD.size + size
    program = library + library_size
    whole = version == FORMAT and len(data) == program + program_size
    sign = data[library:program]
    return (data[program:], flags, sign) if whole and data[HEAD.size : library] == key and _is_signed(sign) else None


def _data(root: str, place: str) -> bytes:
    """What is at a place. Raises OSError, StateUntrusted, ValueError."""
    directory = _open(f"{root}/{DIRECTORY}", OPEN_DIRECTORY)
    try:
        return read_file(directory, place, LIMIT)
    finally:
        posix.close(directory)


def _open(path: str, flags: int, directory: int | None = None) -> int:
    """What nobody else could have written. Raises OSError, ValueError."""
    fd = posix.open(path, flags, 0o600, dir_fd=directory)
    if lib.state_owned(fd) == 0:
        return fd
    posix.close(fd)
    raise ValueError(path)


def _keep(root: str, key: bytes, program: bytes, flags: int) -> None:
    """Written to the end before it gets its name, by one at a time."""
    path, place = f"{root}/{DIRECTORY}", _place(key)
    try:
        library = _library()
        if not library:
            return
        data = HEAD.pack(FORMAT, len(key), len(library), len(program), flags) + key + library + program
        try:
            posix.mkdir(path, 0o700)
        except FileExistsError:
            pass
        directory = _open(path, OPEN_DIRECTORY)
        try:
            _write(directory, place, data)
        finally:
            posix.close(directory)
    except (OSError, ValueError):
        pass


def _write(directory: int, place: str, data: bytes) -> None:
    new = f"{place}.new"
    file = _open(new, OPEN_NEW, directory)
    try:
        flock(file, LOCK_EX | LOCK_NB)
        if not _is_named(new, directory, file):
            return  # who had the lock has given it its name meanwhile
        posix.ftruncate(file, 0)
        while data:
            data = data[posix.write(file, data) :]
        posix.rename(new, place, src_dir_fd=directory, dst_dir_fd=directory)
    finally:
        posix.close(file)


def _is_named(name: str, directory: int, file: int) -> bool:
    """Whether the name is still that of the open file. Raises OSError."""
    return posix.stat(name, dir_fd=directory).st_ino == posix.fstat(file).st_ino


def _library() -> bytes:
    """The libseccomp that is loaded here, as `_sign` has it; empty where it is no file. Raises OSError."""
    fd, maps = posix.open("/proc/self/maps", posix.O_RDONLY | posix.O_CLOEXEC), b""
    try:
        while block := posix.read(fd, LIMIT):
            maps += block
    finally:
        posix.close(fd)
    for line in maps.split(b"\n"):
        path = line[line.find(b"/") :]
        if b"/libseccomp.so" in path:
            return _sign(path)
    return b""


def _sign(path: bytes) -> bytes:
    """What tells one file from another that has its name; empty where there is none."""
    try:
        status = posix.stat(path)
    except OSError:
        return b""
    return b"%s\n%d %d %d" % (path, status.st_ino, status.st_size, status.st_mtime_ns)


def _is_signed(sign: bytes) -> bool:
    """Whether the library is still that one."""
    return sign != b"" and sign == _sign(sign.partition(b"\n")[0])
