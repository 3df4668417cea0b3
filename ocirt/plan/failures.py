"""Cold: what went wrong with an operation, in words: the action, the kernel's reason, and what is known to help.

Engines read these lines and draw conclusions from phrases such as the texts of ENOENT and EACCES: a reason is always
the errno's own text, and no hint uses such a phrase.
"""

from __future__ import annotations

import errno as numbers
import os
from typing import TYPE_CHECKING, Any

from ocirt.errors import OLD_KERNEL
from ocirt.linux import consts
from ocirt.plan import names
from ocirt.plan.hints import EXEC_HINTS, NOT_EXECUTABLE, hint

if TYPE_CHECKING:
    from collections.abc import Callable

    from ocirt.plan.ops import Op

DETAILS = {
    "target": "the target cannot be opened or made",
    "source": "the source cannot be opened",
    "in_proc": "the target lies inside a procfs",
    "not_dir": "the target must be a real directory, reached without a symlink",
    "wrong_inode": "what is there is not what it must be",
    "outside": "the directory is not below the container's root",
    "create": "the filesystem refused to mount",
    "attach": "it cannot be attached there",
    "attribute": "its attributes cannot be changed",
    "plan": "the plan is malformed",
    "hidden": "the mount that it lies on is not what can be seen there",
}


def failure(op: Op, errno: int, detail: str, text: str) -> str:
    """One line for a failed operation.

    `errno` is the kernel's, or for detail "exit" the wait status; `detail` a DETAIL_… of wire.h in lower case without
    its prefix; `text` what the kernel or the hook said, "" for nothing.
    """
    special = SPECIAL.get(op[0])
    words = special(op[3], errno, detail, text) if special else ""
    return (words or general(op, errno, detail, text)).replace("\n", " ").strip()


def general(op: Op, errno: int, detail: str, text: str) -> str:
    """The action, the detail, the reason, what the kernel said, a hint."""
    parts = [action(op)]
    if detail == "option" and text:
        option, _, text = text.partition(": ")
        parts.append(f'option "{option}"')
    elif detail in DETAILS:
        parts.append(DETAILS[detail])
    parts.append(reason(errno))
    if text:
        parts.append(text)
    words = ": ".join(parts)
    help_words = hint(op, errno, detail)
    return f"{words} ({help_words})" if help_words else words


def reason(errno: int) -> str:
    """strerror(3) in lower case, as the phrases of engines are compared."""
    words = os.strerror(errno).lower() if errno else "unknown error"
    return f"{words} ({OLD_KERNEL})" if errno == numbers.ENOSYS else words


def symbol(errno: int) -> str:
    """ENOENT …, for people who search."""
    return numbers.errorcode.get(errno, str(errno))


def action(op: Op) -> str:
    """What the operation was about to do, with its object."""
    maker = ACTIONS.get(op[0])
    return maker(*op[3]) if maker else op[0].replace("_", " ")


ACTIONS: dict[str, Callable[..., str]] = {
    "oom_score_adj": lambda value: f"set oom_score_adj to {value}",
    "open_namespace": lambda _, host, kind: f'open {names.namespaces(kind)} namespace "{host}"',
    "join": lambda _, kind: f"join {names.namespaces(kind)} namespace",
    "clone": lambda flags: f"make namespaces {names.namespaces(flags)}" if flags else "start the process",
    "next_plan": lambda *_: "take the rest of the plan",
    "sync": lambda _: "talk to the runtime",
    "open_proc": lambda *_: "open a procfs",
    "open_tree": lambda _, host, __: f'open "{host}"',
    "close": lambda _: "close a descriptor",
    "enter_cgroup": lambda _: "move into a cgroup of the container",
    "unshare": lambda flags: f"make {names.namespaces(flags)} namespace",
    "setns_proc": lambda _, kind: f"enter {names.namespaces(kind)} namespace",
    "session": lambda: "start a session",
    "hostname": lambda name: f'set hostname "{name}"',
    "domainname": lambda name: f'set domainname "{name}"',
    "link_up": lambda interface: f"bring up network interface {interface}",
    "write_proc": lambda path, value: f'write "{value.strip()}" to /proc/{path}',
    "propagate": lambda flags: f"make all mounts {', '.join(names.propagation(flags))}",
    "rootfs": lambda host, *_: f'mount root filesystem "{host}"',
    "root_dir": lambda host: f'open root filesystem "{host}"',
    "mount_fs": lambda target, fstype, source, *_: f"mount {_filesystem(fstype, source)} on {target}",
    "mount_legacy": lambda target, fstype, source, *_: f"mount {_filesystem(fstype, source)} on {target}",
    "mount_bind": lambda target, host, *_: f'bind "{host}" on {target}',
    "mknod": lambda path, *_: f"make device {path}",
    "symlink": lambda text, path: f"make symlink {path} -> {text}",
    "tree_fs": lambda _, fstype, *__: f"make an empty {fstype}",
    "pivot": lambda: "pivot_root",
    "move_root": lambda: "move the root mount",
    "chroot": lambda: "chroot",
    "root_attr": lambda *a: f"make the root {_change(*a)}",
    "mount_attr": lambda target, *a: f"make the mount on {target} {_change(*a)}",
    "readonly": lambda path, _: f"make {path} read-only",
    "close_mounts": lambda: "close descriptors",
    "mask": lambda path, *_: f"mask {path}",
    "label": lambda path, text: f'label {path} "{text}"',
    "affinity": lambda: "run on every CPU of the cgroup",
    "console": lambda *_: "set up the terminal",
    "controlling_terminal": lambda: "take the terminal for the session",
    "stdio_owner": lambda uid: f"give stdio to user {uid}",
    "keyring": lambda name, _: f'make session keyring "{name}"',
    "rlimit": lambda resource, soft, hard: (
        f"set {names.RLIMITS.get(resource, resource)} to {names.limit(soft)}:{names.limit(hard)}"
    ),
    "memory_policy": lambda mode, nodes: f"set memory policy {names.memory_policy(mode, nodes)}",
    "personality": lambda persona: f"set execution domain {names.DOMAINS.get(persona, persona)}",
    "bounding": lambda _: "drop capabilities from the bounding set",
    "groups": lambda gids: f"set additional groups {names.gids(gids)}",
    "ids": lambda uid, gid: f"become user {uid} and group {gid}",
    "caps": lambda *_: "set capabilities",
    "report_file": lambda _: "map the file for the failure report",
    "no_new_privs": lambda: "set no_new_privs",
    "seccomp": lambda *_: "load the seccomp filter",
    "seccomp_notify": lambda *_: "load the seccomp filter and send its listener to the agent",
    "umask": lambda mask: f"set umask {mask:04o}",
    "home": lambda *_: "find HOME in /etc/passwd",
    "wait_start": lambda _: "wait for start",
    "close_fds": lambda _: "close descriptors",
}


