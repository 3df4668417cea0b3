"""Is a process what its config asks for? Judged from the config's own text and the kernel's view of the process:
nothing here knows how ocirt makes a container. Each judge returns a line for each thing that is not as asked.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.fuzz import weaker_mounts, weaker_resources, weaker_seccomp
from tests.fuzz.view import View

Json = dict[str, Any]

CAPABILITIES = [
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
]  # fmt: skip
LIMITS = {
    "CPU": "Max cpu time", "FSIZE": "Max file size", "DATA": "Max data size", "STACK": "Max stack size",
    "CORE": "Max core file size", "RSS": "Max resident set", "NPROC": "Max processes", "NOFILE": "Max open files",
    "MEMLOCK": "Max locked memory", "AS": "Max address space", "LOCKS": "Max file locks",
    "SIGPENDING": "Max pending signals", "MSGQUEUE": "Max msgqueue size", "NICE": "Max nice priority",
    "RTPRIO": "Max realtime priority", "RTTIME": "Max realtime timeout",
}  # fmt: skip


class Case(NamedTuple):
    """A config, the process that came of it, the runtime's own view of itself; and the container's first process, where
    the process is one of `exec`. `ordinary`: the runtime is an ordinary user's, which has no cgroups to give.
    """

    config: Json
    seen: View
    host: View
    first: View | None = None
    ordinary: bool = False

    @property
    def process(self) -> Json:
        found: Json = self.config.get("process") or {}
        return found

    @property
    def user(self) -> Json:
        found: Json = self.process.get("user") or {}
        return found

    @property
    def linux(self) -> Json:
        found: Json = self.config.get("linux") or {}
        return found

    @property
    def kinds(self) -> dict[str, str]:
        """Type of each listed namespace → path, "" for a new one."""
        return {entry["type"]: entry.get("path") or "" for entry in self.linux.get("namespaces") or ()}


def outside(id_map: list[tuple[int, int, int]], number: int) -> int:
    """The id that the runtime's user namespace has for one of the container's."""
    found = [there + number - here for here, there, count in id_map if here <= number < here + count]
    return found[0] if found else -1


def ids(case: Case) -> list[str]:
    """All four user and group ids, the groups, the umask."""
    uid, gid = case.user.get("uid") or 0, case.user.get("gid") or 0
    groups = {outside(case.seen.gid_map, group) for group in case.user.get("additionalGids") or ()}
    wanted = {
        "Uid": [outside(case.seen.uid_map, uid)] * 4,
        "Gid": [outside(case.seen.gid_map, gid)] * 4,
        "Groups": sorted(groups),
    }
    if (case.config.get("annotations") or {}).get("run.oci.keep_original_groups") == "1":
        del wanted["Groups"]
    found = {name: sorted(set(map(int, case.seen.status[name].split()))) for name in wanted}
    wrong = [
        f"{name}: {found[name]}, not {wanted[name]}" for name in wanted if found[name] != sorted(set(wanted[name]))
    ]
    umask = case.user.get("umask")
    if int(case.seen.status["Umask"], 8) != (0o022 if umask is None else umask & 0o777):
        wrong.append(f"umask: {case.seen.status['Umask']}, not {umask}")
    return wrong


def maps(case: Case) -> list[str]:
    """What a new user namespace maps."""
    wrong = []
    for name, found in (("uidMappings", case.seen.uid_map), ("gidMappings", case.seen.gid_map)):
        if case.kinds.get("user") == "" and "user" in case.kinds:
            listed = case.linux.get(name) or ()
            wanted = sorted((entry["containerID"], entry["hostID"], entry["size"]) for entry in listed)
            if sorted(found) != wanted:
                wrong.append(f"{name}: {found}, not {wanted}")
    return wrong


def capabilities(case: Case) -> list[str]:
    """All five sets, after what execve(2) does to them (capabilities(7), "Transformation of capabilities")."""
    known = (1 << len(CAPABILITIES)) - 1 if "user" in case.kinds else case.host.number("CapBnd")
    listed = case.process.get("capabilities") or {}

    def mask(kind: str) -> int:
        numbers = [CAPABILITIES.index(name[4:]) for name in listed.get(kind) or () if name[4:] in CAPABILITIES]
        return sum(1 << number for number in set(numbers)) & known

    bounding, inheritable = mask("bounding"), mask("inheritable")
    before, permitted = mask("permitted"), 0
    ambient = mask("ambient") & before & inheritable
    root = not case.user.get("uid")
    if root:
        permitted = inheritable | bounding
        if case.process.get("noNewPrivileges"):
            permitted &= before
    permitted |= ambient
    effective = permitted if root else ambient
    wanted = {"CapInh": inheritable, "CapPrm": permitted, "CapEff": effective, "CapBnd": bounding, "CapAmb": ambient}
    found = {name: case.seen.number(name) for name in wanted}
    return [f"{name}: {found[name]:x}, not {wanted[name]:x}" for name in wanted if found[name] != wanted[name]]


def privileges(case: Case) -> list[str]:
    """no_new_privs."""
    wanted = int(bool(case.process.get("noNewPrivileges")))
    return [] if case.seen.number("NoNewPrivs") == wanted else [f"NoNewPrivs: not {wanted}"]


def namespaces(case: Case) -> list[str]:
    """New ones, joined ones, and those that stay the runtime's. A process of exec is in those of the first process."""
    wrong = []
    for kind, inode in case.seen.namespaces.items():
        path = case.kinds.get(kind)
        if case.first:
            if inode != case.first.namespaces[kind]:
                wrong.append(f"namespace {kind}: not that of the first process")
        elif path is None:
            if inode != case.host.namespaces[kind]:
                wrong.append(f"namespace {kind}: not the runtime's")
        elif path and inode != os.stat(path).st_ino:
            wrong.append(f"namespace {kind}: not {path}")
        elif not path and inode == case.host.namespaces[kind]:
            wrong.append(f"namespace {kind}: the runtime's")
    return wrong


