"""Carries out a host plan in Python, operation by operation: the oracle that perform/perform.c is compared with."""

from __future__ import annotations

import posix
from errno import EBUSY, EINVAL
from time import monotonic_ns

from ocirt import cgroup, notes
from ocirt.cgroup import tree, v1, v2
from ocirt.container import place, process, state
from ocirt.errors import ContainerNotRunning, OcirtError, SystemCallError
from ocirt.linux import calls
from ocirt.linux._kernel import lib
from ocirt.plan import ops as vocabulary
from ocirt.spawn import idmap
from tests.oracle import cgroups, parent, records, states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ocirt.cgroup.systemd import Scope
    from ocirt.plan.ops import Op
    from ocirt.spawn.console import Relay

    Action = Callable[..., None]

# Whose errors name the field that the operation comes from
BY_FIELD = frozenset(("make_cgroup", "fill_cpuset", "refuse_frozen", "open_tree"))


class Performer:
    """A host plan under way.

    root, container_id, bundle   of the container
    record      what state.json says, or is to say
    keep        which of the fds 3 … are open, and to be passed on
    ops         the init's plan, as far as it is compiled
    directory   the container's state directory, whose lock is held
    init        the started init
    encoded     what was sent to it last
    scope       the unit asked of systemd, None with another manager
    console     our end of the pair that the terminal's master comes by
    relay       that of a terminal in the foreground
    documents   the state as hooks get it, by status and pid
    user_namespaces   those by which trees are mapped: one serves all with the same mappings
    new         the directories made for cgroups, in order, None until then; `usable`: those of the cgroups
    brought     cgroups that the unit has brought
    recorded    there is something to undo by the record
    hooks_ran   poststop hooks are due if this fails
    pid_file    the file to remove if this fails, "" for none
    elsewhere   the process is not in the container's own cgroups, but below
    """

    __slots__ = (
        "brought",
        "bundle",
        "console",
        "container_id",
        "directory",
        "documents",
        "elsewhere",
        "encoded",
        "hooks_ran",
        "init",
        "keep",
        "new",
        "oci_version",
        "ops",
        "pid_file",
        "pointer",
        "record",
        "recorded",
        "relay",
        "root",
        "scope",
        "usable",
        "user_namespaces",
    )  # fmt: skip

    def __init__(self, root: str, record: state.State, keep: Sequence[int] = ()) -> None:
        self.root = root
        self.record = record
        self.container_id = record.container_id
        self.bundle = record.bundle
        self.keep = keep
        self.ops: Sequence[Op] = ()
        self.directory = calls.Fd(-1)
        self.console = calls.Fd(-1)
        self.init = parent.Init(calls.Fd(-1), calls.Fd(-1), 0)
        self.encoded = b""
        self.scope: Scope | None = None
        self.relay: Relay | None = None
        self.new: list[str] | None = None
        self.usable: list[str] = []
        self.user_namespaces: dict[str, calls.Fd] = {}
        self.documents: dict[tuple[str, int], bytes] = {}
        self.brought: list[str] = []
        self.recorded = self.hooks_ran = self.elsewhere = False
        self.pid_file = self.pointer = ""

    def close(self) -> None:
        """Let go of all descriptors; the lock of the state directory with them."""
        if self.scope:
            self.scope.close()
        self.init.close()
        self.directory.close()
        self.console.close()
        for fd in self.user_namespaces.values():
            fd.close()

    @property
    def pid(self) -> int:
        """For the product's host_actions."""
        return self.init.pid

    def lend(self, slot: int, fd: calls.Fd) -> None:
        """For the product's host_actions."""
        self.init.lend(slot, fd)

    # -- the plan ------------------------------------------------------------------------------------------------------

    def perform(self, ops: Sequence[Op]) -> None:
        """Carry them out. Raises the OcirtError of the one that fails."""
        index = 0
        while index < len(ops):
            op = ops[index]
            begin = monotonic_ns() if notes.steps else 0
            index += 1
            if op[0] == "try_again":
                count = op[3][0]
                self.try_again(ops[index : index + count])
                index += count
            else:
                try:
                    index += self.step(op)
                except OSError as error:
                    raise explained(op, error) from None
            if notes.steps:
                tell(op, monotonic_ns() - begin)

    def step(self, op: Op) -> int:
        """Carry it out; how many to pass over then. Raises OcirtError, and OSError for what `explained` has words."""
        name, self.pointer, guard, arguments = op
        action = ACTIONS.get(name)
        if action is None:
            from tests.oracle import host_actions

            action = host_actions.ACTIONS[name]
        try:
            action(self, *arguments)
        except (OSError, SystemCallError) as error:
            if guard and error.errno in vocabulary.ignored(op):
                return 0
            if isinstance(error, SystemCallError) and name in BY_FIELD and self.pointer:
                raise error.at(self.pointer) from None
            raise
        return guard >> 32

    def try_again(self, ops: Sequence[Op]) -> None:
        """As of cgroups.in_any_order; each with those that are its fallback."""
        groups = []
        index = 0
        while index < len(ops):
            end = index + 1 + vocabulary.skipped(ops[index])
            groups.append(ops[index:end])
            index = end
        refused = cgroups.in_any_order(groups, self.one_of)
        if refused:
            raise explained(refused[0][0], refused[1])

    def one_of(self, group: Sequence[Op]) -> None:
        """The first of these, or where that does not matter the next. Raises OSError with EINVAL, and OcirtError."""
        for op in group:
            try:
                if self.step(op):
                    return
            except OSError as error:
                if error.errno == EINVAL:
                    raise
                raise explained(group[0], error) from None

    # -- what several of them need -------------------------------------------------------------------------------------

    def document(self, status: str, pid: int) -> bytes:
        """The state as a hook reads it on its stdin (config.md "POSIX-platform Hooks"); it can be large."""
        key = (status, pid)
        if key not in self.documents:
            self.documents[key] = records.document(self.record, status, pid)
        return self.documents[key]

    def note_made(self) -> None:
        """Have the record name the directories that were made, deepest first, in place of those that were expected."""
        if self.new is not None:
            self.record.made = cgroups.claimed(self.brought + self.new[::-1], self.usable)


