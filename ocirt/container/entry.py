"""A process on its way into a container: read, compiled for both sides (plan/exec.py), and performed."""

from __future__ import annotations

import posix
from errno import ESRCH

from ocirt import cgroup, notes
from ocirt.config import check
from ocirt.container import announce, command, state
from ocirt.container.ids import check_id
from ocirt.container.performer import Performer
from ocirt.container.prepare import Given, absolute, check_console, inherited, kept_program, listen_fds
from ocirt.errors import ContainerError, ContainerNotRunning, InitKilled, OcirtError, PlanError
from ocirt.linux import facts
from ocirt.plan import exec as plan
from ocirt.plan.context import Launch
from ocirt.spawn import parent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocirt.container.command import Command
    from ocirt.container.exec import ExecOptions
    from ocirt.container.launches import Kept
    from ocirt.plan.ops import Op


# Set by the launcher (boot.py): as container/creation.py has it, and what is asked for (launcher/launch_exec.h).
kept: Kept = (b"", b"", (), b"", b"")


def refuses_clone(process: dict[str, Any], program: bytes | None) -> bool:
    """Whether the init could not make a process once the filter is in force, which is loaded early for some."""
    if program is None or process.get("noNewPrivileges"):
        return False
    from ocirt.linux import verdict

    return not verdict.allows(program, verdict.TO_CLONE)


class Entry:
    """A process on its way into a container.

    Used as a context: an exception inside kills it; an error names the flags or the file that it comes from in place
    of config.json.

    record    what state.json says of the container
    config    its config, with the process to run in place of its own
    paths     of the cgroups to join; tasks: those of them that the process enters by itself
    program   the filter, and its flags
    host      what the host plan is made from; from `compile` on
    performer carries it out
    """

    __slots__ = (
        "command", "config", "container_id", "foreground", "host", "options", "paths", "performer", "preserve",
        "program", "record", "root", "tasks",
    )  # fmt: skip

    def __init__(
        self, root: str, container_id: str, wanted: Command, options: ExecOptions, foreground: bool = False
    ) -> None:
        self.root = absolute(root)
        self.container_id = check_id(container_id)
        self.command = wanted
        self.options = options
        self.foreground = foreground

    # -- before anything exists ----------------------------------------------------------------------------------------

    def read(self) -> None:
        """Find the container, check the process; no side effect beyond descriptors."""
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
        self.preserve = self.options.preserve_fds + listen_fds(made, self.options.preserve_fds)
        self.program = kept_program(self.config, self.root, self.container_id)
        self.paths, self.tasks = self.cgroups(), []
        if not made.get("execCPUAffinity"):  # which is about the moment at which the runtime moves it
            self.tasks = [path for path in self.paths if posix.access(path + "/tasks", posix.W_OK)]

    def cgroups(self) -> list[str]:
        """Those to join. Raises UsageError."""
        if not self.options.cgroups:
            return self.record.cgroups
        from ocirt.cgroup import inside

        return inside.below(self.record.cgroups, self.options.cgroups, cgroup.hierarchies())

    def check_console(self) -> None:
        """Raise UnsupportedError for a terminal that nobody would get, or a console socket that would get none."""
        check_console(bool(self.config["process"].get("terminal")), self.options.console_socket, self.foreground)

    def compile(self) -> None:
        """What the host plan is made from. Raises UnsupportedError, ConfigError."""
        options = self.options
        pid_file = absolute(options.pid_file) if options.pid_file else ""
        console_socket = options.console_socket or ""
        given = Given(
            self.config, self.container_id, self.record.bundle, self.paths, pid_file, console_socket, tasks=self.tasks
        )
        self.host = host = self.host_of(given)
        host.home = self.record.cgroups[0] if host.home else ""  # also where a cgroup below is to be joined
        host.foreground = self.foreground
        host.unlimited = options.ignore_paused  # in a frozen cgroup it waits for whoever thaws that
        host.pidfd_socket = options.pidfd_socket or ""

    def host_of(self, given: Given) -> plan.Host:
        """The same, without what a command may ask for besides. Raises as `compile`."""
        own = given.config["process"]
        launch = Launch(
            container_id=given.container_id,
            bundle=given.bundle,
            start="exec",
            new_keyring="oldkeyring" not in self.record.python.split(),
            preserve_fds=self.preserve,
            console=bool(own.get("terminal")),
            tasks=len(given.tasks),
        )
        program, around = self.program, facts.Facts([], "none", given.paths)
        made = plan.compile(given.config, launch, around, *program, refuses_clone(own, program[0]))
        host = plan.Host(given.config, made, given.paths, given.tasks)
        host.home = given.paths[0] if given.paths and not own.get("execCPUAffinity") else ""
        host.beside = not self.options.cgroups
        host.preserve = self.preserve
        host.pid_file, host.console_socket = given.pid_file, given.console_socket
        return host

    # -- side effects --------------------------------------------------------------------------------------------------

    def __enter__(self) -> Entry:
        self.performer = Performer(self.root, self.container_id, "")
        self.performer.take_stopped()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self.performer.take_stopped()  # where that was interrupted
            self.performer.performance.end()
            self.performer.signals.close()
        if isinstance(error, InitKilled):
            from ocirt.container import killed

            killed.explain(error, self.record.cgroups, self.config)
        if isinstance(error, OcirtError) and self.command.is_meant(str(error)):
            error.name_document(self.command.name, "/process")
        self.performer.close()

    def steps(self) -> list[Op]:
        """The host plan, which the performer is ready to carry out."""
        p = self.performer
        p.bundle, p.keep, p.record = self.record.bundle, inherited(self.preserve), self.record
        p.oci_version = self.record.oci_version
        p.ops = self.host.plan.ops
        return plan.enter(self.host) + plan.finish(self.host)

    def perform(self) -> None:
        """Put the process into the container and let it execute."""
        if not self.foreground:
            parent.undoable()
        steps = self.steps()
        announce.tell_plan(self.host.plan, self.container_id, self.command.name, "/process")
        if (kept[2] and kept[2][0]) or (notes.steps and kept[3]):
            from ocirt.container import verify

            verify.errand(self, kept)
        try:
            self.performer.perform(steps)
        except PlanError as error:
            if error.errno == ESRCH:  # of setns: it has exited since it was looked at
                raise ContainerNotRunning(self.container_id) from None
            raise
