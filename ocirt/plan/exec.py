"""A running container and a process to run in it → the plan that puts the process there. Pure, as compile.py.

The container's own phases do what both need; here is what is different: all namespaces are joined at once, nothing is
mounted, and what the process may do is settled before it exists. For in the pid namespace of a container with
CAP_SYS_PTRACE it can be seized from its first instruction on: so the first stage, which the container cannot see, takes
the cgroups, limits, ids, capabilities and filter that the process gets, and clone(2) comes last. docs/plan.md, "Exec",
is the prose.
"""

from __future__ import annotations

from errno import ESRCH

from ocirt.linux.consts import (
    CAPABILITIES,
    PROC_HOST,
    RLIMITS,
    SLOT_CONSOLE,
    SLOT_FIRST_FREE,
    SLOT_PROC,
    SLOT_ROOT,
    SLOT_TARGET,
    SYNC_CGROUP,
    SYNC_START,
)
from ocirt.plan import holes, host, host_ops, ids, namespaces, ops, process, security
from ocirt.plan.context import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ocirt.linux.facts import Facts
    from ocirt.plan.context import Launch
    from ocirt.plan.ops import Op

    Phase = Callable[[Context], list[Op]]

RLIMIT_NPROC = RLIMITS["RLIMIT_NPROC"]


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
    """The host's /proc for the labels: what the container has there vouches for nothing (CVE-2019-16884)."""
    return [ops.open_proc("", SLOT_PROC, PROC_HOST)] if security.labels(c) else []


def close_proc(c: Context) -> list[Op]:
    """Not for the container to find."""
    return [ops.close("", SLOT_PROC)] if security.labels(c) else []


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


def controlling_terminal(c: Context) -> list[Op]:
    """Of the session, which is made by the process itself."""
    return [ops.controlling_terminal("/process/terminal")] if c.launch.console else []


def limits(c: Context) -> list[Op]:
    """That on processes counts the first stage too: its soft limit waits until that is gone."""
    return [_hard(op) if op[3][0] == RLIMIT_NPROC else op for op in process.limits(c)]


def _hard(op: Op) -> Op:
    resource, _, hard = op[3]
    return ops.rlimit(op[1], resource, hard, hard)


def process_limit(c: Context) -> list[Op]:
    """See `limits`."""
    return [op for op in process.limits(c) if op[3][0] == RLIMIT_NPROC and op[3][1] != op[3][2]]


def cgroup(_: Context) -> list[Op]:
    """In all of the container's cgroups, for the process to be born there: outside no device rule holds for it."""
    return [ops.sync("/linux/cgroupsPath", SYNC_CGROUP)]


# ---- the filter that takes CAP_SYS_ADMIN -----------------------------------------------------------------------------


def filter_waits(c: Context) -> bool:
    """Whether the process itself must load it: it refuses clone(2), or notifies an agent, which is told the pid."""
    early = security.early_seccomp(c)
    return bool(early and "pid" in c.namespaces and (c.listener or c.filter_refuses_clone))


def first_seccomp(c: Context) -> list[Op]:
    """Without no_new_privs, in the first stage where that can be."""
    return [] if filter_waits(c) else security.early_seccomp(c)


def capabilities(c: Context) -> list[Op]:
    """Those of the process, and what a filter that waits takes."""
    found = security.capabilities(c)
    if not filter_waits(c):
        return found
    admin = 1 << CAPABILITIES["CAP_SYS_ADMIN"] & security.grantable(c)
    return [ops.caps(op[1], op[3][0] | admin, op[3][1] | admin, *op[3][2:]) for op in found]


def second_seccomp(c: Context) -> list[Op]:
    """The same in the second stage, and nothing but the process's own capabilities after it."""
    return [*security.early_seccomp(c), *security.capabilities(c)] if filter_waits(c) else []


def wait(c: Context) -> list[Op]:
    """For what the runtime does to the process by its pid."""
    return [ops.sync("", SYNC_START)] if c.errands else []


