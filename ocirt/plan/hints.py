"""Cold: what is known to help, for the commonest failures. A hint explains and never repeats an errno's text."""

from __future__ import annotations

import errno as numbers
from typing import TYPE_CHECKING

from ocirt.linux import consts
from ocirt.linux.paths import PROC_MOUNTS

if TYPE_CHECKING:
    from ocirt.plan.ops import Op

_PROC = ", ".join(sorted(PROC_MOUNTS))

# Operation ("" for any), errno, detail ("" for any) → words. The first that fits is taken.
HINTS: tuple[tuple[str, str, str, str], ...] = (
    ("open_namespace", "ENOENT", "", "the process or the mount that kept the namespace is gone"),
    ("open_namespace", "EINVAL", "", "the file is a namespace of another type, or none"),
    ("join", "EINVAL", "", "the file is a namespace of another type, or one that cannot be entered from here"),
    ("join", "EPERM", "", "joining requires CAP_SYS_ADMIN in the user namespace that owns it"),
    ("clone", "EPERM", "", "creating namespaces requires CAP_SYS_ADMIN, or a user namespace that this host allows"),
    ("clone", "ENOSPC", "", "a limit of /proc/sys/user is reached, or namespaces are nested too deeply"),
    ("clone", "EUSERS", "", "a limit of /proc/sys/user is reached"),
    ("clone", "EAGAIN", "", "the limit on processes is reached: RLIMIT_NPROC or the pids cgroup"),
    ("clone", "ENOMEM", "", "out of memory, or the joined pid namespace has no init any more"),
    ("clone", "EINVAL", "", "the kernel is built without one of these namespaces"),
    (
        "clone",
        "EBUSY",
        "",
        "the container's cgroup hands controllers down to those below it, and so takes no process",
    ),
    ("clone", "EACCES", "", "the user may not move processes from the cgroup of the runtime to the container's"),
    ("clone", "ENODEV", "", "the container's cgroup has been removed"),
    ("unshare", "EINVAL", "", "the kernel is built without this namespace"),
    ("unshare", "ENOSPC", "", "a limit of /proc/sys/user is reached"),
    ("write_proc", "ENOENT", "", "the kernel has no such parameter, or the profile is not loaded"),
    ("write_proc", "EINVAL", "", "the kernel does not take this value"),
    ("write_proc", "ERANGE", "", "the offset is out of range"),
    ("rootfs", "ENOENT", "", "the directory of root.path is missing"),
    ("rootfs", "EACCES", "", "the container's user cannot search the directories above it"),
    ("rootfs", "EINVAL", "", "its mount is unbindable"),
    ("root_dir", "ENOENT", "", "the directory of root.path is missing"),
    ("", "EACCES", "in_proc", f"/proc may be covered by another procfs, and of what is in it only {_PROC}"),
    ("rootfs", "ENOTDIR", "", "root.path, or a part of it, is no directory"),
    ("root_dir", "ENOTDIR", "", "root.path, or a part of it, is no directory"),
    ("mount_bind", "ENOTDIR", "source", "a part of the source's path is no directory"),
    ("mount_fs", "ENODEV", "", "the kernel has no such filesystem"),
    ("mount_fs", "EINVAL", "option", "the filesystem does not know this option, or not this value"),
    ("mount_fs", "EINVAL", "create", "the filesystem does not take these options together"),
    ("mount_fs", "ENOTBLK", "", "the source must be a block device"),
    (
        "mount_fs",
        "EPERM",
        "create",
        "the filesystem requires privileges over its namespace, or the host's is partly hidden",
    ),
    ("mount_fs", "ENOTDIR", "attach", "a filesystem goes on a directory"),
    ("mount_fs", "EBUSY", "", "the source is mounted already with other options"),
    ("mount_bind", "ENOENT", "source", "the source of a bind mount must be there"),
    ("mount_bind", "EPERM", "attribute", "flags that the host has set on the source are locked in a user namespace"),
    ("mount_bind", "EINVAL", "source", "the source is on an unbindable mount, or has mounts below it: use rbind"),
    ("mount_bind", "ENOTDIR", "attach", "a directory goes on a directory, a file on a file"),
    ("mount_bind", "EACCES", "source", "the container's user cannot search the directories above the source"),
    ("", "EXDEV", "target", "a symlink leads out of the mount that the path is below"),
    (
        "",
        "EMFILE",
        "",
        "the runtime's RLIMIT_NOFILE is reached: a mount stays open while others are made below it",
    ),
    ("mknod", "EPERM", "", "device nodes require CAP_MKNOD in the host's user namespace"),
    ("pivot", "EINVAL", "", "the host's root is a ramfs: use --no-pivot"),
    ("root_attr", "EPERM", "", "flags of the root mount are locked in a user namespace"),
    ("console", "ENOENT", "", "mount devpts on /dev/pts"),
    ("console", "ENOSPC", "", "the devpts has no terminal left: see its option max"),
    ("keyring", "EDQUOT", "", "the user has too many keys: raise kernel.keys.maxkeys, or use --no-new-keyring"),
    ("rlimit", "EPERM", "", "raising a hard limit requires CAP_SYS_RESOURCE on the host"),
    ("memory_policy", "EINVAL", "", "no such node here, none that the cpuset allows, or a mode or flag that is newer"),
    ("memory_policy", "ENOSYS", "", "the kernel is built without NUMA"),
    ("oom_score_adj", "EACCES", "", "lowering the score requires CAP_SYS_RESOURCE"),
    ("groups", "EPERM", "", "setgroups is denied in this user namespace"),
    ("groups", "EINVAL", "", "a group has no mapping in the user namespace, or there are more than 65536"),
    ("ids", "EINVAL", "", "the user or group has no mapping in the user namespace"),
    ("ids", "EAGAIN", "", "the user has as many processes as RLIMIT_NPROC allows"),
    ("caps", "EPERM", "", "the runtime lacks one of these capabilities itself"),
    ("seccomp", "EACCES", "", "without noNewPrivileges a filter requires CAP_SYS_ADMIN"),
    ("seccomp_notify", "EACCES", "", "without noNewPrivileges a filter requires CAP_SYS_ADMIN"),
    ("seccomp_notify", "EBUSY", "", "a filter with a listener is in force already"),
    ("seccomp_notify", "EPIPE", "", "the agent has closed its connection"),
    ("seccomp_notify", "EAGAIN", "", "the agent does not read"),
    ("seccomp", "EINVAL", "", "the kernel knows none of the filter's flags, or has no seccomp"),
)

