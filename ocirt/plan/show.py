"""Cold: operations in words, for `ocirt explain`, --debug and errors; the words of errors are in failures.py.

`describe` says what an operation does, `syscalls` how, `failure` what went wrong with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ocirt.linux import consts
from ocirt.plan import names, ops
from ocirt.plan.failures import failure
from ocirt.plan.syscalls import syscalls

if TYPE_CHECKING:
    from collections.abc import Callable

    from ocirt.plan.ops import Op

    Words = Callable[..., str]

__all__ = ["describe", "failure", "syscalls"]

POINTS = {
    consts.SYNC_MAPPED: "wait until the id maps are written",
    consts.SYNC_CGROUP: "wait until the process is in its cgroup",
    consts.SYNC_RUNTIME_HOOKS: "wait until the prestart and createRuntime hooks have run",
    consts.SYNC_CREATED: "report that the container is created",
    consts.SYNC_START: "report that the container is ready to run",
}

SLOTS = {
    consts.SLOT_PROC: "the procfs",
    consts.SLOT_NULL: "the null device",
    consts.SLOT_EMPTY: "the empty filesystem",
    consts.SLOT_CONSOLE: "the console's socket",
    consts.SLOT_TARGET: "the container's process",
    consts.SLOT_REPORT: "the file for the failure report",
}


def describe(op: Op) -> str:
    """One line that says what `op` does, with what may go wrong."""
    name, _, _, arguments = op
    return TABLE[name](*arguments) + guard(op)


def guard(op: Op) -> str:
    """What may go wrong with it."""
    import errno

    ignored, skipped = ops.ignored(op), ops.skipped(op)
    if not ignored:
        return ""
    words = " or ".join(errno.errorcode.get(number, str(number)) for number in ignored)
    if skipped:
        return f"; on {words} the next {'one' if skipped == 1 else skipped} instead"
    return f"; {words} does not matter"


def _list(words: list[str]) -> str:
    return f" ({', '.join(words)})" if words else ""


def mount_fs(*a: Any) -> str:
    """A new filesystem."""
    target, fstype, source, options, attributes, propagation, flags = a
    words = names.attributes(attributes) + options + names.propagation(propagation) + names.flags(flags)
    what = fstype if source == fstype else f'{fstype} "{source}"'
    return f"mount {what} on {target}{_list(words)}"


def mount_legacy(*a: Any) -> str:
    """A new filesystem, by mount(2)."""
    target, fstype, source, data, mount_flags, propagation, flags = a
    words = [names.LEGACY_WORDS.get(name, name[3:].lower()) for bit, name in names.MS.items() if mount_flags & bit]
    words += [*filter(None, data.split(",")), *names.propagation(propagation), *names.flags(flags)]
    return f'mount {fstype} "{source}" on {target}{_list(words)}'


def mount_bind(*a: Any) -> str:
    """A bind mount."""
    target, host, _, add, remove, recursive_add, recursive_remove, propagation, flags = a
    words = names.attributes(add, remove) + names.attributes(recursive_add, recursive_remove, "r")
    words += names.propagation(propagation) + names.flags(flags)
    below = " with all below it" if flags & consts.MOUNT_RECURSIVE else ""
    return f"bind {host}{below} on {target}{_list(words)}"


def change(what: str, *a: int) -> str:
    """Attributes or propagation of a mount that is there."""
    add, remove, propagation, recursive = a
    words = names.attributes(add, remove) + names.propagation(propagation & ~consts.MS_REC)
    return f"make {what} {', '.join(words)}{', with all below it' if recursive else ''}"


def mknod(path: str, mode: int, device: int, uid: int, gid: int) -> str:
    """A device or fifo."""
    kind = names.TYPES.get(mode & consts.S_IFMT, "?")
    what = f"fifo {path}" if kind == "p" else f"device {path}, {kind} {names.device(device)}"
    return f"make {what}, mode {mode & 0o7777:04o}{f', owner {uid}:{gid}' if uid or gid else ''}"


def caps(*sets: int) -> str:
    """Four sets, said once where they are the same."""
    labels = ("effective", "permitted", "inheritable", "ambient")
    groups: dict[int, list[str]] = {}
    for label, mask in zip(labels, sets, strict=True):
        groups.setdefault(mask, []).append(label)
    return "set capabilities: " + "; ".join(f"{', '.join(g)}: {names.capabilities(m)}" for m, g in groups.items())


def find_exec(name: str, candidates: list[str]) -> str:
    """Where the program is looked for."""
    return f"find the program {name}" + ("" if candidates == [name] else f" among {', '.join(candidates) or 'nothing'}")


def hook(path: str, argv: list[str], env: list[str], timeout: int, *confinement: Any) -> str:
    """A hook, its time, and what confines it."""
    _, flags, program, _ = confinement
    words = [f"at most {timeout / 1000:g} s"] if timeout else []
    words += ["with the seccomp filter"] if program else []
    words += ["with HOME"] if flags & consts.HOOK_HOME else []
    words += ["in the root"] if flags & consts.HOOK_IN_ROOT else []
    words += [f"{len(env)} variables"] if env else []
    return f"run the hook {path} as {' '.join(argv)}{_list(words)}"


def console(_: int, uid: int, rows: int, columns: int, bind: int) -> str:
    """The terminal."""
    words = [f"{columns}x{rows}"] if rows or columns else []
    words += [f"owner {uid}"] if uid else []
    return f"open a terminal{' as /dev/console' if bind else ''} and send its master away{_list(words)}"


def clone(flags: int) -> str:
    """The namespaces that are made."""
    return f"start the container's process in new namespaces: {names.namespaces(flags)}" if flags else "start a child"


def close_fds(count: int) -> str:
    """What stays open."""
    return f"close everything but stdio{f' and fds 3 to {count + 2}' if count else ''}"


TABLE: dict[str, Words] = {
    "oom_score_adj": lambda value: f"set oom_score_adj to {value}",
    "open_namespace": lambda _, host, kind: f"open the {names.namespaces(kind)} namespace {host}",
    "join": lambda _, kind: f"join the {names.namespaces(kind)} namespace",
    "clone": clone,
    "next_plan": lambda _, before: f"wait for the rest of the plan, after {before} operations",
    "sync": lambda point: POINTS.get(point, f"wait for the runtime (point {point})"),
    "open_proc": lambda _, which: f"open {names.PROCFS[which]}",
    "open_tree": lambda _, host, recursive: f"take {host} of the host{' with all below it' if recursive else ''}",
    "close": lambda slot: f"close {SLOTS.get(slot, 'the namespace')}",
    "enter_cgroup": lambda _: "move into a cgroup of the container",
    "unshare": lambda flags: f"make a new {names.namespaces(flags)} namespace",
    "setns_proc": lambda path, kind: f"enter the {names.namespaces(kind)} namespace of /proc/{path}",
    "session": lambda: "start a session, away from the caller's terminal",
    "hostname": lambda name: f'set the hostname to "{name}"',
    "domainname": lambda name: f'set the domainname to "{name}"',
    "link_up": lambda interface: f"bring the network interface {interface} up",
    "write_proc": lambda path, value: f'write "{value.strip()}" to /proc/{path}'.replace("\n", ", "),
    "propagate": lambda flags: f"make all mounts {', '.join(names.propagation(flags))}",
    "rootfs": lambda host, _, private: (
        f"mount {host} on itself as the container's root{', on a private mount' if private else ''}"
    ),
    "root_dir": lambda host: f"take {host} as the container's root",
    "mount_fs": mount_fs,
    "mount_legacy": mount_legacy,
    "mount_bind": mount_bind,
    "mkdir": lambda path, mode: f"make the directory {path}, mode {mode:04o}, where it is missing",
    "mknod": mknod,
    "symlink": lambda text, path: f"make the symlink {path} -> {text}",
    "tree_fs": lambda _, fstype, options, attributes: (
        f"make an empty {fstype}{_list(names.attributes(attributes) + options)}"
    ),
    "pivot": lambda: "change to the container's root, leave the host's tree (pivot_root)",
    "move_root": lambda: "move the container's root over the host's, change to it (chroot)",
    "chroot": lambda: "change to the container's root (chroot)",
    "root_attr": lambda *a: change("the root", *a),
    "mount_attr": lambda target, *a: change(f"the mount on {target}", *a),
    "readonly": lambda path, flags: f"make {path} read-only{_list(names.flags(flags))}",
    "close_mounts": lambda: "close the mounts that were kept open",
    "mask": lambda path, *_: f"hide {path}",
    "label": lambda path, text: f'label {path} "{text}"',
    "console": console,
    "controlling_terminal": lambda: "make it the terminal of the session",
    "stdio_owner": lambda uid: f"give pipes on stdio to user {uid}",
    "keyring": lambda name, _: f"join a new session keyring {name}",
    "rlimit": lambda resource, soft, hard: (
        f"set {names.RLIMITS.get(resource, resource)} to {names.limit(soft)}, at most {names.limit(hard)}"
    ),
    "memory_policy": lambda mode, nodes: f"set the memory policy {names.memory_policy(mode, nodes)}",
    "personality": lambda persona: f"set the execution domain {names.DOMAINS.get(persona, persona)}",
    "bounding": lambda mask: f"keep capabilities in the bounding set: {names.capabilities(mask)}",
    "groups": lambda gids: f"set additional groups: {', '.join(map(str, names.gids(gids))) or 'none'}",
    "ids": lambda uid, gid: f"become user {uid}, group {gid}",
    "caps": caps,
    "report_file": lambda _: "write failures to memory that the runtime reads, for the filter may refuse to send them",
    "no_new_privs": lambda: "give up gaining privileges (no_new_privs)",
    "seccomp": lambda program, _: f"load a seccomp filter of {len(program) // 8} instructions",
    "seccomp_notify": lambda program, *_: (
        f"load a seccomp filter of {len(program) // 8} instructions, and send its listener to the agent"
    ),
    "affinity": lambda: "run on every CPU that the cgroup allows",
    "umask": lambda mask: f"set the umask to {mask:04o}",
    "chdir": lambda path: f"change to the directory {path}",
    "home": lambda uid: f"find HOME of user {uid} in /etc/passwd",
    "hook": hook,
    "find_exec": find_exec,
    "wait_start": lambda _: "wait for start",
    "close_fds": close_fds,
    "exec": lambda argv, env: f"execute {' '.join(argv)}{_list([f'{len(env)} variables'] if env else [])}",
}
