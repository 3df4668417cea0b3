"""The exchange with the init in Python: the oracle that perform/exchange.c is compared with."""

from __future__ import annotations

import posix

from ocirt import notes
from ocirt.errors import PlanError, SystemCallError, UnsupportedError, failed
from ocirt.linux import calls
from ocirt.linux._kernel import ffi, lib
from ocirt.linux.consts import SIGKILL
from ocirt.plan.host import DEADLINE_MS
from ocirt.plan.ops import next_plan
from ocirt.spawn import parent, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ocirt.plan.ops import Op

    Slots = Sequence[tuple[int, int]]

BROKEN = (32, 104)  # EPIPE, ECONNRESET
REPORT = "start.failure"  # in the state directory, which launcher/quick.c knows

# After which no signal interrupts any more: the launcher's, for a container that is complete and the caller's.
hold: Callable[[], object] | None = None


class Init:
    """A started ocirt-init, from the runtime's end of the socket.

    bell    rung when a plan is on its way; docs/plan.md tells why
    ops     the whole plan, as far as it is known
    pid     the container's process as the runtime sees it; 0 until it is known
    first   the first stage, reaped as soon as it has told the pid; 0 after that
    report  the file for its report of a failure, where the plan has one: a filter may keep it from sending that
    cgroup  the inode of the cgroup of v2 that it was born in for `exec`; 0 for none
    """

    __slots__ = ("bell", "cgroup", "deadline", "first", "lent", "ops", "pid", "report", "socket")

    def __init__(self, socket: calls.Fd, bell: calls.Fd, first: int) -> None:
        self.socket = socket
        self.bell = bell
        self.first = first
        self.pid = 0
        self.ops: Sequence[Op] = ()
        self.lent: list[tuple[int, int]] = []
        self.report = calls.Fd(-1)
        self.cgroup = 0
        self.deadline = DEADLINE_MS

    def send_plan(self, ops: Sequence[Op], more: bool, deadline_ms: int) -> bytes:
        """Send operations in a sealed memfd, with what was lent, and ring for them; return their encoding.

        more          others follow, when the init has made the container's process
        deadline_ms   how long it may be silent from now on; 0 for as long as it likes
        """
        self.deadline = deadline_ms or -1
        bell = doorbell() if more else calls.Fd(-1)
        slots = [(lib.SLOT_BELL, bell.number)] if more else []
        encoded = wire.encode([*ops, next_plan(lib.SLOT_BELL, len(ops))] if more else ops)
        with calls.sealed_memfd("ocirt-plan", encoded) as plan, self.bell:
            self.go(lib.SYNC_PLAN, [(lib.SLOT_PLAN, plan.number), *slots])
            posix.eventfd_write(self.bell.number, 1)
        self.bell = bell
        return encoded

    def becomes_the_process(self) -> None:
        """The plan makes no process: the init is executed itself."""
        self.pid, self.first = self.first, 0

    def lend(self, slot: int, fd: calls.Fd) -> None:
        """Send the descriptor, where it is one, along with the next `go`, which closes it here."""
        if fd.number >= 0:
            self.lent.append((slot, fd.take()))

    def go(self, point: int, slots: Slots = ()) -> None:
        """Let the init pass `point`, with descriptors for its slots.

        A dead init shows at the next `hear`, with what it has sent: a broken pipe is no error here.
        Raises UnsupportedError for more descriptors than a message carries, SystemCallError.
        """
        sent = [*slots, *self.lent]
        if len(sent) > lib.MSG_FDS_MAX:
            text = f"{len(sent)} bind mounts into a user namespace are more than the {lib.MSG_FDS_MAX} supported"
            raise UnsupportedError(text)
        try:
            calls.send(self.socket.number, wire.go(point, [slot for slot, _ in sent]), [fd for _, fd in sent])
        except SystemCallError as error:
            if error.errno not in BROKEN:
                raise
        for _, fd in self.lent:
            posix.close(fd)
        self.lent.clear()

    def hear(self) -> wire.Message | None:
        """The next message; None at end of file.

        Raises the container's failure as PlanError, ExecError or HookError.
        """
        data, fd = calls.receive(self.socket.number, 2048, self.deadline)
        if fd >= 0:
            posix.close(fd)
        if not data and self.report.number >= 0:
            data = posix.pread(self.report.number, lib.REPORT_SIZE, 0)
            data = data if data.rstrip(b"\0") else b""
        if not data:
            return None
        message = wire.Message(data)
        if message.type == lib.MSG_ERROR:
            from ocirt.spawn import failures

            raise failures.error(message, self.ops)
        return message

    def wait_process(self) -> int:
        """The pid of the container's process, once it exists. Raises PlanError as `wait`."""
        if not self.pid:
            message = self.answer()
            if message.type != lib.MSG_PID:
                raise protocol_error(message)
            self.know(message.value)
        return self.pid

    def wait(self, point: int) -> None:
        """Until the init has reached `point`, which it may not pass yet (`go` lets it).

        Raises PlanError when the init dies or says anything else, its failure as `hear`.
        """
        message = self.answer()
        if message.type == lib.MSG_PID and self.pid:
            self.know(message.value)
        if message.type != lib.MSG_SYNC or message.value != point:
            raise protocol_error(message)

    def answer(self) -> wire.Message:
        """What the init says next, to go on by. Raises PlanError when it has died."""
        while True:
            message = self.hear()
            if message is None:
                raise self.death()
            if message.type != lib.MSG_LOCKED:
                return message
            self.tell_locked(message.value, message.error)

    def know(self, pid: int) -> None:
        """The first stage has told the pid of the process and ends.

        Raises PlanError for what is none: the process has the socket too, and may be in other hands by now.
        """
        if self.pid or pid == self.first or not lib.process_is_child(pid):
            raise PlanError(f"protocol error from ocirt-init: process {pid} is not the one that it has made")
        self.pid = pid
        posix.waitpid(self.first, 0)
        self.first = 0

    def tell_locked(self, index: int, attributes: int) -> None:
        """Say which flags a bind mount has kept from its source, though they were not asked for."""
        if notes.steps and index < len(self.ops):
            from ocirt.plan import names, show

            words = f"{', '.join(names.attributes(attributes))} of the source cannot be cleared: locked"
            notes.step(f"step {index + 1}: {show.describe(self.ops[index])}: {words}")

    def executed(self) -> None:
        """Wait until the process, which may be made after the last point, has been executed.

        Raises what kept it from that.
        """
        message = self.hear()
        if message is not None and message.type == lib.MSG_PID:
            self.know(message.value)
            message = self.hear()
        if message is not None:
            raise PlanError("protocol error from ocirt-init: a message after the last point")
        if not self.pid or lib.process_never_executed(self.pid):
            raise self.death()

    def close(self) -> None:
        """Let go of all descriptors, those that were lent and never sent included."""
        for _, fd in self.lent:
            posix.close(fd)
        self.lent.clear()
        self.socket.close()
        self.bell.close()
        self.report.close()

    def death(self) -> PlanError:
        """The error for an init that ended without a word; it is reaped."""
        from ocirt.spawn import failures

        return failures.died(self.reap())

    def reap(self) -> int | None:
        """Kill and reap what is left of the init; the wait status of the last one, or None where there was none."""
        status = ended(self.first) if self.first else None
        if not self.pid:
            self.pid = self.told_meanwhile()
        if self.pid and (last := ended(self.pid)) is not None:
            status = last
        self.first = self.pid = 0
        return status

    def told_meanwhile(self) -> int:
        """The pid that the first stage has sent, and that nobody has heard yet; 0 for none. It is our child."""
        try:
            while self.socket.number >= 0:
                data, fd = calls.receive(self.socket.number, 2048, 0)
                if fd >= 0:
                    posix.close(fd)
                message = wire.Message(data)
                if not data or (message.type == lib.MSG_PID and lib.process_is_child(message.value)):
                    return message.value if data else 0
        except SystemCallError:
            pass  # nothing was sent, or it has died
        return 0


