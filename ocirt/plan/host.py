"""The runtime's own side of `create` and `run` → the host plan: its steps in the order of time. Pure, as compile.py.

The order, and why:
    claim the id               whoever comes second is refused
    start the init             it makes the namespaces while the rest is compiled, and ends when the runtime does
    send the rest              it mounts while the state is written and the cgroups are made here
    record, make cgroups       the state names what outlives the runtime before it exists: delete can undo any crash.
                               On v2 ahead of the init's first plan: the process is born in its cgroup
    limits, device rules       before a process is in them: v1 denies all devices for a moment; after a device's mount
    with systemd: ask          once there is a process to put into the unit; wait where the init asks for its cgroup
    let it enter, maps, hooks  when the init asks for them, the first before anything runs that is not ours
    record, pid file           whoever reads the pid file finds a complete state

It comes in two halves, as the init's: `first` up to the plan that makes the container's process, and `rest`.
"""

from __future__ import annotations

from ocirt.linux.consts import (
    INT_MAX,
    SLOT_CGROUP,
    SLOT_CONSOLE,
    SLOT_REPORT,
    SLOT_START,
    SLOT_STATE_CREATED,
    SLOT_STATE_CREATING,
    SYNC_CGROUP,
    SYNC_CREATED,
    SYNC_MAPPED,
    SYNC_RUNTIME_HOOKS,
)
from ocirt.plan import holes, host_ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ocirt.plan.compile import Compilation, Plan
    from ocirt.plan.ids import Map
    from ocirt.plan.ops import Op

    Phase = Callable[["Host"], list[Op]]

# A mount of a dead network share may take long; nothing that is alive takes longer.
DEADLINE_MS = 120_000


class Cgroups:
    """The container's cgroups, as the host plan needs them.

    paths     the container's directory in each hierarchy
    entering  those of v1 that the process enters by itself, where the plan lets it
    unified   the one of v2, where the host has no other hierarchy; "" else
    pointer   the field that names them, "" where the config has none
    make, limit, devices, freezers   operations, of cgroup/host_steps.py
    """

    __slots__ = ("devices", "entering", "freezers", "limit", "make", "paths", "pointer", "unified")

    def __init__(self, paths: list[str], entering: list[str], unified: str, pointer: str) -> None:
        self.paths = paths
        self.entering = entering
        self.unified = unified
        self.pointer = pointer
        self.make: list[Op] = []
        self.limit: list[Op] = []
        self.devices: list[Op] = []
        self.freezers: list[Op] = []


class Host:
    """What the runtime's side is made from.

    compilation, plan   of the init's side; the plan once it is whole
    cgroups             see there
    root                where states are kept
    raw                 config.json, its bytes
    filter_file         content of seccomp.bpf, b"" for none
    manager             of the cgroups, as of prepare.Options
    rootfs              its absolute path
    owner, words        as of record.State; words are those of `python`
    unit                of systemd, "" for none
    late_devices        device rules come into force after the mounts, one of which may take a block device
    foreground          the runtime stays with the process
    console_socket, pidfd_socket, pid_file   absolute paths, "" for none
    """

    __slots__ = (
        "cgroups", "compilation", "console_socket", "filter_file", "foreground", "late_devices", "manager", "owner",
        "pid_file", "pidfd_socket", "plan", "raw", "root", "rootfs", "unit", "words",
    )  # fmt: skip

    plan: Plan

    def __init__(self, compilation: Compilation, cgroups: Cgroups, root: str, manager: str) -> None:
        self.compilation = compilation
        self.cgroups = cgroups
        self.root = root
        self.manager = manager
        self.raw = self.filter_file = b""
        self.late_devices = self.foreground = False
        self.console_socket = self.pidfd_socket = self.pid_file = ""
        self.rootfs = self.owner = self.words = self.unit = ""

    @property
    def begun(self) -> int:
        """How many operations the init gets ahead of the rest: those that make the container's process anew."""
        found = self.compilation.first
        return len(found) if found and found[-1][0] == "clone" else 0

    @property
    def early(self) -> bool:
        """Whether the cgroups are made before the process. On v1 it can only be moved: they are made meanwhile."""
        return bool(self.begun and self.manager == "cgroupfs" and holes.is_given(self.cgroups.unified))

    @property
    def born_inside(self) -> bool:
        """Whether the process is born in its cgroup.

        nsdelegate (cgroups(7)): nobody in a cgroup namespace makes a process outside of that. It is moved from here.
        """
        return self.early and not self.compilation.context.joined("cgroup")

    @property
    def last(self) -> int:
        """The point at which the container is complete."""
        found: int = self.plan.syncs[-1]
        return found

    def first_of(self, *points: int) -> int:
        """The first of `points` at which the init waits, else the last of all."""
        return next((point for point in points if point in self.plan.syncs), self.last)