def limits(case: Case) -> list[str]:
    """rlimits: those that are listed; the others are the runtime's."""
    wrong = []
    asked = {limit["type"][7:]: (limit["soft"], limit["hard"]) for limit in case.process.get("rlimits") or ()}
    for name, words in LIMITS.items():
        wanted = asked.get(name, case.host.limits[words])
        if case.seen.limits[words] != wanted:
            wrong.append(f"RLIMIT_{name}: {case.seen.limits[words]}, not {wanted}")
    return wrong


def oom_score(case: Case) -> list[str]:
    wanted = case.process.get("oomScoreAdj")
    if case.ordinary and wanted is not None and wanted < case.host.oom_score_adj:
        return []  # no ordinary user can lower it, and engines ask for it all the same
    wanted = case.host.oom_score_adj if wanted is None else wanted
    return [] if case.seen.oom_score_adj == wanted else [f"oom_score_adj: {case.seen.oom_score_adj}, not {wanted}"]


def surroundings(case: Case) -> list[str]:
    """No descriptor of the runtime's, no signal that is ignored or blocked, a session and an environment of its own."""
    wrong = [f"descriptor {number} is open" for number in case.seen.descriptors if number > 2]
    wrong += [f"{name}: {case.seen.status[name]}" for name in ("SigIgn", "SigBlk") if case.seen.number(name)]
    if case.seen.session != case.seen.pid:
        wrong.append("no session of its own")
    env = {entry.partition("=")[0]: entry for entry in case.process.get("env") or ()}
    found = {entry.partition("=")[0]: entry for entry in case.seen.environment}
    if not env.get("HOME", "HOME=")[5:]:
        env.pop("HOME", None)
        found.pop("HOME", None)
    if env != found:
        wrong.append(f"environment: {found}, not {env}")
    return wrong


JUDGES: tuple[Callable[[Case], list[str]], ...] = (
    ids, maps, capabilities, privileges, namespaces, limits, oom_score, surroundings, weaker_seccomp.filters,
    weaker_mounts.mounts, weaker_mounts.root, weaker_mounts.masked, weaker_mounts.readonly, weaker_mounts.nothing_more,
    weaker_mounts.propagation, weaker_resources.cgroups, weaker_resources.values, weaker_resources.devices,
)  # fmt: skip


def weaker(config: Json, seen: View, host: View, first: View | None = None, *, ordinary: bool = False) -> list[str]:
    """What of a process is not as its config asks; nothing where all is.

    config   the document; for a process of `exec`, with that process in place of its own
    host     the runtime's own view of itself
    first    the container's first process, where `seen` is one of `exec`
    """
    case = Case(config, seen, host, first, ordinary)
    return [line for judge in JUDGES for line in judge(case)]
