"""A container's cgroups as operations of the host plan; pure. Carrying them out is left to container/performer.py.

The paths and hierarchies belong together as everywhere in the package.
"""

from __future__ import annotations

from errno import ENOENT

from ocirt.cgroup import access, devices, v1, v2
from ocirt.cgroup.hierarchies import layout
from ocirt.errors import UnsupportedError
from ocirt.plan import holes, host_ops, ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ocirt.cgroup.hierarchies import Hierarchy
    from ocirt.cgroup.limits import Write
    from ocirt.plan.host import Cgroups
    from ocirt.plan.ops import Op

# Parts of linux.resources whose controllers a hybrid host may have on v2
ON_V2_ALONE = frozenset(("hugepageLimits", "rdma", "unified"))
RESOURCES = "/linux/resources"


def compile(cgroups: Cgroups, hs: Sequence[Hierarchy], config: dict[str, Any]) -> None:
    """Fill in the operations of `cgroups` for a config. Raises UnsupportedError for what the host has no means for."""
    linux = config.get("linux") or {}
    asked = linux.get("resources") or {}
    cgroups.make = make(cgroups.paths, hs, cgroups.pointer)
    cgroups.limit = limit(cgroups.paths, hs, asked)
    cgroups.devices = restrict_devices(cgroups.paths, hs, asked.get("devices") or ())
    cgroups.freezers = note_freezers(cgroups.paths, hs)


def make(paths: Sequence[str], hs: Sequence[Hierarchy], pointer: str) -> list[Op]:
    """Make the cgroups, and refuse those in which the container could not run or would not be alone."""
    found: list[Op] = [host_ops.make_cgroup(pointer, path) for path in paths]
    for path, hierarchy in zip(paths, hs, strict=True):
        if "cpuset" in hierarchy.controllers.split(","):
            found.append(host_ops.fill_cpuset(pointer, path))
    found += [host_ops.refuse_frozen(pointer, path, version) for path, version in _freezers(paths, hs)]
    if paths:
        found.append(host_ops.refuse_shared("", list(paths)))
    return found


def note_freezers(paths: Sequence[str], hs: Sequence[Hierarchy]) -> list[Op]:
    """Have the state name the files that tell whether the container is frozen; a hybrid host has two."""
    files = {1: v1.FREEZER, 2: v2.FREEZER}
    return [host_ops.note_freezer("", holes.concat(path, files[version])) for path, version in _freezers(paths, hs)]


def _freezers(paths: Sequence[str], hs: Sequence[Hierarchy]) -> list[tuple[str, int]]:
    """The cgroups that can be frozen, with the version of their hierarchy."""
    return [
        (path, hierarchy.version)
        for path, hierarchy in zip(paths, hs, strict=True)
        if hierarchy.version == 2 or "freezer" in hierarchy.controllers.split(",")
    ]


def limit(paths: Sequence[str], hs: Sequence[Hierarchy], asked: dict[str, Any]) -> list[Op]:
    """The limits of linux.resources, devices excepted. Raises UnsupportedError for what the host has no means for."""
    found: list[Op] = []
    if hs and hs[0].version == 2 and (layout(hs) == "v2" or not ON_V2_ALONE.isdisjoint(asked)):
        found.append(host_ops.hand_down("", hs[0].mount, paths[0]))
    return found + limits(paths, hs, asked)


def limits(
    paths: Sequence[str], hs: Sequence[Hierarchy], asked: dict[str, Any], name: Callable[[str], str] | None = None
) -> list[Op]:
    """To be set on cgroups that have all controllers that there are to be had; raises as `limit`.

    name    the words for a JSON pointer below /linux/resources, for errors; None for those of config.json
    """
    found: list[Op] = []
    if not any(value for part, value in asked.items() if part != "devices"):
        return found
    from ocirt.cgroup import resources

    homes = resources.homes_of(paths, hs)
    writes = resources.writes(asked, homes, name or resources.in_config)
    for member, limit_ in resources.above_usage(asked, homes):
        found.append(host_ops.refuse_usage(f"{RESOURCES}/memory/{member}", homes[""], member, limit_))
    for listed in resources.groups(writes):
        group = [op for one in listed for op in _write(resources.home(homes, one), one)]
        found += [host_ops.try_again("", len(group)), *group] if group else []
    return found


def _write(path: str, write: Write) -> list[Op]:
    version, _, file, text, pointer, otherwise = write
    op = host_ops.write_limit(RESOURCES + pointer, path, file, text, version)
    others = [host_ops.write_limit(RESOURCES + pointer, path, *other, version) for other in otherwise if other[0]]
    return ops.fallback(op, [ENOENT], others) if otherwise else [op]


def restrict_devices(paths: Sequence[str], hs: Sequence[Hierarchy], listed: Sequence[dict[str, Any]]) -> list[Op]:
    """Let the members use the devices that `listed` allows and no other: by v1's files, else a program of v2.

    Raises UnsupportedError where the host has no means for what the config denies.
    """
    if not paths:
        return []  # no cgroups, as the caller wished
    path, version = access.home(paths, hs)
    default, kept = devices.rules(listed)
    asked = int(access.asked(listed))
    if not version:
        if asked:
            raise UnsupportedError('needs the cgroup controller "devices", which this host lacks', devices.POINTER)
        return []
    if version == 2:
        return [host_ops.device_program(devices.POINTER, path, devices.program(default, kept), asked)]
    access.refuse_holes(default, kept)
    return [
        host_ops.device_rules(
            devices.POINTER, path, file, [text.decode() for text, _ in lines], [field for _, field in lines], asked
        )
        for file, lines in devices.writes(default, kept)
    ]