def first(h: Host) -> list[Op]:
    """Up to the first part of the init's plan."""
    launch = h.compilation.context.launch
    found = [host_ops.claim("", h.root, launch.container_id)]
    if launch.console:
        found.append(host_ops.connect_console("/process/terminal", SLOT_CONSOLE, h.console_socket))
    found.append(host_ops.spawn_init("", launch.preserve_fds, ""))
    if h.early:
        found += declare(h) + h.cgroups.make + h.cgroups.limit
    if h.born_inside:
        found.append(host_ops.open_cgroup(h.cgroups.pointer, SLOT_CGROUP, h.cgroups.unified))
    if h.begun:
        found.append(host_ops.send_plan("", 0, h.begun, 1, 0, DEADLINE_MS))
    return found


def rest(h: Host) -> list[Op]:
    """From there to the end. `h.plan` is whole."""
    found = [op for phase in REST for op in phase(h)]
    for point in h.plan.syncs[:-1]:
        found += [host_ops.wait("", point), *AT[point](h), host_ops.go("", point), *AFTER.get(point, nothing)(h)]
    found += [host_ops.wait("", h.last), *complete(h)]
    return found + (created(h) if h.last == SYNC_CREATED else started(h))


def nothing(_: Host) -> list[Op]:
    """No step."""
    return []


# ---- before the process ----------------------------------------------------------------------------------------------


def keep_filter(h: Host) -> list[Op]:
    """For exec."""
    return [host_ops.keep_file("/linux/seccomp", "seccomp.bpf", h.filter_file)] if h.filter_file else []


def trees(h: Host) -> list[Op]:
    """What the init can't open itself."""
    found = [host_ops.open_tree(pointer, slot, path, int(deep)) for slot, path, deep, pointer in h.plan.trees]
    for slot, path, _, pointer in h.plan.trees:
        if slot in h.plan.idmaps:
            uids, gids, namespace, below = h.plan.idmaps[slot]
            mount = pointer.rpartition("/")[0]
            found.append(host_ops.map_tree(mount, slot, path, lines(uids), lines(gids), namespace, int(below)))
    return found


def send_rest(h: Host) -> list[Op]:
    """The init mounts from here on."""
    return report_file(h.plan.ops) + send(h.plan.ops, h.begun)


def report_file(ops: Sequence[Op]) -> list[Op]:
    """Where the plan has one, `start` finds it in the state directory."""
    return [host_ops.report_file("/linux/seccomp", SLOT_REPORT)] if any(op[0] == "report_file" for op in ops) else []


def send(ops: Sequence[Op], begun: int = 0, unlimited: bool = False) -> list[Op]:
    """A hook without a timeout may take as long as it likes (config.md "POSIX-platform Hooks")."""
    timeouts = [op[3][3] for op in ops if op[0] == "hook"]
    deadline = 0 if unlimited or 0 in timeouts else min(DEADLINE_MS + sum(timeouts), INT_MAX)
    becomes = int(not any(op[0] == "clone" for op in ops))
    return [host_ops.send_plan("", begun, len(ops) - begun, 0, becomes, deadline)]


