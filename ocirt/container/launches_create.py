"""A launch of `create` or `run` is kept: launches.py.

The holes are strings of config.json, the id, the bundle, the name of the pid file; and config.json itself, which the
state keeps. The launcher's side is launcher/launch.c.
"""

from __future__ import annotations

import posix
from _struct import Struct

from ocirt import cgroup
from ocirt.cgroup import host_steps
from ocirt.cgroup.hierarchies import silent
from ocirt.container import creation as making
from ocirt.container import launches
from ocirt.container.prepare import Given
from ocirt.linux import facts
from ocirt.linux._kernel import lib
from ocirt.plan import holes, host
from ocirt.plan.ops import next_plan
from ocirt.spawn import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ocirt.container.creation import Creation
    from ocirt.plan.ops import Op

WITNESS = Struct("<QQQ")  # device, inode, time of change in ns or 0


def hand_over(creation: Creation) -> None:
    """Keep the launch, and have the launcher carry it out; returns where either cannot be done."""
    kept = making.kept
    taken = launches.hand_over(creation.root, kept, lambda: launch(creation, kept[1]), creation.performer)
    if taken:
        creation.taken = taken
        if taken != creation.given.raw:
            creation.read(creation.start)


def launch(creation: Creation, key: bytes) -> bytes:
    """The file. Raises Unkeepable, and what compiling raises."""
    shape, found = launches.shape_of(creation.given.raw)
    if not is_of(key, shape):
        raise holes.Unkeepable("config.json, or the runtime's own cgroup, has changed in between")
    return launches.file(key, compiled(creation, found), witnesses(creation))


def compiled(creation: Creation, found: launches.Found) -> list[launches.Half]:
    """What is kept, with its holes open, which `shape_of` has found. Raises Unkeepable, and what compiling raises."""
    if is_looked_at(creation.config):
        raise holes.Unkeepable("it has sysctls, beside a domain name or namespaces of others")
    h = creation.host_of(opened(creation, found))
    host_steps.compile(h.cgroups, creation.hierarchies, h.compilation.context.config)
    first = host.first(h)
    creation.finish(h, creation.root)
    rest = host.rest(h)
    launches.refuse(first + rest, h.compilation.context.warnings)
    return halves(h, first, rest)


def halves(h: host.Host, first: Sequence[Op], rest: Sequence[Op]) -> list[launches.Half]:
    """What is performed, in the order of the file: in words, the operations, their vocabulary, how large it may be."""
    return [
        ("host plan", first, wire.host_kinds(), lib.HOST_PLAN_MAX),
        ("init's plan", part_of(h, first), wire.KINDS, lib.PLAN_MAX),
        ("host plan, second half", rest, wire.host_kinds(), lib.HOST_PLAN_MAX),
        ("init's plan, second half", part_of(h, rest), wire.KINDS, lib.PLAN_MAX),
    ]


def is_of(key: bytes, shape: bytes) -> bool:
    """Whether the key is of this config, which the launcher has read before us, and of the cgroup that we are in."""
    return key.endswith(launches.part(shape)) and facts.read("/proc/self/cgroup").encode() in key


def is_looked_at(config: dict[str, Any]) -> bool:
    """Whether more decides what is refused: files behind paths of namespaces (prepare.refuse_host_sysctls), a hole."""
    linux = config.get("linux") or {}
    if not linux.get("sysctl"):
        return False
    return bool(config.get("domainname")) or any(entry.get("path") for entry in linux.get("namespaces") or ())


def opened(creation: Creation, found: launches.Found) -> Given:
    """What the container is made from, with holes. Raises Unkeepable."""
    config = launches.with_holes(creation.given.raw, found)
    container_id = launches.hole(launches.ID)
    cgroups_path = (config.get("linux") or {}).get("cgroupsPath")
    raw = holes.Raw(b"\0")
    raw.number = launches.RAW
    return Given(
        config,
        container_id,
        launches.hole(launches.BUNDLE),
        cgroup.paths_for(cgroups_path, container_id, creation.hierarchies),
        launches.hole(launches.PID_FILE, creation.given.pid_file),
        launches.hole(launches.CONSOLE, creation.given.console_socket),
        raw=raw,
    )


def part_of(h: host.Host, ops: Sequence[Op]) -> list[Op]:
    """What of the init's plan these operations send."""
    for op in ops:
        if op[0] == "send_plan":
            first, count, more = op[3][:3]
            source = h.compilation.first if more else h.plan.ops
            part = list(source[first : first + count])
            return [*part, next_plan(lib.SLOT_BELL, count)] if more else part
    return []


def witnesses(creation: Creation) -> bytes:
    """Where the hierarchies are mounted, where others would be looked for, and who made the filter.

    Raises Unkeepable where that is not known, OSError.
    """
    found = b"".join([witness(hierarchy.mount, posix.stat(hierarchy.mount)[:3]) for hierarchy in creation.hierarchies])
    found += b"".join([witness(path, (0, 0, 0)) for path in silent()])
    if creation.filter == (None, 0):
        return found
    from ocirt.container import profiles

    path = profiles.library(creation.root, creation.config["linux"]["seccomp"])
    if not path:
        raise holes.Unkeepable("no compiled filter is kept")
    return found + witness(path, posix.stat(path)[:3], posix.stat(path).st_mtime_ns)


def witness(path: str, status: tuple[int, ...], changed_ns: int = 0) -> bytes:
    """One file: `status` as of stat(2), of which inode and device come second and third; zeros where there is none."""
    return WITNESS.pack(status[2], status[1], changed_ns) + path.encode("utf-8", "surrogateescape") + b"\0"
