"""Cold: turns what the init reported into an exception with the config field and the reason."""

from __future__ import annotations

import errno
import os
from signal import SIGSYS
from struct import error as CutOff  # noqa: N812 - what it means of a plan
from typing import TYPE_CHECKING

from ocirt.errors import ExecError, HookError, InitKilled, OcirtError, PlanError
from ocirt.linux._kernel import lib
from ocirt.plan import show
from ocirt.spawn import wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocirt.plan.ops import Op

EXECUTION = {"find_exec", "exec"}
SECCOMP = "/linux/seccomp"
FILTERS = {"seccomp", "seccomp_notify"}
FILTER_ERRNOS = {errno.EPERM, errno.ENOSYS}  # without errnoRet; without a tracer for SCMP_ACT_TRACE
ERRNO_MAX, STATUS_MAX = 4095, 0xFFFF  # MAX_ERRNO of linux/err.h; what wait(2) gives
FILTERED = " (by its seccomp filter, out of memory, or from outside)"


def details() -> dict[int, str]:
    """Number → name in lower case ("target", "source", …) of wire.h's DETAIL_ constants."""
    return {getattr(lib, name): name[7:].lower() for name in dir(lib) if name.startswith("DETAIL_")}


def error(message: wire.Message, ops: Sequence[Op]) -> OcirtError:
    """The exception for an ERROR message about one of `ops`."""
    detail = details().get(message.detail, "none")
    if detail == "killed":
        return PlanError(f"the process was killed before it was executed{FILTERED}")
    if not is_possible(message.error, detail):
        return PlanError(f"protocol error from ocirt-init: error {message.error} ({detail})")
    if message.value >= len(ops):
        return PlanError(f"ocirt-init: {os.strerror(message.error).lower()} ({detail})", errno=message.error)
    op = ops[message.value]
    name, pointer = op[0], op[1]
    text = show.failure(op, message.error, detail, message.text)
    if message.error in FILTER_ERRNOS and any(earlier[0] in FILTERS for earlier in ops[: message.value]):
        text += " (the seccomp filter is in force by then: it may have refused that)"
    if name in EXECUTION:
        return ExecError(text, pointer, message.error)
    where = f"config.json: {pointer}: " if pointer else ""
    if name == "hook":
        return HookError(where + text, pointer)
    return PlanError(where + text, pointer, message.error)


def is_possible(number: int, detail: str) -> bool:
    """Whether an init gives that number; who has seized one sends any."""
    if detail == "exit":
        return number <= STATUS_MAX and (os.WIFEXITED(number) or os.WIFSIGNALED(number))
    return number <= ERRNO_MAX


def explain(message: wire.Message, plan: bytes) -> OcirtError:
    """The exception for an ERROR message, with the plan that `create` archived."""
    try:
        ops = wire.decode(plan)
    except (ValueError, KeyError, IndexError, OverflowError, MemoryError, CutOff):
        ops = []
    return error(message, ops)


def died(status: int | None) -> PlanError:
    """The exception for an init that ended without a report, by its wait status."""
    if status is None:
        return PlanError("ocirt-init vanished without a report")
    code = os.waitstatus_to_exitcode(status)
    if code == -SIGSYS:
        text = "the filter killed the process before it was executed"
        return PlanError(f"config.json: {SECCOMP}: {text}", SECCOMP)
    if code == -9:
        return InitKilled("ocirt-init was killed (SIGKILL): out of memory, or killed from outside")
    if code < 0:
        return PlanError(f"ocirt-init was killed by signal {-code}")
    return PlanError(f"ocirt-init ended without a report (exit status {code})")
