"""linux.namespaces → operations: join, make, and set what only a namespace of its own can be set for."""

from __future__ import annotations

from errno import EBADF

from ocirt.errors import step
from ocirt.linux import sysctl as parameters
from ocirt.linux.consts import (
    CLOCKS,
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    PROC_PROCESSES,
    PROC_WHOLE,
    SLOT_PROC,
    SYNC_CGROUP,
)
from ocirt.plan import holes, ops, security

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.plan.context import Context
    from ocirt.plan.ops import Op

KINDS = {
    "user": CLONE_NEWUSER,
    "mount": CLONE_NEWNS,
    "pid": CLONE_NEWPID,
    "network": CLONE_NEWNET,
    "ipc": CLONE_NEWIPC,
    "uts": CLONE_NEWUTS,
    "cgroup": CLONE_NEWCGROUP,
    "time": CLONE_NEWTIME,
}

# Not with clone: a cgroup namespace starts where its maker stands, and the container's cgroup may not be entered yet;
# a time namespace takes its offsets before the first process is in it.
UNSHARED_LATER = ("cgroup", "time")


def join(c: Context) -> list[Op]:
    """Join every namespace that has a path. All are opened first: joining one may change what a path means."""
    opened: list[Op] = []
    users: list[Op] = []
    others: list[Op] = []
    closed: list[Op] = []
    for kind, namespace in c.namespaces.items():
        if holes.is_given(namespace.path):
            pointer, slot = f"{namespace.pointer}/path", c.slot()
            opened.append(ops.open_namespace(pointer, slot, namespace.path, KINDS[kind]))
            (users if kind == "user" else others).append(ops.join(pointer, slot, KINDS[kind]))
            closed.append(ops.close(pointer, slot))
    # setns(2): joining takes privileges over the user namespace that owns the target. Root has them outside; anybody
    # else gets them only by joining the user namespace.
    joined = users + others if c.facts.euid else others + users
    return opened + joined + closed


def make(c: Context) -> list[Op]:
    """Make the new namespaces, and the process in them."""
    flags = 0
    for kind in c.namespaces:
        if c.new(kind) and kind not in UNSHARED_LATER:
            flags |= KINDS[kind]
    # pid_namespaces(7): setns moves children only, so a joined one takes a clone without flags.
    return [ops.clone("/linux/namespaces", flags)] if flags or c.joined("pid") else []


def cgroup(c: Context) -> list[Op]:
    """Wait until there is the container's cgroup, be in it, and make the cgroup namespace there.

    As late as something needs it (the first cgroup mount, else the hooks): the runtime makes it in the meantime.
    """
    if c.in_cgroup:
        return []
    c.in_cgroup = True
    found = [ops.sync("/linux/cgroupsPath", SYNC_CGROUP), *enter_cgroups(c)]
    if c.new("cgroup"):
        found.append(ops.unshare(c.namespaces["cgroup"].pointer, CLONE_NEWCGROUP))
    return found


def enter_cgroups(c: Context) -> list[Op]:
    """Into those of v1 by itself, which is quick; not where the runtime has something to do to a process inside.

    A slot is empty where the runtime may not write the hierarchy, and goes on without it.
    """
    c.tasks = [] if c.errands else [c.slot() for _ in range(c.launch.tasks)]
    return [ops.ignoring(ops.enter_cgroup("/linux/cgroupsPath", slot), EBADF) for slot in c.tasks]


def cgroup_at_last(c: Context) -> list[Op]:
    """The same for a container without a cgroup mount; and where the runtime has errands, or a cpuset counts."""
    return cgroup(c) if c.new("cgroup") or c.errands or c.launch.tasks or c.linux.get("memoryPolicy") else []


def proc(c: Context) -> list[Op]:
    """Open the procfs for the writes to come. Here the host's /proc still vouches for a new one in a user namespace."""
    if c.new("time") or security.labels(c):
        return [ops.open_proc("", SLOT_PROC, PROC_PROCESSES)]
    return []


def time(c: Context) -> list[Op]:
    """Make the time namespace, set its clocks, enter it: time_namespaces(7) takes them in this order."""
    if not c.new("time"):
        return []
    pointer = c.namespaces["time"].pointer
    found = [ops.unshare(pointer, CLONE_NEWTIME)]
    offsets = c.linux.get("timeOffsets") or {}
    lines = "".join(
        f"{clock} {offsets[clock].get('secs', 0)} {offsets[clock].get('nanosecs', 0)}\n"
        for clock in CLOCKS
        if clock in offsets
    )
    if lines:
        found.append(ops.write_proc("/linux/timeOffsets", "self/timens_offsets", lines))
    found.append(ops.setns_proc(pointer, "self/ns/time_for_children", CLONE_NEWTIME))
    return found


def names(c: Context) -> list[Op]:
    """The loopback interface of a new network, and the names of the host. Engines write "" for no name."""
    found = []
    if c.new("network"):
        found.append(ops.link_up(c.namespaces["network"].pointer, "lo"))
    if holes.is_given(c.config.get("hostname")):
        found.append(ops.hostname("/hostname", c.config["hostname"]))
    if holes.is_given(c.config.get("domainname")):
        found.append(ops.domainname("/domainname", c.config["domainname"]))
    return found


def net_devices(c: Context) -> list[Op]:
    """Devices to move, by the runtime: its network namespace has them."""
    listed = c.linux.get("netDevices")
    if listed:
        from ocirt.plan import host_ops

        for host, device in listed.items():
            pointer = f"/linux/netDevices/{step(host)}"
            c.errands.append(host_ops.net_device(pointer, host, device.get("name") or host))
    return []


def sysctl(c: Context) -> list[Op]:
    """Kernel parameters, after the hooks: net.ipv4.conf.eth0 is there when a hook has made eth0.

    The whole procfs is open for these writes alone (CVE-2025-52881); labels get the small one back.
    """
    listed = c.linux.get("sysctl")
    if not listed:
        return []
    found = [ops.open_proc("/linux/sysctl", SLOT_PROC, PROC_WHOLE)]
    for key, value in listed.items():
        pointer, file = f"/linux/sysctl/{step(key)}", parameters.path(key)
        # The file is for the host's root; the call is for root of the user namespace too. Docker asks for it this way.
        named = file == "kernel/domainname"
        found.append(ops.domainname(pointer, value) if named else ops.write_proc(pointer, f"sys/{file}", value))
    found.append(ops.close("/linux/sysctl", SLOT_PROC))
    if security.labels(c):
        found.append(ops.open_proc("/linux/sysctl", SLOT_PROC, PROC_PROCESSES))
    return found
