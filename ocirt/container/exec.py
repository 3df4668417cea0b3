"""Exec: one more process in a container that is there. The order, and why:

read, check, compile       a container that cannot be entered, a process that is wrong, end here
start the init             on the plan of plan/exec.py, with a pidfd of the container's process
attach                     while it prepares itself; it waits for that before it makes the process
let it execute             what keeps it from that is this command's error
pidfd, pid file            who finds the file finds a process that was executed
"""

from __future__ import annotations

import posix
from _struct import Struct
from errno import EBUSY, ESRCH

from ocirt import cgroup
from ocirt.config import check
from ocirt.container import announce, command, process, state
from ocirt.container.ids import check_id
from ocirt.container.prepare import absolute, console_ends, inherited, kept_program, listen_fds
from ocirt.errors import ContainerError, ContainerNotRunning, InitKilled, OcirtError, PlanError, SystemCallError
from ocirt.linux import calls, facts
from ocirt.linux._kernel import lib
from ocirt.linux.consts import SLOT_FIRST_FREE
from ocirt.plan import exec as plan
from ocirt.plan.context import Launch
from ocirt.spawn import parent, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any

    from ocirt.container.command import Command
    from ocirt.spawn.console import Relay


# Set by the launcher (boot.py): name and key of the file that the plan is to be kept in, empty where it is not.
kept: tuple[bytes, bytes] = (b"", b"")

NO_SECRETS = ("HOME", "PATH", "TERM")  # what engines add by themselves

HEAD = Struct("<QIIQ")  # struct kept_head of launcher/again.c


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
    entry.read()
    from ocirt.spawn import console

    # Before there is a process: a signal that arrives meanwhile waits for it.
    with console.catch() as signals:
        relay = entry.bring_in(console)
        code: int = console.attend(entry.init.pid, signals, relay, False)
    return code


def detach(root: str, container_id: str, wanted: Command, options: ExecOptions) -> int:
    """Run a process in the container and leave it there; its pid as the caller sees it. Raises as `execute`."""
    entry = Entry(root, container_id, wanted, options)
    entry.read()
    entry.bring_in(None)
    return entry.init.pid


