"""Cold: the operations of the host plan in words and as system calls, for `ocirt explain` and for errors."""

from __future__ import annotations

import errno as numbers
from typing import TYPE_CHECKING, Any

from ocirt.linux import consts
from ocirt.plan import scheduling, show

if TYPE_CHECKING:
    from collections.abc import Callable

    from ocirt.plan.ops import Op

    Words = Callable[..., str]

POLICY_NAMES = {number: name for name, number in scheduling.POLICIES.items()}
IO_CLASS_NAMES = {number: name for name, number in scheduling.IO_CLASSES.items()}
POINTS = {
    consts.SYNC_MAPPED: "has made its user namespace",
    consts.SYNC_CGROUP: "needs its cgroup",
    consts.SYNC_RUNTIME_HOOKS: "is ready for the hooks",
    consts.SYNC_CREATED: "is ready to be started",
    consts.SYNC_START: "is ready to be executed",
}


def describe(op: Op) -> str:
    """One line that says what `op` does, with what may go wrong."""
    return TABLE[op[0]][0](*op[3]) + show.guard(op)


def syscalls(op: Op) -> str:
    """The calls of `op` in order, with their telling arguments."""
    return TABLE[op[0]][1](*op[3])


def scheduler(attributes: bytes) -> str:
    """The policy with what is set for it."""
    _, policy, flags, nice, priority, runtime, deadline, period, _, _ = scheduling.SCHED_ATTR.unpack(attributes)
    given = {"nice": nice, "priority": priority, "runtime": runtime, "deadline": deadline, "period": period}
    words = [f"{name} {value}" for name, value in given.items() if value]
    words += [name for name, bit in scheduling.SCHED_FLAGS.items() if flags & bit]
    return f"set the scheduling policy {POLICY_NAMES[policy]}{_more(words)}"


def io_priority(value: int) -> str:
    """The class and the level."""
    name = IO_CLASS_NAMES[value >> scheduling.IO_CLASS_SHIFT]
    return f"set the I/O priority {name}, {value & (1 << scheduling.IO_CLASS_SHIFT) - 1}"


def affinity(cpus: bytes) -> str:
    """A list as in the config."""
    mask = int.from_bytes(cpus, "little")
    ranges: list[list[int]] = []
    for cpu in range(mask.bit_length()):
        if mask >> cpu & 1:
            if ranges and ranges[-1][1] == cpu - 1:
                ranges[-1][1] = cpu
            else:
                ranges.append([cpu, cpu])
    return "run on the CPUs " + ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def net_device(host: str, name: str) -> str:
    """From where and to which name."""
    return f"move the network device {host} into the container{'' if name == host else f' as {name}'}"


def resctrl(name: str, monitored: int, _: list[str], make: int) -> str:
    """The class, and what is made for it."""
    words = ["made where it is missing"] if make else []
    words += ["with a monitoring group"] if monitored else []
    return f"put the process into the resctrl group {name or 'named as the container'}{_more(words)}"


def map_tree(*a: Any) -> str:
    """Which ids a tree shows."""
    _, host, uids, gids, namespace, recursive = a
    how = f"as the user namespace {namespace} does" if namespace else f"uids {_ranges(uids)}, gids {_ranges(gids)}"
    return f"map the ids of {host}{' with all below it' if recursive else ''}: {how}"


def device_rules(path: str, file: str, lines: list[str], *_: Any) -> str:
    """All that are written to one file."""
    verb = "let it use" if file == "devices.allow" else "keep it from using"
    what = "every device" if lines == ["a"] else f"devices {', '.join(lines)}"
    return f"{verb} {what}, in cgroup {path}"


def send_plan(first: int, count: int, more: int, _: int, deadline: int) -> str:
    """Which part, and how long the init may be silent."""
    part = f"steps {first + 1} to {first + count}" if count > 1 else f"step {first + 1}"
    within = f"; it answers within {deadline / 1000:g} s" if deadline else "; it may take as long as it likes"
    return f"send the init {part} of its plan{', others follow' if more else ''}{within}"


