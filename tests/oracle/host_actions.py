"""The operations that the oracle does by other means than C; those that C lacks are the product's own."""

from __future__ import annotations

import posix

from ocirt.container import hooks, host_actions
from ocirt.linux import calls, facts
from tests.oracle import states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.oracle.performer import Action, Performer


def affinity(p: Performer, cpus: bytes) -> None:
    """sched_setaffinity(2)."""
    mask = int.from_bytes(cpus, "little")
    posix.sched_setaffinity(p.init.pid or p.init.first, [cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1])


def pid_inside(pid: int) -> int:
    """The process's id in its own pid namespace: the last of NSpid (proc_pid_status(5))."""
    for line in facts.read(f"/proc/{pid}/status").split("\n"):
        if line.startswith("NSpid:"):
            return int(line.split()[-1])
    return pid


def hook(p: Performer, path: str, argv: list[str], env: list[str], given: int, timeout: int, status: str) -> None:
    """In the runtime's own namespaces."""
    p.hooks_ran = True
    entry = {"path": path, "args": argv, "env": env if given else None, "timeout": timeout}
    hooks.run_one(entry, p.bundle, p.document(status, p.pid), p.pointer)


def hook_state(p: Performer, slot: int, status: str) -> None:
    """With hooks of any kind, a failure leads to poststop's."""
    p.hooks_ran = True
    with calls.sealed_memfd("hook-state", p.document(status, pid_inside(p.init.pid))) as fd:
        p.init.lend(slot, fd)


ACTIONS: dict[str, Action] = {
    **host_actions.ACTIONS,
    "scheduler": lambda p, attributes: calls.sched_setattr(p.init.pid, attributes),
    "io_priority": lambda p, value: calls.ioprio_set(p.init.pid, value),
    "affinity": affinity,
    "hook": hook,
    "hook_state": hook_state,
    "send_pidfd": lambda p, path: states.send_pidfd(path, p.init.pid),
}
