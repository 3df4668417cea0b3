"""A container on its way into the world: the steps that `create` and `run` share, and their undoing.

The order, and why:
    read, check, compile       the first stage's part; nothing exists yet, a config that is wrong ends here
    claim the id               whoever comes second is refused
    start the init             it makes the namespaces while the rest is compiled, and ends when the runtime does
    hand over the rest         it mounts while the state is written and the cgroups are made here
    record, make cgroups       the state names what outlives the runtime before it exists: delete can undo any crash.
                               On v2 ahead of the init's first plan: the process is born in its cgroup
    limits, device rules       before a process is in them: v1 denies all devices for a moment; after a device's mount
    with systemd: ask          once there is a process to put into the unit; wait where the init asks for its cgroup
    let it enter, maps, hooks  when the init asks for them, the first before anything runs that is not ours
    record, pid file           whoever reads the pid file finds a complete state
"""

from __future__ import annotations

import posix

from ocirt import cgroup
from ocirt.config import check, load
from ocirt.container import announce, hooks, ids, place, state
from ocirt.container.prepare import (
    absolute,
    absolute_below,
    bundle_path,
    console_ends,
    inherited,
    listen_fds,
    mounts_a_device,
    refuse_host_sysctls,
    seccomp_program,
)
from ocirt.errors import InitKilled, SystemCallError, UnsupportedError
from ocirt.linux import calls, facts
from ocirt.linux._kernel import lib
from ocirt.plan.compile import Compilation
from ocirt.plan.context import Launch
from ocirt.spawn import idmap, parent, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocirt.cgroup.systemd import Scope
    from ocirt.container.prepare import Options
    from ocirt.plan.compile import Plan
    from ocirt.spawn.parent import Slots