def tell(op: Op, took_ns: int) -> None:
    """With --debug: what was done, and how long it took."""
    from ocirt.plan.describe import host

    notes.step(f"{took_ns / 1e6:.3f} ms: {host.describe(op)}")


def explained(op: Op, error: OSError) -> OcirtError:
    """The error, in words."""
    from ocirt.container import host_failures

    return host_failures.explain(op, error)


# ---- those that take more than a line --------------------------------------------------------------------------------


def record(p: Performer, *values: Any) -> None:
    """What the state says from the start."""
    names = ("oci_version", "bundle", "rootfs", "annotations", "owner", "manager", "python", "pid_namespace")
    for name, value in zip(names, values, strict=True):
        setattr(p.record, name, value)
    p.record.annotations = dict(zip(values[3][::2], values[3][1::2], strict=True))
    p.record.pid_namespace = bool(values[7])


def expect_cgroups(p: Performer, paths: list[str], _: str) -> None:
    """With systemd, slices are for that to remove."""
    record = p.record
    record.cgroups = paths
    record.made = cgroups.missing(paths)
    if p.scope:
        record.made = [path for path in record.made if path in paths]
        p.scope.ours = len(record.made) == len(paths)
        record.unit = p.scope.recorded()


def write_state(p: Performer, phase: str) -> None:
    """From here on there is something to undo by it."""
    p.note_made()
    p.record.phase = phase
    p.recorded = True
    states.write(p.directory.number, p.record)


def make_cgroup(p: Performer, path: str) -> None:
    """With systemd the process is in it already."""
    if p.new is None:
        p.new = []
    if cgroups.make(path, p.new, p.init.pid if p.scope else 0):
        p.usable.append(path)


def refuse_shared(p: Performer, paths: list[str]) -> None:
    """One that is empty may be another container's: its deletion would kill ours."""
    p.note_made()
    shared = [path for path in paths if path not in p.record.made and posix.access(path, posix.F_OK)]
    if shared:
        from ocirt.container import list as listing

        listing.refuse_shared(p.root, shared, p.container_id)


def note_freezer(p: Performer, file: str) -> None:
    """One that is there."""
    if posix.access(file, posix.F_OK):
        p.record.freezers.append(file)


def attach(p: Performer, path: str, below: int) -> None:
    """The first stage, where that has not made the process yet; unless it was started there."""
    if below and p.init.cgroup and path == p.record.cgroups[0]:
        return
    pid = p.init.pid or p.init.first
    try:
        cgroups.attach([path], pid)
    except SystemCallError as error:
        if error.errno != EBUSY or not below:
            raise
        cgroups.attach([beside(p, path)], pid)
        p.elsewhere = True


