"""Carries out what plan/errands.py lists, from the runtime's side; loaded where a config asks for it."""

from __future__ import annotations

import posix
from _json import encode_basestring as quoted

from ocirt.container import record
from ocirt.errors import SystemCallError, failed
from ocirt.linux import calls
from ocirt.plan import scheduling

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ocirt.plan.errands import Errand


class Target:
    """Whom the errands are for.

    pid          the process as the runtime sees it
    state        what is known of its container
    lend         hands a descriptor to the init, for a slot
    directory    the container's state directory, -1 where it is nobody's to write to
    """

    __slots__ = ("directory", "lend", "pid", "state")

    def __init__(
        self, pid: int, state: record.State, lend: Callable[[int, calls.Fd], None], directory: int = -1
    ) -> None:
        self.directory = directory
        self.pid = pid
        self.state = state
        self.lend = lend


def run(errands: Sequence[Errand], target: Target) -> None:
    """Do them all for a process that stands in its cgroup. Raises SystemCallError with the field."""
    for errand in errands:
        name, pointer, arguments = errand
        try:
            ACTIONS[name](target, *arguments)
        except SystemCallError as error:
            from ocirt.plan import errand_words

            raise SystemCallError(errand_words.failure(errand, error.errno), error.errno).at(pointer) from None


def affinity(pid: int, process: dict[str, Any], when: str) -> None:
    """The CPUs of process.execCPUAffinity for `when`, "initial" or "final". Raises SystemCallError, ConfigError."""
    cpus = scheduling.affinity(process, when)
    if not cpus:
        return
    try:
        posix.sched_setaffinity(pid, cpus)
    except OSError as error:
        what = f"run on the CPUs {process['execCPUAffinity'][when]}"
        raise failed(what, error).at(f"/process/execCPUAffinity/{when}") from None


def scheduler(target: Target, attributes: bytes) -> None:
    """sched_setattr(2)."""
    calls.sched_setattr(target.pid, attributes)


def io_priority(target: Target, value: int) -> None:
    """ioprio_set(2)."""
    calls.ioprio_set(target.pid, value)


def seccomp_listener(target: Target, path: str, metadata: str | None, slots: tuple[int, int], status: str) -> None:
    """config-linux.md, "The Container Process State": the init adds the descriptor and sends it over the connection."""
    said = "" if metadata is None else f'"metadata": {quoted(metadata)}, '
    version = quoted(target.state.oci_version)
    head = f'{{"ociVersion": {version}, "fds": ["seccompFd"], "pid": {target.pid}, {said}"state": '
    text = head.encode("utf-8", "surrogateescape") + record.document(target.state, status, target.state.pid) + b"}"
    agent, state = slots
    target.lend(agent, calls.connect(path, "the seccomp agent"))
    with calls.sealed_memfd("seccomp-state", text) as fd:
        target.lend(state, fd)


def net_device(target: Target, host: str, name: str) -> None:
    """By netlink(7)."""
    from ocirt.container import net_devices

    net_devices.move(target.pid, host, name)


def resctrl(target: Target, section: dict[str, Any], container_id: str, make: bool) -> None:
    """config-linux.md, "IntelRdt"."""
    from ocirt.container import resctrl as groups

    if make:
        groups.make(target.directory, target.state, section)
    groups.enter(section, container_id, target.pid)


ACTIONS: dict[str, Callable[..., None]] = {
    "scheduler": scheduler,
    "io_priority": io_priority,
    "seccomp_listener": seccomp_listener,
    "net_device": net_device,
    "resctrl": resctrl,
}