class Birth:
    """Used as a context: entering claims the id, an exception inside undoes everything that was done since.

    config, raw          config.json as a document, and its bytes
    compilation, plan    the plan half made by `read`; and whole, by `compile`
    hierarchies, paths   where cgroups are mounted; the container's cgroup in each
    to_enter             those of paths that the process is not born in
    entering             those that it enters by itself
    preserve, keep       how many fds from 3 on the process gets, and which of them are open
    directory            the container's state directory, whose lock is held
    scope                the unit asked of systemd, None with another manager
    record               what state.json says; `recorded` once there is something to undo by it
    restricted           whether the device rules are in force
    console              socket that gets the terminal's master, -1 for none
    hooks_ran            whether poststop hooks are due if this fails
    """

    __slots__ = (
        "bundle", "compilation", "config", "console", "container_id", "directory", "entering", "hierarchies",
        "hooks_ran", "init", "keep", "options", "paths", "pid_file_written", "plan", "preserve", "raw", "record",
        "recorded", "restricted", "root", "scope", "to_enter",
    )  # fmt: skip

    def __init__(self, root: str, container_id: str, bundle: str, options: Options) -> None:
        ids.check_id(container_id)
        self.root = absolute(root)
        self.container_id = container_id
        self.bundle = bundle_path(bundle)
        self.options = options
        self.directory = calls.Fd(-1)
        self.console = calls.Fd(-1)
        self.init = parent.Init(calls.Fd(-1), calls.Fd(-1), 0)
        self.scope: Scope | None = None
        self.hooks_ran = False
        self.recorded = False
        self.restricted = False
        self.pid_file_written = False

    # -- before anything exists ----------------------------------------------------------------------------------------

    def read(self, start: str) -> None:
        """Read, check and compile the first stage's part; no side effect beyond descriptors. `start`: create or run.

        Raises BundleError, ConfigError, UnsupportedError and, where cgroups cannot be read, SystemCallError.
        """
        self.config: dict[str, Any]
        self.config, self.raw = load.load(self.bundle, self.options.config)
        check.check(self.config, self.raw)
        refuse_host_sysctls(self.config)
        process = self.config.get("process") or {}
        self.preserve = self.options.preserve_fds + listen_fds(process, self.options.preserve_fds)
        self.keep = inherited(self.preserve)
        self.hierarchies = [] if self.options.manager == "disabled" else cgroup.hierarchies()
        self.paths = self.to_enter = self.place()
        pairs = [] if self.scope else zip(self.paths, self.hierarchies, strict=True)
        self.entering = [path for path, hierarchy in pairs if hierarchy.version == 1]
        launch = Launch(
            container_id=self.container_id,
            bundle=self.bundle,
            start=start,
            no_pivot=self.options.no_pivot,
            new_keyring=self.options.new_keyring,
            preserve_fds=self.preserve,
            console=bool(process.get("terminal")),
            tasks=len(self.entering),
        )
        host = facts.Facts(self.hierarchies, cgroup.layout(self.hierarchies), self.paths)
        self.compilation = Compilation(self.config, launch, host)

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

    def compile(self) -> None:
        """Compile the rest. Raises UnsupportedError, ConfigError."""
        self.plan: Plan = self.compilation.finish(*seccomp_program(self.config, self.root, self.directory.number))
        self.entering = self.entering[: len(self.plan.tasks)]  # all or none

    def connect_console(self, foreground: bool = False) -> calls.Fd:
        """Make ready for the terminal's master; our end, in the foreground. Raises as prepare.connect_console."""
        terminal = self.compilation.context.launch.console
        ours, self.console = console_ends(terminal, self.options.console_socket, foreground)
        return ours

    # -- side effects --------------------------------------------------------------------------------------------------

    def __enter__(self) -> Birth:
        state.claim_into(self.directory, self.root, self.container_id)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is not None:
            if isinstance(error, InitKilled):
                from ocirt.container import killed

                killed.explain(error, self.paths, self.config)
            try:
                self.undo()
            except KeyboardInterrupt:  # a second one, which the launcher keeps from us but a Python program does not
                self.undo()
        if self.scope:
            self.scope.close()
        self.init.close()
        self.directory.close()
        self.console.close()

    def bring_up(self, last: int) -> None:
        """Start the init on its plan, do meanwhile what it does not wait for, and follow it to the point `last`."""
        self.init = parent.spawn(self.root, self.preserve, self.keep)
        # The kernel takes its time for namespaces: half a millisecond, in which the rest is compiled.
        begun = self.begin()
        self.compile()
        announce.tell_plan(self.plan, self.container_id, self.options.config)
        encoded = wire.encode(self.plan.ops[begun:])
        self.hand_over(encoded)
        # All that the init does up to its first question is gone with it, and it is gone when we are.
        if not self.recorded:
            self.declare()
        actions = {
            lib.SYNC_MAPPED: self.write_maps,
            lib.SYNC_CGROUP: self.enter_cgroup,
            lib.SYNC_RUNTIME_HOOKS: self.run_hooks,
            last: self.restrict_devices,
        }
        if self.scope is None:
            self.limit()  # before the process is there: on v1 there is a moment in which all devices are denied
        if lib.SYNC_CGROUP in self.plan.syncs:
            self.init.until(lib.SYNC_CGROUP, actions, self.born)
            self.init.go(lib.SYNC_CGROUP)
        place.write_file(self.directory.number, "config.json", self.raw)
        place.write_file(self.directory.number, "plan.bin", wire.archive(encoded, self.plan.ops, begun))
        if last == lib.SYNC_CREATED:
            with calls.listen(self.directory.number, "start.sock") as listener:
                self.init.lend(lib.SLOT_START, listener)
        self.init.until(last, actions, self.born)

    def limit(self) -> None:
        """Restrict what can be done from within the cgroups, which exist, and let who may own them do so."""
        if self.plan.cgroup_owner not in {-1, self.compilation.context.facts.euid}:
            cgroup.delegate(self.paths[0], self.plan.cgroup_owner)
        if not mounts_a_device(self.config):
            self.restrict_devices()
        self.record.freezers = cgroup.freezers(self.paths)

    def begin(self) -> int:
        """Let the init make the container's process, where that is made new; how many operations it was sent.

        On v2 the process is born in its cgroup, which has to be there before it. On v1 a process can only be moved, and
        the cgroups are made while the kernel is busy with the namespaces.
        """
        first = self.compilation.first
        if not first or first[-1][0] != "clone":
            return 0
        if self.options.manager != "cgroupfs" or cgroup.layout(self.hierarchies) != "v2":
            self.init.begin(first)
            return len(first)
        self.declare()
        # nsdelegate (cgroups(7)): nobody in a cgroup namespace makes a process outside of that. It is moved from here.
        joined = self.compilation.context.joined("cgroup")
        with calls.Fd(-1 if joined else cgroup.opened(self.paths[0])) as home:
            slots = [(lib.SLOT_CGROUP, home.number)] if home.number >= 0 else []
            self.init.begin(first, slots)
            self.to_enter = self.paths[len(slots) :]
        return len(first)

    def declare(self) -> None:
        """Have the state name what will be made, and make the cgroups, unless that is for systemd to do."""
        self.record = self.new_record()
        self.recorded = True
        state.write(self.directory.number, self.record)
        if self.scope is None:
            self.make_cgroups()

    def make_cgroups(self) -> None:
        """Make those that the unit, if there is one, did not bring, with their limits; an error names the field."""
        expected, self.record.made = self.record.made, []  # if it fails: it removes what it made, no more is ours
        brought = [path for path in self.paths if path in expected] if self.scope and self.scope.ours else []
        try:
            self.record.made = brought + cgroup.create(self.paths, self.init.pid if self.scope else 0)
        except SystemCallError as error:
            if not (self.config.get("linux") or {}).get("cgroupsPath"):
                raise
            raise error.at("/linux/cgroupsPath") from None
        except KeyboardInterrupt:
            self.record.made = expected
            raise
        shared = [path for path in self.paths if path not in self.record.made and posix.access(path, posix.F_OK)]
        if shared:  # empty, but another container's: its deletion would kill ours
            from ocirt.container import list as listing

            listing.refuse_shared(self.root, shared, self.container_id)
        cgroup.apply(self.paths, self.hierarchies, (self.config.get("linux") or {}).get("resources") or {})

    def hand_over(self, encoded: bytes) -> None:
        """Send the plan with the descriptors that it names, and forget ours."""
        slots = [(lib.SLOT_CONSOLE, self.console)]
        try:
            for slot, path, recursive, pointer in self.plan.trees:
                try:
                    slots.append((slot, calls.open_tree(path, recursive)))
                except SystemCallError as error:
                    raise error.at(pointer) from None
            if self.plan.idmaps:
                from ocirt.container import idmapped

                idmapped.apply(self.plan, dict(slots))
            self.init.hand_over(self.plan.ops, encoded, slots, self.directory.number)
        finally:
            for _, fd in slots:
                fd.close()

    def new_record(self) -> state.State:
        """The state as it is before the first side effect."""
        all_hooks = self.config.get("hooks") or {}
        words = [kind for kind in ("poststart", "poststop") if all_hooks.get(kind)]
        if not self.config.get("process"):
            words.append("noprocess")
        if not self.options.new_keyring:
            words.append("oldkeyring")
        rootfs = absolute_below(self.bundle, self.config["root"]["path"])
        record = state.State(self.container_id, self.config["ociVersion"], self.bundle, rootfs)
        record.annotations = self.config.get("annotations") or {}
        record.manager = self.options.manager
        record.pid_namespace = self.compilation.context.new("pid")
        record.python = " ".join(words)
        record.cgroups = self.paths
        record.made = cgroup.missing(self.paths)
        if self.scope:
            record.made = [path for path in record.made if path in self.paths]  # slices are systemd's to remove
            self.scope.ours = len(record.made) == len(self.paths)
            record.unit = self.scope.recorded()
        return record

    def born(self, pid: int) -> None:
        """The process exists: into its cgroups with it, and into the record.

        On disk it is from the next point on at which it could outlive us: hooks, or the end.
        """
        if self.scope:
            self.scope.start(pid, cgroup.layout(self.hierarchies) == "v2")
        else:
            cgroup.attach([path for path in self.to_enter if path not in self.entering], pid)
        self.record.born(pid)

    def enter_unit(self) -> None:
        """With systemd, the first time: wait for the process to be in the unit, and do what systemd does not."""
        if self.scope is None or not self.scope.waiting:
            return
        try:
            self.scope.wait()
        finally:
            self.record.unit = self.scope.recorded()
            if not self.scope.ours:
                self.record.made = []  # somebody else's
        self.make_cgroups()
        self.limit()
        cgroup.attach(self.paths, self.init.pid)

    def write_maps(self) -> Slots:
        """Map the ids of the new user namespace."""
        idmap.write(self.init.pid, self.plan.uid_map, self.plan.gid_map, self.plan.setgroups)
        return ()

    def enter_cgroup(self) -> Slots:
        """The process goes on in its cgroup; with what can only be done from here, once it is there."""
        self.enter_unit()
        if self.plan.errands:
            from ocirt.container import errands

            target = errands.Target(self.init.pid, self.record, self.init.lend, self.directory.number)
            errands.run(self.plan.errands, target)
        for slot, path in zip(self.plan.tasks, self.entering, strict=True):
            self.init.lend(slot, calls.Fd(cgroup.entrance(path)))
        return ()

    def restrict_devices(self) -> Slots:
        """Let the container open what it may, from now on: before anything runs that is not ours."""
        self.enter_unit()
        if not self.restricted:
            self.restricted = True
            rules = ((self.config.get("linux") or {}).get("resources") or {}).get("devices") or ()
            cgroup.restrict_devices(self.paths, self.hierarchies, rules)
        return ()

    def run_hooks(self) -> Slots:
        """Run prestart and createRuntime; give the init the state for the hooks that it runs."""
        self.restrict_devices()
        self.hooks_ran = True
        state.write(self.directory.number, self.record)
        creating = self.hook_state("creating", self.init.pid)
        for kind in ("prestart", "createRuntime"):
            hooks.run(kind, self.config["hooks"].get(kind) or (), self.bundle, creating)
        inside = hooks.pid_inside(self.init.pid)
        for slot, status in ((lib.SLOT_STATE_CREATING, "creating"), (lib.SLOT_STATE_CREATED, "created")):
            with calls.sealed_memfd("hook-state", self.hook_state(status, inside)) as fd:
                self.init.lend(slot, fd)
        return ()

    def hook_state(self, status: str, pid: int) -> bytes:
        """The state as a hook reads it on its stdin (config.md "POSIX-platform Hooks")."""
        return state.document(self.record, status, pid)

    def settle(self) -> None:
        """The container is complete: say so on disk, then to whoever waits for the pid file or the pidfd."""
        self.record.phase = "created"
        state.write(self.directory.number, self.record)
        if self.options.pidfd_socket:
            announce.send_pidfd(self.options.pidfd_socket, self.init.pid)
        if self.options.pid_file:
            self.pid_file_written = True
            announce.write_pid_file(absolute(self.options.pid_file), self.init.pid)

    def undo(self) -> None:
        """Remove all that this birth has made."""
        from ocirt.container import undo

        undo.undo(self)