def ended(pid: int) -> int | None:
    """Kill and reap a child; its wait status, None where it is none any more."""
    try:
        # A process that is dying by itself keeps its own status: SIGKILL to a zombie changes nothing.
        posix.kill(pid, SIGKILL)
        return posix.waitpid(pid, 0)[1]
    except (ProcessLookupError, ChildProcessError):
        return None


def protocol_error(message: wire.Message) -> PlanError:
    """The error for a message that does not belong there: of whoever has seized the process."""
    return PlanError(f"protocol error from ocirt-init: message {message.type}, {message.value}")


def complete() -> None:
    """There is a container, which a signal from now on must not make an error of; one that came before still does."""
    if hold:
        hold()


def doorbell() -> calls.Fd:
    """A descriptor that wakes who polls it once it is rung (eventfd(2))."""
    try:
        return calls.Fd(posix.eventfd(0, posix.EFD_CLOEXEC))
    except OSError as error:
        raise failed("eventfd", error) from None


def start(program: calls.Fd, socket: calls.Fd, bell: calls.Fd, preserve: int, keep: Sequence[int]) -> int:
    """Start `program` with `socket` at fd 3+preserve, `bell` after it, the fds `keep` as they are; its pid.

    Source: vfork(2), execveat(2).
    """
    pid = bytearray(4)
    to = ffi.from_buffer("int[]", pid)
    if lib.shim_spawn(program.number, socket.number, bell.number, preserve, keep, len(keep), to) < 0:
        raise SystemCallError("start ocirt-init")
    return int.from_bytes(pid, "little")


def program_memfd(fallback_dir: str) -> calls.Fd:
    """The program of the init, sealed."""
    path = calls.raw(parent.program_path())
    return calls.Fd(lib.shim_program_memfd(path, calls.raw(fallback_dir)))


def spawn(state_dir: str, preserve: int = 0, keep: Sequence[int] = ()) -> Init:
    """Start ocirt-init in the host's namespaces, with nothing but stdio, the `keep` fds and a socket.

    Raises SystemCallError.
    """
    ours, theirs = calls.socketpair()
    init = Init(ours, calls.Fd(-1), 0)
    try:
        with theirs:
            init.bell = doorbell()
            with program_memfd(state_dir) as program:
                init.first = start(program, theirs, init.bell, preserve, keep)
    except SystemCallError:
        init.close()
        raise
    return init
