"""Signal the members of a cgroup where the kernel can't do it in one step; by pidfd, so that no stranger is hit."""

from __future__ import annotations

import posix
from errno import EBUSY, EINVAL, EMFILE, ENFILE, ENOENT, ESRCH
from time import monotonic

from ocirt.cgroup import tree
from ocirt.errors import SystemCallError, failed
from ocirt.linux.calls import pidfd_send_signal

# Below the usual soft limit of 1024 open files.
BATCH = 256


def signal_all(path: str, signal: int, deadline_s: float) -> None:
    """Send `signal` once to each process in `path` and below, again and again until no new process has come.

    Raises SystemCallError, also when processes are forked faster than they are signalled for `deadline_s` seconds.
    """
    done: set[int] = set()
    deadline = monotonic() + deadline_s
    while fresh := [pid for pid in tree.members(path) if pid and pid not in done][:BATCH]:
        if monotonic() >= deadline:
            raise SystemCallError(f'signal the processes of cgroup "{path}", which fork too fast', EBUSY)
        done.update(_signal_batch(path, fresh, signal))


def _signal_batch(path: str, pids: list[int], signal: int) -> list[int]:
    """Signal those of `pids` that are members still once their pidfd is held; return all that were looked at.

    A pid can be given to a stranger between reading the list and pidfd_open; but whoever the pidfd pins is alive or
    dead under this pid, so when the second list names the pid, the pidfd is a member's or a dead process's.
    """
    held: dict[int, int] = {}
    try:
        for pid in pids:
            try:
                held[pid] = posix.pidfd_open(pid)
            except OSError as error:
                if held and error.errno in {EMFILE, ENFILE}:
                    pids = list(held)
                    break
                if error.errno not in {ESRCH, EINVAL, ENOENT}:  # gone; its id is a thread's now
                    raise
        for pid in tree.members(path):
            if pid in held:
                _send(held[pid], signal)
    except OSError as error:
        raise failed(f'send signal {signal} to the processes of cgroup "{path}"', error) from None
    finally:
        for fd in held.values():
            posix.close(fd)
    return pids


def _send(pidfd: int, signal: int) -> None:
    try:
        pidfd_send_signal(pidfd, signal)
    except ProcessLookupError:
        pass  # it died between the list and here