def brings_variables(env: Sequence[str], own: Sequence[str]) -> bool:
    """Whether a process gets variables that its container has not in its configuration: people put passwords there."""
    return any(entry not in own and entry.partition("=")[0] not in NO_SECRETS for entry in env)


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
    plan      how it gets there
    encoded   it, as bytes
    paths     the cgroups to join
    tasks     those of them that the process enters by itself
    preserve  how many fds from 3 on the process gets
    setgroups as of facts.Facts
    own_env   the environment of the container's own process
    """

    __slots__ = (
        "command", "config", "console", "container_id", "encoded", "init", "keep", "options", "own_env", "paths",
        "plan", "preserve", "record", "root", "setgroups", "tasks",
    )  # fmt: skip

    def __init__(self, root: str, container_id: str, wanted: Command, options: ExecOptions) -> None:
        self.root = absolute(root)
        self.container_id = check_id(container_id)
        self.command = wanted
        self.options = options
        self.console = calls.Fd(-1)
        self.init = parent.Init(calls.Fd(-1), calls.Fd(-1), 0)
        self.tasks: list[str] = []

    # -- before anything exists ----------------------------------------------------------------------------------------

    def read(self) -> None:
        """Find the container, check the process, compile; no side effect beyond descriptors."""
        # A created container may be entered, as with runc: engines look into it before they start it.
        self.record, status = state.living(self.root, self.container_id)
        if status == "paused" and not self.options.ignore_paused:
            text = "cannot exec in a paused container (use --ignore-paused to override)"
            raise ContainerError(f'container "{self.container_id}": {text}')
        self.config: dict[str, Any]
        self.config = state.config(self.root, self.container_id)
        own = self.config.get("process") or {}
        self.own_env = own.get("env") or ()
        made = command.process(self.command, own)
        check.check_process(made, self.command.name)
        self.config["process"] = made
        self.paths = self.record.cgroups
        if self.options.cgroups:
            from ocirt.cgroup import inside

            self.paths = inside.below(self.paths, self.options.cgroups, cgroup.hierarchies())
        if not made.get("execCPUAffinity"):  # which is about the moment at which the runtime moves it
            self.tasks = [path for path in self.paths if posix.access(path + "/tasks", posix.W_OK)]
        self.preserve = self.options.preserve_fds + listen_fds(made, self.options.preserve_fds)
        self.keep = inherited(self.preserve)
        with self:  # for its words alone: there is no process yet
            self.plan = self.compile()
        announce.tell_plan(self.plan, self.container_id, self.command.name, "/process")

    def compile(self) -> plan.Plan:
        """The plan. Raises UnsupportedError."""
        launch = Launch(
            container_id=self.container_id,
            bundle=self.record.bundle,
            start="exec",
            new_keyring="oldkeyring" not in self.record.python.split(),
            preserve_fds=self.preserve,
            console=bool(self.config["process"].get("terminal")),
            tasks=len(self.tasks),
        )
        host = facts.Facts([], "none", self.paths)
        self.setgroups = host.setgroups
        program, flags = kept_program(self.config, self.root, self.container_id)
        return plan.compile(self.config, launch, host, program, flags, refuses_clone(self.config["process"], program))

    # -- side effects --------------------------------------------------------------------------------------------------

    def __enter__(self) -> Entry:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is not None:
            self.init.reap()
        if isinstance(error, InitKilled):
            from ocirt.container import killed

            killed.explain(error, self.record.cgroups, self.config)
        if isinstance(error, OcirtError) and self.command.is_meant(str(error)):
            error.name_document(self.command.name, "/process")
        self.init.close()
        self.console.close()

    def bring_in(self, console: ModuleType | None) -> Relay | None:
        """Put the process into the container and let it execute. With `console`, the relay of a foreground terminal."""
        terminal = bool(self.config["process"].get("terminal"))
        ours = calls.Fd(-1)
        with self, ours:
            mine, self.console = console_ends(terminal, self.options.console_socket, console is not None)
            ours.number = mine.take()
            self.enter()
            relay: Relay | None = console.receive(ours) if console else None
            self.init.go(lib.SYNC_CGROUP)
            if self.plan.errands:
                self.run_errands()
            self.init.executed()
            self.tell()
            if kept[0]:
                self.remember(terminal)
            return relay

    def enter(self) -> None:
        """Up to the point where the init stands in the container's cgroups, which the process is then born in."""
        self.init = parent.spawn(self.root, self.preserve, self.keep)
        if self.init.cgroup and not self.is_born_well():
            self.init.close()
            self.init.reap()
            self.init = parent.spawn(self.root)
        with calls.Fd(process.open_process(self.record)) as target, self.root_directory() as directory:
            # Where no namespace is joined by the pidfd, its root alone is entered: of this process, and no later one.
            if target.number < 0 or (directory.number >= 0 and calls.wait_readable(target.number, 0)):
                raise ContainerNotRunning(self.container_id)
            lent = [(lib.SLOT_TARGET, target), (lib.SLOT_ROOT, directory), (lib.SLOT_CONSOLE, self.console)]
            self.lend_tasks()
            self.encoded = wire.encode(self.plan.ops)
            self.init.hand_over(self.plan.ops, self.encoded, lent)
        self.console.close()
        if self.options.ignore_paused:
            self.init.deadline = -1  # in a frozen cgroup it waits for whoever thaws that
        try:
            self.attach(self.init.pid or self.init.first)
            self.init.until(lib.SYNC_CGROUP, {})
        except PlanError as error:
            if error.errno == ESRCH:  # of setns: it has exited since it was looked at
                raise ContainerNotRunning(self.container_id) from None
            raise

    def is_born_well(self) -> bool:
        """Whether the init may stay in the cgroup that the launcher has put it in.

        Not for CPUs that are about the moment of the move, and not where the id is by now that of another container.
        """
        if self.config["process"].get("execCPUAffinity") or not self.record.cgroups:
            return False
        try:
            return posix.stat(self.record.cgroups[0]).st_ino == self.init.cgroup
        except OSError:
            return False

    def lend_tasks(self) -> None:
        """The files by which the process enters its cgroups. Raises SystemCallError."""
        for index, path in enumerate(self.tasks):
            self.init.lend(SLOT_FIRST_FREE + index, calls.Fd(cgroup.entrance(path)))

    def root_directory(self) -> calls.Fd:
        """Where the container's process has its root, for a plan that has to go there by itself."""
        if not plan.chroots(self.config):
            return calls.Fd(-1)
        return calls.opened(f"/proc/{self.record.pid}/root", posix.O_PATH | posix.O_DIRECTORY)

    def attach(self, pid: int) -> None:
        """Into the container's cgroups, with the CPUs that are asked for before and after."""
        own = self.config["process"]
        if own.get("execCPUAffinity"):
            from ocirt.container import errands

            errands.affinity(pid, own, "initial")
            self.attach_cgroups(pid)
            errands.affinity(pid, own, "final")
        else:
            self.attach_cgroups(pid)

    def attach_cgroups(self, pid: int) -> None:
        """Into the container's cgroups, or where its first process has gone if those are closed to us."""
        own = self.record.cgroups[:1] if self.init.cgroup else []
        try:
            cgroup.attach([path for path in self.paths if path not in self.tasks and path not in own], pid)
        except SystemCallError as error:
            if error.errno == ESRCH:
                return  # the init has ended: it says why
            if error.errno != EBUSY or self.options.cgroups:
                raise
            from ocirt.cgroup import inside

            self.paths = inside.beside(self.paths, self.record.pid)
            cgroup.attach(self.paths, pid)

    def run_errands(self) -> None:
        """What is done to the process by its pid, while it waits."""
        from ocirt.container import errands

        self.init.until(lib.SYNC_START, {})
        errands.run(self.plan.errands, errands.Target(self.init.pid, self.record, self.init.lend))
        self.init.go(lib.SYNC_START)

    def remember(self, terminal: bool) -> None:
        """Keep the plan for the launcher, which runs it again where key.c says that all else is equal.

        Not one that needs more of the runtime than to attach it, nor one that leaves this caller's groups; not one that
        was made of another process file than the key, which the engine has changed in between; none with an environment
        that may be a secret. It is a help: where it cannot be kept, there is none.
        """
        if brings_variables(self.config["process"].get("env") or (), self.own_env):
            return
        more = self.plan.errands or self.config["process"].get("execCPUAffinity") or self.paths != self.record.cgroups
        plain = self.setgroups and not (terminal or more or plan.chroots(self.config))
        if not plain or self.command.raw not in kept[1]:
            return
        if all(posix.access(f"{path}/cgroup.procs", posix.W_OK) for path in self.paths):
            clones = any(op[0] == "clone" for op in self.plan.ops)
            head = HEAD.pack(lib.ocirt_plan_magic, len(kept[1]), len(self.encoded), clones)
            state.keep(self.root, self.container_id, kept[0].decode(), head + kept[1] + self.encoded)

    def tell(self) -> None:
        """The process runs: tell whoever waits for its pidfd or its pid file."""
        if self.options.pidfd_socket:
            announce.send_pidfd(self.options.pidfd_socket, self.init.pid)
        if self.options.pid_file:
            announce.write_pid_file(absolute(self.options.pid_file), self.init.pid)
