"""Starts ocirt-init, or takes the one that the launcher has started; the exchange with it is perform/exchange.c's.

Python never enters a namespace: what happens on the other side, the init does.
"""

from __future__ import annotations

import posix

from ocirt.errors import SystemCallError
from ocirt.linux import calls
from ocirt.linux.consts import SIGKILL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Started = tuple[int, int, int, int]
    Stopped = tuple[bytes, int, int]

PROGRAM = "_bin/ocirt-init"

# Set by the launcher (boot.py), which starts an init while the interpreter starts: as `spawn`, or 0 for none.
offer: Callable[[], Started | int] | None = None
# Carries out the launch that has just been kept, and ends the program; comes back where that cannot be done.
launch: Callable[[], object] | None = None
# Gives what of a launch has stopped half way: its struct performance, the half, what stopped it; or 0. Once.
take: Callable[[], Stopped | int] | None = None
# After which the signals come that were held since.
release: Callable[[], object] | None = None
# After which no signal interrupts any more: the launcher's, for a container that is complete and the caller's.
hold: Callable[[], object] | None = None


def program_path() -> str:
    """Where the build put ocirt-init: beside this package."""
    return __file__.rpartition("/")[0].rpartition("/")[0] + "/" + PROGRAM


def complete() -> None:
    """There is a container, which a signal from now on must not make an error of; one that came before still does."""
    if hold:
        hold()


def carry_out() -> None:
    """Have the launcher carry out the launch that has just been kept; returns where it cannot."""
    if launch:
        launch()


def taken() -> Stopped | None:
    """The launch that has stopped half way, which is the caller's from now on."""
    stopped = take() if take else 0
    return stopped if isinstance(stopped, tuple) else None


def undoable() -> None:
    """A signal may interrupt again: what the launcher has begun would be undone."""
    if release:
        release()


def spawn(state_dir: str, preserve: int = 0, keep: Sequence[int] = ()) -> Started:
    """Start ocirt-init in the host's namespaces, with nothing but stdio, the `keep` fds and a socket.

    Takes the one that the launcher has started, if any. Returns our end of the socket, the bell to ring when a plan is
    on its way (docs/plan.md tells why), its pid, and the inode of the cgroup of v2 that it was born in (for `exec`), or
    0.
    Raises SystemCallError.
    """
    started = offer() if offer and not preserve else 0
    if isinstance(started, tuple):
        return started
    ours, theirs = calls.socketpair()
    bell = calls.Fd(-1)
    try:
        with theirs:
            bell = calls.doorbell()
            with calls.program_memfd(program_path(), state_dir) as program:
                pid = calls.spawn(program, theirs, bell, preserve, keep)
    except SystemCallError:
        ours.close()
        bell.close()
        raise
    return ours.take(), bell.take(), pid, 0


def discard(started: Started) -> None:
    """End one that is no use."""
    socket, bell, pid, _ = started
    posix.close(socket)
    posix.close(bell)
    posix.kill(pid, SIGKILL)
    posix.waitpid(pid, 0)