def hook(*a: Any) -> str:
    """A hook with its time."""
    path, argv, env, given, timeout, status = a
    words = [f"at most {timeout} s"] if timeout else []
    words += [f"{len(env)} variables" if given else "the runtime's environment", f"status {status}"]
    return f"run the hook {path} as {' '.join(argv)}{_more(words)}"


def write_limit(path: str, file: str, text: str, _: int) -> str:
    """One file of a cgroup."""
    return f'set {file} of the cgroup to "{text.strip()}"'.replace("\n", ", ")


def _more(words: list[str]) -> str:
    return f" ({', '.join(words)})" if words else ""


def _ranges(lines: list[str]) -> str:
    listed = [line.split() for line in lines]
    return ", ".join(f"{first} to {second}{f' ({n} of them)' if n != '1' else ''}" for first, second, n in listed)


def _open_tree(host: str, recursive: int) -> str:
    return f'open_tree("{host}", OPEN_TREE_CLONE{"|AT_RECURSIVE" if recursive else ""})'


def _opens(path: str, flags: str) -> str:
    return f'open("{path}", {flags})'


STATE = "in the state directory"

# Name → words, system calls
TABLE: dict[str, tuple[Words, Words]] = {
    "claim": (
        lambda root, name: f"claim the id: make the state directory {root}/{name}, lock it, mark it",
        lambda root, name: f'mkdir("{root}/{name}", 01700), flock(LOCK_EX), write("ocirt.json")',
    ),
    "record": (
        lambda *a: f"note for the state: manager {a[5]}, owner {a[4]}{_more(a[6].split())}",
        lambda *_: 'read("/proc/sys/kernel/random/boot_id")',
    ),
    "expect_cgroups": (
        lambda paths, unit: f"note which of {len(paths)} cgroups will have to be made{_more([unit] if unit else [])}",
        lambda paths, _: ", ".join(f'access("{path}")' for path in paths[:1]) + (", …" if len(paths) > 1 else ""),
    ),
    "write_state": (
        lambda phase: f'write the state, "{phase}"',
        lambda _: 'write(".state.json.tmp"), rename("state.json")',
    ),
    "keep_file": (
        lambda name, content: f"keep {name} {STATE}, {len(content)} bytes",
        lambda name, _: f'write("{name}")',
    ),
    "keep_plan": (lambda _: f"keep the init's plan {STATE}", lambda _: 'write("plan.bin")'),
    "make_cgroup": (lambda path: f"make the cgroup {path}", lambda path: f'mkdir("{path}", 0755)'),
    "fill_cpuset": (
        lambda path: f"give the cpuset {path} the CPUs and nodes of its parent",
        lambda path: f'write("{path}/cpuset.cpus"), write("{path}/cpuset.mems")',
    ),
    "refuse_frozen": (
        lambda path, _: f"see that the cgroup {path} is not frozen",
        lambda path, version: f'read("{path}/{"cgroup.freeze" if version == 2 else "freezer.state"}")',
    ),
    "refuse_shared": (lambda _: "see that cgroups that were there are no other container's", lambda _: "access(…)"),
    "hand_down": (
        lambda mount, path: f"enable the controllers of {mount} down to {path}",
        lambda *_: 'write("cgroup.subtree_control", "+…") for each cgroup above',
    ),
    "refuse_usage": (
        lambda _, member, limit: f"see that less memory is in use than the {member} of {limit} bytes",
        lambda path, *_: f'read("{path}/memory.current")',
    ),
    "try_again": (
        lambda count: f"carry out the next {count}, those refused with EINVAL once more after the others",
        lambda _: "",
    ),
    "write_limit": (write_limit, lambda path, file, text, _: f'write("{path}/{file}", "{text.strip()}")'),
    "delegate": (
        lambda path, uid: f"give the cgroup {path} to user {uid} of the host",
        lambda path, uid: f'chown("{path}", {uid}), chown of the files in /sys/kernel/cgroup/delegate',
    ),
    "device_rules": (
        device_rules,
        lambda path, file, lines, *_: f'write("{path}/{file}", …)' + (f" {len(lines)} times" if len(lines) > 1 else ""),
    ),
    "device_program": (
        lambda path, program, _: (
            f"let a program of {len(program) // 8} instructions decide on devices in cgroup {path}"
        ),
        lambda path, code, _: f'bpf(BPF_PROG_LOAD, {len(code) // 8} instructions), bpf(BPF_PROG_ATTACH, "{path}")',
    ),
    "note_freezer": (lambda file: f"have the state name {file}", lambda file: f'access("{file}")'),
    "open_cgroup": (
        lambda _, path: f"open the cgroup {path}, for the process to be born in",
        lambda _, path: _opens(path, "O_DIRECTORY"),
    ),
    "open_tasks": (
        lambda _, path: f"open the cgroup {path}, for the process to enter",
        lambda _, path: _opens(f"{path}/tasks", "O_WRONLY"),
    ),
    "attach": (
        lambda path, _: f"move the process into the cgroup {path}",
        lambda path, _: f'write("{path}/cgroup.procs", pid)',
    ),
    "start_unit": (lambda _: "ask systemd for the unit, with the process in it", lambda _: "StartTransientUnit()"),
    "wait_unit": (lambda: "wait until systemd has started the unit", lambda: "ppoll(bus)"),
    "connect_console": (
        lambda _, path: f"connect to the console socket {path}" if path else "make a socket pair for the terminal",
        lambda _, path: f'connect("{path}")' if path else "socketpair(AF_UNIX)",
    ),
    "spawn_init": (
        lambda preserve, _: "start ocirt-init" + (f" with descriptors 3 to {preserve + 2}" if preserve else ""),
        lambda *_: 'socketpair(AF_UNIX, SOCK_SEQPACKET), vfork(), close_range(), execveat(memfd, "ocirt-init")',
    ),
    "open_tree": (
        lambda _, host, recursive: f"take {host}{' with all below it' if recursive else ''}, for the init",
        lambda _, host, recursive: _open_tree(host, recursive),
    ),
    "map_tree": (map_tree, lambda *_: 'mount_setattr(fd, "", {MOUNT_ATTR_IDMAP})'),
    "report_file": (
        lambda _: "make the file that the init writes a failure to",
        lambda _: 'open("start.failure", O_CREAT)',
    ),
    "send_plan": (send_plan, lambda *_: 'memfd_create("ocirt-plan"), sendmsg(SCM_RIGHTS), write(doorbell)'),
    "wait_process": (lambda: "wait for the pid of the process", lambda: "recvmsg(PID)"),
    "map_ids": (
        lambda uids, gids, setgroups: (
            f"map the ids of the user namespace: uids {_ranges(uids) or 'none'}, gids {_ranges(gids) or 'none'}"
            + ("" if setgroups else "; no setgroups(2) inside")
        ),
        lambda *_: 'write("/proc/PID/uid_map"), write("/proc/PID/gid_map")',
    ),
    "listen": (lambda _, name: f"listen at {name} {STATE}", lambda _, name: f'bind("{name}"), listen()'),
    "wait": (lambda point: f"wait until the init {POINTS[point]}", lambda _: "recvmsg(SYNC)"),
    "go": (lambda _: "let the init go on", lambda _: "sendmsg(GO)"),
    "executed": (lambda: "wait until the process has been executed", lambda: "recvmsg() = 0, read(/proc/PID/stat)"),
    "receive_console": (lambda: "receive the terminal", lambda: "recvmsg(SCM_RIGHTS)"),
    "scheduler": (scheduler, lambda attributes: f"sched_setattr(pid, {len(attributes)} bytes, 0)"),
    "io_priority": (io_priority, lambda value: f"ioprio_set(IOPRIO_WHO_PROCESS, pid, {value:#x})"),
    "affinity": (affinity, lambda _: "sched_setaffinity(pid)"),
    "seccomp_listener": (
        lambda path, *_: f'connect to the seccomp agent "{path}"',
        lambda path, *_: f'connect("{path}")',
    ),
    "net_device": (
        net_device,
        lambda host, name: f"RTM_SETLINK({host}, IFLA_NET_NS_FD), RTM_SETLINK(IFLA_IFNAME {name}), RTM_NEWADDR",
    ),
    "resctrl": (resctrl, lambda *_: "mkdir(group), write(schemata), write(tasks)"),
    "hook": (hook, lambda path, *_: f'vfork(), execve("{path}"), ppoll(pidfd), wait4()'),
    "hook_state": (
        lambda _, status: f'give the init the state for its hooks, "{status}"',
        lambda *_: 'memfd_create("hook-state")',
    ),
    "send_pidfd": (
        lambda path: f"send a pidfd of the process to {path}",
        lambda path: f'pidfd_open(pid), connect("{path}"), sendmsg(SCM_RIGHTS)',
    ),
    "write_pid_file": (
        lambda path: f"write the pid file {path}",
        lambda path: f'write(temporary), rename("{path}")',
    ),
    "commit": (lambda: "from here on no signal undoes the container", lambda: "rt_sigprocmask(SIG_BLOCK)"),
    "open_process": (lambda _: "open the container's process", lambda _: "pidfd_open(pid)"),
    "open_root": (lambda _: "open the root directory of the container's process", lambda _: 'open("/proc/PID/root")'),
}

