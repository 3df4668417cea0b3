"""A checked config → the plan of its container. Pure: what the host is and how it is asked come in as values.

`PHASES` is the plan's table of contents; docs/plan.md is the prose.
"""

from __future__ import annotations

from ocirt.plan import devices, ids, keep, mounts, namespaces, process, rootfs, security
from ocirt.plan.context import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ocirt.linux.facts import Facts
    from ocirt.plan.context import IdMap, Launch, Tree
    from ocirt.plan.ids import Map
    from ocirt.plan.ops import Op

    Phase = Callable[[Context], list[Op]]


class Plan:
    """What the runtime needs to make one container.

    ops                 the operations, in order
    trees               what the runtime opens with open_tree(2) for them: slot, host path, recursive, JSON pointer
    idmaps              how ids are mapped in some of the trees, by slot (context.py)
    uid_map, gid_map    (inside, outside, count), empty without a new user namespace
    setgroups           False: "deny" goes to /proc/PID/setgroups before the gid map
    syncs               the points (SYNC_…) at which the init waits, in order
    tasks               slots of the files by which the process enters its cgroups of v1, where it does so by itself
    errands             operations of the host plan, for when the process is in its cgroup
    own_pid_namespace   the process is pid 1 of a pid namespace of its own
    cgroup_owner        the host's uid that shall own the container's cgroup on v2, -1 for the runtime's own
    warnings            lines for the log
    """

    __slots__ = (
        "cgroup_owner", "errands", "gid_map", "idmaps", "ops", "own_pid_namespace", "setgroups", "syncs", "tasks",
        "trees", "uid_map", "warnings",
    )  # fmt: skip

    def __init__(self, c: Context, found: list[Op]) -> None:
        self.ops = found
        self.trees: list[Tree] = c.trees
        self.idmaps: dict[int, IdMap] = c.idmaps
        self.tasks = c.tasks
        self.errands: list[Op] = c.errands
        self.uid_map: Map = ids.id_map(c, "uidMappings")
        self.gid_map: Map = ids.id_map(c, "gidMappings")
        self.setgroups = not ids.setgroups_denied(c)
        self.syncs = tuple(op[3][0] for op in found if op[0] == "sync")
        self.own_pid_namespace = c.new("pid")
        self.cgroup_owner = c.cgroup_owner
        self.warnings = c.warnings


PHASES: tuple[Phase, ...] = (
    security.check_capabilities,
    security.check_mount_label,
    process.errands,
    security.listener,
    namespaces.net_devices,
    # -- the first stage: in the host's namespaces, with the host's /proc
    ids.oom_score_adj,  # before the process loses the right to lower it
    process.hard_limits,  # before a user namespace takes the right to raise them
    ids.stdio,  # before it takes the right to hand them over
    namespaces.join,
    namespaces.make,  # from here on it is the container's process
    # -- the second stage
    process.affinity,
    rootfs.root,  # as the runtime's user: the container's may not search the directories above
    namespaces.proc,  # while the host's /proc is in sight, which vouches for a new one in a user namespace
    namespaces.time,  # /proc/self is the host root's, for we are not dumpable: a mapped id could not write its offsets
    ids.mapped,  # before any file is made: files of unmapped owners cannot be
    process.session,
    namespaces.names,
    # -- into the root filesystem, while the host's paths are in sight
    rootfs.null_device,  # the host's, so before the root changes
    mounts.mounts,  # in the order of the config; cgroup mounts wait for the cgroup
    devices.devices,  # after the mounts: into whatever /dev is by now
    rootfs.working_directory,
    namespaces.cgroup_at_last,  # hooks find every namespace made
    process.create_hooks,  # all mounts are there, the host's paths too
    rootfs.enter,
    # -- inside
    process.console,  # from the container's devpts, and while /dev can be written
    namespaces.sysctl,  # after the hooks, which make the interfaces that some are about
    rootfs.read_only,
    rootfs.readonly_paths,
    rootfs.masked_paths,  # on top of everything
    rootfs.close_mounts,
    rootfs.root_propagation,
    # -- the process
    security.keyring_label,
    process.keyring,  # before the ids change: its permissions are set with the owner's rights
    process.limits,  # before capabilities are dropped
    process.memory_policy,
    process.personality,  # before a filter, which may know neither call
    security.report_file,  # before the first filter
    process.directory,  # with the privileges of the runtime
    security.bounding,  # takes CAP_SETPCAP
    security.early_seccomp,  # takes CAP_SYS_ADMIN
    ids.user,
    security.capabilities,  # after the ids, which would clear them
    process.place,  # as the container's user sees it
    security.exec_labels,
    process.descriptor_limit,  # the plan needs descriptors up to here
    security.notifying_seccomp,
    process.wait,
    security.no_new_privileges,
    process.start_hooks,  # programs of the image: confined as the process, the late filter loaded for each alone
    process.close_descriptors,  # the filter to come need not allow it
    security.late_seccomp,
    process.execute,
)

FIRST_STAGE = PHASES.index(namespaces.make) + 1


class Compilation:
    """The plan of a config that config/check has passed, in two halves: one can be under way while the other is made.

    first   the operations of the first stage; `clone` is the last where the container's process is made new

    Raises UnsupportedError, ConfigError; both name the field.
    """

    __slots__ = ("context", "first")

    def __init__(self, config: dict[str, Any], launch: Launch, facts: Facts) -> None:
        self.context = Context(config, launch, facts)
        self.first = self.run(PHASES[:FIRST_STAGE])

    def run(self, phases: Sequence[Phase]) -> list[Op]:
        """The operations of some phases."""
        found: list[Op] = []
        for phase in phases:
            found += phase(self.context)
        return found

    def finish(self, seccomp: bytes | None, seccomp_flags: int = 0) -> Plan:
        """The whole plan. `seccomp` is the filter's program (struct sock_filter), None without one.

        `seccomp_flags` are SECCOMP_FILTER_FLAG_…. Raises as the constructor.
        """
        self.context.program = seccomp
        self.context.program_flags = seccomp_flags
        return Plan(self.context, self.first + keep.mark(self.run(PHASES[FIRST_STAGE:])))
