"""Why the init was killed: its memory limit, where the OOM killer was at work in its cgroup. Cold."""

from __future__ import annotations

from ocirt.cgroup import oom

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ocirt.errors import InitKilled

# Where a config limits memory, in the order in which the limits are hit
LIMITS = (("memory", "limit"), ("unified", "memory.max"), ("memory", "swap"), ("unified", "memory.high"))


def explain(error: InitKilled, cgroups: Sequence[str], config: dict[str, Any]) -> None:
    """Have the error name the limit, where the OOM killer has killed a process of the container's `cgroups`."""
    if not oom.kills(cgroups):
        return
    resources = (config.get("linux") or {}).get("resources") or {}
    for part, name in LIMITS:
        limit = (resources.get(part) or {}).get(name)
        if limit is not None:
            error.pointer = f"/linux/resources/{part}/{name}"
            text = f"config.json: {error.pointer}: a limit of {limit} is too small to start the process"
            error.args = (f"{text}: the OOM killer has killed ocirt-init",)
            return
    error.args = ("ocirt-init was killed by the OOM killer: a cgroup above the container's limits memory",)
