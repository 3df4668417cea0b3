"""What only cgroup v2 has: one write that kills a cgroup whole, and a freezer with events (cgroup-v2.rst)."""

from __future__ import annotations

import posix
import select
from errno import ENOENT, EOPNOTSUPP, ETIMEDOUT
from time import monotonic

from ocirt.cgroup import tree
from ocirt.errors import SystemCallError
from ocirt.linux import calls

FREEZER = "/cgroup.events"


def kill(path: str) -> bool:
    """Send SIGKILL to every process in `path` and below, forks included; False if it can't be used. Raises OSError.

    ENOENT: Linux before 5.14. EOPNOTSUPP: the cgroup is threaded, and only its processes' domain can be killed.
    """
    try:
        tree.write(path + "/cgroup.kill", b"1")
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno != EOPNOTSUPP:
            raise
        return False
    return True


def frozen(path: str) -> bool:
    """Whether every process of `path` is stopped, by its own freezer or by one above. Raises OSError."""
    return b"frozen 1" in tree.read(path + FREEZER)


def thawed(path: str) -> bool:
    """Whether `path` is neither frozen nor about to be. Raises OSError."""
    return not frozen(path) and tree.read(path + "/cgroup.freeze").strip() == b"0"


def freeze(path: str, deadline_s: float) -> None:
    """Stop every process of `path`; thaw it again when that takes longer than `deadline_s`.

    Raises OSError, and SystemCallError when the time is over.
    """
    try:
        _set(path, b"1", deadline_s)
    except SystemCallError:
        tree.write(path + "/cgroup.freeze", b"0")
        raise


def thaw(path: str, deadline_s: float) -> None:
    """Let the processes of `path` run, and wait at most `deadline_s` until they do; 0 does not wait.

    Raises OSError, and SystemCallError when the time is over.
    """
    if deadline_s > 0:
        _set(path, b"0", deadline_s)
    else:
        tree.write(path + "/cgroup.freeze", b"0")


def _set(path: str, value: bytes, deadline_s: float) -> None:
    wanted = b"frozen " + value
    deadline = monotonic() + deadline_s
    fd = posix.open(path + FREEZER, posix.O_RDONLY)
    try:
        tree.write(path + "/cgroup.freeze", value)
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        while wanted not in posix.pread(fd, 4096, 0):
            left = deadline - monotonic()
            if left <= 0:
                raise SystemCallError(f'{"freeze" if value == b"1" else "thaw"} cgroup "{path}"', ETIMEDOUT)
            poll.poll(left * 1000)
    finally:
        posix.close(fd)


def replace_device_program(path: str, code: bytes) -> None:
    """Make `code` the one device program of `path`; there is no moment without any. Raises OSError, SystemCallError."""
    with calls.Fd(posix.open(path, tree.DIRECTORY)) as cgroup, calls.load_device_program(code) as program:
        while not _swap(cgroup, program):
            pass  # somebody else has changed them meanwhile


def _swap(cgroup: calls.Fd, program: calls.Fd) -> bool:
    """A single program is replaced in one step; several are taken off when the new one is there, for all must agree."""
    before = calls.device_programs(cgroup)
    try:
        if len(before) == 1:
            with calls.open_program(before[0]) as old:
                calls.attach_device_program(cgroup, program, old)
            return True
        calls.attach_device_program(cgroup, program, None)
        for number in before:
            with calls.open_program(number) as old:
                calls.detach_device_program(cgroup, old)
    except SystemCallError as error:
        if error.errno != ENOENT:
            raise
        return False
    return True
