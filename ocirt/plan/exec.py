"""A running container and a process to run in it → the plan that puts the process there. Pure, as compile.py.

The container's own phases do what both need; here is what is different: all namespaces are joined at once, and nothing
is mounted. docs/plan.md, "Exec", is the prose.
"""

from __future__ import annotations

from ocirt.linux.consts import SLOT_CONSOLE, SLOT_PROC, SLOT_TARGET, SYNC_CGROUP
from ocirt.plan import ids, namespaces, ops, process, security
from ocirt.plan.context import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ocirt.linux.facts import Facts
    from ocirt.plan.context import Launch
    from ocirt.plan.errands import Errand
    from ocirt.plan.ops import Op

    Phase = Callable[[Context], list[Op]]


def join(c: Context) -> list[Op]:
    """All namespaces in one setns(2) through the pidfd of the container's process (Linux 5.8): all of them or none.

    A process that joined one by one would be, for a moment, half inside.
    """
    kinds = 0
    for kind in c.namespaces:
        kinds |= namespaces.KINDS[kind]
    joined = [ops.join("/linux/namespaces", SLOT_TARGET, kinds)] if kinds else []
    return [*joined, ops.close("", SLOT_TARGET)]


def make(c: Context) -> list[Op]:
    """pid_namespaces(7): setns moves children only."""
    return [ops.clone("/linux/namespaces", 0)] if "pid" in c.namespaces else []


def cgroups(c: Context) -> list[Op]:
    """Into those of v1 by itself, which is quick; the runtime does the rest meanwhile."""
    return [ops.enter_cgroup("/linux/cgroupsPath", c.slot()) for _ in range(c.launch.tasks)]


def root(c: Context) -> list[Op]:
    """A mount namespace of its own is entered at the container's root; in any other the root is a directory."""
    return [ops.chroot("/root/path") if chroots(c.config) else ops.root_dir("/root/path", "/")]


def chroots(config: dict[str, Any]) -> bool:
    """True where the plan wants the root directory of the container's process in SLOT_ROOT."""
    listed = (config.get("linux") or {}).get("namespaces") or ()
    return not any(entry["type"] == "mount" and not entry.get("path") for entry in listed)


def mapped(c: Context) -> list[Op]:
    """Root of the user namespace, as at create; its maps are written already."""
    return [op for op in ids.mapped(c) if op[0] != "sync"]


def proc(c: Context) -> list[Op]:
    """A procfs of our own for the labels: what the container has on /proc vouches for nothing (CVE-2019-16884)."""
    return [ops.open_proc("", SLOT_PROC, 1)] if security.labels(c) else []


def console(c: Context) -> list[Op]:
    """A terminal of the container's devpts; /dev/console stays the first process's."""
    if not c.launch.console:
        return []
    size = c.process.get("consoleSize") or {}
    uid = (c.process.get("user") or {}).get("uid", 0)
    pointer = "/process/terminal"
    return [
        ops.console(pointer, SLOT_CONSOLE, uid, size.get("height", 0), size.get("width", 0), 0),
        ops.close(pointer, SLOT_CONSOLE),
    ]


def cgroup(c: Context) -> list[Op]:
    """A NUMA policy takes nodes of the container's cpuset; a seccomp agent's socket comes from the runtime."""
    return [ops.sync("/linux/cgroupsPath", SYNC_CGROUP)] if c.linux.get("memoryPolicy") or c.listener else []


PHASES: tuple[Phase, ...] = (
    security.check_capabilities,
    process.errands,
    # -- the first stage: in the host's namespaces, with the host's /proc
    ids.oom_score_adj,  # before the process loses the right to lower it
    process.hard_limits,  # before a user namespace takes the right to raise them
    ids.stdio,  # before it takes the right to hand them over
    join,
    make,  # from here on it is the process that was asked for
    # -- the second stage
    cgroups,  # first, for all that it takes from here on to be counted
    security.listener,  # its slots come behind those of the cgroups
    root,
    proc,
    mapped,
    process.session,
    console,
    # -- the process, as at create
    security.keyring_label,
    process.keyring,
    process.limits,
    cgroup,
    process.memory_policy,
    process.personality,
    security.report_file,
    security.bounding,
    security.early_seccomp,
    ids.user,
    security.capabilities,
    process.place,
    security.exec_labels,
    process.descriptor_limit,
    security.notifying_seccomp,
    process.wait,  # until it stands in the container's cgroups: nothing of the container's has run until here
    security.no_new_privileges,
    process.close_descriptors,
    security.late_seccomp,
    process.execute,
)


class Plan:
    """ops, errands and warnings: as of compile.Plan."""

    __slots__ = ("errands", "ops", "warnings")

    def __init__(self, c: Context, found: list[Op]) -> None:
        self.ops = found
        self.errands: list[Errand] = c.errands
        self.warnings = c.warnings


def compile(
    config: dict[str, Any], launch: Launch, facts: Facts, program: bytes | None = None, program_flags: int = 0
) -> Plan:
    """The plan.

    config                   the container's, with the process to run in place of its own
    program, program_flags   the seccomp filter (struct sock_filter) and SECCOMP_FILTER_FLAG_…; None without one

    Raises UnsupportedError; it names the field.
    """
    context = Context(config, launch, facts)
    context.program, context.program_flags = program, program_flags
    return Plan(context, [op for phase in PHASES for op in phase(context)])
