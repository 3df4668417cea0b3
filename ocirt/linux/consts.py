"""Numbers of the kernel's interface, most of them for operations; no code, the same on x86-64 and arm64.

Slots, sync points and MOUNT_… flags are those of ocirt/spawn/init/wire.h; a test compares them.
"""

from __future__ import annotations

# What poll(2) takes for a time, in milliseconds: 24 days
INT_MAX = 0x7FFFFFFF

# signal(7): the two that no process can block, catch or ignore
SIGKILL = 9
SIGSTOP = 19

# clone(2), <linux/sched.h>
CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# mount(2), <linux/mount.h>
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_SYNCHRONOUS = 0x10
MS_MANDLOCK = 0x40
MS_DIRSYNC = 0x80
MS_NOSYMFOLLOW = 0x100
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_REC = 0x4000
MS_UNBINDABLE = 0x20000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
MS_SHARED = 0x100000
MS_I_VERSION = 0x800000
MS_STRICTATIME = 0x1000000
MS_LAZYTIME = 0x2000000

# mount_setattr(2), fsmount(2). The three bits of MOUNT_ATTR__ATIME are one field: relatime is its zero.
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

# inode(7)
S_IFMT = 0o170000
S_IFIFO = 0o010000
S_IFCHR = 0o020000
S_IFDIR = 0o040000
S_IFBLK = 0o060000
S_IFREG = 0o100000

# time_namespaces(7): those that have an offset
CLOCKS = ("monotonic", "boottime")

# wire.h: the slots that have a name, and the first that has none
SLOT_ROOT = 0
SLOT_PROC = 1
SLOT_NULL = 2
SLOT_EMPTY = 3
SLOT_CONSOLE = 4
SLOT_START = 5
SLOT_STATE_CREATING = 6
SLOT_STATE_CREATED = 7
SLOT_FIRST_FREE = 8
SLOT_CGROUP = 253
SLOT_TARGET = 252
SLOT_REPORT = 251
SLOT_NONE = 0xFFFFFFFF

# wire.h: how many descriptors one message can carry
MSG_FDS_MAX = 200

# wire.h: the points at which the init waits
SYNC_PLAN = 0
SYNC_MAPPED = 1
SYNC_CGROUP = 2
SYNC_RUNTIME_HOOKS = 3
SYNC_CREATED = 4
SYNC_START = 5

# wire.h: which procfs is opened
PROC_WHOLE = 0
PROC_PROCESSES = 1
PROC_HOST = 2

# wire.h: flags of the mount operations
MOUNT_PROC_OK = 1
MOUNT_NO_SYMLINKS = 2
MOUNT_COPY_UP = 4
MOUNT_INHERIT_MODE = 8
MOUNT_COPY_SYMLINK = 16
MOUNT_DEVICE = 32
MOUNT_RECURSIVE = 64
MOUNT_KEEP = 128
KEPT_MAX = 1024

# wire.h: flags of the operation hook
HOOK_HOME = 1
HOOK_IN_ROOT = 2

# wire.h: bytes of the file for the failure report
REPORT_SIZE = 4096

# linux/bpf_common.h: what a seccomp filter is made of
BPF_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS, of struct seccomp_data
BPF_JUMP = 0x05
BPF_EQUAL, BPF_GREATER, BPF_AT_LEAST, BPF_ANY_BIT = 0x15, 0x25, 0x35, 0x45  # BPF_JMP | BPF_K
BPF_RETURN = 0x06

# fsconfig(2) takes a value of at most this many bytes
FSCONFIG_VALUE_MAX = 255

# keyctl_setperm(3): search permission for the possessor's user class
KEY_USR_SEARCH = 0x080000
KEY_OTH_SEARCH = 0x000008

# getrlimit(2), <asm-generic/resource.h>; x86-64 and arm64 agree
RLIMITS = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}
RLIMIT_NOFILE = 7

# capabilities(7), <linux/capability.h>
CAPABILITIES = {
    "CAP_CHOWN": 0,
    "CAP_DAC_OVERRIDE": 1,
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_FOWNER": 3,
    "CAP_FSETID": 4,
    "CAP_KILL": 5,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SETPCAP": 8,
    "CAP_LINUX_IMMUTABLE": 9,
    "CAP_NET_BIND_SERVICE": 10,
    "CAP_NET_BROADCAST": 11,
    "CAP_NET_ADMIN": 12,
    "CAP_NET_RAW": 13,
    "CAP_IPC_LOCK": 14,
    "CAP_IPC_OWNER": 15,
    "CAP_SYS_MODULE": 16,
    "CAP_SYS_RAWIO": 17,
    "CAP_SYS_CHROOT": 18,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_PACCT": 20,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_BOOT": 22,
    "CAP_SYS_NICE": 23,
    "CAP_SYS_RESOURCE": 24,
    "CAP_SYS_TIME": 25,
    "CAP_SYS_TTY_CONFIG": 26,
    "CAP_MKNOD": 27,
    "CAP_LEASE": 28,
    "CAP_AUDIT_WRITE": 29,
    "CAP_AUDIT_CONTROL": 30,
    "CAP_SETFCAP": 31,
    "CAP_MAC_OVERRIDE": 32,
    "CAP_MAC_ADMIN": 33,
    "CAP_SYSLOG": 34,
    "CAP_WAKE_ALARM": 35,
    "CAP_BLOCK_SUSPEND": 36,
    "CAP_AUDIT_READ": 37,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
    "CAP_CHECKPOINT_RESTORE": 40,
}
