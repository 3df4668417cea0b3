"""What others are told of a process: its plan with --debug, its pid in a file, its pidfd over a socket."""

from __future__ import annotations

import posix

from ocirt import notes
from ocirt.errors import DOCUMENT, failed
from ocirt.linux import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def tell_plan(plan: Any, container_id: str, name: str | None = None, part: str = "") -> None:
    """Say the plan's warnings and its steps. `name` and `part` are those of OcirtError.name_document."""
    for warning in plan.warnings:
        where = f"{name or DOCUMENT}: {warning[len(part) :] if warning.startswith(part) else warning}"
        notes.warn(f'container "{container_id}": {where}')
    if notes.steps:
        from ocirt.plan import show

        for number, op in enumerate(plan.ops, 1):
            notes.step(f"step {number}: {show.describe(op)}")


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
