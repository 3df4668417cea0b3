"""Directories of a cgroup hierarchy, the same for both versions: read, write, make, walk, remove, list members.

What a cgroup is for, and what its files mean, is left to v1.py, v2.py and the package.
"""

from __future__ import annotations

import posix
from errno import EACCES, EBUSY, ENODEV, ENOENT, ENOTEMPTY, EOPNOTSUPP, EPERM, EROFS
from time import monotonic, sleep

from ocirt import notes
from ocirt.errors import SystemCallError, failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# What a hierarchy answers that is not the runtime's to change: rootless, a read-only /sys/fs/cgroup.
DENIED = (EACCES, EPERM, EROFS)

# A cgroup removed while it is read answers ENOENT or ENODEV; a threaded one (v2) has no cgroup.procs to read, its
# processes are listed where its threaded domain begins (cgroups(7)).
UNREADABLE = (ENOENT, ENODEV, EOPNOTSUPP)

DIRECTORY = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW

# Each lost race against another runtime's removal of an empty parent costs one try; a path has at most 2048 components.
TRIES = 4096

FIRST_WAIT_S = 0.0005
LONGEST_WAIT_S = 0.1


def read(path: str, dir_fd: int | None = None) -> bytes:
    """Return the whole file. Raises OSError."""
    fd = posix.open(path, posix.O_RDONLY, dir_fd=dir_fd)
    try:
        parts = [posix.read(fd, 65536)]
        while parts[-1]:
            parts.append(posix.read(fd, 65536))
    finally:
        posix.close(fd)
    return b"".join(parts)


def write(path: str, data: bytes) -> None:
    """Write `data` in one call, as control files demand; never creates a file. Raises OSError."""
    if notes.steps:
        notes.step(f'write "{data.decode(errors="replace")}" to "{path}"')
    fd = posix.open(path, posix.O_WRONLY)
    try:
        posix.write(fd, data)
    finally:
        posix.close(fd)


def parent(path: str) -> str:
    """Return the directory that holds `path`; "" at the top."""
    return path[: path.rfind("/")]


def below(root: str) -> Iterator[tuple[int, str]]:
    """Yield (directory fd, name) of every cgroup below `root`, children before parents; the fd is only lent.

    Walks by fd with one descriptor open: a container can nest its cgroups deeper than PATH_MAX, than the limit of
    open files and than Python's recursion. Nothing leads out: cgroups can't be moved to another parent, and hold no
    links. A cgroup that vanishes on the way is passed over. Raises OSError.
    """
    try:
        fd = posix.open(root, DIRECTORY)
    except FileNotFoundError:
        return
    try:
        names: list[str] = []
        todo = [_children(fd)]
        while todo:
            if todo[-1]:
                name = todo[-1].pop()
                child = _enter(name, fd)
                if child >= 0:
                    posix.close(fd)
                    fd = child
                    names.append(name)
                    todo.append(_children(fd))
                continue
            todo.pop()
            if names:
                above = posix.open("..", DIRECTORY, dir_fd=fd)
                posix.close(fd)
                fd = above
                yield fd, names.pop()
    finally:
        posix.close(fd)


def members(root: str) -> dict[int, None]:
    """Return the process ids in `root` and below it, as an ordered set; empty where it does not exist.

    0 stands for processes that the caller's pid namespace does not show. Raises SystemCallError.
    """
    notes.step(f'list the processes of cgroup "{root}"')
    found: dict[int, None] = {}
    try:
        _add_members(found, f"{root}/cgroup.procs", None)
        for fd, name in below(root):
            _add_members(found, f"{name}/cgroup.procs", fd)
    except OSError as error:
        raise failed(f'list the processes of cgroup "{root}"', error) from None
    return found


def not_ours(path: str) -> bool:
    """Whether `path`, or what of it is there, may not be written: then the container goes on without that hierarchy.

    An errno alone does not tell: who may write, but is refused, gets no container without its limits.
    """
    while path and not posix.access(path, posix.F_OK):
        path = parent(path)
    return not posix.access(path or "/", posix.W_OK)


def rmdir(path: str) -> bool:
    """Remove one cgroup without children; False while it is in use. Raises SystemCallError.

    One that is gone counts as removed, and so does one that isn't ours to remove: then it wasn't ours to make.
    """
    notes.step(f'remove cgroup "{path}"')
    try:
        posix.rmdir(path)
    except OSError as error:
        # cgroups say EBUSY for processes and for children; plain directories say ENOTEMPTY.
        if error.errno in {EBUSY, ENOTEMPTY}:
            return False
        if error.errno not in {ENOENT, *DENIED}:
            raise failed(f'rmdir "{path}"', error) from None
    return True


def remove(paths: list[str], deadline_s: float) -> None:
    """Remove each cgroup with all below it, waiting at most `deadline_s` seconds for dying processes to be gone.

    Raises SystemCallError that names the cgroup still in use and its processes.
    """
    deadline = monotonic() + deadline_s
    wait = FIRST_WAIT_S
    while True:
        paths = [path for path in paths if not _remove_tree(path)]
        if not paths:
            return
        left = deadline - monotonic()
        if left <= 0:
            raise SystemCallError(f'rmdir "{paths[0]}" ({_holders(paths[0])})', EBUSY)
        sleep(min(wait, left))
        wait = min(wait * 2, LONGEST_WAIT_S)


def names_of(pids: dict[int, None]) -> str:
    """Return process ids for an error message: the first ten, and how many more."""
    shown = [str(pid) if pid else "of another pid namespace" for pid in pids]
    more = f" and {len(shown) - 10} more" if len(shown) > 10 else ""
    return "process " + ", ".join(shown[:10]) + more


def _remove_tree(path: str) -> bool:
    try:
        for fd, name in below(path):
            try:
                posix.rmdir(name, dir_fd=fd)
            except OSError as error:
                if error.errno not in {EBUSY, ENOTEMPTY, ENOENT}:
                    raise
    except OSError as error:
        raise failed(f'rmdir below "{path}"', error) from None
    return rmdir(path)


def _holders(path: str) -> str:
    pids = members(path)
    return "held by " + names_of(pids) if pids else "held by no process, but by a cgroup below it or by a dying process"


def _add_members(found: dict[int, None], procs: str, dir_fd: int | None) -> None:
    try:
        for pid in read(procs, dir_fd).split():
            found[int(pid)] = None
    except OSError as error:
        if error.errno not in UNREADABLE:
            raise


def _children(fd: int) -> list[str]:
    try:
        with posix.scandir(fd) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _enter(name: str, dir_fd: int) -> int:
    try:
        return posix.open(name, DIRECTORY, dir_fd=dir_fd)
    except FileNotFoundError:
        return -1