def declare(h: Host) -> list[Op]:
    """All that the init does up to its first question is gone with it, and it is gone when we are."""
    found = [record(h)]
    if h.cgroups.paths:
        found.append(host_ops.expect_cgroups(h.cgroups.pointer, h.cgroups.paths, h.unit))
    return [*found, host_ops.write_state("", "creating")]


def record(h: Host) -> Op:
    """What is known of the container by now."""
    context = h.compilation.context
    config = context.config
    annotations = [word for pair in (config.get("annotations") or {}).items() for word in pair]
    launch, new = context.launch, int(context.new("pid"))
    known = (config["ociVersion"], launch.bundle, h.rootfs, annotations, h.owner, h.manager, h.words, new)
    return host_ops.record("", *known)


def late_cgroups(h: Host) -> list[Op]:
    """Declared and made while the kernel is busy with the namespaces; by systemd where it is asked for."""
    if h.early:
        return []
    return declare(h) + ([] if h.manager == "systemd" else h.cgroups.make + h.cgroups.limit)


def restrict(h: Host) -> list[Op]:
    """Before the process is there: on v1 there is a moment in which all devices are denied."""
    return [] if h.manager == "systemd" else restrictions(h)


def restrictions(h: Host) -> list[Op]:
    """What can be done from within the cgroups, which exist; and who may own them may do so."""
    owner = h.plan.cgroup_owner
    found = [] if owner in {-1, h.compilation.context.facts.euid} or not h.cgroups.paths else [owner]
    return [
        *[host_ops.delegate(h.cgroups.pointer, h.cgroups.paths[0], uid) for uid in found],
        *([] if h.late_devices else h.cgroups.devices),
        *h.cgroups.freezers,
    ]


def early_files(h: Host) -> list[Op]:
    """While the init is at work, where it asks for nothing before its end."""
    return [] if SYNC_CGROUP in h.plan.syncs else files(h)


def files(h: Host) -> list[Op]:
    """For the commands that follow, while the init is at work."""
    pointers = "\n".join([str(h.begun), *[op[1] for op in h.plan.ops[h.begun :]]])
    found = [host_ops.keep_file("", "config.json", h.raw), host_ops.keep_plan("", pointers)]
    return [*found, host_ops.listen("", SLOT_START, "start.sock")] if h.last == SYNC_CREATED else found


# ---- when there is a process -----------------------------------------------------------------------------------------


def process(h: Host) -> list[Op]:
    """Into its cgroups, those that it is not born in and does not enter by itself."""
    found = [host_ops.wait_process("")]
    if h.manager == "systemd":
        return [*found, host_ops.start_unit("", int(holes.is_given(h.cgroups.unified)))]
    by_itself = [*entered(h), h.cgroups.unified] if h.born_inside else entered(h)
    paths = [path for path in h.cgroups.paths if not any(path is other for other in by_itself)]
    return found + [host_ops.attach(h.cgroups.pointer, path, 0) for path in paths]


def entered(h: Host) -> list[str]:
    """The cgroups that it enters by itself: all of v1 or none."""
    return h.cgroups.entering[: len(h.plan.tasks)]


def unit(h: Host, point: int) -> list[Op]:
    """With systemd, at the first of the points: what systemd does not do, in the cgroups of the unit."""
    if h.manager != "systemd" or point != h.first_of(SYNC_CGROUP, SYNC_RUNTIME_HOOKS):
        return []
    moved = [host_ops.attach(h.cgroups.pointer, path, 0) for path in h.cgroups.paths]
    return [host_ops.wait_unit(""), *h.cgroups.make, *h.cgroups.limit, *restrictions(h), *moved]


def late_rules(h: Host, point: int) -> list[Op]:
    """Let the container open what it may, from now on: before anything runs that is not ours."""
    return h.cgroups.devices if h.late_devices and point == h.first_of(SYNC_RUNTIME_HOOKS) else []


