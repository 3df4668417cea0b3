"""A host plan on its way through perform/perform.c: what Python sees of it, and sets.

What the operations mean is left to container/performer.py, which does those that C has not.
"""

from __future__ import annotations

from errno import ENOSPC

from ocirt.errors import SystemCallError
from ocirt.linux._kernel import ffi, lib
from ocirt.linux.calls import raw
from ocirt.spawn import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocirt.plan.ops import Op

MESSAGE_SIZE = lib.MESSAGE_HEAD + lib.MSG_TEXT_MAX
MADE_SIZE = 1 << 16
DOCUMENT_SIZE = 4096  # what most need


class Performance:
    """numbers    by lib.PERFORM_…, as struct performance says"""

    __slots__ = ("kept", "memory", "numbers", "view")

    def __init__(self) -> None:
        self.memory = bytearray(lib.performance_size())
        self.view = ffi.from_buffer(self.memory)
        lib.performance_begin(self.view)
        self.numbers = memoryview(self.memory).cast("i")
        self.kept: list[object] = []  # what C points into

    def take(self, ops: Sequence[Op]) -> None:
        """The host plan to carry out next. Raises UnsupportedError for one that is too large."""
        encoded = wire.encode(ops, wire.host_kinds(), lib.HOST_PLAN_MAX)
        plan = bytearray(encoded)
        plan += bytes(16)  # PLAN_SLACK
        self.kept.append(plan)
        result = lib.performance_plan(self.view, ffi.from_buffer(plan), len(encoded))
        if result < 0:
            raise SystemCallError("read the host plan", -result)

    def go_on_from(self, memory: bytes) -> None:
        """Take over what another has begun, which is not to be used any more there."""
        self.memory[:] = memory

    def program(self, path: str, fallback: str, keep: Sequence[int]) -> None:
        """How ocirt-init is started, as performance_program of perform.h says."""
        program, directory, numbers = (
            ffi.from_buffer(raw(path)),
            ffi.from_buffer(raw(fallback)),
            ffi.new("int[]", list(keep)),
        )
        self.kept += [program, directory, numbers]
        lib.performance_program(self.view, program, directory, numbers, len(keep))

    def take_init_plan(self, encoded: bytes) -> None:
        """The part of the init's plan that the next `send_plan` sends."""
        self.kept.append(encoded)
        lib.performance_init_plan(self.view, ffi.from_buffer(encoded), len(encoded))

    def go_on(self) -> int:
        """As perform() of perform.h."""
        return int(lib.perform(self.view))

    def lend(self, slot: int, fd: int) -> int:
        """0, or the negative errno: then it is closed."""
        return int(lib.performance_lend(self.view, slot, fd))

    def lent(self, slot: int) -> int:
        """The descriptor lent for a slot, which stays there; -1 for none."""
        return int(lib.performance_lent(self.view, slot))

    def message(self) -> wire.Message:
        """What the init has said last."""
        data = bytearray(MESSAGE_SIZE)
        lib.performance_message(self.view, ffi.from_buffer(data))
        return wire.Message(bytes(data))

    def made(self) -> list[str]:
        """The directories that were made for cgroups, deepest first. Raises SystemCallError."""
        room = MADE_SIZE
        while True:
            text = bytearray(room)
            size = lib.performance_made(self.view, ffi.from_buffer(text), room)
            if size >= 0:
                return bytes(text[:size]).decode("utf-8", "surrogateescape").split("\0")[:-1]
            if size != -ENOSPC:
                raise SystemCallError("list the cgroups that were made", -size)
            room *= 4

    def document(self, status: str, pid: int) -> bytes:
        """As record.document, of what `claim` and `record` have said. Raises SystemCallError."""
        text = bytearray(DOCUMENT_SIZE)
        while True:
            size = lib.performance_document(self.view, status.encode(), pid, ffi.from_buffer(text), len(text))
            if size < 0:
                raise SystemCallError("write the state for a hook", -size)
            if size <= len(text):
                return bytes(text[:size])
            text = bytearray(size)

    def end(self) -> int:
        """Kill and reap what was started; the wait status of the last one, or -1."""
        return int(lib.performance_end(self.view))

    def close(self) -> None:
        """Let go of all that it has; the processes stay."""
        lib.performance_close(self.view)


def carry_out(ops: Sequence[Op], pid: int = 0) -> int:
    """Operations that are about no container that is being made, or about process `pid`.

    0, or the negative errno of the one that fails. Raises UnsupportedError.
    """
    performance = Performance()
    performance.numbers[lib.PERFORM_PID] = pid
    performance.take(ops)
    try:
        while (result := performance.go_on()) > 0:
            pass
    finally:
        performance.close()
    return result
