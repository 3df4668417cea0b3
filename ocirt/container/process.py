"""The container's first process, held by a pidfd so that no signal can reach a stranger with its pid."""

from __future__ import annotations

from errno import ESRCH

from ocirt import notes
from ocirt.container import record
from ocirt.errors import SystemCallError, failed
from ocirt.linux._kernel import lib
from ocirt.linux.calls import pidfd_send_signal


def open_process(found: record.State) -> int:
    """A pidfd, or -1 when there is no such process any more (pidfd_open(2)). Raises SystemCallError."""
    if found.pid <= 0 or found.boot_id != record.boot_id():
        return -1
    pidfd = int(lib.process_open(found.pid, found.start_time.to_bytes(8, "little")))
    if pidfd < 0 and pidfd != -ESRCH:
        raise SystemCallError(f"pidfd_open {found.pid}", -pidfd)
    return max(pidfd, -1)


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
