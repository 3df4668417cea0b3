"""process and hooks → operations: the terminal, limits, environment, the program; its rights are in security.py."""

from __future__ import annotations

from errno import EACCES, ENOSYS, EPERM

from ocirt.errors import UnsupportedError
from ocirt.linux.consts import (
    HOOK_HOME,
    HOOK_IN_ROOT,
    INT_MAX,
    KEY_OTH_SEARCH,
    KEY_USR_SEARCH,
    RLIMIT_NOFILE,
    RLIMITS,
    SLOT_CONSOLE,
    SLOT_START,
    SLOT_STATE_CREATED,
    SLOT_STATE_CREATING,
    SYNC_CREATED,
    SYNC_RUNTIME_HOOKS,
    SYNC_START,
)
from ocirt.plan import holes, ops, security

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ocirt.plan.context import Context
    from ocirt.plan.ops import Op

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_UMASK = 0o022

# Hooks that run before the container's process can, and so make the init wait for the runtime.
CREATE_HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer")

# Descriptors that the init needs for its own until the last limit is set.
NOFILE_FLOOR = 256


# ---- hooks -----------------------------------------------------------------------------------------------------------


def create_hooks(c: Context) -> list[Op]:
    """The runtime's hooks, then those that see the container's mounts and the host's paths."""
    listed = c.config.get("hooks") or {}
    if not any(listed.get(name) for name in CREATE_HOOKS):
        return []
    return [
        ops.sync("/hooks", SYNC_RUNTIME_HOOKS),
        *_hooks(c, "createContainer", (), SLOT_STATE_CREATING, HOOK_IN_ROOT),
    ]


def start_hooks(c: Context) -> list[Op]:
    """In the container, with the process's environment unless they have one, and with all that confines the process."""
    return _hooks(c, "startContainer", environment(c), SLOT_STATE_CREATED, HOOK_HOME, security.late_filter(c))


def _hooks(
    c: Context, name: str, env: Sequence[str], state: int, flags: int, program: tuple[bytes, int] = (b"", 0)
) -> list[Op]:
    found = []
    for index, hook in enumerate((c.config.get("hooks") or {}).get(name) or ()):
        own = hook.get("env")
        found.append(
            ops.hook(
                f"/hooks/{name}/{index}",
                hook["path"],
                list(hook.get("args") or (hook["path"],)),
                list(env if own is None else own),
                min(hook.get("timeout", 0) * 1000, INT_MAX),
                state,
                flags if own is None else flags & ~HOOK_HOME,
                *program,
            )
        )
    return found


# ---- what the process stands on --------------------------------------------------------------------------------------


def session(_: Context) -> list[Op]:
    """Away from the caller's terminal, into which a process could type (TIOCSTI)."""
    return [ops.session("")]


def console(c: Context) -> list[Op]:
    """The terminal, before /dev can become read-only: /dev/console is made in it."""
    if not c.launch.console:
        return []
    size = c.process.get("consoleSize") or {}
    uid = (c.process.get("user") or {}).get("uid", 0)
    bind = int("mount" in c.namespaces)
    return [
        ops.console("/process/terminal", SLOT_CONSOLE, uid, size.get("height", 0), size.get("width", 0), bind),
        ops.controlling_terminal("/process/terminal"),
        ops.close("/process/terminal", SLOT_CONSOLE),
    ]


def affinity(c: Context) -> list[Op]:
    """Every CPU of the cgroup, whichever the caller keeps to: as runc and crun, and as kernels did until Linux 6.2.

    First of all that is the process's: what moves it into the cgroup, or sets its policy, finds it unbound. A filter of
    the caller's may refuse it.
    """
    own = c.process.get("execCPUAffinity") or {}
    if not c.process or (c.launch.start == "exec" and (own.get("initial") or own.get("final"))):
        return []
    return [ops.ignoring(ops.affinity(""), EPERM, ENOSYS)]


def keyring(c: Context) -> list[Op]:
    """A session keyring of its own, so that keys of the caller are out of reach. ENOSYS: a kernel without keys."""
    if not c.launch.new_keyring or not c.process:
        return []
    permissions = KEY_OTH_SEARCH if "user" in c.namespaces else KEY_USR_SEARCH
    return [ops.ignoring(ops.keyring("", holes.concat("_ses.", c.launch.container_id), permissions), ENOSYS)]


def hard_limits(c: Context) -> list[Op]:
    """Raising a hard limit takes a privilege of the host: with a user namespace it is done before that is entered."""
    if "user" not in c.namespaces or c.facts.euid:
        return []
    found = []
    for index, limit in enumerate(c.process.get("rlimits") or ()):
        resource, hard = RLIMITS[limit["type"]], limit["hard"]
        if resource != RLIMIT_NOFILE or hard >= NOFILE_FLOOR:
            found.append(ops.rlimit(f"/process/rlimits/{index}", resource, hard, hard))
    return found


