"""What is known of a container: state.json, read. C writes it (perform/text.c), and says which lines it has.

docs/plan.md, "The state directory", is the prose; launcher/state.def is the table of the members.
"""

from __future__ import annotations

import posix
from errno import ESRCH

from ocirt.errors import BundleError, SystemCallError
from ocirt.linux._kernel import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

FORMAT = 2  # of what is written; STATE_FORMAT of launcher/record.h
KNOWN = (1, 2)  # the first had no number, and no mark


class State:
    """What create learned of a container.

    oci_version, container_id, bundle, rootfs, annotations    as in config.json; paths absolute
    pid             the container's process as the runtime sees it; 0 until it exists
    start_time      of the process, in clock ticks after boot (proc_pid_stat(5), field 22)
    boot_id         of the boot that both belong to
    created         RFC 3339, UTC, nanoseconds
    owner           name of the user who created it
    phase           "creating" or "created"
    manager         "cgroupfs", "systemd" or "disabled"
    unit            the unit of systemd to end with it, "" for none
    pid_namespace   whether the process is the first of a pid namespace made for it
    python          why a verb is not quick: "poststart", "poststop", "noprocess", separated by spaces; and "oldkeyring"
                    where the container has the session keyring of its caller
    freezers        the files that tell whether the container is frozen: one, two on a hybrid host
    text            of state.json, and a NUL
    cgroups, made   its cgroup directories; all directories that create made for them, deepest first
    """

    __slots__ = (
        "annotations", "boot_id", "bundle", "cgroups", "container_id", "created", "freezers", "made", "manager",
        "oci_version", "owner", "phase", "pid", "pid_namespace", "python", "rootfs", "start_time", "text", "unit",
    )  # fmt: skip

    oci_version: str
    container_id: str
    bundle: str
    rootfs: str
    annotations: dict[str, str]
    pid: int
    start_time: int
    boot_id: str
    created: str
    owner: str
    phase: str
    manager: str
    unit: str
    pid_namespace: bool
    python: str
    text: bytes
    freezers: list[str]
    cgroups: list[str]
    made: list[str]

    def __init__(self) -> None:
        """With nothing in it."""
        self.oci_version = self.container_id = self.bundle = self.rootfs = self.boot_id = self.created = ""
        self.owner = self.phase = self.manager = self.unit = self.python = ""
        self.annotations = {}
        self.pid = self.start_time = 0
        self.pid_namespace = False
        self.text = b""
        self.freezers, self.cgroups, self.made = [], [], []

    def own_cgroups(self) -> list[str]:
        """The cgroups that hold nobody but the container; until it is created, one that was there may be anybody's."""
        return self.cgroups if self.phase == "created" else [path for path in self.cgroups if path in self.made]


def decode(data: bytes) -> State:
    """The State of a state.json. Raises ValueError when the text is not one of ours, or is of an unknown format."""
    from ocirt.config import load

    try:
        doc: Any = load.parse(data, "state.json")
        own = doc["ocirt"]
        if own.get("format", 1) not in KNOWN:
            raise ValueError("its format is none that this version knows")
        state = State()
        state.text = data + b"\0"
        for member, kind, slot, part in MEMBERS:
            value = (own if part else doc)[member]
            if type(value) is not kind or (isinstance(value, int) and not 0 <= value < LARGEST[member]):
                raise ValueError(f"{member} has a value that create never writes")
            setattr(state, slot, value)
    except KeyError as error:
        raise ValueError(f"{error.args[0]} is missing") from None
    except (BundleError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(str(error)) from None
    if b"\0" in data or lib.state_is_laid_out(ffi.from_buffer(state.text)) < 0:
        raise ValueError("it is not laid out as create writes it")
    return state


def document(state: State, status: str, pid: int) -> bytes:
    """The state of runtime.md, as JSON: what hooks read, of a container whose state.json was read."""
    text = bytearray(len(state.text) + DIFFERENCE)
    size = lib.state_document(ffi.from_buffer(state.text), status.encode(), pid, ffi.from_buffer(text), len(text))
    return bytes(text[:size])


def members(table: bytes) -> Iterator[tuple[str, type, str, bool]]:
    """Name, type, slot of State, whether in the part "ocirt"; of "name:kind name:kind …", as state.def has them."""
    part = False
    for word in table.decode().split():
        name, _, kind = word.partition(":")
        if kind in TYPES and name not in {"status", "format"}:
            yield name, TYPES[kind], SLOTS.get(name, name), part
        part = part or kind == "part"


TYPES = {"string": str, "number": int, "boolean": bool, "object": dict, "list": list}
# Of those that have another name in state.json
SLOTS = {
    "ociVersion": "oci_version",
    "id": "container_id",
    "startTime": "start_time",
    "bootId": "boot_id",
    "pidNamespace": "pid_namespace",
}
# What C can hold
LARGEST = {"pid": 1 << 31, "startTime": 10**19, "pidNamespace": 2}
MEMBERS = list(members(ffi.string(lib.ocirt_state_members)))
BOOT_ID_SIZE = 64
DIFFERENCE = 64  # a longer status and pid than those of the file


def boot_id() -> str:
    """The id of this boot (random(4)). Raises SystemCallError."""
    text = bytearray(BOOT_ID_SIZE)
    result = lib.boot_id(ffi.from_buffer(text), len(text))
    if result < 0:
        raise SystemCallError("read /proc/sys/kernel/random/boot_id", -result)
    return text.partition(b"\0")[0].decode()


def start_time(pid: int) -> int:
    """When the process was started, in clock ticks after boot (proc_pid_stat(5), field 22); 0 for no process.

    Raises SystemCallError.
    """
    ticks = bytearray(8)
    result = lib.process_start_time(pid, ffi.from_buffer(ticks))
    if result in {0, -ESRCH}:
        return int.from_bytes(ticks, "little")
    raise SystemCallError(f"read /proc/{pid}/stat", -result)


def owner() -> str:
    """The name of the effective user, or its number where it has none."""
    uid = posix.geteuid()
    if uid == 0:
        return "root"  # name services may take long, and this is what they say
    from pwd import getpwuid

    try:
        return getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
