"""Idmapped mounts: which ids the tree of a bind mount shows; loaded where a mount asks for it.

The runtime maps the tree, which takes privileges over the filesystem that a user namespace does not give, and hands it
over. Source: config.md "Mounts", mount_setattr(2).
"""

from __future__ import annotations

from ocirt.errors import UnsupportedError
from ocirt.plan.ids import id_map, pairs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.plan.context import Context, IdMap
    from ocirt.plan.mounts import Mount


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
    if mount.entry.get("uidMappings"):
        return pairs(mount.entry["uidMappings"]), pairs(mount.entry["gidMappings"]), "", below
    return id_map(c, "uidMappings"), id_map(c, "gidMappings"), c.namespaces["user"].path, below
