"""What the text of the specification demands of every config, and a schema cannot say.

A rule appends (pointer, message, names) per problem: the JSON pointer of the value, what is wrong, and the known names
that a misspelt one may have meant. Rules read documents that have passed the schema. The linux section has its own
file, rules_linux.py.
"""

from __future__ import annotations

from _json import encode_basestring

from ocirt.linux.consts import RLIMITS
from ocirt.linux.paths import PROC_MOUNTS, normal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    Doc = dict[str, Any]
    Found = tuple[str, str, Collection[str]]

LAST_ID = 4294967294  # 4294967295 is (uid_t)-1, which setresuid(2) takes as "leave it"
MISSING = "required, but missing"

HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")

# config-vm.md: every path of the vm section is one of the host
VM_PATHS = (("hypervisor", "path"), ("kernel", "path"), ("kernel", "initrd"), ("image", "path"))


def quoted(text: str) -> str:
    """A string as JSON writes it, cut where it is too long to read."""
    return encode_basestring(text if len(text) <= 80 else text[:79] + "…")


def absolute(path: str, pointer: str, found: list[Found]) -> None:
    """A path must begin at /."""
    if path[:1] != "/":
        found.append((pointer, f"found {quoted(path)}, must be an absolute path", ()))


def identity(number: int, pointer: str, found: list[Found]) -> None:
    """A user or group ID must be one that the kernel takes as an ID."""
    if number > LAST_ID:
        found.append((pointer, f"found {number}, must be from 0 to {LAST_ID}", ()))


def environment(env: list[str], pointer: str, found: list[Found]) -> None:
    """config.md, process: env is as environ(7) has it."""
    for index, entry in enumerate(env):
        if entry.find("=") < 1:
            found.append((f"{pointer}/{index}", f"found {quoted(entry)}, must be NAME=value", ()))


def oci_version(doc: Doc, found: list[Found]) -> None:
    """config.md, specification version: SemVer 2.0.0, of the major version that this runtime knows."""
    version = doc["ociVersion"]
    if not semantic(version):
        found.append(("/ociVersion", f'found {quoted(version)}, must be a SemVer version such as "1.3.0"', ()))
    elif not version.startswith("1."):
        found.append(("/ociVersion", f"found {quoted(version)}, must be 1.x: no other is compatible", ()))


def semantic(version: str) -> bool:
    """True for a version as semver.org's 2.0.0 defines it."""
    head, plus, build = version.partition("+")
    core, dash, release = head.partition("-")
    numbers = core.split(".")
    if len(numbers) != 3 or not all(map(numeric, numbers)):
        return False
    return (not plus or all(map(identifier, build.split(".")))) and (
        not dash or all(identifier(part) and (not part.isdigit() or numeric(part)) for part in release.split("."))
    )


def numeric(part: str) -> bool:
    """True for digits without a leading zero."""
    return part.isascii() and part.isdigit() and (part == "0" or part[0] != "0")


def identifier(part: str) -> bool:
    """True for ASCII letters, digits and hyphens, at least one."""
    return part.isascii() and part.replace("-", "0").isalnum()


def root(doc: Doc, found: list[Found]) -> None:
    """config.md, root: required on Linux."""
    if "root" not in doc:
        found.append(("/root", MISSING, ()))
    elif not doc["root"]["path"]:
        found.append(("/root/path", "is empty, must be the directory of the root filesystem", ()))


def arguments(doc: Doc, found: list[Found]) -> None:
    """config.md, process: at least one entry. A config without a process can be created, and start refuses it."""
    if "process" not in doc:
        return
    listed = doc["process"].get("args")
    if listed is None:
        found.append(("/process/args", MISSING, ()))
    elif not listed:
        found.append(("/process/args", "is empty, must hold the program to run", ()))
    elif not listed[0]:
        found.append(("/process/args/0", "is empty, must be the program to run", ()))


def surroundings(doc: Doc, found: list[Found]) -> None:
    """config.md, process: cwd, env, and what surrounds the program."""
    process = doc.get("process")
    if process is None:
        return
    environment(process.get("env", ()), "/process/env", found)
    score = process.get("oomScoreAdj", 0)
    if not -1000 <= score <= 1000:
        found.append(("/process/oomScoreAdj", f"found {number(score)}, must be from -1000 to 1000", ()))
    if process.get("terminal") and "consoleSize" in process:
        console_size(process["consoleSize"], found)
    absolute(process["cwd"], "/process/cwd", found)


def number(value: int) -> str:
    """A number as text, however large: str() of 4301 digits and more raises ValueError."""
    return str(value) if -(1 << 128) < value < 1 << 128 else "a huge number"