def beside(p: Performer, path: str) -> str:
    """Where the container's first process is. Raises ContainerNotRunning."""
    from ocirt.cgroup import inside

    try:
        return inside.beside([path], p.record.pid)[0]
    except OSError:
        raise ContainerNotRunning(p.container_id) from None


def connect_console(p: Performer, slot: int, path: str) -> None:
    """Without a path the other end stays here."""
    if path:
        p.init.lend(slot, calls.connect(path, "the console socket"))
        return
    ours, theirs = calls.socketpair()
    p.console.number = ours.take()
    p.init.lend(slot, theirs)


def spawn_init(p: Performer, preserve: int, _: str) -> None:
    """Not in the cgroup: it is moved."""
    before = p.init  # what it was lent is closed with it if there is no init to come
    p.init = parent.spawn(p.root, preserve, p.keep)
    p.init.lent = before.lent


def report_file(p: Performer, slot: int) -> None:
    """Read from here when the init has ended."""
    p.init.report = calls.zeros(p.directory.number, parent.REPORT, lib.REPORT_SIZE)
    p.init.lend(slot, calls.Fd(posix.dup(p.init.report.number)))


def send_plan(p: Performer, first: int, count: int, more: int, becomes: int, deadline: int) -> None:
    """A part of the init's plan."""
    p.init.ops = p.ops
    p.encoded = p.init.send_plan(p.ops[first : first + count], bool(more), deadline)
    if becomes:
        p.init.becomes_the_process()


def wait_process(p: Performer) -> None:
    """On disk it is from the next point on at which it could outlive us: hooks, or the end. With exec it is another."""
    pid = p.init.wait_process()
    if not p.record.pid:
        p.record.born(pid)


def write_pid_file(p: Performer, path: str) -> None:
    """Removed again if this fails."""
    p.pid_file = path
    states.write_pid_file(path, p.init.pid)


def open_process(p: Performer, slot: int) -> None:
    """Raises ContainerNotRunning."""
    target = calls.Fd(process.open_process(p.record))
    if target.number < 0:
        raise ContainerNotRunning(p.container_id)
    p.init.lend(slot, target)


ACTIONS: dict[str, Action] = {
    "claim": lambda p, root, container_id: states.claim_into(p.directory, root, container_id),
    "record": record,
    "expect_cgroups": expect_cgroups,
    "write_state": write_state,
    "keep_file": lambda p, name, content: place.write_file(p.directory.number, name, content),
    "keep_plan": lambda p, tail: place.write_file(p.directory.number, "plan.bin", p.encoded + tail.encode()),
    "make_cgroup": make_cgroup,
    "fill_cpuset": lambda _, path: cgroups.inherit_cpuset(path),
    "refuse_frozen": lambda _, path, version: cgroup.refuse_frozen(path, v2 if version == 2 else v1),
    "refuse_shared": refuse_shared,
    "hand_down": lambda _, mount, path: cgroups.enable_controllers(mount, path),
    "write_limit": lambda _, path, file, text, __: tree.write(
        f"{path}/{file}", text.encode("utf-8", "surrogateescape")
    ),
    "device_rules": lambda _, *rules: cgroups.write_rules(*rules),
    "device_program": lambda _, *program: cgroups.load_program(*program),
    "note_freezer": note_freezer,
    "open_cgroup": lambda p, slot, path: p.init.lend(slot, calls.Fd(cgroups.opened(path))),
    "open_tasks": lambda p, slot, path: p.init.lend(slot, calls.Fd(cgroups.entrance(path))),
    "attach": attach,
    "connect_console": connect_console,
    "spawn_init": spawn_init,
    "open_tree": lambda p, slot, host, recursive: p.init.lend(slot, calls.open_tree(host, bool(recursive))),
    "report_file": report_file,
    "send_plan": send_plan,
    "wait_process": wait_process,
    "map_ids": lambda p, uids, gids, setgroups: idmap.write(p.init.pid, uids, gids, bool(setgroups)),
    "listen": lambda p, slot, name: p.init.lend(slot, calls.listen(p.directory.number, name)),
    "wait": lambda p, point: p.init.wait(point),
    "go": lambda p, point: p.init.go(point),
    "executed": lambda p: p.init.executed(),
    "write_pid_file": write_pid_file,
    "commit": lambda _: parent.complete(),
    "open_process": open_process,
}
