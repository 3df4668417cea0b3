"""Carries out a host plan; what to do and in which order, plan/host.py and plan/exec.py say.

C does it (perform/perform.c), and stops at an operation that is Python's (host_actions.py) or that is refused: whether
there is another way then, and the words if not, host_failures.py knows. An operation that fails ends it; undo.py takes
back what was done by then.
"""

from __future__ import annotations

import posix
from errno import EINTR, EMFILE, ENFILE, ENOSYS
from time import monotonic_ns

from ocirt import notes
from ocirt.container import process, state
from ocirt.errors import ContainerNotRunning, OcirtError, SystemCallError
from ocirt.linux import calls
from ocirt.linux._kernel import lib
from ocirt.plan import ops as vocabulary
from ocirt.spawn import parent, wire
from ocirt.spawn.performance import Performance

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ocirt.cgroup.systemd import Scope
    from ocirt.plan.ops import Op
    from ocirt.spawn.console import Relay

    Action = Callable[..., None]

LOCKED = lib.PERFORM_LOCKED
AT, NEXT, STEPPING, TOOK_US = lib.PERFORM_AT, lib.PERFORM_NEXT, lib.PERFORM_STEPPING, lib.PERFORM_TOOK_US
FIRST, PID = lib.PERFORM_FIRST, lib.PERFORM_PID


