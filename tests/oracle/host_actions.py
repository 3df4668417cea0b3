"""The operations that the oracle does by other means than C; those that C lacks are the product's own."""

from __future__ import annotations

import posix

from ocirt.container import host_actions
from ocirt.linux import calls
from tests.oracle import states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.oracle.performer import Action, Performer


def affinity(p: Performer, cpus: bytes) -> None:
    """sched_setaffinity(2)."""
    mask = int.from_bytes(cpus, "little")
    posix.sched_setaffinity(p.init.pid or p.init.first, [cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1])


ACTIONS: dict[str, Action] = {
    **host_actions.ACTIONS,
    "scheduler": lambda p, attributes: calls.sched_setattr(p.init.pid, attributes),
    "io_priority": lambda p, value: calls.ioprio_set(p.init.pid, value),
    "affinity": affinity,
    "send_pidfd": lambda p, path: states.send_pidfd(path, p.init.pid),
}