def console_size(size: Doc, found: list[Found]) -> None:
    """ioctl_tty(2): struct winsize has 16 bits for each."""
    for name in ("height", "width"):
        if size[name] > 65535:
            found.append((f"/process/consoleSize/{name}", f"found {size[name]}, must be from 0 to 65535", ()))


def rlimits(doc: Doc, found: list[Found]) -> None:
    """config.md, POSIX process: a type is known and occurs once."""
    seen: dict[str, int] = {}
    for index, limit in enumerate(doc.get("process", {}).get("rlimits", ())):
        kind, pointer = limit["type"], f"/process/rlimits/{index}"
        if kind not in RLIMITS:
            found.append((f"{pointer}/type", f"found {quoted(kind)}, which is no limit of getrlimit(2)", RLIMITS))
        if seen.setdefault(kind, index) != index:
            found.append((f"{pointer}/type", f"{quoted(kind)} is set by /process/rlimits/{seen[kind]} already", ()))
        if limit["soft"] > limit["hard"]:
            found.append((f"{pointer}/soft", f"found {limit['soft']}, must not exceed hard, {limit['hard']}", ()))


def scheduler(doc: Doc, found: list[Found]) -> None:
    """sched_setattr(2): the kernel would cut a nice value, and pass over what is not of the policy."""
    wanted = doc.get("process", {}).get("scheduler")
    if wanted is None:
        return
    policy, nice, pointer = wanted["policy"], wanted.get("nice", 0), "/process/scheduler"
    if not -20 <= nice <= 19:
        found.append((f"{pointer}/nice", f"found {nice}, must be from -20 to 19", ()))
    priority = wanted.get("priority", 0)
    if priority and policy not in ("SCHED_FIFO", "SCHED_RR"):
        found.append((f"{pointer}/priority", f"is for SCHED_FIFO and SCHED_RR, not for {policy}", ()))
    elif not 0 <= priority <= 99:
        found.append((f"{pointer}/priority", f"found {priority}, must be from 1 to 99", ()))
    for name in ("runtime", "deadline", "period"):
        if wanted.get(name) and policy != "SCHED_DEADLINE":
            found.append((f"{pointer}/{name}", f"is for SCHED_DEADLINE, not for {policy}", ()))


def user(doc: Doc, found: list[Found]) -> None:
    """config.md, POSIX user: uid and gid are required where there is a user."""
    user = doc.get("process", {}).get("user")
    if user is None:
        return
    for name in ("uid", "gid"):
        if name in user:
            identity(user[name], f"/process/user/{name}", found)
        else:
            found.append((f"/process/user/{name}", MISSING, ()))
    for index, group in enumerate(user.get("additionalGids", ())):
        identity(group, f"/process/user/additionalGids/{index}", found)


def mounts(doc: Doc, found: list[Found]) -> None:
    """config.md, mounts. A relative destination is deprecated and starts at /."""
    for index, mount in enumerate(doc.get("mounts", ())):
        destination, pointer = mount["destination"], f"/mounts/{index}/destination"
        if not destination:
            found.append((pointer, "is empty, must be a path in the container", ()))
            continue
        target = normal(destination)
        if target.startswith("/proc/") and target not in PROC_MOUNTS:
            allowed = ", ".join(sorted(PROC_MOUNTS))
            text = f"found {quoted(destination)}, but no mount is allowed inside /proc, other than on {allowed}"
            found.append((pointer, text, ()))
        elif target == "/proc" and mount.get("type") != "proc" and not binds(mount):
            kind = quoted(mount.get("type", ""))
            found.append((pointer, f"mounts type {kind} on /proc, where only proc or a bind mount is allowed", ()))


def binds(mount: Doc) -> bool:
    """True for a bind mount: by its options, or, as engines write it, by its type."""
    options = mount.get("options", ())
    return "bind" in options or "rbind" in options or mount.get("type") == "bind"


def hooks(doc: Doc, found: list[Found]) -> None:
    """config.md, POSIX-platform hooks: the path is absolute."""
    listed = doc.get("hooks")
    if not listed:
        return
    for name in HOOKS:
        for index, hook in enumerate(listed.get(name, ())):
            absolute(hook["path"], f"/hooks/{name}/{index}/path", found)
            environment(hook.get("env", ()), f"/hooks/{name}/{index}/env", found)


def virtual_machine(doc: Doc, found: list[Found]) -> None:
    """config-vm.md: paths are absolute."""
    machine = doc.get("vm")
    if machine is None:
        return
    for section, name in VM_PATHS:
        if name in machine.get(section, ()):
            absolute(machine[section][name], f"/vm/{section}/{name}", found)


RULES = (oci_version, root, arguments, surroundings, rlimits, scheduler, user, mounts, hooks, virtual_machine)