# Name → words for several in a row
MANY: dict[str, Words] = {
    "make_cgroup": lambda count, *_: f"make {count} cgroups",
    "note_freezer": lambda count, *_: f"have the state name {count} files that tell whether it is frozen",
    "refuse_frozen": lambda count, *_: f"see that {count} cgroups are not frozen",
    "attach": lambda count, *_: f"move the process into {count} cgroups",
    "open_tasks": lambda count, *_: f"open {count} cgroups, for the process to enter",
    "enter_cgroup": lambda count, *_: f"enter {count} cgroups",
}

# Operation, errno → words that help
HINTS: dict[tuple[str, str], str] = {
    ("scheduler", "EPERM"): (
        "a real-time policy and a lower nice value require CAP_SYS_NICE on the host; where the kernel "
        "schedules real-time tasks by cgroup, also /linux/resources/cpu/realtimeRuntime"
    ),
    ("scheduler", "EINVAL"): "the kernel does not know this policy or these values together",
    ("scheduler", "EBUSY"): "the CPUs have no time left for another deadline task",
    ("scheduler", "EOPNOTSUPP"): "the kernel is built without utilization clamping",
    ("seccomp_listener", "ENOENT"): "the agent must listen before the container is created",
    ("seccomp_listener", "ECONNREFUSED"): "nobody listens there any more",
    ("net_device", "ENODEV"): "the host has no such device",
    ("net_device", "EEXIST"): "the container has a device of that name",
    ("net_device", "EINVAL"): "the kernel keeps devices of this kind where they are",
    ("net_device", "EPERM"): "it requires CAP_NET_ADMIN on the host",
    ("net_device", "EACCES"): "it requires CAP_NET_ADMIN on the host",
    ("io_priority", "EPERM"): "IOPRIO_CLASS_RT requires CAP_SYS_NICE on the host",
}


def failure(op: Op, errno: int) -> str:
    """What was tried, for an error to which the kernel's reason is added; a hint goes in front of that."""
    help_words = HINTS.get((op[0], numbers.errorcode.get(errno, "")), "")
    return f"{TABLE[op[0]][0](*op[3])}{f' ({help_words})' if help_words else ''}"
