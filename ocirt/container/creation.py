"""A container that is being made by `create` or `run`: read, compiled for both sides, and performed; or undone."""

from __future__ import annotations

from ocirt import cgroup, notes
from ocirt.cgroup import host_steps
from ocirt.config import check, load
from ocirt.container import announce, ids, record
from ocirt.container.performer import Performer
from ocirt.container.prepare import (
    Given,
    absolute,
    absolute_below,
    bundle_path,
    check_console,
    inherited,
    listen_fds,
    mounts_a_device,
    refuse_host_sysctls,
    seccomp_program,
)
from ocirt.errors import InitKilled, UnsupportedError
from ocirt.linux import facts
from ocirt.plan import holes, host
from ocirt.plan.compile import Compilation
from ocirt.plan.context import Launch
from ocirt.spawn import parent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocirt.cgroup.systemd import Scope
    from ocirt.container.launches import Kept
    from ocirt.container.prepare import Options
    from ocirt.plan.compile import Plan
    from ocirt.plan.ops import Op

# Set by the launcher (boot.py): name and key of the file that the launch is to be kept in, empty where it is not; the
# plans that were kept there, which are to be verified; why there are none.
kept: Kept = (b"", b"", (), b"", b"")


class Creation:
    """Used as a context: an exception inside undoes everything that was done since, here and by the launcher.

    config          config.json as a document
    given           what it is made from
    hierarchies     where cgroups are mounted
    host            what the host plan is made from; from `compile` on
    scope           the unit to ask of systemd, None with another manager
    performer       carries the host plan out
    taken           the bytes of config.json that a launch is of which has stopped half way; b"" for none
    filter          program and flags of linux.seccomp, as of prepare.seccomp_program; None before it is asked for
    """

    __slots__ = (
        "bundle", "config", "container_id", "filter", "foreground", "given", "hierarchies", "host", "keep", "options",
        "performer", "preserve", "root", "scope", "start", "taken",
    )  # fmt: skip

    def __init__(self, root: str, container_id: str, bundle: str, options: Options, foreground: bool = False) -> None:
        ids.check_id(container_id)
        self.root = absolute(root)
        self.container_id = container_id
        self.bundle = absolute(bundle)
        self.options = options
        self.foreground = foreground
        self.scope: Scope | None = None
        self.filter: tuple[bytes | None, int] | None = None
        self.taken = b""

    # -- before anything exists ----------------------------------------------------------------------------------------

    def read(self, start: str) -> None:
        """Read and check; no side effect beyond descriptors. `start`: create or run.

        Raises BundleError, ConfigError, UnsupportedError and, where cgroups cannot be read, SystemCallError.
        """
        if self.taken:  # by now it may be another, and the bundle gone
            config, raw = load.of(self.taken, self.options.config or load.NAME), self.taken
        else:
            config, raw = load.load(bundle_path(self.bundle), self.options.config)
        check.check(config, raw)
        refuse_host_sysctls(config)
        self.config: dict[str, Any] = config
        self.start = start
        self.preserve = self.options.preserve_fds + listen_fds(config.get("process") or {}, self.options.preserve_fds)
        self.keep = inherited(self.preserve)
        self.hierarchies = [] if self.options.manager == "disabled" else cgroup.hierarchies()
        pid_file = absolute(self.options.pid_file) if self.options.pid_file else ""
        console_socket = self.options.console_socket or ""
        self.given = Given(config, self.container_id, self.bundle, self.place(), pid_file, console_socket, raw=raw)

    def check_console(self) -> None:
        """Raise UnsupportedError for a terminal that nobody would get, or a console socket that would get none."""
        terminal = bool((self.config.get("process") or {}).get("terminal"))
        check_console(terminal, self.options.console_socket, self.foreground)

    def compile(self) -> None:
        """The first half of the init's plan. Raises UnsupportedError, ConfigError."""
        self.host = self.host_of(self.given)

    def host_of(self, given: Given) -> host.Host:
        """What the host plan is made from, with the first half of the init's. Raises as `compile`."""
        process, options = given.config.get("process") or {}, self.options
        layout = cgroup.layout(self.hierarchies)
        pairs = [] if self.scope else zip(given.paths, self.hierarchies, strict=True)
        entering = [path for path, hierarchy in pairs if hierarchy.version == 1]
        launch = Launch(
            container_id=given.container_id,
            bundle=given.bundle,
            start=self.start,
            no_pivot=options.no_pivot,
            new_keyring=options.new_keyring,
            preserve_fds=self.preserve,
            console=bool(process.get("terminal")),
            tasks=len(entering),
        )
        named = holes.is_given((given.config.get("linux") or {}).get("cgroupsPath"))
        pointer = "/linux/cgroupsPath" if named else ""
        cgroups = host.Cgroups(given.paths, entering, given.paths[0] if layout == "v2" else "", pointer)
        around = facts.Facts(self.hierarchies, layout, given.paths)
        made = host.Host(Compilation(given.config, launch, around), cgroups, self.root, options.manager)
        made.raw = given.raw
        made.foreground = self.foreground
        made.late_devices = mounts_a_device(given.config)
        made.console_socket, made.pidfd_socket = given.console_socket, options.pidfd_socket or ""
        made.pid_file = given.pid_file
        made.rootfs = absolute_below(given.bundle, given.config["root"]["path"])
        made.owner, made.words = record.owner(), self.words()
        made.unit = self.scope.unit.name if self.scope else ""
        return made

    def place(self) -> list[str]:
        """The container's cgroup in each hierarchy. Raises ConfigError; without systemd, but asked for: OcirtError."""
        if self.options.manager == "systemd":
            from ocirt.cgroup.systemd import Scope

            self.scope = Scope(self.config, self.container_id, not mounts_a_device(self.config))
            return self.scope.paths(self.hierarchies)
        if self.options.manager not in {"cgroupfs", "disabled"}:
            raise UnsupportedError(f'there is no cgroup manager "{self.options.manager}"')
        cgroups_path = (self.config.get("linux") or {}).get("cgroupsPath")
        return cgroup.paths_for(cgroups_path, self.container_id, self.hierarchies)

    def first(self) -> list[Op]:
        """The first half of the host plan. Raises UnsupportedError for limits that the host has no means for."""
        if self.host.early:
            host_steps.compile(self.host.cgroups, self.hierarchies, self.config)
        return host.first(self.host)

    def rest(self, root: str = "") -> list[Op]:
        """The other half, and the init's plan whole. Raises UnsupportedError, ConfigError.

        root    where a compiled seccomp profile may be kept, once somebody has looked whom it belongs to
        """
        if not self.host.early:
            host_steps.compile(self.host.cgroups, self.hierarchies, self.config)
        self.finish(self.host, root)
        return host.rest(self.host)

    def finish(self, made: host.Host, root: str) -> None:
        """Its init's plan whole. Raises UnsupportedError, ConfigError."""
        if self.filter is None:
            self.filter = seccomp_program(self.config, root)
        made.filter_file = filter_file(*self.filter)
        made.plan = made.compilation.finish(*self.filter)

    @property
    def plan(self) -> Plan:
        """The init's."""
        return self.host.plan

    # -- side effects --------------------------------------------------------------------------------------------------

    def __enter__(self) -> Creation:
        self.performer = Performer(self.root, self.container_id, self.bundle)
        self.taken = self.performer.take_stopped()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is not None:
            self.performer.take_stopped()  # where that was interrupted
            if isinstance(error, InitKilled):
                from ocirt.container import killed

                killed.explain(error, self.host.cgroups.paths, self.config)
            from ocirt.container import undo

            try:
                undo.undo(self)
            except KeyboardInterrupt:  # a second one, which the launcher keeps from us but a Python program does not
                undo.undo(self)
            self.performer.signals.close()
        self.performer.close()

    def perform(self) -> None:
        """Make the container. The kernel takes its time for namespaces, in which the rest is compiled."""
        if not self.foreground:
            parent.undoable()
        self.performer.keep = self.keep
        self.performer.oci_version = self.config["ociVersion"]
        self.performer.scope = self.scope
        self.performer.ops = self.host.compilation.first
        first = self.first()
        self.performer.perform(first)
        rest = self.rest(self.root)
        if (kept[2] and kept[2][0]) or (notes.steps and kept[3]):
            from ocirt.container import verify

            verify.launch(self, kept, first, rest)
        self.performer.ops = self.plan.ops
        announce.tell_plan(self.plan, self.container_id, self.options.config)
        self.performer.perform(rest)

    def words(self) -> str:
        """Why a verb is not quick, and what else `delete` and `exec` go by; as of State.python."""
        all_hooks = self.config.get("hooks") or {}
        words = [kind for kind in ("poststart", "poststop") if all_hooks.get(kind)]
        if not self.config.get("process"):
            words.append("noprocess")
        if not self.options.new_keyring:
            words.append("oldkeyring")
        if self.config.get("process") and (self.config.get("linux") or {}).get("intelRdt"):
            words.append("resctrl")
        return " ".join(words)


def filter_file(program: bytes | None, flags: int) -> bytes:
    """What seccomp.bpf is to hold for exec: flags and size, then the program; b"" without one."""
    return b"" if program is None else (flags | len(program) << 32).to_bytes(8, "little") + program
