"""Cold: what to say of a state directory that cannot be read, and what can still be known of its container.

Without the mark and without a state.json of ours the directory is another runtime's: ContainerNotFound.

    a format that is not known     StateUnknown; left alone, whatever is asked
    anything else                  StateDamaged; `delete --force` frees the id
"""

from __future__ import annotations

import posix
from errno import EKEYREJECTED, ELOOP, ENOENT

from ocirt.config import load
from ocirt.container import hooks, place, record, state
from ocirt.errors import (
    BundleError,
    ContainerError,
    ContainerNotFound,
    OcirtError,
    StateDamaged,
    StateUnknown,
    StateUntrusted,
    failed,
)
from ocirt.linux.calls import Fd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# How every state.json of ours begins, those without a mark beside them too
HEAD = b'{\n  "ociVersion": '
# What a list has for each of these, in place of a status of runtime.md
STATUSES = {StateDamaged: "damaged", StateUnknown: "unknown", StateUntrusted: "untrusted"}
NO_TIME = "0001-01-01T00:00:00Z"  # engines decode RFC 3339, and take this for none

# Member of the mark, and of state.json → slot of State
KNOWN = {
    "pid": ("pid", int),
    "startTime": ("start_time", int),
    "unit": ("unit", str),
    "cgroups": ("cgroups", list),
    "made": ("made", list),
}


def explained(directory: int, container_id: str, error: Exception) -> OcirtError:
    """What it means that state.json could not be read for `error`."""
    if isinstance(error, OSError) and error.errno not in {ENOENT, ELOOP}:
        return failed(f'read the state of container "{container_id}"', error)
    data = _data(directory, state.STATE)
    if state.is_leftover(directory) or not _is_ours(directory, data):
        return ContainerNotFound(container_id)
    if isinstance(error, OcirtError):
        return error
    path = place.path_of(directory)
    for number in (_mark(directory).get("format"), _part(_document(data)).get("format")):
        if type(number) is int and number not in record.KNOWN:
            return StateUnknown(container_id, path, number)
    return StateDamaged(container_id, path, _reason(data, error))


def found(root: str, container_id: str, number: int) -> OcirtError:
    """What it means that launcher/record.c gave the errno `number` for the container. Raises as state.read."""
    with Fd(place.open_directory(root, container_id)) as directory:
        state.read_at(directory.number, container_id)
        path = place.path_of(directory.number)
    if number == EKEYREJECTED:
        return StateUntrusted(f'the state of container "{container_id}"', f'"{path}/start.sock" is not ours')
    return StateDamaged(container_id, path, "state.json is being written")


def in_the_way(root: str, container_id: str) -> str:
    """What keeps the id from being taken, where that is no container in order and no other `create` of it."""
    try:
        with Fd(place.open_directory(root, container_id)) as directory:
            if state.is_leftover(directory.number):
                return ""
            state.read_at(directory.number, container_id)
    except ContainerNotFound:
        return f'"{root}/{container_id}" exists and was not made by ocirt'
    except ContainerError as error:
        return str(error).removeprefix(f'container "{container_id}": ')
    except OcirtError:
        pass
    return ""


def entry(container_id: str, error: ContainerError) -> dict[str, Any]:
    """What a list has for a container whose state cannot be read."""
    return {
        "ociVersion": "",
        "id": container_id,
        "pid": 0,
        "status": STATUSES[type(error)],
        "bundle": "",
        "rootfs": "",
        "created": NO_TIME,
        "annotations": {},
        "owner": record.owner(),
    }


def remnant(directory: int, container_id: str) -> record.State:
    """What is still known of the container, as `delete` needs it: by the mark, else by the lines of state.json."""
    known = _mark(directory) or _lines(_data(directory, state.STATE))
    rest = record.State()
    rest.container_id, rest.boot_id = container_id, record.boot_id()
    rest.phase, rest.python = "created", "resctrl"  # to look at the note, if there is one
    if known.get("bootId") != rest.boot_id:
        return rest
    for member, (slot, kind) in KNOWN.items():
        value = known.get(member)
        if isinstance(value, list) and kind is list:
            setattr(rest, slot, [path for path in value if isinstance(path, str) and path[:1] == "/"])
        elif type(value) is kind:
            setattr(rest, slot, value)
    if known.get("phase") == "creating":
        rest.cgroups = [path for path in rest.cgroups if path in rest.made]
    return rest


def warn_of_hooks(root: str, container_id: str) -> None:
    """Warn where the config has poststop hooks: without a state to give them they cannot run."""
    reason = "the state that they are given is damaged"
    try:
        config = load.parse(state.kept_file(root, container_id, state.CONFIG, load.LIMIT))
        found = bool(config["hooks"]["poststop"])  # type: ignore[index]  # whatever is wrong with it is told below
    except (KeyError, TypeError):
        found = False
    except (OSError, ValueError, OcirtError) as error:
        found, reason = True, str(error)
    if found:
        hooks.warn_not_run(container_id, reason)


def _is_ours(directory: int, data: bytes | None) -> bool:
    if place.has(directory, place.MARK):
        return True
    return data is not None and (data.startswith(HEAD) or bool(_part(_document(data))))


def _mark(directory: int) -> dict[str, Any]:
    """The mark's members; none where it cannot be read. Raises StateUntrusted."""
    try:
        doc = _document(place.read_file(directory, place.MARK, state.LIMIT))
    except (OSError, ValueError):
        return {}
    return doc if isinstance(doc, dict) else {}


def _data(directory: int, name: str) -> bytes | None:
    """The bytes of a file, to tell what is wrong with them; None where it cannot be read."""
    try:
        fd = posix.open(name, posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC, dir_fd=directory)
        try:
            return posix.read(fd, state.LIMIT)
        finally:
            posix.close(fd)
    except OSError:
        return None


def _document(data: bytes | None) -> object:
    try:
        return load.parse(data or b"")
    except BundleError:
        return None


def _part(doc: object) -> dict[str, Any]:
    """The part of a state.json that is ocirt's own."""
    own = doc.get("ocirt") if isinstance(doc, dict) else None
    return own if isinstance(own, dict) else {}


def _lines(data: bytes | None) -> dict[str, Any]:
    """The members of a state.json that is cut off or was written into: those whose lines are whole."""
    members = {}
    for line in (data or b"").split(b"\n"):
        name, _, value = line.strip().partition(b": ")
        key = _document(name)
        if isinstance(key, str):
            members[key] = _document(value.rstrip(b","))
    return members


def _reason(data: bytes | None, error: Exception) -> str:
    if data is None:
        return "state.json is missing" if getattr(error, "errno", 0) == ENOENT else "state.json is no regular file"
    if not data:
        return "state.json is empty"
    if not data.strip(b"\0"):
        return "state.json holds nothing but zero bytes"
    text = str(error)
    return text if text.startswith("state.json") else f"state.json: {text}"