def limits(c: Context) -> list[Op]:
    """All limits, but of that on descriptors only as much as leaves the init enough of them."""
    found = []
    for op in _limits(c):
        resource, soft, hard = op[3]
        if resource != RLIMIT_NOFILE or soft >= NOFILE_FLOOR:
            found.append(op)
        elif hard >= NOFILE_FLOOR:
            found.append(ops.rlimit(op[1], resource, hard, hard))
    return found


def descriptor_limit(c: Context) -> list[Op]:
    """A limit on descriptors that leaves few, when no more are needed: it only lowers what there is."""
    return [op for op in _limits(c) if op[3][0] == RLIMIT_NOFILE and op[3][1] < NOFILE_FLOOR]


def _limits(c: Context) -> list[Op]:
    return [
        ops.rlimit(f"/process/rlimits/{index}", RLIMITS[limit["type"]], limit["soft"], limit["hard"])
        for index, limit in enumerate(c.process.get("rlimits") or ())
    ]


def errands(c: Context) -> list[Op]:
    """Scheduling and resctrl, by the runtime: no operation of the init."""
    if c.process.get("scheduler") or c.process.get("ioPriority"):
        from ocirt.plan import scheduling

        c.errands += scheduling.errands_of(c.process)
    if c.linux.get("intelRdt") and c.process:
        from ocirt.plan import host_ops

        section = c.linux["intelRdt"]
        lines = schemata(section)
        monitored, make = int(bool(section.get("enableMonitoring"))), int(c.launch.start != "exec")
        c.errands.append(host_ops.resctrl("/linux/intelRdt", section.get("closID") or "", monitored, lines, make))
    return []


def schemata(section: dict[str, Any]) -> list[str]:
    """The lines of linux.intelRdt, in the order in which they are written."""
    lines = [section[key] for key in ("l3CacheSchema", "memBwSchema") if section.get(key)]
    return lines + (section.get("schemata") or [])


def memory_policy(c: Context) -> list[Op]:
    """The NUMA policy, for the memory that the process is going to take."""
    if not (c.process and c.linux.get("memoryPolicy")):
        return []
    from ocirt.plan import scheduling

    return scheduling.memory_policy(c)


def personality(c: Context) -> list[Op]:
    """The execution domain, which is what uname(2) tells from here on."""
    if not (c.process and c.linux.get("personality")):
        return []
    from ocirt.plan import scheduling

    return scheduling.personality(c)


# ---- the program -----------------------------------------------------------------------------------------------------


def directory(c: Context) -> list[Op]:
    """The working directory for a user who may not enter it, which the runtime's may; else `place` tries again."""
    if not c.process:
        return []
    return [ops.ignoring(ops.chdir("/process/cwd", c.process["cwd"]), EACCES, EPERM)]


def place(c: Context) -> list[Op]:
    """umask, directory, HOME and the program, found with the eyes of the container's user."""
    process = c.process
    if not process:
        return []
    account = process.get("user") or {}
    found = [
        ops.umask("/process/user/umask", account.get("umask", DEFAULT_UMASK)),
        ops.chdir("/process/cwd", process["cwd"]),
    ]
    env = environment(c)
    if not any(holes.variable(entry) == "HOME" for entry in env):
        found.append(ops.home("/process/env", account.get("uid", 0)))
    name = process["args"][0]
    found.append(ops.find_exec("/process/args/0", name, candidates(name, env)))
    return found


def environment(c: Context) -> list[str]:
    """process.env, the last of duplicates; an empty HOME counts as none."""
    env = holes.variables(c.process.get("env") or ())
    return [entry for entry in env if holes.variable(entry) != "HOME" or entry != "HOME="]


def candidates(name: str, env: Sequence[str]) -> list[str]:
    """Where execvp(3) would look: the name itself when it has a slash, else each directory of the container's PATH."""
    if holes.has_slash(name):
        return [name]
    path = next((entry[5:] for entry in env if holes.variable(entry) == "PATH"), DEFAULT_PATH)
    return [holes.concat(directory.rstrip("/"), "/", name) for directory in path.split(":") if directory]


def wait(c: Context) -> list[Op]:
    """The container is created. Raises UnsupportedError for a run of nothing."""
    if c.launch.start == "create":
        return [ops.sync("", SYNC_CREATED), ops.wait_start("", SLOT_START)]
    if not c.process:
        raise UnsupportedError("is missing, there is nothing to run", "/process")
    return [ops.sync("", SYNC_START)]


def close_descriptors(c: Context) -> list[Op]:
    """Nothing of the host's stays open (CVE-2024-21626)."""
    return [ops.close_fds("", c.launch.preserve_fds)] if c.process else []


def execute(c: Context) -> list[Op]:
    """The process itself."""
    return [ops.exec("/process/args", list(c.process["args"]), environment(c))] if c.process else []