PHASES: tuple[Phase, ...] = (
    security.check_capabilities,
    process.errands,
    # -- the first stage: in the host's namespaces, with the host's /proc
    cgroups,  # first, for all that it takes from here on to be counted
    process.affinity,
    security.listener,  # its slots come behind those of the cgroups
    ids.oom_score_adj,  # before the process loses the right to lower it
    proc,
    security.exec_labels,  # nothing is executed before the process
    process.hard_limits,  # before a user namespace takes the right to raise them
    ids.stdio,  # before it takes the right to hand them over
    join,
    # -- still the first stage: in the container's namespaces, but for that of its processes
    root,
    mapped,
    console,
    security.keyring_label,
    process.keyring,
    close_proc,
    limits,
    cgroup,
    process.memory_policy,  # takes nodes of the container's cpuset
    process.personality,
    security.report_file,
    process.directory,
    security.bounding,
    first_seccomp,
    ids.user,
    capabilities,
    make,
    # -- the second stage: the process that was asked for, where the container sees it
    process.session,
    controlling_terminal,
    process_limit,
    process.place,
    process.descriptor_limit,
    wait,
    second_seccomp,
    security.notifying_seccomp,
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
        self.errands: list[Op] = c.errands
        self.warnings = c.warnings


def compile(
    config: dict[str, Any],
    launch: Launch,
    facts: Facts,
    program: bytes | None = None,
    program_flags: int = 0,
    refuses_clone: bool = False,
) -> Plan:
    """The plan.

    config                   the container's, with the process to run in place of its own
    program, program_flags   the seccomp filter (struct sock_filter) and SECCOMP_FILTER_FLAG_…; None without one
    refuses_clone            whether under it the first stage could not make the process

    Raises UnsupportedError; it names the field.
    """
    context = Context(config, launch, facts)
    context.program, context.program_flags = program, program_flags
    context.filter_refuses_clone = refuses_clone
    return Plan(context, [op for phase in PHASES for op in phase(context)])


# ---- the runtime's side ----------------------------------------------------------------------------------------------


class Host:
    """What the runtime's side is made from.

    config          the container's, with the process to run
    plan            the init's
    paths           the cgroups to join; the first is that of v2, where the host has one
    tasks           those of them that the process enters by itself
    beside          whether a cgroup below will do, where the container's takes no process itself
    home            cgroup of v2 in which the init may have been started already, "" for none
    preserve        how many fds from 3 on are passed on
    unlimited       it may wait as long as it likes: for whoever thaws a paused container
    foreground      the runtime stays with the process
    console_socket, pidfd_socket, pid_file   absolute paths, "" for none
    """

    __slots__ = (
        "beside", "config", "console_socket", "foreground", "home", "paths", "pid_file", "pidfd_socket", "plan",
        "preserve", "tasks", "unlimited",
    )  # fmt: skip

    def __init__(self, config: dict[str, Any], plan: Plan, paths: Sequence[str], tasks: Sequence[str]) -> None:
        self.config = config
        self.plan = plan
        self.paths = paths
        self.tasks = tasks
        self.beside = self.unlimited = self.foreground = False
        self.home = self.console_socket = self.pidfd_socket = self.pid_file = ""
        self.preserve = 0


def enter(h: Host) -> list[Op]:
    """Until the init stands in the container's cgroups, where the process is born then. Raises ConfigError."""
    found = [host_ops.spawn_init("", h.preserve, h.home), host_ops.open_process("", SLOT_TARGET)]
    if chroots(h.config):
        found.append(host_ops.open_root("/root/path", SLOT_ROOT))
    if h.config["process"].get("terminal"):
        found.append(host_ops.connect_console("/process/terminal", SLOT_CONSOLE, h.console_socket))
    found += [host_ops.open_tasks("", SLOT_FIRST_FREE + index, path) for index, path in enumerate(h.tasks)]
    found += host.report_file(h.plan.ops) + host.send(h.plan.ops, unlimited=h.unlimited)
    found += cpus(h, "initial")
    for path in h.paths:
        if not any(path is own for own in h.tasks):  # ESRCH: the init has ended, and says why
            found.append(ops.ignoring(host_ops.attach("", path, int(h.beside)), ESRCH))
    return [*found, *cpus(h, "final"), host_ops.wait("", SYNC_CGROUP)]


def cpus(h: Host, when: str) -> list[Op]:
    """process.execCPUAffinity, which is about the moment at which the runtime moves it."""
    if not (h.config["process"].get("execCPUAffinity") or {}).get(when):
        return []
    from ocirt.plan import scheduling

    wanted = scheduling.mask(scheduling.affinity(h.config["process"], when))
    return [host_ops.affinity(f"/process/execCPUAffinity/{when}", wanted)]


def finish(h: Host) -> list[Op]:
    """Let the process be executed, and tell who waits for that."""
    found: list[Op] = []
    if h.foreground and h.config["process"].get("terminal") and not holes.is_given(h.console_socket):
        found.append(host_ops.receive_console("/process/terminal"))
    found.append(host_ops.go("", SYNC_CGROUP))
    if h.plan.errands:
        found += [
            host_ops.wait_process(""),
            host_ops.wait("", SYNC_START),
            *h.plan.errands,
            host_ops.go("", SYNC_START),
        ]
    return [*found, host_ops.executed("/process/args"), *host.tell(h.pidfd_socket, h.pid_file)]
