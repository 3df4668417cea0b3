"""Users and groups: maps of a new user namespace, and the ids of the process."""

from __future__ import annotations

from errno import EACCES, EINVAL, EPERM

from ocirt.errors import UnsupportedError
from ocirt.linux.consts import SYNC_MAPPED
from ocirt.plan import ops

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocirt.plan.context import Context
    from ocirt.plan.ops import Op

    Map = list[tuple[int, int, int]]
    Mapping = dict[str, int]

KEEP_GROUPS = "run.oci.keep_original_groups"


def id_map(c: Context, name: str) -> Map:
    """linux.uidMappings or linux.gidMappings as /proc/PID/uid_map takes them; [] without a new user namespace."""
    if not c.new("user"):
        return []
    return pairs(c.linux.get(name) or ())


def pairs(listed: Sequence[Mapping]) -> Map:
    """Mappings of the config as the kernel's files take them."""
    return [(entry["containerID"], entry["hostID"], entry["size"]) for entry in listed]


def host_uid(c: Context, uid: int) -> int:
    """The host's number for a user of the container; -1 where nothing is known of its mapping, or there is none."""
    if "user" not in c.namespaces:
        return uid
    return next(iter(_host_ids(id_map(c, "uidMappings"), uid)), -1)


def setgroups_denied(c: Context) -> bool:
    """True where the kernel takes the gid map only after "deny" (user_namespaces(7)), or denies for the caller already.

    The first is a caller without privileges that maps a single id; more than one takes newgidmap, which may setgroups.
    """
    if not c.facts.setgroups:
        return True
    gid_map = id_map(c, "gidMappings")
    return bool(gid_map and c.facts.euid and len(gid_map) == 1 and gid_map[0][2] == 1)


def keeps_groups(c: Context) -> bool:
    """True where the caller's groups are to stay (podman's --group-add keep-groups)."""
    return (c.config.get("annotations") or {}).get(KEEP_GROUPS) == "1"


def mapped(c: Context) -> list[Op]:
    """Become root of the user namespace. Before the first file is made: an id without a mapping cannot own one."""
    if c.joined("user"):
        # What it maps is known to the kernel alone; EINVAL: not 0. EPERM: it denies setgroups.
        pointer = c.namespaces["user"].pointer
        groups = [] if keeps_groups(c) else [ops.ignoring(ops.groups(pointer, b""), EPERM)]
        return [*groups, ops.ignoring(ops.ids(pointer, 0, 0), EINVAL)]
    if not c.new("user"):
        return []
    found = [ops.sync("/linux/uidMappings", SYNC_MAPPED)]
    if _maps(id_map(c, "uidMappings"), 0) and _maps(id_map(c, "gidMappings"), 0):
        if not setgroups_denied(c) and not keeps_groups(c):
            found.append(ops.groups("/linux/gidMappings", b""))
        found.append(ops.ids("/linux/uidMappings", 0, 0))
    return found


def _maps(id_map: Map, number: int) -> bool:
    return bool(_host_ids(id_map, number))


def _host_ids(id_map: Map, number: int) -> list[int]:
    """[the id outside], [] for one that is not mapped."""
    return [host + number - first for first, host, size in id_map if first <= number < first + size]


def stdio(c: Context) -> list[Op]:
    """Pipes of the caller become the user's, so that /dev/stdout can be opened again.

    For a new user namespace here, as root of the host: inside nobody can change what an unmapped id owns.
    """
    if not c.process or c.launch.console or not _owns_outside(c):
        return []
    uid = (c.process.get("user") or {}).get("uid", 0)
    return [ops.stdio_owner("/process/user/uid", host) for host in _host_ids(id_map(c, "uidMappings"), uid)]


def _owns_outside(c: Context) -> bool:
    return c.new("user") and not c.facts.euid


def user(c: Context) -> list[Op]:
    """Become the process's user. Groups first, then gid, then uid: each needs the privileges that the next gives up."""
    if not c.process:
        return []
    account = c.process.get("user") or {}
    uid, gid = account.get("uid", 0), account.get("gid", 0)
    found = [] if c.launch.console else _stdio(c, uid)
    return [*found, *_groups(c, account.get("additionalGids") or ()), ops.ids("/process/user", uid, gid)]


def _stdio(c: Context, uid: int) -> list[Op]:
    if _owns_outside(c) or not (uid or "user" in c.namespaces):
        return []
    return [ops.stdio_owner("/process/user/uid", uid)]


def _groups(c: Context, gids: list[int] | tuple[int, ...]) -> list[Op]:
    """The list is set even when it is empty: else the caller's groups would leak in."""
    pointer = "/process/user/additionalGids"
    if keeps_groups(c):
        return []
    if setgroups_denied(c):
        if gids and not c.facts.setgroups:  # engines take them from the image, whatever the caller may do
            c.warnings.append(f"{pointer}: left out, for the user namespace of the caller denies setgroups")
        elif gids:
            raise UnsupportedError("a user namespace with a single mapped group cannot have additional groups", pointer)
        return []
    op = ops.groups(pointer, b"".join([gid.to_bytes(4, "little") for gid in gids]))
    return [op if gids or not c.joined("user") else ops.ignoring(op, EPERM)]


def oom_score_adj(c: Context) -> list[Op]:
    """The first of all: with the host's /proc, and while the process may still lower the score."""
    score = c.process.get("oomScoreAdj")
    if score is None:
        return []
    op = ops.oom_score_adj("/process/oomScoreAdj", str(score))
    # Engines without privileges pass a lower score on; it is theirs to know that it has no effect.
    return [ops.ignoring(op, EACCES) if c.facts.euid else op]
