"""What the runtime does for the container while its process waits at SYNC_CGROUP; container/errands.py carries it out.

An errand is (name, JSON pointer of the field it comes from, arguments): an operation that cannot be the init's, which
may be in a user namespace, or must not, for it takes another network namespace. Loaded where a config asks for one.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Errand = tuple[str, str, tuple[Any, ...]]


def scheduler(pointer: str, attributes: bytes) -> Errand:
    """sched_setattr(2); `attributes` is a struct sched_attr."""
    return ("scheduler", pointer, (attributes,))


def io_priority(pointer: str, value: int) -> Errand:
    """ioprio_set(2); `value` is class << 13 | priority."""
    return ("io_priority", pointer, (value,))


def seccomp_listener(pointer: str, path: str, metadata: str | None, slots: tuple[int, int], status: str) -> Errand:
    """Connect to the seccomp agent at `path` and write the state for it; both descriptors go to the init's slots."""
    return ("seccomp_listener", pointer, (path, metadata, slots, status))


def net_device(pointer: str, host: str, name: str) -> Errand:
    """Move the network device `host` of the runtime's namespace into the container's, as `name`."""
    return ("net_device", pointer, (host, name))


def resctrl(pointer: str, section: dict[str, Any], container_id: str, make: bool) -> Errand:
    """Put the process into the container's resctrl groups; `make`: they are made first, and noted down for `delete`."""
    return ("resctrl", pointer, (section, container_id, make))
