"""Exec: one more process in a container that is there."""

from __future__ import annotations

from ocirt.container import launches_exec
from ocirt.container.entry import Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocirt.container.command import Command


class ExecOptions:
    """How to run a process in a container, beyond what it is.

    pid_file         where to write its pid (no newline), once it has been executed
    console_socket   unix socket that gets the terminal's master
    pidfd_socket     unix socket that gets a pidfd of the process
    preserve_fds     pass fds 3 … 2+n on to the process
    cgroups          cgroups below the container's to put it in: "path", or on v1 "controller:path"
    ignore_paused    whether to enter a paused container: the process runs when that is resumed
    """

    __slots__ = ("cgroups", "console_socket", "ignore_paused", "pid_file", "pidfd_socket", "preserve_fds")

    def __init__(
        self,
        *,
        pid_file: str | None = None,
        console_socket: str | None = None,
        pidfd_socket: str | None = None,
        preserve_fds: int = 0,
        cgroups: Sequence[str] = (),
        ignore_paused: bool = False,
    ) -> None:
        self.pid_file = pid_file
        self.console_socket = console_socket
        self.pidfd_socket = pidfd_socket
        self.preserve_fds = preserve_fds
        self.cgroups = list(cgroups)
        self.ignore_paused = ignore_paused


def execute(root: str, container_id: str, wanted: Command, options: ExecOptions) -> int:
    """Run a process in the container, in the foreground; its exit code, 128+n where signal n killed it.

    Raises ContainerNotFound, ContainerNotRunning, ContainerError for a paused one, InvalidID, UsageError, ConfigError
    for a process that is none, UnsupportedError, ExecError, PlanError, SystemCallError.
    """
    entry = put(Entry(root, container_id, wanted, options, foreground=True))
    with entry.performer.signals as signals:
        from ocirt.spawn import console

        code: int = console.attend(entry.performer.pid, signals, entry.performer.relay, False)
    return code


def detach(root: str, container_id: str, wanted: Command, options: ExecOptions) -> int:
    """Run a process in the container and leave it there; its pid as the caller sees it. Raises as `execute`."""
    return put(Entry(root, container_id, wanted, options)).performer.pid


def put(entry: Entry) -> Entry:
    """With the process in the container. Raises as `execute`."""
    with entry:
        entry.read()
        entry.check_console()
        if entry.foreground:
            entry.performer.hold_signals()
        launches_exec.hand_over(entry)
        entry.compile()
        entry.perform()
    return entry
