"""What the text of the specification demands of a Linux config, and a schema cannot say.

As rules.py, but each rule gets the namespaces too: type → path, "" where a new one is made.
"""

from __future__ import annotations

from ocirt.config.rules import MISSING, absolute, identity, quoted
from ocirt.errors import step
from ocirt.linux import sysctl as parameters
from ocirt.linux.consts import CLOCKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.config.rules import Doc, Found

    Kinds = dict[str, str]

NAME_MAX = 64  # uname(2): __NEW_UTS_LEN
MAPPINGS_MAX = 340  # user_namespaces(7), since Linux 4.15
MAJOR_MAX, MINOR_MAX = 4095, 1048575  # 12 and 20 bits of the kernel's dev_t: more would be cut to another device
SECONDS_MAX = 9223372036  # time_namespaces(7): the offset must fit a ktime_t

# libseccomp's seccomp_rule_add(3): how large the value is that an action hands over, SECCOMP_RET_DATA and MAX_ERRNO
ERRNO_MAX = {"SCMP_ACT_ERRNO": 4095, "SCMP_ACT_TRACE": 65535}

# set_mempolicy(2): modes that must have nodes, and modes that must not
WITH_NODES = {"MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_PREFERRED_MANY", "MPOL_WEIGHTED_INTERLEAVE"}
WITHOUT_NODES = {"MPOL_DEFAULT", "MPOL_LOCAL"}


def namespaces(doc: Doc) -> Kinds:
    """The namespaces of the container: type → path, "" where a new one is made."""
    return {entry["type"]: entry.get("path", "") for entry in doc.get("linux", {}).get("namespaces", ())}


def need(kind: str, kinds: Kinds, pointer: str, found: list[Found]) -> None:
    """Without a namespace of its own, the container would change the host's."""
    if kind not in kinds:
        found.append((pointer, f'needs a namespace of type {kind}: add {{"type": "{kind}"}} to /linux/namespaces', ()))


def namespaces_once(doc: Doc, kinds: Kinds, found: list[Found]) -> None:
    """config-linux.md, namespaces: each type once, paths absolute."""
    listed = doc.get("linux", {}).get("namespaces", ())
    for index, entry in enumerate(listed):
        if "path" in entry:
            absolute(entry["path"], f"/linux/namespaces/{index}/path", found)
    if len(kinds) == len(listed):
        return
    seen: dict[str, int] = {}
    for index, entry in enumerate(listed):
        first = seen.setdefault(entry["type"], index)
        if first != index:
            message = f"{quoted(entry['type'])} is listed by /linux/namespaces/{first} already"
            found.append((f"/linux/namespaces/{index}/type", message, ()))


def user_namespace(doc: Doc, kinds: Kinds, found: list[Found]) -> None:
    """config-linux.md, user namespace mappings: there with a new user namespace, and only with a user namespace."""
    linux = doc.get("linux", {})
    for name in ("uidMappings", "gidMappings"):
        listed, pointer = linux.get(name, ()), f"/linux/{name}"
        if listed:
            need("user", kinds, pointer, found)
            mappings(listed, pointer, found)
        elif "user" in kinds and not kinds["user"]:
            found.append((pointer, "is empty or missing, but a new user namespace needs it", ()))


def mappings(listed: list[Doc], pointer: str, found: list[Found]) -> None:
    """user_namespaces(7), defining user and group ID mappings."""
    if len(listed) > MAPPINGS_MAX:
        found.append((pointer, f"has {len(listed)} entries, the kernel takes {MAPPINGS_MAX}", ()))
    for index, entry in enumerate(listed):
        if entry["size"] < 1:
            found.append((f"{pointer}/{index}/size", "found 0, must be at least 1", ()))
        for name in ("containerID", "hostID"):
            if entry[name] + entry["size"] > 4294967295:
                last = entry[name] + entry["size"] - 1
                found.append((f"{pointer}/{index}/{name}", f"runs up to {last}, the last ID is 4294967294", ()))
    for name in ("containerID", "hostID"):
        overlaps(listed, name, pointer, found)


def overlaps(listed: list[Doc], name: str, pointer: str, found: list[Found]) -> None:
    """No ID is mapped twice."""
    if len(listed) < 2:
        return
    order = sorted(range(len(listed)), key=lambda index: (listed[index][name], index))
    widest = order[0]
    for index in order[1:]:
        if listed[index][name] < listed[widest][name] + listed[widest]["size"]:
            early, late = sorted((index, widest))
            found.append((f"{pointer}/{late}/{name}", f"overlaps with {pointer}/{early}", ()))
        if listed[index][name] + listed[index]["size"] > listed[widest][name] + listed[widest]["size"]:
            widest = index


