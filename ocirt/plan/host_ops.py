"""The vocabulary of host plans: one constructor per operation of ocirt/spawn/init/host_ops.def, nothing else.

An operation is as of ops.py, with the same guards; container/performer.py carries it out. Descriptors for slots go to
the init with the next `send_plan` or `go`.
"""

# ruff: noqa: PLR0913, PLR0917 - a constructor takes what its operation takes; a record in between would be a second vocabulary

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.plan.ops import Op


# ---- the state directory ---------------------------------------------------------------------------------------------


def claim(pointer: str, root: str, container_id: str) -> Op:
    """Take the id: its state directory, locked and marked."""
    return ("claim", pointer, 0, (root, container_id))


def record(
    pointer: str,
    oci_version: str,
    bundle: str,
    rootfs: str,
    annotations: list[str],
    owner: str,
    manager: str,
    words: str,
    pid_namespace: int,
) -> Op:
    """What the state says from the start; `annotations` are a name, its value, …; the rest as of record.State."""
    return (
        "record", pointer, 0, (oci_version, bundle, rootfs, annotations, owner, manager, words, pid_namespace)
    )  # fmt: skip


def expect_cgroups(pointer: str, paths: list[str], unit: str) -> Op:
    """Note which directories `make_cgroup` will make for these, ahead of the state that names them.

    With `unit`, one of systemd, slices are for that to remove.
    """
    return ("expect_cgroups", pointer, 0, (paths, unit))


def write_state(pointer: str, phase: str) -> Op:
    """state.json and the mark, as things are; `phase` is "creating" or "created"."""
    return ("write_state", pointer, 0, (phase,))


def keep_file(pointer: str, name: str, content: bytes) -> Op:
    """A file of the state directory."""
    return ("keep_file", pointer, 0, (name, content))


def keep_plan(pointer: str, tail: str) -> Op:
    """The part of the init's plan that is at hand, and `tail` behind it, for the words of an error at `start`."""
    return ("keep_plan", pointer, 0, (tail,))


# ---- cgroups ---------------------------------------------------------------------------------------------------------


def make_cgroup(pointer: str, path: str) -> Op:
    """A cgroup with those above it; one that is there must be empty."""
    return ("make_cgroup", pointer, 0, (path,))


def fill_cpuset(pointer: str, path: str) -> Op:
    """Give a cpuset of v1, and each empty one above it, what its parent has (cpuset(7))."""
    return ("fill_cpuset", pointer, 0, (path,))


def refuse_frozen(pointer: str, path: str, version: int) -> Op:
    """A cgroup that is frozen, or threaded, takes no container."""
    return ("refuse_frozen", pointer, 0, (path, version))


def refuse_shared(pointer: str, paths: list[str]) -> Op:
    """Cgroups that were there before must be no other container's."""
    return ("refuse_shared", pointer, 0, (paths,))


def hand_down(pointer: str, mount: str, path: str) -> Op:
    """Enable all controllers of v2 from `mount` down to `path`."""
    return ("hand_down", pointer, 0, (mount, path))


def refuse_usage(pointer: str, path: str, member: str, limit: int) -> Op:
    """A limit on memory must be above what is in use (checkBeforeUpdate)."""
    return ("refuse_usage", pointer, 0, (path, member, limit))


def try_again(pointer: str, count: int) -> Op:
    """Carry out the next `count` operations; those refused with EINVAL once more, as long as any is taken."""
    return ("try_again", pointer, 0, (count,))


def write_limit(pointer: str, path: str, file: str, text: str, version: int) -> Op:
    """Write a file of the cgroup `path`."""
    return ("write_limit", pointer, 0, (path, file, text, version))


def delegate(pointer: str, path: str, uid: int) -> Op:
    """Give a cgroup of v2 to a user of the host."""
    return ("delegate", pointer, 0, (path, uid))


def device_rules(pointer: str, path: str, file: str, lines: list[str], fields: list[str], asked: int) -> Op:
    """Write rules about devices, the fields of which are `fields`, to a file of v1."""
    return ("device_rules", pointer, 0, (path, file, lines, fields, asked))


def device_program(pointer: str, path: str, program: bytes, asked: int) -> Op:
    """Load a program that decides about devices in a cgroup of v2."""
    return ("device_program", pointer, 0, (path, program, asked))


def note_freezer(pointer: str, file: str) -> Op:
    """Have the state name the file that tells whether the container is frozen."""
    return ("note_freezer", pointer, 0, (file,))


def open_cgroup(pointer: str, slot: int, path: str) -> Op:
    """For clone3(2) to make the process in (CLONE_INTO_CGROUP)."""
    return ("open_cgroup", pointer, 0, (slot, path))


def open_tasks(pointer: str, slot: int, path: str) -> Op:
    """The file by which the process enters a cgroup of v1 by itself."""
    return ("open_tasks", pointer, 0, (slot, path))


def attach(pointer: str, path: str, below: int) -> Op:
    """Move the process; where `below`, beside the first one of the container if the cgroup takes none itself."""
    return ("attach", pointer, 0, (path, below))


def start_unit(pointer: str, unified: int) -> Op:
    """Ask systemd for the unit, with the process in it; `unified`: cgroup v2 is all that the host has."""
    return ("start_unit", pointer, 0, (unified,))


def wait_unit(pointer: str) -> Op:
    """Until systemd has put the process there."""
    return ("wait_unit", pointer, 0, ())


