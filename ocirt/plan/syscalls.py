"""Cold: the system calls that an operation makes, as strace would write them; calls that only look are left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ocirt.linux import consts
from ocirt.plan import names

if TYPE_CHECKING:
    from collections.abc import Callable

    from ocirt.plan.ops import Op

CLONE_PARENT = 0x8000

TARGET = "openat2(root, {!r}, O_PATH, RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS)"


def syscalls(op: Op) -> str:
    """The calls of `op` in order, with their telling arguments."""
    return ", ".join(TABLE[op[0]](*op[3])).replace("'", '"')


def _resolve(path: str) -> str:
    return TARGET.format(path)


def _attributes(add: int, remove: int = 0) -> str:
    words = {bit: f"MOUNT_ATTR_{on.upper()}" for bit, (on, _) in names.ATTRIBUTES.items()}
    words[consts.MOUNT_ATTR_RDONLY] = "MOUNT_ATTR_RDONLY"
    text = names.bits(add, words)
    if not remove:
        return text
    cleared = {bit: word for bit, word in words.items() if not bit & names.ATIME}
    parts = [names.bits(remove, cleared)] if remove & ~names.ATIME else []
    parts += ["MOUNT_ATTR__ATIME"] if remove & names.ATIME else []
    return f"{text}, clear {'|'.join(parts)}"


def _propagation(flags: int) -> str:
    words = [f"MS_{name.upper()}" for bit, name in names.PROPAGATION.items() if flags & bit]
    return "|".join([*words, "MS_REC"] if flags & consts.MS_REC else words)


def _setattr(add: int, remove: int, propagation: int, recursive: int) -> list[str]:
    """mount_setattr(2), where there is something to set."""
    if not (add or remove or propagation):
        return []
    where = 'fd, "", AT_EMPTY_PATH' + ("|AT_RECURSIVE" if recursive or propagation & consts.MS_REC else "")
    what = [_attributes(add, remove)] if add or remove else []
    what += [_propagation(propagation & ~consts.MS_REC)] if propagation else []
    return [f"mount_setattr({where}, {{{', '.join(what)}}})"]


def mount_fs(*a: Any) -> list[str]:
    """By the mount API of Linux 5.2."""
    target, fstype, source, options, attributes, propagation, _ = a
    calls = [_resolve(target), f"fsopen({fstype!r})", f'fsconfig("source", {source!r})']
    for option in options:
        key, equals, value = option.partition("=")
        calls.append(f"fsconfig({key!r}, {value!r})" if equals else f"fsconfig({key!r})")
    calls += ["fsconfig(FSCONFIG_CMD_CREATE)", f"fsmount({_attributes(attributes)})"]
    return [*calls, *_setattr(0, 0, propagation, 0), "move_mount(fd, target)"]


def mount_legacy(*a: Any) -> list[str]:
    """By mount(2)."""
    target, fstype, source, data, mount_flags, propagation, _ = a
    flags = names.bits(mount_flags, names.MS)
    calls = [_resolve(target), "fchdir(target)", f'mount({source!r}, ".", {fstype!r}, {flags}, {data!r})']
    return calls + ([f'mount(NULL, ".", {_propagation(propagation)})'] if propagation else [])


def mount_bind(*a: Any) -> list[str]:
    """A clone of a tree, changed while nobody can see it."""
    target, host, slot, add, remove, recursive_add, recursive_remove, propagation, flags = a
    recursive = "|AT_RECURSIVE" if flags & consts.MOUNT_RECURSIVE else ""
    by = "" if slot == consts.SLOT_NONE else " by the runtime"
    calls = [f"open_tree({host!r}, OPEN_TREE_CLONE{recursive}){by}"]
    calls += _setattr(recursive_add, recursive_remove, 0, 1)
    calls += _setattr(add, remove, 0, 0) + _setattr(0, 0, propagation, 0)
    return [*calls, _resolve(target), "move_mount(fd, target)"]


def rootfs(host: str, slot: int, private: int) -> list[str]:
    """The root mount."""
    by = "" if slot == consts.SLOT_NONE else " by the runtime"
    calls = ['mount_setattr("…", {MS_PRIVATE})'] if private else []
    return [*calls, f"open_tree({host!r}, OPEN_TREE_CLONE|AT_RECURSIVE){by}", f"move_mount(fd, {host!r})"]


def tree_fs(_: int, fstype: str, options: list[str], attributes: int) -> list[str]:
    """A filesystem that is mounted nowhere."""
    calls = [f"fsopen({fstype!r})"]
    for option in options:
        key, value = option.split("=", 1)
        calls.append(f"fsconfig({key!r}, {value!r})")
    return [*calls, "fsconfig(FSCONFIG_CMD_CREATE)", f"fsmount({_attributes(attributes)})"]


def seccomp(program: bytes, flags: int) -> list[str]:
    """A filter, by the number of its instructions."""
    return [f"seccomp(SECCOMP_SET_MODE_FILTER, {flags:#x}, {len(program) // 8} instructions)"]


def hook(path: str, argv: list[str], *rest: Any) -> list[str]:
    """A child of the init."""
    _, timeout, _, bits, program, flags = rest
    return [
        "clone(CLONE_PIDFD)",
        "setsid()",
        *(["fchdir(root)"] if bits & consts.HOOK_IN_ROOT else []),
        *(seccomp(program, flags) if program else []),
        f"execve({path!r}, {argv!r})",
        f"ppoll(pidfd, {timeout or -1})",
        "wait4()",
    ]


def caps(effective: int, permitted: int, inheritable: int, ambient: int) -> list[str]:
    """The sets as hexadecimal masks, as /proc/PID/status shows them."""
    calls = [f"capset({effective:#x}, {permitted:#x}, {inheritable:#x})", "prctl(PR_CAP_AMBIENT_CLEAR_ALL)"]
    for number, name in names.CAPABILITIES.items():
        if ambient >> number & 1:
            calls.append(f"prctl(PR_CAP_AMBIENT_RAISE, {name})")
    return calls


def open_proc(_: int, which: int) -> list[str]:
    """A new filesystem, or the host's."""
    if which == consts.PROC_HOST:
        return ['open_tree("/proc", OPEN_TREE_CLONE)']
    subset = ['fsconfig("subset", "pid")'] if which == consts.PROC_PROCESSES else []
    return ['fsopen("proc")', *subset, "fsconfig(FSCONFIG_CMD_CREATE)", "fsmount()"]


