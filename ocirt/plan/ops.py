"""The vocabulary of plans: one constructor per operation of ocirt/spawn/init/ops.def, nothing else.

An operation is (name, JSON pointer of the field it comes from, guard, arguments). The guard says what may go wrong:
two errnos that do not count as a failure, and how many operations to pass over on success. docs/plan.md tells what
each operation does; when and why, is left to the phases.
"""

# ruff: noqa: PLR0913, PLR0917 - a constructor takes what its operation takes; a record in between would be a second vocabulary

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    # The arguments are int, str, bytes or list[str], as ops.def says for the name.
    Op = tuple[str, str, int, tuple[Any, ...]]


# ---- guards ----------------------------------------------------------------------------------------------------------


def ignoring(op: Op, *errnos: int) -> Op:
    """`op`, for which these errnos are no failure. Raises ValueError for more than two: the wire has room for two."""
    if len(errnos) > 2:
        raise ValueError("an operation can ignore two errnos at most")
    first, second = (*errnos, 0, 0)[:2]
    name, pointer, guard, arguments = op
    return (name, pointer, guard >> 32 << 32 | second << 16 | first, arguments)


def fallback(op: Op, errnos: Sequence[int], ops: list[Op]) -> list[Op]:
    """`op`, and `ops` in its place where it fails with one of `errnos`. Raises ValueError as `ignoring`."""
    name, pointer, guard, arguments = ignoring(op, *errnos)
    return [(name, pointer, guard | len(ops) << 32, arguments), *ops]


def ignored(op: Op) -> tuple[int, ...]:
    """The errnos that are no failure for `op`."""
    return tuple(errno for errno in (op[2] & 0xFFFF, op[2] >> 16 & 0xFFFF) if errno)


def skipped(op: Op) -> int:
    """How many operations are passed over when `op` succeeds."""
    return op[2] >> 32


# ---- in the host's namespaces, before the container's process exists -------------------------------------------------


def oom_score_adj(pointer: str, value: str) -> Op:
    """Write /proc/self/oom_score_adj."""
    return ("oom_score_adj", pointer, 0, (value,))


def open_namespace(pointer: str, slot: int, host: str, kind: int) -> Op:
    """Open the namespace file `host` of type `kind` (CLONE_NEW…)."""
    return ("open_namespace", pointer, 0, (slot, host, kind))


def join(pointer: str, slot: int, kind: int) -> Op:
    """setns(2)."""
    return ("join", pointer, 0, (slot, kind))


def clone(pointer: str, flags: int) -> Op:
    """Make the container's process in new namespaces; what follows is done by it."""
    return ("clone", pointer, 0, (flags,))


# ---- synchronisation and descriptors ---------------------------------------------------------------------------------


def next_plan(slot: int, before: int) -> Op:
    """Take the next plan when the doorbell in `slot` rings; `before` operations stood before its first."""
    return ("next_plan", "", 0, (slot, before))


def sync(pointer: str, point: int) -> Op:
    """Wait for the runtime at `point` (SYNC_…)."""
    return ("sync", pointer, 0, (point,))


def open_proc(pointer: str, slot: int, which: int) -> Op:
    """A procfs (PROC_…)."""
    return ("open_proc", pointer, 0, (slot, which))


def open_tree(pointer: str, slot: int, host: str, recursive: int) -> Op:
    """A detached clone of a path of the host."""
    return ("open_tree", pointer, 0, (slot, host, recursive))


def close(pointer: str, slot: int) -> Op:
    """Close what the slot holds."""
    return ("close", pointer, 0, (slot,))


# ---- namespaces ------------------------------------------------------------------------------------------------------


def enter_cgroup(pointer: str, slot: int) -> Op:
    """Move into the cgroup of v1 whose file tasks is in `slot`."""
    return ("enter_cgroup", pointer, 0, (slot,))


def unshare(pointer: str, flags: int) -> Op:
    """unshare(2)."""
    return ("unshare", pointer, 0, (flags,))


def setns_proc(pointer: str, path: str, kind: int) -> Op:
    """setns(2) to a file below SLOT_PROC."""
    return ("setns_proc", pointer, 0, (path, kind))


def session(pointer: str) -> Op:
    """setsid(2)."""
    return ("session", pointer, 0, ())


def hostname(pointer: str, name: str) -> Op:
    """sethostname(2)."""
    return ("hostname", pointer, 0, (name,))


def domainname(pointer: str, name: str) -> Op:
    """setdomainname(2)."""
    return ("domainname", pointer, 0, (name,))


def link_up(pointer: str, interface: str) -> Op:
    """Bring a network interface up."""
    return ("link_up", pointer, 0, (interface,))