def mount_namespace(doc: Doc, kinds: Kinds, found: list[Found]) -> None:
    """Without a mount namespace any mount would be one of the host."""
    linux = doc.get("linux", {})
    if "mount" not in kinds:
        if doc.get("root", {}).get("readonly"):
            need("mount", kinds, "/root/readonly", found)
        for name in ("maskedPaths", "readonlyPaths", "rootfsPropagation"):
            if linux.get(name):
                need("mount", kinds, f"/linux/{name}", found)
    for name in ("maskedPaths", "readonlyPaths"):
        for index, path in enumerate(linux.get(name, ())):
            absolute(path, f"/linux/{name}/{index}", found)


def mount_mappings(doc: Doc, kinds: Kinds, found: list[Found]) -> None:
    """config.md, idmap and ridmap: they need mappings, of the mount or of the user namespace."""
    for index, mount in enumerate(doc.get("mounts", ())):
        pointer = f"/mounts/{index}"
        mapped = False
        for name in ("uidMappings", "gidMappings"):
            if mount.get(name):
                mapped = True
                mappings(mount[name], f"{pointer}/{name}", found)
        if mapped or "user" in kinds:
            continue
        for at, option in enumerate(mount.get("options", ())):
            if option.removesuffix("=") in ("idmap", "ridmap"):
                message = f'option "{option}" needs uidMappings and gidMappings, or a user namespace'
                found.append((f"{pointer}/options/{at}", message, ()))


def names(doc: Doc, kinds: Kinds, found: list[Found]) -> None:
    """Both names belong to the UTS namespace. An empty one is none."""
    for name in ("hostname", "domainname"):
        text = doc.get(name)
        if not text:
            continue
        need("uts", kinds, f"/{name}", found)
        if len(text.encode(errors="replace")) > NAME_MAX:
            found.append((f"/{name}", f"has {len(text.encode(errors='replace'))} bytes, at most {NAME_MAX} fit", ()))


def sysctls(doc: Doc, kinds: Kinds, found: list[Found]) -> None:
    """Only parameters of namespaces that the container does not share with the runtime."""
    for key, value in doc.get("linux", {}).get("sysctl", {}).items():
        pointer, file = f"/linux/sysctl/{step(key)}", parameters.path(key)
        kind = parameters.namespace(file)
        if not file:
            found.append((pointer, f"{quoted(key)} is not the name of a kernel parameter", ()))
        elif file == "kernel/hostname":
            found.append((pointer, "set the hostname by /hostname", ()))
        elif file == "kernel/domainname" and doc.get("domainname") not in (None, "", value):
            found.append((pointer, f"found {quoted(value)}, but /domainname is {quoted(doc['domainname'])}", ()))
        elif not kind:
            found.append((pointer, "belongs to no namespace, so it would change the host", ()))
        else:
            need(kind, kinds, pointer, found)


def time_offsets(doc: Doc, kinds: Kinds, found: list[Found]) -> None:
    """time_namespaces(7): offsets are set once, before a process enters the new namespace."""
    for clock, offset in doc.get("linux", {}).get("timeOffsets", {}).items():
        pointer = f"/linux/timeOffsets/{step(clock)}"
        if clock not in CLOCKS:
            found.append((pointer, f"found clock {quoted(clock)}, must be one of boottime, monotonic", CLOCKS))
            continue
        need("time", kinds, pointer, found)
        if kinds.get("time"):
            found.append((pointer, f"the time namespace {quoted(kinds['time'])} is joined: its offsets are fixed", ()))
        if offset.get("nanosecs", 0) > 999999999:
            found.append((f"{pointer}/nanosecs", f"found {offset['nanosecs']}, must be from 0 to 999999999", ()))
        if abs(offset.get("secs", 0)) > SECONDS_MAX:
            message = f"found {offset['secs']}, must be from -{SECONDS_MAX} to {SECONDS_MAX}"
            found.append((f"{pointer}/secs", message, ()))


def devices(doc: Doc, kinds: Kinds, found: list[Found]) -> None:
    """config-linux.md, devices: absolute paths; numbers unless it is a fifo."""
    for index, device in enumerate(doc.get("linux", {}).get("devices", ())):
        pointer = f"/linux/devices/{index}"
        absolute(device["path"], f"{pointer}/path", found)
        for name, most in (("major", MAJOR_MAX), ("minor", MINOR_MAX)):
            value = device.get(name)
            if device["type"] == "p":
                continue
            if value is None:
                found.append((f"{pointer}/{name}", f"{MISSING}: only type p has none", ()))
            elif not 0 <= value <= most:
                found.append((f"{pointer}/{name}", f"found {value}, must be from 0 to {most}", ()))
        # engines pass st_mode as it is, type included
        if device.get("fileMode", 0) > 0o177777:
            found.append((f"{pointer}/fileMode", f"found {device['fileMode']}, must be a file mode (in decimal)", ()))
        for name in ("uid", "gid"):
            identity(device.get(name, 0), f"{pointer}/{name}", found)


