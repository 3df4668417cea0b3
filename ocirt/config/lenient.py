"""What the specification's text or schema refuses and its other runtimes take, turned into what it means to them.

Done to a document when it is read, ahead of check.py, which knows the specification alone. A value of a type that is
wrong is left to check.py. spec/README.md lists all of it, with the reasons.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# (section of linux, member): optional strings of which "" is the absence
EMPTY = (("linux", "rootfsPropagation"), ("intelRdt", "closID"), ("intelRdt", "memBwSchema"))
# Of a mount: they come together, and one that is empty maps nothing
MAPPINGS = ("uidMappings", "gidMappings")
ACCESS = "rwm"


def settle(doc: dict[str, Any]) -> None:
    """All of a config, in place."""
    settle_process(doc.get("process"))
    for mount in entries(doc, "mounts"):
        for name in MAPPINGS:
            if mount.get(name) == []:
                del mount[name]
    linux = doc.get("linux")
    if type(linux) is not dict:
        return
    for namespace in entries(linux, "namespaces"):
        if namespace.get("path") == "":
            del namespace["path"]
    for name, member in EMPTY:
        section = linux if name == "linux" else linux.get(name)
        if type(section) is dict and section.get(member) == "":
            del section[member]
    settle_resources(linux.get("resources"), doc.get("ociVersion"))


def settle_process(process: object) -> None:
    """The `process` of a config, or of a process file, in place."""
    if type(process) is not dict:
        return
    user = process.get("user")
    if type(user) is dict and "gid" not in user and "uid" in user:  # without a uid it would be root: a mistake
        process["user"] = {**user, "gid": 0}
    priority = process.get("ioPriority")
    if type(priority) is dict and "class" in priority and "priority" not in priority:
        process["ioPriority"] = {**priority, "priority": 0}


def settle_resources(resources: object, version: object) -> None:
    """linux.resources of a container of this ociVersion, in place."""
    if type(resources) is not dict:
        return
    for rule in entries(resources, "devices"):
        letters = rule.get("access")
        # Where nothing would be left the rule is a mistake.
        if type(letters) is str and letters.strip(ACCESS) and (known := "".join([x for x in ACCESS if x in letters])):
            rule["access"] = known
    pids = resources.get("pids")
    if type(pids) is dict and pids.get("limit") == 0 and zero_is_none(version):
        pids["limit"] = -1


def zero_is_none(version: object) -> bool:
    """Whether a pids.limit of 0 is none: until runtime-spec 1.3 it was not told apart from an absent one."""
    parts = version.split(".") if type(version) is str else []
    return len(parts) > 1 and parts[0] == "1" and parts[1] in {"0", "1", "2"}


def entries(section: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects in an array, [] where it is none."""
    listed = section.get(name)
    return [entry for entry in listed if type(entry) is dict] if type(listed) is list else []


def drop_nulls(doc: object) -> None:
    """Take members that are null out of objects, at any depth: they mean absent ones. Entries of arrays stay."""
    pending = [doc]
    for value in pending:  # grows as it goes: no recursion, whatever the depth
        if type(value) is dict:
            for name in [name for name, member in value.items() if member is None]:
                del value[name]
            pending += value.values()
        elif type(value) is list:
            pending += value
