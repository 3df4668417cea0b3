"""The container's first process, held by a pidfd so that no signal can reach a stranger with its pid."""

from __future__ import annotations

import posix
from errno import EINVAL, ENOENT, ESRCH

from ocirt import notes
from ocirt.container import record
from ocirt.errors import failed
from ocirt.linux.calls import Fd, pidfd_send_signal

# EINVAL, ENOENT (Linux 6.13): the id is a thread's now
GONE = (ESRCH, EINVAL, ENOENT)


def open_process(found: record.State) -> int:
    """A pidfd, or -1 when there is no such process any more (pidfd_open(2)). Raises SystemCallError."""
    if found.pid <= 0 or found.boot_id != record.boot_id():
        return -1
    try:
        pidfd = posix.pidfd_open(found.pid)
    except OSError as error:
        if error.errno in GONE:
            return -1
        raise failed(f"pidfd_open {found.pid}", error) from None
    # The pidfd pins whoever has the pid now; the start time tells whether that is the container's process.
    with Fd(pidfd) as held:
        if found.start_time and record.start_time(found.pid) == found.start_time:
            return held.take()
    return -1


def send(pidfd: int, pid: int, signal: int) -> bool:
    """Send `signal`; False when the process has been reaped (pidfd_send_signal(2)). Raises SystemCallError."""
    notes.step(f"send signal {signal} to process {pid}")
    try:
        pidfd_send_signal(pidfd, signal)
    except ProcessLookupError:
        return False
    except OSError as error:
        raise failed(f"send signal {signal} to process {pid}", error) from None
    return True
