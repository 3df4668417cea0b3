"""What only cgroup v1 needs: a cpuset filled before anybody enters it, and the freezer (cgroups(7), cpuset(7))."""

from __future__ import annotations

from errno import ETIMEDOUT
from time import monotonic, sleep

from ocirt.cgroup import tree
from ocirt.errors import SystemCallError

FREEZER = "/freezer.state"

# v2 has cpuset.cpus too, and there empty means inherited; this file exists in v1 alone.
_CPUSET = "/cpuset.cpu_exclusive"


def frozen(path: str) -> bool:
    """Whether every process of the freezer cgroup `path` is stopped. Raises OSError."""
    return tree.read(path + FREEZER).strip() == b"FROZEN"


def thawed(path: str) -> bool:
    """Whether neither `path` nor a cgroup above it is frozen or about to be. Raises OSError."""
    return tree.read(path + FREEZER).strip() == b"THAWED"


def freeze(path: str, deadline_s: float) -> None:
    """Stop every process of `path`; thaw it again when that takes longer than `deadline_s`.

    Raises OSError, and SystemCallError when the time is over. The state is read again with growing waits, for v1 has
    no event for it, and written again each time: a process that enters or forks meanwhile can leave it at FREEZING.
    """
    deadline = monotonic() + deadline_s
    wait = tree.FIRST_WAIT_S
    while True:
        tree.write(path + FREEZER, b"FROZEN")
        if frozen(path):
            return
        if monotonic() >= deadline:
            thaw(path, 0)
            raise SystemCallError(f'freeze cgroup "{path}"', ETIMEDOUT)
        sleep(wait)
        wait = min(wait * 2, tree.LONGEST_WAIT_S)


def thaw(path: str, deadline_s: float) -> None:
    """Let the processes of `path` run; done when the write returns, whatever `deadline_s` allows. Raises OSError."""
    del deadline_s
    tree.write(path + FREEZER, b"THAWED")
