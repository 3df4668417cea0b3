"""Who waits for a process is told of it: by a pid file, by a pidfd over a socket."""

from __future__ import annotations

import posix

from ocirt.errors import failed
from ocirt.linux import calls


def write_pid_file(path: str, pid: int) -> None:
    """Write the pid, decimal and without newline; whoever finds the file finds it whole. Raises SystemCallError."""
    directory, _, name = path.rpartition("/")
    temporary = f"{directory}/.{name}.tmp"
    unlink(temporary)  # a killed create's; or somebody's symlink to a file that is to be overwritten
    try:
        fd = posix.open(temporary, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o644)
        try:
            posix.write(fd, b"%d" % pid)
        finally:
            posix.close(fd)
        posix.rename(temporary, path)
    except OSError as error:
        unlink(temporary)
        raise failed(f'write the pid file "{path}"', error) from None


def send_pidfd(path: str, pid: int) -> None:
    """Send a pidfd of the process to the unix socket at `path` (pidfd_open(2)). Raises SystemCallError."""
    with calls.Fd(posix.pidfd_open(pid)) as pidfd, calls.connect(path, "the pidfd socket") as socket:
        calls.send(socket.number, b"pidfd", [pidfd.number])


def unlink(path: str) -> None:
    """Remove a file that may be gone."""
    try:
        posix.unlink(path)
    except OSError:
        pass