def write_proc(pointer: str, path: str, value: str) -> Op:
    """Write a file below SLOT_PROC."""
    return ("write_proc", pointer, 0, (path, value))


# ---- root filesystem -------------------------------------------------------------------------------------------------


def propagate(pointer: str, flags: int) -> Op:
    """Set the propagation (MS_…) of every mount of the namespace."""
    return ("propagate", pointer, 0, (flags,))


def rootfs(pointer: str, host: str, slot: int, private: int) -> Op:
    """Mount the root filesystem on its own path; from here on SLOT_ROOT is the container's root."""
    return ("rootfs", pointer, 0, (host, slot, private))


def root_dir(pointer: str, host: str) -> Op:
    """Open the root filesystem as SLOT_ROOT without a mount."""
    return ("root_dir", pointer, 0, (host,))


def mount_fs(
    pointer: str,
    target: str,
    fstype: str,
    source: str,
    options: list[str],
    attributes: int,
    propagation: int,
    flags: int,
) -> Op:
    """Mount a new filesystem, by fsopen(2)."""
    return ("mount_fs", pointer, 0, (target, fstype, source, options, attributes, propagation, flags))


def mount_legacy(
    pointer: str,
    target: str,
    fstype: str,
    source: str,
    data: str,
    mount_flags: int,
    propagation: int,
    flags: int,
) -> Op:
    """Mount a new filesystem, by mount(2); `mount_flags` are MS_…."""
    return ("mount_legacy", pointer, 0, (target, fstype, source, data, mount_flags, propagation, flags))


def mount_bind(
    pointer: str, target: str, host: str, slot: int, attributes: tuple[int, int, int, int], propagation: int, flags: int
) -> Op:
    """Mount a tree of the host, or a slot's; `attributes` are set, clear, recursive set, recursive clear."""
    return ("mount_bind", pointer, 0, (target, host, slot, *attributes, propagation, flags))


def mkdir(pointer: str, path: str, mode: int) -> Op:
    """Make a directory, with its parents, where it is missing."""
    return ("mkdir", pointer, 0, (path, mode))


def mknod(pointer: str, path: str, mode: int, device: int, uid: int, gid: int) -> Op:
    """Make a device or fifo; `mode` with the type, `device` as makedev(3)."""
    return ("mknod", pointer, 0, (path, mode, device, uid, gid))


def symlink(pointer: str, text: str, path: str) -> Op:
    """Make a symlink at `path` where nothing is."""
    return ("symlink", pointer, 0, (text, path))


def tree_fs(pointer: str, slot: int, fstype: str, options: list[str], attributes: int) -> Op:
    """A new filesystem that is mounted nowhere yet."""
    return ("tree_fs", pointer, 0, (slot, fstype, options, attributes))


def pivot(pointer: str) -> Op:
    """pivot_root(2) to SLOT_ROOT; the host's tree is gone after it."""
    return ("pivot", pointer, 0, ())


def move_root(pointer: str) -> Op:
    """Move the root over "/" and chroot(2), for roots that pivot_root(2) refuses."""
    return ("move_root", pointer, 0, ())


def chroot(pointer: str) -> Op:
    """chroot(2) to SLOT_ROOT."""
    return ("chroot", pointer, 0, ())


def root_attr(pointer: str, attributes: tuple[int, int], propagation: int, recursive: int) -> Op:
    """Change the root mount; `attributes` are set, clear."""
    return ("root_attr", pointer, 0, (*attributes, propagation, recursive))


def mount_attr(pointer: str, target: str, attributes: tuple[int, int], propagation: int, recursive: int) -> Op:
    """Change the mount at `target`; `attributes` are set, clear."""
    return ("mount_attr", pointer, 0, (target, *attributes, propagation, recursive))


def readonly(pointer: str, path: str, flags: int) -> Op:
    """Make a path and all below it read-only."""
    return ("readonly", pointer, 0, (path, flags))


def close_mounts(pointer: str) -> Op:
    """Close the mounts that were kept open (MOUNT_KEEP)."""
    return ("close_mounts", pointer, 0, ())


def label(pointer: str, path: str, text: str) -> Op:
    """Give a directory a label of SELinux."""
    return ("label", pointer, 0, (path, text))


def mask(pointer: str, path: str, null: int, empty: int) -> Op:
    """Hide a path: a file behind the slot `null`, a directory behind the slot `empty`."""
    return ("mask", pointer, 0, (path, null, empty))


# ---- process ---------------------------------------------------------------------------------------------------------


