"""A foreground process's terminal and signals: relays bytes, sizes and signals until the process has ended.

Only `run` in the foreground loads it, and stays here for as long as the container lives.
"""

from __future__ import annotations

import posix
import select

from ocirt.linux import calls
from ocirt.linux.consts import SIGKILL, SIGSTOP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGPIPE, SIGCHLD, SIGURG, SIGWINCH = 4, 5, 7, 8, 11, 13, 17, 23, 28
# Signals about this process itself, not messages for the container's.
OWN = {SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGKILL, SIGSEGV, SIGPIPE, SIGCHLD, SIGSTOP, SIGURG}
CHUNK = 65536
IN, OUT, GONE = select.POLLIN, select.POLLOUT, select.POLLHUP | select.POLLERR | select.POLLNVAL


def catch() -> calls.Fd:
    """Block, from now on, every signal that is to be forwarded, and SIGCHLD; they are read from the descriptor."""
    return calls.signalfd([SIGCHLD, *(number for number in calls.SIGNALS if number not in OWN)])


class Relay:
    """Copies between the caller's terminal (or pipes) and the container's pseudo-terminal.

    Bytes wait in one buffer a direction: a reader that stops reading stops the writer, and nothing is lost.
    """

    __slots__ = ("master", "pending_in", "pending_out", "stdin_open", "stdout_open")

    def __init__(self, master: int) -> None:
        self.master = master
        posix.set_blocking(master, False)
        self.pending_in = b""
        self.pending_out = b""
        self.stdin_open = True
        self.stdout_open = True

    def resize(self) -> None:
        """Pass the caller's terminal size on; the kernel sends SIGWINCH to the container's side."""
        for fd in (0, 1, 2):
            if calls.copy_terminal_size(fd, self.master):
                return

    def interests(self) -> dict[int, int]:
        """Fd → events to poll for now."""
        wanted: dict[int, int] = {}
        if self.master >= 0:
            wanted[self.master] = (IN if not self.pending_out else 0) | (OUT if self.pending_in else 0)
        if self.stdin_open and not self.pending_in and self.master >= 0:
            wanted[0] = IN
        if self.pending_out and self.stdout_open:
            wanted[1] = OUT
        return wanted

    def move(self, events: Sequence[tuple[int, int]]) -> None:
        """Copy what the polled events allow."""
        for fd, _ in events:
            if fd == 0:
                self._read_stdin()
            elif fd == 1:
                self._write_stdout()
            elif fd == self.master:
                self._serve_master()

    def drain(self) -> None:
        """The process has ended: copy what its terminal still holds."""
        while self.master >= 0 or self.pending_out:
            self._serve_master()
            if not self.pending_out:
                return
            posix.set_blocking(1, True)
            self._write_stdout()

    def _read_stdin(self) -> None:
        try:
            self.pending_in = posix.read(0, CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: the caller's terminal hung up
            self.pending_in = b""
        if not self.pending_in:
            self.stdin_open = False
            # What end of file on a pipe means, said to a terminal: VEOF (termios(3)).
            self.pending_in = b"\x04"

    def _write_stdout(self) -> None:
        try:
            self.pending_out = self.pending_out[posix.write(1, self.pending_out) :]
        except BlockingIOError:
            pass
        except OSError:  # EPIPE: nobody listens any more; the container goes on
            self.pending_out, self.stdout_open = b"", False

    def _serve_master(self) -> None:
        if self.master < 0:
            return
        try:
            if self.pending_in:
                self.pending_in = self.pending_in[posix.write(self.master, self.pending_in) :]
            if not self.pending_out:
                self.pending_out = posix.read(self.master, CHUNK)
                if not self.stdout_open:
                    self.pending_out = b""
        except BlockingIOError:
            pass
        except OSError:  # EIO: every slave is closed
            self.master = -1


def receive(socket: calls.Fd) -> Relay | None:
    """The relay of the terminal that the init has sent over the socket; None for a socket that there is not.

    To be called before the process is executed: it finds the size that the caller's terminal has. Output to anything
    but a terminal has the lines that the process writes, as runc and Docker have it, for programs read it.
    """
    if socket.number < 0:
        return None
    relay = Relay(calls.receive(socket.number, 256, 0)[1])
    relay.resize()
    if not posix.isatty(1):
        calls.keep_newlines(relay.master)
    return relay


def attend(pid: int, signals: calls.Fd, relay: Relay | None, reap_others: bool) -> int:
    """Forward signals to `pid` (and bytes, with a relay) until it has ended; its exit code, 128+n for signal n.

    `reap_others` reaps adopted orphans as well: right for a program of our own, wrong inside somebody else's.
    """
    # Keys, those that mean signals too, are for the container's terminal to understand.
    with calls.Raw(0 if relay else -1):
        code = posix.waitstatus_to_exitcode(_attend(pid, signals, relay, reap_others))
    return code if code >= 0 else 128 - code


def _attend(pid: int, signals: calls.Fd, relay: Relay | None, reap_others: bool) -> int:
    pidfd = posix.pidfd_open(pid)
    try:
        while True:
            poll = select.poll()
            poll.register(signals.number, IN)
            poll.register(pidfd, IN)
            for fd, wanted in (relay.interests() if relay else {}).items():
                poll.register(fd, wanted)
            events = poll.poll()
            _forward(pidfd, signals, relay)
            if relay:
                relay.move(events)
            if any(fd == pidfd for fd, _ in events):
                status = posix.waitpid(pid, 0)[1]
                if relay:
                    relay.drain()
                return status
            if reap_others:
                _reap_orphans(pid)
    finally:
        posix.close(pidfd)


def _forward(pidfd: int, signals: calls.Fd, relay: Relay | None) -> None:
    while True:
        number = calls.read_signal(signals)
        if not number:
            return
        if number == SIGWINCH and relay:
            relay.resize()
        elif number != SIGCHLD:
            try:
                calls.pidfd_send_signal(pidfd, number)
            except ProcessLookupError:
                return


def _reap_orphans(pid: int) -> None:
    """Reap every ended child but `pid`, whose status the caller wants. Source: waitid(2), WNOWAIT."""
    while True:
        try:
            found = posix.waitid(posix.P_ALL, 0, posix.WEXITED | posix.WNOHANG | posix.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid in {0, pid}:
            return
        posix.waitpid(found.si_pid, 0)
