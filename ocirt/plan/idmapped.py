"""Idmapped mounts: which ids the tree of a bind mount shows; loaded where a mount asks for it.

The runtime maps the tree, which takes privileges over the filesystem that a user namespace does not give, and hands it
over. Source: config.md "Mounts", mount_setattr(2).
"""

from __future__ import annotations

from ocirt.errors import ConfigError, Problem, UnsupportedError
from ocirt.plan.ids import id_map, pairs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocirt.plan.context import Context, IdMap
    from ocirt.plan.ids import Map, Mapping
    from ocirt.plan.mounts import Mount

# The last id is (uid_t)-1, which stands for none
ID_MAX = 0xFFFFFFFE


def tree(c: Context, mount: Mount, host: str) -> int:
    """The slot of a tree of `host` with mapped ids. Raises UnsupportedError."""
    if c.facts.euid:
        raise UnsupportedError("idmapped mounts require root on the host", mount.idmap_pointer)
    if not c.room_for_trees():
        raise UnsupportedError("more idmapped mounts than one message can carry", mount.idmap_pointer)
    slot = c.slot()
    c.trees.append((slot, host, mount.options.recursive, f"{mount.pointer}/source"))
    c.idmaps[slot] = mapping(c, mount)
    return slot


def mapping(c: Context, mount: Mount) -> IdMap:
    """The mount's own mappings, else the user namespace's; config/check has seen that one is there."""
    below = mount.options.idmap_below
    if mount.options.idmap_text:
        return (*written(c, mount), "", below)
    if mount.entry.get("uidMappings"):
        return pairs(mount.entry["uidMappings"]), pairs(mount.entry["gidMappings"]), "", below
    return id_map(c, "uidMappings"), id_map(c, "gidMappings"), c.namespaces["user"].path, below


def written(c: Context, mount: Mount) -> tuple[Map, Map]:
    """The mappings of an option as crun has it: idmap=uids=0-1000-10#10-2000-5;gids=@0-0-10.

    Each is the first id in the filesystem, the first that is shown, and how many; with "@" the second is one of the
    container's user namespace. Raises ConfigError with the option's pointer.
    """
    found: dict[str, Map] = {}
    if mount.entry.get("uidMappings"):
        raise refused(mount, "the mount has uidMappings and gidMappings too")
    for part in mount.options.idmap_text.split(";"):
        name, _, text = part.partition("=")
        if name not in {"uids", "gids"} or name in found:
            raise refused(mount, f'"{part}" is not one uids=… and one gids=…')
        listed = c.linux.get(f"{name[:-1]}Mappings") or ()
        found[name] = [extent(mount, entry, listed) for entry in text.removeprefix("#").split("#")]
    for name in ("uids", "gids"):
        if name not in found:
            raise refused(mount, f"{name}= is missing")
    return found["uids"], found["gids"]


def extent(mount: Mount, text: str, listed: Sequence[Mapping]) -> tuple[int, int, int]:
    """One mapping: "0-1000-10", or "@0-0-10" by the mappings of the user namespace. Raises ConfigError."""
    numbers = text.removeprefix("@").split("-")
    if len(numbers) != 3 or not all(number.isdecimal() and number.isascii() and len(number) < 20 for number in numbers):
        raise refused(mount, f'"{text}" is not three numbers: in the filesystem, shown, how many')
    inside, shown, size = map(int, numbers)
    if max(inside, shown, size) > ID_MAX or not size:
        raise refused(mount, f'"{text}": ids are below {ID_MAX + 1}, and there must be one')
    if text[:1] != "@":
        return inside, shown, size
    for entry in listed:
        first = entry["containerID"]
        if first <= shown and shown + size <= first + entry["size"]:
            return inside, shown - first + entry["hostID"], size
    raise refused(mount, f'"{text}": no mapping of the user namespace has all of these ids')


def refused(mount: Mount, text: str) -> ConfigError:
    """The error for mappings that make no sense."""
    return ConfigError([Problem(mount.options.idmap, text)])