# ---- the init --------------------------------------------------------------------------------------------------------


def connect_console(pointer: str, slot: int, path: str) -> Op:
    """A stream to the console socket; "": a pair, whose other end is the runtime's."""
    return ("connect_console", pointer, 0, (slot, path))


def spawn_init(pointer: str, preserve: int, home: str) -> Op:
    """Start ocirt-init, with `preserve` descriptors from 3 on; it may have been started in the cgroup `home`."""
    return ("spawn_init", pointer, 0, (preserve, home))


def open_tree(pointer: str, slot: int, host: str, recursive: int) -> Op:
    """A detached clone of a path of the host (open_tree(2))."""
    return ("open_tree", pointer, 0, (slot, host, recursive))


def map_tree(
    pointer: str, slot: int, host: str, uids: list[str], gids: list[str], namespace: str, recursive: int
) -> Op:
    """Map the ids of that clone (mount_setattr(2)): by lines as of uid_map, or as a user namespace does."""
    return ("map_tree", pointer, 0, (slot, host, uids, gids, namespace, recursive))


def report_file(pointer: str, slot: int) -> Op:
    """The file that the init writes its failure to, where a filter may refuse to send it."""
    return ("report_file", pointer, 0, (slot,))


def send_plan(pointer: str, first: int, count: int, more: int, becomes: int, deadline: int) -> Op:
    """Send operations of the init's plan, with `more` to follow.

    becomes     the plan makes no process: the init becomes it
    deadline    milliseconds that the init may be silent from now on, 0: for ever
    """
    return ("send_plan", pointer, 0, (first, count, more, becomes, deadline))


def wait_process(pointer: str) -> Op:
    """Until the process exists."""
    return ("wait_process", pointer, 0, ())


def map_ids(pointer: str, uids: list[str], gids: list[str], setgroups: int) -> Op:
    """Write uid_map and gid_map, after setgroups where it is denied (user_namespaces(7))."""
    return ("map_ids", pointer, 0, (uids, gids, setgroups))


def listen(pointer: str, slot: int, name: str) -> Op:
    """A unix socket in the state directory."""
    return ("listen", pointer, 0, (slot, name))


def wait(pointer: str, point: int) -> Op:
    """Until the init has reached `point` (SYNC_…)."""
    return ("wait", pointer, 0, (point,))


def go(pointer: str, point: int) -> Op:
    """Let the init pass `point`."""
    return ("go", pointer, 0, (point,))


def executed(pointer: str) -> Op:
    """Until the process has been executed."""
    return ("executed", pointer, 0, ())


def receive_console(pointer: str) -> Op:
    """The terminal's master."""
    return ("receive_console", pointer, 0, ())


# ---- what is done to the process by its pid --------------------------------------------------------------------------


def scheduler(pointer: str, attributes: bytes) -> Op:
    """sched_setattr(2); `attributes` is a struct sched_attr."""
    return ("scheduler", pointer, 0, (attributes,))


def io_priority(pointer: str, value: int) -> Op:
    """ioprio_set(2); `value` is class << 13 | priority."""
    return ("io_priority", pointer, 0, (value,))


def affinity(pointer: str, cpus: bytes) -> Op:
    """sched_setaffinity(2); a mask of CPUs."""
    return ("affinity", pointer, 0, (cpus,))


def seccomp_listener(pointer: str, path: str, metadata: str, given: int, agent: int, state: int, status: str) -> Op:
    """Connect to the seccomp agent and write the state for it, with `metadata` where it is `given`."""
    return ("seccomp_listener", pointer, 0, (path, metadata, given, agent, state, status))


def net_device(pointer: str, host: str, name: str) -> Op:
    """Move the network device `host` of the runtime's namespace into the container's, as `name`."""
    return ("net_device", pointer, 0, (host, name))


def resctrl(pointer: str, name: str, monitored: int, lines: list[str], make: int) -> Op:
    """Put the process into resctrl groups; `make`: they are made first, and noted down for `delete`."""
    return ("resctrl", pointer, 0, (name, monitored, lines, make))


# ---- hooks, and who is told ------------------------------------------------------------------------------------------


def hook(pointer: str, path: str, argv: list[str], env: list[str], given: int, timeout: int, status: str) -> Op:
    """Run a hook in the runtime's namespaces, with `env` where it is `given`, at most `timeout` seconds."""
    return ("hook", pointer, 0, (path, argv, env, given, timeout, status))


def hook_state(pointer: str, slot: int, status: str) -> Op:
    """The state for the hooks that the init runs, with the pid as seen inside."""
    return ("hook_state", pointer, 0, (slot, status))


def send_pidfd(pointer: str, path: str) -> Op:
    """Send a pidfd of the process to a unix socket."""
    return ("send_pidfd", pointer, 0, (path,))


def write_pid_file(pointer: str, path: str) -> Op:
    """The pid, for whoever waits for the file."""
    return ("write_pid_file", pointer, 0, (path,))


def commit(pointer: str) -> Op:
    """There is a container: no signal undoes it from here on."""
    return ("commit", pointer, 0, ())


# ---- exec ------------------------------------------------------------------------------------------------------------


def open_process(pointer: str, slot: int) -> Op:
    """A pidfd of the container's process, which must be alive."""
    return ("open_process", pointer, 0, (slot,))


def open_root(pointer: str, slot: int) -> Op:
    """The root directory of the container's process."""
    return ("open_root", pointer, 0, (slot,))