def console(_: int, uid: int, rows: int, columns: int, bind: int) -> list[str]:
    """The terminal's peer is had from its master, not from a path."""
    calls = [_resolve("/dev/pts/ptmx"), "ioctl(TIOCSPTLCK)", "ioctl(TIOCGPTPEER)"]
    calls += [f"ioctl(TIOCSWINSZ, {rows}, {columns})"] if rows or columns else []
    calls += [f"fchown(tty, {uid})"] if uid else []
    calls += ["open_tree(tty, OPEN_TREE_CLONE)", 'move_mount(fd, "/dev/console")'] if bind else []
    return [*calls, "dup3(tty, 0)", "dup3(tty, 1)", "dup3(tty, 2)", "sendmsg(socket, SCM_RIGHTS)"]


TABLE: dict[str, Callable[..., list[str]]] = {
    "oom_score_adj": lambda value: [f'write("/proc/self/oom_score_adj", {value!r})'],
    "open_namespace": lambda _, host, __: [f"open({host!r})"],
    "join": lambda _, kind: [f"setns(fd, {names.bits(kind, names.CLONE)})"],
    "clone": lambda flags: [
        f"clone3({names.bits(flags | CLONE_PARENT, {**names.CLONE, CLONE_PARENT: 'CLONE_PARENT'})})"
    ],
    "next_plan": lambda *_: ["poll(doorbell, runtime)", "recvmsg(runtime)"],
    "sync": lambda _: ["sendmsg(runtime)", "recvmsg(runtime)"],
    "open_proc": open_proc,
    "open_tree": lambda _, host, recursive: [
        f"open_tree({host!r}, OPEN_TREE_CLONE{'|AT_RECURSIVE' if recursive else ''})"
    ],
    "close": lambda _: ["close()"],
    "enter_cgroup": lambda _: ['write(tasks, "0")'],
    "unshare": lambda flags: [f"unshare({names.bits(flags, names.CLONE)})"],
    "setns_proc": lambda path, kind: [f"openat2(proc, {path!r})", f"setns(fd, {names.bits(kind, names.CLONE)})"],
    "session": lambda: ["setsid()"],
    "hostname": lambda name: [f"sethostname({name!r})"],
    "domainname": lambda name: [f"setdomainname({name!r})"],
    "link_up": lambda interface: [f"ioctl(SIOCGIFFLAGS, {interface!r})", f"ioctl(SIOCSIFFLAGS, {interface!r}, IFF_UP)"],
    "write_proc": lambda path, value: [f"openat2(proc, {path!r}, O_WRONLY)", f"write({value!r})"],
    "propagate": lambda flags: [f'mount(NULL, "/", {_propagation(flags)})'],
    "rootfs": rootfs,
    "root_dir": lambda host: [f"open({host!r}, O_PATH|O_DIRECTORY)"],
    "mount_fs": mount_fs,
    "mount_legacy": mount_legacy,
    "mount_bind": mount_bind,
    "mkdir": lambda path, mode: [_resolve(path), f"mkdirat(parent, {path.rpartition('/')[2]!r}, {mode:04o})"],
    "mknod": lambda path, mode, device, uid, gid: [
        _resolve(path.rpartition("/")[0] or "/"),
        f"mknodat(parent, {path.rpartition('/')[2]!r}, {mode:#o}, makedev({names.device(device).replace(':', ', ')}))",
        *([f"fchownat({uid}, {gid})"] if uid or gid else []),
    ],
    "symlink": lambda text, path: [
        _resolve(path.rpartition("/")[0] or "/"),
        f"symlinkat({text!r}, parent, {path.rpartition('/')[2]!r})",
    ],
    "tree_fs": tree_fs,
    "pivot": lambda: [
        "fchdir(root)",
        'pivot_root(".", ".")',
        "fchdir(old)",
        'mount(NULL, ".", MS_SLAVE|MS_REC)',
        'umount2(".", MNT_DETACH)',
        'chdir("/")',
    ],
    "move_root": lambda: [
        "umount2(each procfs and sysfs, MNT_DETACH)",
        "fchdir(root)",
        'mount(".", "/", MS_MOVE)',
        'chroot(".")',
        'chdir("/")',
    ],
    "chroot": lambda: ["fchdir(root)", 'chroot(".")', 'chdir("/")'],
    "root_attr": _setattr,
    "mount_attr": lambda target, *a: [_resolve(target), *_setattr(*a)],
    "readonly": lambda path, _: [
        _resolve(path),
        "open_tree(target, OPEN_TREE_CLONE|AT_RECURSIVE)",
        *_setattr(consts.MOUNT_ATTR_RDONLY, 0, 0, 1),
        "move_mount(fd, target)",
    ],
    "close_mounts": lambda: ["close()"],
    "label": lambda path, text: [_resolve(path), f'fsetxattr(fd, "security.selinux", "{text}")'],
    "mask": lambda path, *_: [_resolve(path), "open_tree(fd, OPEN_TREE_CLONE)", "move_mount(fd, target)"],
    "console": console,
    "controlling_terminal": lambda: ["ioctl(0, TIOCSCTTY)"],
    "stdio_owner": lambda uid: ["fstat(0..2)", f"fchown(0..2, {uid})"],
    "keyring": lambda name, _: [f"keyctl(KEYCTL_JOIN_SESSION_KEYRING, {name!r})", "keyctl(KEYCTL_SETPERM)"],
    "rlimit": lambda resource, soft, hard: [
        f"prlimit64({names.RLIMITS.get(resource, resource)}, {{{names.limit(soft)}, {names.limit(hard)}}})"
    ],
    "memory_policy": lambda mode, nodes: [
        f"set_mempolicy({mode:#x}, {hex(int.from_bytes(nodes, 'little')) if nodes else 'NULL'})"
    ],
    "personality": lambda persona: [f"personality({persona:#x})"],
    "bounding": lambda mask: [f"prctl(PR_CAPBSET_DROP, all but {mask:#x})"],
    "groups": lambda gids: [f"setgroups({names.gids(gids)})"],
    "ids": lambda uid, gid: [
        "prctl(PR_SET_KEEPCAPS, 1)",
        f"setresgid({gid}, {gid}, {gid})",
        f"setresuid({uid}, {uid}, {uid})",
    ],
    "caps": caps,
    "report_file": lambda _: [f"mmap(NULL, {consts.REPORT_SIZE}, PROT_READ|PROT_WRITE, MAP_SHARED, fd, 0)"],
    "no_new_privs": lambda: ["prctl(PR_SET_NO_NEW_PRIVS, 1)"],
    "seccomp": seccomp,
    "seccomp_notify": lambda program, flags, *_: [
        "clone(CLONE_FILES)",
        f"seccomp(SECCOMP_SET_MODE_FILTER, {flags | 8:#x}, {len(program) // 8} instructions)",
        "sendmsg(agent, SCM_RIGHTS) by the child",
    ],
    "affinity": lambda: ["sched_setaffinity(0, all)"],
    "umask": lambda mask: [f"umask({mask:04o})"],
    "chdir": lambda path: [f"chdir({path!r})", "getcwd()"],
    "home": lambda _: ['open("/etc/passwd", O_NONBLOCK)', "fstat()", "read()"],
    "hook": hook,
    "find_exec": lambda _, candidates: [f"faccessat2({path!r}, X_OK, AT_EACCESS)" for path in candidates],
    "wait_start": lambda _: ["accept4(socket)", "read()"],
    "close_fds": lambda count: [f"close_range({3 + count}, ~0U)"],
    "exec": lambda argv, env: [f"execve({argv!r}, {len(env)} variables)"],
}