# What faccessat(2) refuses, where the file is there
NOT_EXECUTABLE = "it is no regular file, is not executable for this user, or is on a mount with noexec"

# The program is there: what else execve(2) may mean
EXEC_HINTS = {
    "ENOENT": "the file is there, its interpreter is not: the one of its #! line (which must not end in a carriage "
    "return), or the dynamic loader that it was linked with",
    "ENOEXEC": "it is built for another architecture, or a script without a #! line",
    "EACCES": "it is on a mount with noexec, or its interpreter may not be executed",
    "EPERM": "a security module or no_new_privs forbids it",
    "ETXTBSY": "it is being written to",
    "ELIBBAD": "its interpreter is in no format that the kernel knows",
    "EINVAL": "its ELF headers make no sense to the kernel",
    "EAGAIN": "the user has as many processes as RLIMIT_NPROC allows",
}

# Where a failure is likelier by what the operation is about than by its errno
SYS_IN_USER_NAMESPACE = "sysfs requires a network namespace that the user namespace owns"


def hint(op: Op, errno: int, detail: str) -> str:
    """What is known to help, "" where nothing is."""
    name, _, _, arguments = op
    symbol = numbers.errorcode.get(errno, "")
    if name == "mount_fs" and arguments[1] == "sysfs" and symbol == "EPERM":
        return SYS_IN_USER_NAMESPACE
    if name == "mount_bind" and arguments[8] & consts.MOUNT_DEVICE and detail == "source":
        return "the host must have the device at the same path"
    for operation, reason, where, words in HINTS:
        if operation in ("", name) and reason == symbol and where in ("", detail):
            return words
    return ""
