"""Exec: one more process in a container that is there: read, compiled for both sides (plan/exec.py), and performed."""

from __future__ import annotations

import posix
from errno import ESRCH

from ocirt import cgroup, notes
from ocirt.config import check
from ocirt.container import announce, command, state
from ocirt.container.ids import check_id
from ocirt.container.performer import Performer
from ocirt.container.prepare import absolute, check_console, inherited, kept_program, listen_fds
from ocirt.errors import ContainerError, ContainerNotRunning, InitKilled, OcirtError, PlanError
from ocirt.linux import facts
from ocirt.plan import exec as plan
from ocirt.plan.context import Launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ocirt.container.command import Command
    from ocirt.container.launches import Kept


# Set by the launcher (boot.py): as container/creation.py has it, and what is asked for (launcher/launch_exec.h).
kept: Kept = (b"", b"", (), b"", b"")


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
    entry = Entry(root, container_id, wanted, options)
    entry.read(foreground=True)
    from ocirt.spawn import console

    # Before there is a process: a signal that arrives meanwhile waits for it.
    with console.catch() as signals:
        entry.perform()
        code: int = console.attend(entry.performer.pid, signals, entry.performer.relay, False)
    return code


def detach(root: str, container_id: str, wanted: Command, options: ExecOptions) -> int:
    """Run a process in the container and leave it there; its pid as the caller sees it. Raises as `execute`."""
    entry = Entry(root, container_id, wanted, options)
    entry.read()
    entry.perform()
    return entry.performer.pid


def refuses_clone(process: dict[str, Any], program: bytes | None) -> bool:
    """Whether the init could not make a process once the filter is in force, which is loaded early for some."""
    if program is None or process.get("noNewPrivileges"):
        return False
    from ocirt.linux import verdict

    return not verdict.allows(program, verdict.TO_CLONE)


def host_of(
    config: dict[str, Any],
    launch: Launch,
    paths: Sequence[str],
    tasks: Sequence[str],
    program: tuple[bytes | None, int],
) -> plan.Host:
    """What the host plan is made from: `paths` of cgroups to join, `tasks` of those that the process enters by itself.

    Raises UnsupportedError.
    """
    around = facts.Facts([], "none", paths)
    made = plan.compile(config, launch, around, *program, refuses_clone(config["process"], program[0]))
    host = plan.Host(config, made, paths, tasks)
    host.home = paths[0] if paths and not config["process"].get("execCPUAffinity") else ""
    return host


class Entry:
    """A process on its way into a container.

    Used as a context: an exception inside kills it; an error names the flags or the file that it comes from in place
    of config.json.

    record    what state.json says of the container
    config    its config, with the process to run in place of its own
    host      what the host plan is made from
    performer carries it out
    launch    what the init's plan is made from besides
    program   the filter, and its flags
    """

    __slots__ = (
        "command", "config", "container_id", "host", "launch", "options", "performer", "program", "record", "root",
    )  # fmt: skip

    def __init__(self, root: str, container_id: str, wanted: Command, options: ExecOptions) -> None:
        self.root = absolute(root)
        self.container_id = check_id(container_id)
        self.command = wanted
        self.options = options

    # -- before anything exists ----------------------------------------------------------------------------------------

    def read(self, foreground: bool = False) -> None:
        """Find the container, check the process, compile; no side effect beyond descriptors."""
        # A created container may be entered, as with runc: engines look into it before they start it.
        self.record, status = state.living(self.root, self.container_id)
        if status == "paused" and not self.options.ignore_paused:
            text = "cannot exec in a paused container (use --ignore-paused to override)"
            raise ContainerError(f'container "{self.container_id}": {text}')
        self.config: dict[str, Any]
        self.config = state.config(self.root, self.container_id)
        own = self.config.get("process") or {}
        made = command.process(self.command, own)
        check.check_process(made, self.command.name)
        self.config["process"] = made
        preserve = self.options.preserve_fds + listen_fds(made, self.options.preserve_fds)
        self.performer = Performer(self.root, self.container_id, self.record.bundle, inherited(preserve), self.record)
        with self:  # for its words alone: there is no process yet
            check_console(bool(made.get("terminal")), self.options.console_socket, foreground)
            self.host = self.compile(self.cgroups(), preserve)
        self.host.foreground = foreground
        self.performer.ops = self.host.plan.ops
        announce.tell_plan(self.host.plan, self.container_id, self.command.name, "/process")

    def cgroups(self) -> list[str]:
        """Those to join. Raises UsageError."""
        if not self.options.cgroups:
            return self.record.cgroups
        from ocirt.cgroup import inside

        return inside.below(self.record.cgroups, self.options.cgroups, cgroup.hierarchies())

    def compile(self, paths: list[str], preserve: int) -> plan.Host:
        """The init's plan, and what the host plan is made from. Raises UnsupportedError."""
        own, tasks = self.config["process"], []
        if not own.get("execCPUAffinity"):  # which is about the moment at which the runtime moves it
            tasks = [path for path in paths if posix.access(path + "/tasks", posix.W_OK)]
        launch = Launch(
            container_id=self.container_id,
            bundle=self.record.bundle,
            start="exec",
            new_keyring="oldkeyring" not in self.record.python.split(),
            preserve_fds=preserve,
            console=bool(own.get("terminal")),
            tasks=len(tasks),
        )
        self.launch, self.program = launch, kept_program(self.config, self.root, self.container_id)
        host = host_of(self.config, launch, paths, tasks, self.program)
        host.beside = not self.options.cgroups
        host.home = self.record.cgroups[0] if host.home else ""  # also where a cgroup below is to be joined
        host.preserve = preserve
        host.unlimited = self.options.ignore_paused  # in a frozen cgroup it waits for whoever thaws that
        host.console_socket = self.options.console_socket or ""
        host.pidfd_socket = self.options.pidfd_socket or ""
        host.pid_file = absolute(self.options.pid_file) if self.options.pid_file else ""
        return host

    # -- side effects --------------------------------------------------------------------------------------------------

    def __enter__(self) -> Entry:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self.performer.performance.end()
        if isinstance(error, InitKilled):
            from ocirt.container import killed

            killed.explain(error, self.record.cgroups, self.config)
        if isinstance(error, OcirtError) and self.command.is_meant(str(error)):
            error.name_document(self.command.name, "/process")
        self.performer.close()

    def perform(self) -> None:
        """Put the process into the container and let it execute."""
        with self:
            verified = bool(kept[2] and kept[2][0])
            if verified or (notes.steps and kept[3]):
                from ocirt.container import verify

                verify.errand(self, kept)
            try:
                self.performer.perform(plan.enter(self.host))
            except PlanError as error:
                if error.errno == ESRCH:  # of setns: it has exited since it was looked at
                    raise ContainerNotRunning(self.container_id) from None
                raise
            self.performer.perform(plan.finish(self.host))
            if kept[0] and not verified:
                from ocirt.container import launches_exec

                launches_exec.remember(self, *kept[:2], kept[4])
