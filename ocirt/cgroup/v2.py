"""What only cgroup v2 has (cgroup-v2.rst): one write that kills a cgroup whole, and a freezer with events.

And controllers that are handed down from parent to child, threaded cgroups, programs that decide about devices.
"""

from __future__ import annotations

import posix
import select
from errno import EINVAL, EOPNOTSUPP, ETIMEDOUT
from time import monotonic

from ocirt.cgroup import tree
from ocirt.errors import ContainerError, SystemCallError

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass

FREEZER = "/cgroup.events"
TRIES = 20  # against others who change the device programs of the same cgroup
DELEGATE = "/sys/kernel/cgroup/delegate"  # cgroups(7), Linux 4.15


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


def refuse_threaded(path: str) -> None:
    """Raise ContainerError where the cgroup `path` can take no processes of its own; nothing where `path` isn't v2's.

    "threaded" and "domain invalid" belong to the threaded cgroup above them (cgroup-v2.rst, "Threads").
    """
    try:
        kind = tree.read(path + "/cgroup.type").decode().strip()
    except OSError:
        return
    if not kind.startswith("domain") or kind == "domain invalid":
        raise ContainerError(f'cgroup "{path}" is "{kind}": as a part of a threaded cgroup it can hold threads alone')


def delegate(path: str, uid: int) -> None:
    """Let user `uid` of the host own `path` and those files in it that the kernel says may be. Raises OSError."""
    try:
        names = tree.read(DELEGATE).decode().split()
    except FileNotFoundError:
        names = ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]  # config-linux.md "Cgroup ownership"
    posix.chown(path, uid, -1)
    for name in names:
        try:
            posix.chown(f"{path}/{name}", uid, -1)
        except FileNotFoundError:
            pass  # of a controller that is not there


def why_lacking(path: str, controller: str) -> str:
    """Return, in words, what keeps `controller` from the cgroup `path`, which lacks it."""
    directory = path
    while posix.access(directory + "/cgroup.controllers", posix.F_OK):
        if controller in tree.read(directory + "/cgroup.controllers").decode().split():
            break
        directory = tree.parent(directory)
    else:
        return "the hierarchy has none, for the kernel lacks it or it is in use by cgroup v1"
    if _keeps(directory):
        return f'"{directory}" may not hand it down while it holds processes itself'
    try:
        tree.write(directory + "/cgroup.subtree_control", b"+" + controller.encode())
    except OSError as error:
        if error.errno in {EOPNOTSUPP, EINVAL}:
            return f'"{directory}" cannot hand it down to threaded cgroups'
        return f'"{directory}" does not hand it down, and this user may not change that'
    return f'"{directory}" did not hand it down'


def _keeps(directory: str) -> bool:
    """Whether `directory`, not the root of all, holds processes; then it can hand down nothing without harm.

    Some controllers can't be handed down at all ("no internal processes"); one that works with threads can, but makes
    `directory` the domain of threaded cgroups, and those below it invalid. Raises OSError.
    """
    return posix.access(directory + "/cgroup.type", posix.F_OK) and bool(tree.read(directory + "/cgroup.procs"))