class Performer:
    """A host plan under way.

    root, container_id, bundle   of the container
    record      what its state.json says, for exec; None where it is to be written
    keep        which of the fds 3 … are open, and to be passed on
    ops         the init's plan, as far as it is compiled
    performance C's part of it, with the numbers that both know
    encoded     what was sent to the init last
    pointer     the field that the operation comes from
    oci_version of config.json
    name_limit  the words for a JSON pointer below /linux/resources, for errors; None for those of config.json
    scope       the unit asked of systemd, None with another manager
    console     our end of the pair that the terminal's master comes by
    relay       that of a terminal in the foreground
    signals     to be read: what is for a process in the foreground; whoever attends to that closes them
    half, result   how many halves of the plan the launcher has carried out, and what has stopped it in the next
    user_namespaces   those by which trees are mapped: one serves all with the same mappings
    elsewhere   the process is not in the container's own cgroups, but below
    """

    __slots__ = (
        "bundle", "console", "container_id", "elsewhere", "encoded", "half", "keep", "name_limit",
        "numbers", "oci_version", "ops", "performance", "pointer", "record", "relay", "result", "root", "scope",
        "signals", "user_namespaces",
    )  # fmt: skip

    def __init__(
        self,
        root: str,
        container_id: str,
        bundle: str,
        keep: Sequence[int] = (),
        record: state.State | None = None,
    ) -> None:
        self.root = root
        self.container_id = container_id
        self.bundle = bundle
        self.keep = keep
        self.record = record
        self.oci_version = record.oci_version if record else ""
        self.ops: Sequence[Op] = ()
        self.performance = Performance()
        self.numbers = self.performance.numbers
        self.encoded = b""
        self.pointer = ""
        self.name_limit: Callable[[str], str] | None = None
        self.scope: Scope | None = None
        self.console = calls.Fd(-1)
        self.relay: Relay | None = None
        self.signals = calls.Fd(-1)
        self.user_namespaces: dict[str, calls.Fd] = {}
        self.half = self.result = 0
        self.elsewhere = False

    @property
    def pid(self) -> int:
        """The container's process as the runtime sees it; 0 until it is known."""
        return int(self.numbers[PID])

    @property
    def process_id(self) -> int:
        """The process, or the first stage that is to make it."""
        return int(self.numbers[PID] or self.numbers[FIRST])

    def lend(self, slot: int, fd: calls.Fd) -> None:
        """Send the descriptor, where it is one, along with the next message to the init. Raises OSError."""
        if fd.number >= 0 and (result := self.performance.lend(slot, fd.take())) < 0:
            raise OSError(-result, posix.strerror(-result))

    def document(self, status: str, pid: int) -> bytes:
        """The state as a hook reads it on its stdin (config.md "POSIX-platform Hooks")."""
        if self.record:
            return state.document(self.record, status, pid)
        return self.performance.document(status, pid)

    def close(self) -> None:
        """Let go of all descriptors; the lock of the state directory with them. The processes stay."""
        if self.scope:
            self.scope.close()
        self.performance.close()
        self.console.close()
        for fd in self.user_namespaces.values():
            fd.close()

    # -- the plan ------------------------------------------------------------------------------------------------------

    def hold_signals(self) -> None:
        """Have signals wait, from now on, for a process in the foreground: also one that comes before that."""
        from ocirt.spawn import console

        self.signals = console.catch()

    def take_stopped(self) -> bytes:
        """Take over what the launcher has begun, if it has: from where it has stopped. The config.json that it is of.

        Signals that would end it are held until `parent.undoable`.
        """
        config = b""
        stopped = parent.taken()
        if stopped:
            memory, self.half, self.result, config = stopped
            self.performance.go_on_from(memory)
        return config

    def perform(self, ops: Sequence[Op]) -> None:
        """Carry them out: the next half of the plan. Raises the OcirtError of the one that fails."""
        self.half -= 1
        if self.half >= 0:  # the launcher has
            return
        self.encode(ops)
        self.numbers[STEPPING] = int(notes.steps is not None)
        result, self.result = self.result, 0
        if not result:
            if not self.process_id:
                self.performance.program(parent.program_path(), self.root, self.keep)
            self.performance.take(ops)
            result = self.performance.go_on()
        while result:
            op = ops[self.numbers[AT]]
            if result == -EINTR:  # of the launcher's: nobody else has a signal end it
                raise KeyboardInterrupt
            if result < 0:
                self.take_over(op, -result)
            elif result == LOCKED and notes.steps:
                tell_locked(self.performance.message(), self.ops)
            elif self.numbers[NEXT] > self.numbers[AT]:
                tell(op, self.numbers[TOOK_US])
                if op[0] == "try_again":
                    tell_group(ops[self.numbers[AT] + 1 : self.numbers[NEXT]])
            result = self.performance.go_on()

    def encode(self, ops: Sequence[Op]) -> None:
        """The part of the init's plan that these send, where they do. Raises UnsupportedError."""
        for op in ops:
            if op[0] == "send_plan":
                first, count, more = op[3][:3]
                part = self.ops[first : first + count]
                self.encoded = wire.encode([*part, vocabulary.next_plan(lib.SLOT_BELL, count)] if more else part)
                self.performance.take_init_plan(self.encoded)

    def take_over(self, op: Op, number: int) -> None:
        """Do what C has not, or was refused; it goes on behind. Raises OcirtError."""
        name, self.pointer, guard, arguments = op
        if number in {EMFILE, ENFILE}:  # what has better words would have to be opened
            error = SystemCallError(f"carry out {name} of the host plan", number)
            raise error.at(self.pointer) if self.pointer else error
        begin = monotonic_ns() if notes.steps else 0
        try:
            if number == ENOSYS and (action := python_action(name)):
                action(self, *arguments)
            else:
                refused(self, op, number)
        except (OSError, SystemCallError) as error:
            # What C was refused with counts: it has looked at the guard, of this or of another of the group.
            if error.errno == number or error.errno not in vocabulary.ignored(op):
                raise error if isinstance(error, SystemCallError) else explained(self, op, error) from None
            guard = 0
        self.numbers[NEXT] = self.numbers[AT] + 1 + (guard >> 32)
        if notes.steps:
            tell(op, (monotonic_ns() - begin) // 1000)


def python_action(name: str) -> Action | None:
    """What does an operation that is Python's."""
    action = ACTIONS.get(name)
    if action:
        return action
    from ocirt.container import host_actions

    return host_actions.ACTIONS.get(name)


def tell(op: Op, took_us: int) -> None:
    """With --debug: what was done, and how long it took."""
    from ocirt.plan.describe import host

    notes.step(f"{took_us / 1000:.3f} ms: {host.describe(op)}")


def tell_group(ops: Sequence[Op]) -> None:
    """Those that were carried out together."""
    from ocirt.plan.describe import host

    for op in ops:
        notes.step(f"  {host.describe(op)}")


def tell_locked(message: wire.Message, ops: Sequence[Op]) -> None:
    """Say which flags a bind mount has kept from its source, though they were not asked for."""
    if message.value < len(ops):
        from ocirt.plan import names, show

        words = f"{', '.join(names.attributes(message.error))} of the source cannot be cleared: locked"
        notes.step(f"step {message.value + 1}: {show.describe(ops[message.value])}: {words}")


def refused(p: Performer, op: Op, number: int) -> None:
    """Another way for what C was refused. Raises OcirtError and OSError."""
    from ocirt.container import host_failures

    host_failures.take_over(p, op, number)


def explained(p: Performer, op: Op, error: OSError) -> OcirtError:
    """The error, in words."""
    from ocirt.container import host_failures

    return host_failures.explain(p, op, error)


# ---- those that are Python's and for every container -----------------------------------------------------------------


def open_process(p: Performer, slot: int) -> None:
    """Raises ContainerNotRunning."""
    target = calls.Fd(process.open_process(p.record)) if p.record else calls.Fd(-1)
    if target.number < 0:
        raise ContainerNotRunning(p.container_id)
    p.lend(slot, target)


ACTIONS: dict[str, Action] = {
    "open_process": open_process,
    "commit": lambda _: parent.complete(),
}