def affinity(pointer: str) -> Op:
    """Every CPU that the cgroup allows."""
    return ("affinity", pointer, 0, ())


def console(pointer: str, slot: int, uid: int, rows: int, columns: int, bind: int) -> Op:
    """A terminal on stdio, its master sent over the slot's socket; `bind` 1: it is /dev/console too."""
    return ("console", pointer, 0, (slot, uid, rows, columns, bind))


def controlling_terminal(pointer: str) -> Op:
    """The terminal on stdio becomes that of the session."""
    return ("controlling_terminal", pointer, 0, ())


def stdio_owner(pointer: str, uid: int) -> Op:
    """Give pipes and sockets on stdio to the user."""
    return ("stdio_owner", pointer, 0, (uid,))


def keyring(pointer: str, name: str, permissions: int) -> Op:
    """A session keyring of its own; `permissions` are added to those it has."""
    return ("keyring", pointer, 0, (name, permissions))


def rlimit(pointer: str, resource: int, soft: int, hard: int) -> Op:
    """prlimit(2)."""
    return ("rlimit", pointer, 0, (resource, soft, hard))


def memory_policy(pointer: str, mode: int, nodes: bytes) -> Op:
    """set_mempolicy(2); `mode` with its flags, `nodes` a mask, b"" for none."""
    return ("memory_policy", pointer, 0, (mode, nodes))


def personality(pointer: str, persona: int) -> Op:
    """personality(2)."""
    return ("personality", pointer, 0, (persona,))


def bounding(pointer: str, mask: int) -> Op:
    """Drop every capability outside `mask` from the bounding set."""
    return ("bounding", pointer, 0, (mask,))


def groups(pointer: str, gids: bytes) -> Op:
    """setgroups(2); an array of gid_t."""
    return ("groups", pointer, 0, (gids,))


def ids(pointer: str, uid: int, gid: int) -> Op:
    """setresgid(2), setresuid(2)."""
    return ("ids", pointer, 0, (uid, gid))


def caps(pointer: str, effective: int, permitted: int, inheritable: int, ambient: int) -> Op:
    """capset(2), and the ambient set."""
    return ("caps", pointer, 0, (effective, permitted, inheritable, ambient))


def report_file(pointer: str, slot: int) -> Op:
    """From here on a failure is written to the slot's file too, by its memory."""
    return ("report_file", pointer, 0, (slot,))


def no_new_privs(pointer: str) -> Op:
    """PR_SET_NO_NEW_PRIVS."""
    return ("no_new_privs", pointer, 0, ())


def seccomp(pointer: str, program: bytes, flags: int) -> Op:
    """Load a filter: an array of struct sock_filter."""
    return ("seccomp", pointer, 0, (program, flags))


def seccomp_notify(pointer: str, program: bytes, flags: int, agent: int, state: int) -> Op:
    """Load a filter with a listener, and send that with the state to the agent."""
    return ("seccomp_notify", pointer, 0, (program, flags, agent, state))


def umask(pointer: str, mask: int) -> Op:
    """umask(2)."""
    return ("umask", pointer, 0, (mask,))


def chdir(pointer: str, path: str) -> Op:
    """chdir(2), unless one before has succeeded, and a check that the directory is below the root."""
    return ("chdir", pointer, 0, (path,))


def home(pointer: str, uid: int) -> Op:
    """Find HOME in the container's /etc/passwd."""
    return ("home", pointer, 0, (uid,))


def hook(
    pointer: str,
    path: str,
    argv: list[str],
    env: list[str],
    timeout: int,
    state: int,
    flags: int = 0,
    program: bytes = b"",
    program_flags: int = 0,
) -> Op:
    """Run a hook.

    timeout                  in milliseconds, 0 for none
    flags                    HOOK_…
    program, program_flags   its seccomp filter (b"" for none) and SECCOMP_FILTER_FLAG_…
    """
    return ("hook", pointer, 0, (path, argv, env, timeout, state, flags, program, program_flags))


def find_exec(pointer: str, name: str, candidates: list[str]) -> Op:
    """Find the first candidate that can be executed."""
    return ("find_exec", pointer, 0, (name, candidates))


def wait_start(pointer: str, slot: int) -> Op:
    """Wait for `start` on the slot's listening socket."""
    return ("wait_start", pointer, 0, (slot,))


def close_fds(pointer: str, count: int) -> Op:
    """Close every descriptor but stdio, `count` from 3 on, and the report channel."""
    return ("close_fds", pointer, 0, (count,))


def exec(pointer: str, argv: list[str], env: list[str]) -> Op:
    """execve(2) of what find_exec found."""
    return ("exec", pointer, 0, (argv, env))