def map_ids(h: Host) -> list[Op]:
    """Of the new user namespace."""
    plan = h.plan
    return [host_ops.map_ids("/linux/uidMappings", lines(plan.uid_map), lines(plan.gid_map), int(plan.setgroups))]


def lines(mappings: Map) -> list[str]:
    """As of uid_map (user_namespaces(7))."""
    return [f"{inside} {outside} {count}" for inside, outside, count in mappings]


def enter_cgroup(h: Host) -> list[Op]:
    """The process goes on in its cgroup; with what can only be done from here, once it is there."""
    pairs = zip(h.plan.tasks, entered(h), strict=True)
    return [
        *unit(h, SYNC_CGROUP),
        *h.plan.errands,
        *[host_ops.open_tasks(h.cgroups.pointer, slot, path) for slot, path in pairs],
    ]


def runtime_hooks(h: Host) -> list[Op]:
    """The hooks prestart and createRuntime; the init gets the state for the hooks that it runs."""
    found = [*unit(h, SYNC_RUNTIME_HOOKS), *late_rules(h, SYNC_RUNTIME_HOOKS), host_ops.write_state("", "creating")]
    for kind in ("prestart", "createRuntime"):
        found += hooks(h, kind, "creating")
    for slot, status in ((SLOT_STATE_CREATING, "creating"), (SLOT_STATE_CREATED, "created")):
        found.append(host_ops.hook_state("/hooks", slot, status))
    return found


def hooks(h: Host, kind: str, status: str) -> list[Op]:
    """The hooks of one kind, in order; a failure ends it."""
    return [
        host_ops.hook(
            f"/hooks/{kind}/{index}",
            entry["path"],
            list(entry.get("args") or [entry["path"]]),
            holes.variables(entry.get("env") or ()),
            int(entry.get("env") is not None),
            min(entry.get("timeout") or 0, INT_MAX),
            status,
        )
        for index, entry in enumerate((h.compilation.context.config.get("hooks") or {}).get(kind) or ())
    ]


# ---- the container is complete ---------------------------------------------------------------------------------------


def complete(h: Host) -> list[Op]:
    """Said on disk, then to whoever waits for the pid file or the pidfd."""
    found = [*unit(h, h.last), *late_rules(h, h.last)]
    if h.foreground and h.compilation.context.launch.console and not holes.is_given(h.console_socket):
        found.append(host_ops.receive_console("/process/terminal"))
    return [*found, host_ops.write_state("", "created"), *tell(h.pidfd_socket, h.pid_file)]


def tell(pidfd_socket: str, pid_file: str) -> list[Op]:
    """Who finds the pid file finds all that was done before."""
    found = [host_ops.send_pidfd("", pidfd_socket)] if pidfd_socket else []
    return [*found, host_ops.write_pid_file("", pid_file)] if holes.is_given(pid_file) else found


def created(h: Host) -> list[Op]:
    """It waits for `start`."""
    return [host_ops.commit(""), host_ops.go("", h.last)]


def started(h: Host) -> list[Op]:
    """It runs. runtime.md, lifecycle, step 9: a poststart hook that fails stops it."""
    found = [host_ops.go("", h.last), host_ops.executed("/process/args"), *hooks(h, "poststart", "running")]
    return found if h.foreground else [*found, host_ops.commit("")]


REST: tuple[Phase, ...] = (
    keep_filter,
    trees,
    send_rest,
    late_cgroups,
    restrict,
    early_files,
    process,
)

# Point of the init's → what is done while it waits there; what is done when it goes on
AT: dict[int, Phase] = {SYNC_MAPPED: map_ids, SYNC_CGROUP: enter_cgroup, SYNC_RUNTIME_HOOKS: runtime_hooks}
AFTER: dict[int, Phase] = {SYNC_CGROUP: files}
