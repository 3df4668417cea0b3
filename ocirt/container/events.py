"""Events: what a container uses, now or time and again, and a word when it runs out of memory. Cold.

{"type": "stats", "id": …, "data": …}    `data` as of cgroup/stats.py
{"type": "oom", "id": …}
"""

from __future__ import annotations

import posix
import select
from math import ceil
from time import monotonic

from ocirt.cgroup import oom, tree
from ocirt.cgroup import stats as figures
from ocirt.container import process, state
from ocirt.errors import ContainerNotFound
from ocirt.linux.calls import Fd
from ocirt.linux.consts import INT_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Event = dict[str, Any]

# Columns of /proc/PID/net/dev after the name (proc_pid_net(5)); 8 to receive, 8 to transmit
_NETWORK = {
    "RxBytes": 0, "RxPackets": 1, "RxErrors": 2, "RxDropped": 3,
    "TxBytes": 8, "TxPackets": 9, "TxErrors": 10, "TxDropped": 11,
}  # fmt: skip


def stats(root: str, container_id: str) -> Event:
    """One stats event. Raises ContainerNotFound, InvalidID, ContainerNotRunning, SystemCallError."""
    return _stats(root, state.living(root, container_id)[0])


def events(root: str, container_id: str, interval_s: float) -> Iterator[Event]:
    """A stats event every `interval_s` seconds and an oom event whenever it happens, until the container ends.

    Raises as `stats`, before the first event is waited for.
    """
    record, _ = state.living(root, container_id)
    return _events(root, record, interval_s)


def _events(root: str, record: state.State, interval_s: float) -> Iterator[Event]:
    with oom.watch(record.cgroups) as memory, Fd(process.open_process(record)) as pidfd:
        if pidfd.number < 0:
            return
        poll = select.poll()
        poll.register(pidfd.number, select.POLLIN)
        if memory.fd >= 0:
            poll.register(memory.fd, memory.mask)
        due = monotonic() + interval_s
        ended = False
        while not ended:
            wait_ms = ceil(max(0.0, due - monotonic()) * 1000)
            ready = [fd for fd, _ in poll.poll(min(wait_ms, INT_MAX))]
            ended = pidfd.number in ready
            if (ended or memory.fd in ready) and memory.fired():  # the last word may be that memory ran out
                yield {"type": "oom", "id": record.container_id}
            if not ended and monotonic() >= due:
                yield _stats(root, record)
                due = max(due + interval_s, monotonic())


def _stats(root: str, record: state.State) -> Event:
    data = figures.stats(record.cgroups)
    data["network_interfaces"] = network(record.pid)
    data["intel_rdt"] = _intel_rdt(root, record)
    return {"type": "stats", "id": record.container_id, "data": data}


def network(pid: int) -> list[dict[str, str | int]] | None:
    """The network interfaces of a process but the loopback; None in the caller's own network namespace."""
    try:
        if posix.readlink(f"/proc/{pid}/ns/net") == posix.readlink("/proc/self/ns/net"):
            return None
        text = tree.read(f"/proc/{pid}/net/dev").decode("utf-8", "replace")
    except OSError:
        return None
    found: list[dict[str, str | int]] = []
    # The container chooses the names, of all but the kernel's own white space, "/" and ":"; str's methods know more.
    for line in text.split("\n")[2:-1]:
        name, _, columns = line.partition(":")
        name, values = name.lstrip(" "), columns.split()
        if name != "lo":
            found.append({"Name": name} | {key: int(values[index]) for key, index in _NETWORK.items()})
    return found or None


def _intel_rdt(root: str, record: state.State) -> dict[str, Any]:
    """Of the group that the config names, else of one called as the container (config-linux.md, "IntelRdt")."""
    try:
        config = state.config(root, record.container_id)
    except ContainerNotFound:
        return {}  # deleted meanwhile
    rdt = (config.get("linux") or {}).get("intelRdt")
    if rdt is None:
        return {}
    from ocirt.container import resctrl_stats

    return resctrl_stats.stats(rdt.get("closID") or record.container_id)