def net_devices(doc: Doc, kinds: Kinds, found: list[Found]) -> None:
    """config-linux.md, network devices. What a name may be: the kernel's dev_valid_name()."""
    taken: dict[str, str] = {}
    for host, device in doc.get("linux", {}).get("netDevices", {}).items():
        pointer = f"/linux/netDevices/{step(host)}"
        need("network", kinds, pointer, found)
        name = device.get("name") or host
        for text, where in ((host, pointer), (name, f"{pointer}/name" if device.get("name") else pointer)):
            if not interface(text):
                found.append((where, f"{quoted(text)} is not the name of a network device", ()))
        first = taken.setdefault(name, pointer)
        if first != pointer and "%d" not in name:
            found.append((pointer, f"takes the name {quoted(name)} as {first} does", ()))


def interface(name: str) -> bool:
    """True for a name that a network device can have."""
    if name in ("", ".", "..") or len(name.encode(errors="replace")) > 15:
        return False
    return not any(character in "/:" or character.isspace() for character in name)


def seccomp(doc: Doc, kinds: Kinds, found: list[Found]) -> None:
    """config-linux.md, seccomp."""
    profile = doc.get("linux", {}).get("seccomp")
    if profile is None:
        return
    notifies = profile["defaultAction"] == "SCMP_ACT_NOTIFY"
    errno(profile["defaultAction"], profile.get("defaultErrnoRet"), "/linux/seccomp/defaultErrnoRet", found)
    for index, rule in enumerate(profile.get("syscalls", ())):
        pointer = f"/linux/seccomp/syscalls/{index}"
        notifies = notifies or rule["action"] == "SCMP_ACT_NOTIFY"
        errno(rule["action"], rule.get("errnoRet"), f"{pointer}/errnoRet", found)
        for at, argument in enumerate(rule.get("args", ())):
            if argument["index"] > 5:
                found.append((f"{pointer}/args/{at}/index", f"found {argument['index']}, must be from 0 to 5", ()))
    if notifies and not profile.get("listenerPath"):
        found.append(("/linux/seccomp/listenerPath", f"{MISSING}: SCMP_ACT_NOTIFY needs someone to notify", ()))


def errno(action: str, value: int | None, pointer: str, found: list[Found]) -> None:
    """An error number is for actions that hand one over, and has to fit."""
    if value is None:
        return
    most = ERRNO_MAX.get(action)
    if most is None:
        allowed = " and ".join(ERRNO_MAX)
        found.append((pointer, f"{action} has no error number; only {allowed} have", ()))
    elif value > most:
        found.append((pointer, f"found {value}, must be from 0 to {most}", ()))


def numa(doc: Doc, kinds: Kinds, found: list[Found]) -> None:
    """config-linux.md, memory policy; set_mempolicy(2)."""
    policy = doc.get("linux", {}).get("memoryPolicy")
    if policy is None:
        return
    mode, nodes, pointer = policy["mode"], policy.get("nodes", ""), "/linux/memoryPolicy"
    if mode in WITH_NODES and not nodes:
        found.append((f"{pointer}/nodes", f"{MISSING}: {mode} needs nodes", ()))
    if mode in WITHOUT_NODES and nodes:
        found.append((f"{pointer}/nodes", f"found {quoted(nodes)}, but {mode} has no nodes", ()))
    number_list(nodes, f"{pointer}/nodes", found)
    if {"MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"} <= set(policy.get("flags", ())):
        message = "has MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES, which exclude each other"
        found.append((f"{pointer}/flags", message, ()))


def cpus(doc: Doc, kinds: Kinds, found: list[Found]) -> None:
    """config.md, execCPUAffinity."""
    affinity = doc.get("process", {}).get("execCPUAffinity", {})
    for name in ("initial", "final"):
        number_list(affinity.get(name, ""), f"/process/execCPUAffinity/{name}", found)


def number_list(text: str, pointer: str, found: list[Found]) -> None:
    """Numbers and ranges with commas between; an empty list is none."""
    if not text.strip():
        return
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        numbers = [low, high] if dash else [low]
        valid = all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers)
        if not valid or int(numbers[0]) > int(numbers[-1]):
            found.append((pointer, f"found {quoted(text)}, must be a list of numbers such as 0-3,7", ()))
            return


def rdt_and_personality(doc: Doc, kinds: Kinds, found: list[Found]) -> None:
    """config-linux.md, IntelRdt: closID is one directory. Personality: no flag is defined yet."""
    linux = doc.get("linux", {})
    clos = linux.get("intelRdt", {}).get("closID", "/")
    if clos != "/" and ("/" in clos or clos in ("", ".", "..")):
        found.append(("/linux/intelRdt/closID", f"found {quoted(clos)}, must be the name of one directory, or /", ()))
    if linux.get("personality", {}).get("flags"):
        found.append(("/linux/personality/flags", "has flags, but none is defined yet", ()))


RULES = (
    namespaces_once,
    user_namespace,
    mount_namespace,
    mount_mappings,
    names,
    sysctls,
    time_offsets,
    devices,
    net_devices,
    seccomp,
    numa,
    cpus,
    rdt_and_personality,
)
