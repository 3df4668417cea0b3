"""What `exec` is to run: the process of the container's config with flags laid over it, or one of its own; pure."""

from __future__ import annotations

from ocirt.config.lenient import drop_nulls, settle_process
from ocirt.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Process = dict[str, Any]

# What a process of its own takes from the container's when it does not say: engines leave out what stays the same.
INHERITED = ("capabilities", "oomScoreAdj")
INHERITED_WHEN_EMPTY = ("apparmorProfile", "selinuxLabel", "rlimits")
# What no flag sets: without a process of its own, the command has these from the container's config.
CONTAINERS = ("execCPUAffinity", "ioPriority", "oomScoreAdj", "rlimits", "scheduler")
CAPABILITY_SETS = ("bounding", "effective", "permitted")


class Command:
    """A process to run in a container.

    process            a whole one (config.md, "Process"); the rest, but args, is not looked at then
    name, raw          where `process` comes from, for messages; and its text, b"" where it has none
    args               the program and its arguments
    cwd, env           working directory; variables besides the container's, NAME=value
    uid, gid, groups   user, group, and groups besides the container's; None: the container's
    capabilities       to be had besides the container's
    apparmor, label    AppArmor profile and SELinux label in place of the container's
    no_new_privileges  True: no program may give it privileges
    terminal           whether it gets one
    """

    __slots__ = (
        "apparmor", "args", "capabilities", "cwd", "env", "gid", "groups", "label", "name", "no_new_privileges",
        "process", "raw", "terminal", "uid",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - a record: every field has a default and is passed by name
        self,
        args: Sequence[str] = (),
        *,
        process: Process | None = None,
        name: str = "exec",
        raw: bytes = b"",
        cwd: str = "",
        env: Sequence[str] = (),
        uid: int | None = None,
        gid: int | None = None,
        groups: Sequence[int] = (),
        capabilities: Sequence[str] = (),
        apparmor: str = "",
        label: str = "",
        no_new_privileges: bool = False,
        terminal: bool = False,
    ) -> None:
        self.args = list(args)
        self.process = process
        self.name = name
        self.raw = raw
        self.cwd = cwd
        self.env = list(env)
        self.uid = uid
        self.gid = gid
        self.groups = list(groups)
        self.capabilities = list(capabilities)
        self.apparmor = apparmor
        self.label = label
        self.no_new_privileges = no_new_privileges
        self.terminal = terminal

    def of(self, made: Process) -> Command:
        """The same, of a process in which what is asked for stands in another way."""
        other = Command()
        for name in Command.__slots__:
            setattr(other, name, getattr(self, name))
        if self.process is not None:
            other.process = made
        else:
            other.args, other.env = made["args"], made.get("env") or []
        return other

    def is_meant(self, message: str) -> bool:
        """Whether an error about the process is about what is said here, not about the container's config."""
        return self.process is not None or not any(f": /process/{field}" in message for field in CONTAINERS)


def process(command: Command, own: Process) -> Process:
    """The process to run, as the config of a container has it, unchecked. `own` is the container's, {} for none.

    Raises UsageError where nothing says what to run.
    """
    if command.process is not None:
        return _completed(command.process if command.raw else _copied(command.process), own)
    if not command.args:
        raise UsageError("missing argument: COMMAND, or --process", "exec")
    made = {"cwd": "/", **own, "args": command.args, "terminal": command.terminal}
    for member, value in (("cwd", command.cwd), ("apparmorProfile", command.apparmor), ("selinuxLabel", command.label)):
        if value:
            made[member] = value
    if command.env:
        made["env"] = [*(own.get("env") or ()), *command.env]
    if command.no_new_privileges:
        made["noNewPrivileges"] = True
    made["user"] = _user(command, own.get("user") or {})
    if command.capabilities:
        made["capabilities"] = _capabilities(command.capabilities, own.get("capabilities") or {})
    return made


def _copied(process: Process) -> Process:
    """One that a program has made, without members that are None: as load.without_nulls reads a document."""
    from copy import deepcopy

    found = deepcopy(process)
    drop_nulls(found)
    return found


def _completed(process: Process, own: Process) -> Process:
    if not isinstance(process, dict):
        return process  # for check_process to explain
    made = dict(process)
    settle_process(made)
    for member in INHERITED:
        if made.get(member) is None and own.get(member) is not None:
            made[member] = own[member]
    for member in INHERITED_WHEN_EMPTY:
        if not made.get(member) and own.get(member):
            made[member] = own[member]
    umask = (own.get("user") or {}).get("umask")
    user = made.get("user", {})
    if umask is not None and isinstance(user, dict) and "umask" not in user:
        made["user"] = {"uid": 0, "gid": 0, "umask": umask, **user}
    return made


def _user(command: Command, own: Process) -> Process:
    user = {"uid": 0, "gid": 0, **own}
    if command.uid is not None:
        user["uid"] = command.uid
    if command.gid is not None:
        user["gid"] = command.gid
    if command.groups:
        user["additionalGids"] = [*(own.get("additionalGids") or ()), *command.groups]
    return user


def _capabilities(names: Sequence[str], own: Process) -> Process:
    """Never to the inheritable set: files that inherit would get what the user was not given (CVE-2022-29162).

    What the config has there already becomes ambient: else a user other than root would lose it at execve(2).
    """
    added = [name if name.startswith("CAP_") else f"CAP_{name}" for name in map(str.upper, names)]
    made = {**own, **{kind: [*(own.get(kind) or ()), *added] for kind in CAPABILITY_SETS}}
    ambient = [name for name in added if name in (own.get("inheritable") or ())]
    return {**made, "ambient": [*(own.get("ambient") or ()), *ambient]} if ambient else made