def _filesystem(fstype: str, source: str) -> str:
    return f'"{fstype}"' if source in {"", fstype} else f'"{fstype}" from "{source}"'


def _change(add: int, remove: int, propagation: int, _: int) -> str:
    return ", ".join(names.attributes(add, remove) + names.propagation(propagation))


# ---- the ones whose words engines know -------------------------------------------------------------------------------


def find_exec(arguments: tuple[Any, ...], errno: int, _: str, __: str) -> str:
    """The program was not found, or none that was found may be executed."""
    name = arguments[0]
    if errno == numbers.ENOENT and "/" not in name:
        words = " (each word of a command is an entry of args)" if len(name.split()) > 1 else ""
        return f'exec: "{name}": executable file not found in $PATH{words}'
    if errno == numbers.EACCES:
        return f'exec: "{name}": {reason(errno)} ({NOT_EXECUTABLE})'
    return f'exec: "{name}": stat {name}: {reason(errno)}'


def execute(arguments: tuple[Any, ...], errno: int, _: str, text: str) -> str:
    """The program is there, and the kernel did not take it."""
    words = f'exec: "{text or arguments[0][0]}": {reason(errno)}'
    help_words = too_long(*arguments) if errno == numbers.E2BIG else EXEC_HINTS.get(symbol(errno))
    return f"{words}: {help_words}" if help_words else words


def too_long(argv: list[str], env: list[str]) -> str:
    """Which argument or variable execve(2) does not take, or how large they are together."""
    longest = 32 * os.sysconf("SC_PAGE_SIZE")  # MAX_ARG_STRLEN of linux/binfmts.h, the nul byte included
    sizes = [(f"/process/args/{index}", len(os.fsencode(text)) + 1) for index, text in enumerate(argv)]
    sizes += [(f"/process/env: {text.partition('=')[0]}", len(os.fsencode(text)) + 1) for text in env]
    for name, size in sizes:
        if size > longest:
            allowed = f"one argument or variable may have {longest - 1} (MAX_ARG_STRLEN, {longest >> 10} KiB)"
            return f"{name} has {size - 1} bytes, {allowed}"
    total = sum(size for _, size in sizes)
    return f"/process/args and env have {total} bytes together; the limit is a quarter of RLIMIT_STACK, at most 6 MiB"


def chdir(arguments: tuple[Any, ...], errno: int, detail: str, _: str) -> str:
    """The directory cannot be entered, or is the host's."""
    why = DETAILS["outside"] if detail == "outside" else reason(errno)
    return f'chdir to cwd ("{arguments[0]}") set in config.json failed: {why}'


def mkdir(arguments: tuple[Any, ...], errno: int, _: str, text: str) -> str:
    """The working directory is the one that is made; `text` is what of its path is no directory."""
    return f'make cwd ("{arguments[0]}") set in config.json failed: {reason(errno)}{f": {text}" if text else ""}'


def hook(arguments: tuple[Any, ...], errno: int, detail: str, text: str) -> str:
    """A hook failed, or ran out of time; with what it printed."""
    path, timeout = arguments[0], arguments[3]
    said = f": {text.strip()}" if text.strip() else ""
    if detail == "timeout":
        return f'hook "{path}" did not finish within {timeout / 1000:g} s{said}'
    if detail != "exit":
        return f'hook "{path}": {reason(errno)}{said}'
    code = os.waitstatus_to_exitcode(errno)
    ended = f"exited with status {code}" if code >= 0 else f"was killed by signal {-code}"
    return f'hook "{path}" {ended}{said}'


def mknod(arguments: tuple[Any, ...], errno: int, detail: str, _: str) -> str:
    """Something else is at the device's path; "" for every other reason."""
    if detail != "wrong_inode":
        return ""
    path, mode, device = arguments[:3]
    kind = names.TYPES.get(mode & consts.S_IFMT, "?")
    wanted = "a fifo" if kind == "p" else f"the device {kind} {names.device(device)}"
    return f"make device {path}: there is a file that is not {wanted}: {reason(errno)}"


SPECIAL: dict[str, Callable[[tuple[Any, ...], int, str, str], str]] = {
    "find_exec": find_exec,
    "exec": execute,
    "chdir": chdir,
    "mkdir": mkdir,
    "hook": hook,
    "mknod": mknod,
}
