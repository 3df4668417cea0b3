"""Maps the ids of trees that a plan asks to be mapped, before they are handed to the init; loaded where one does."""

from __future__ import annotations

import posix
from errno import EINVAL, EPERM

from ocirt.errors import SystemCallError, UnsupportedError
from ocirt.linux import calls
from ocirt.linux.consts import SIGKILL
from ocirt.spawn import idmap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.plan.compile import Plan
    from ocirt.plan.context import IdMap

REASONS = {
    EINVAL: "its filesystem, or one mounted below it, cannot be idmapped by this kernel",
    EPERM: "it is idmapped already, or its filesystem belongs to another user namespace",
}


def apply(plan: Plan, trees: dict[int, calls.Fd]) -> None:
    """Map what `plan.idmaps` lists; one user namespace serves all mounts with the same mappings.

    Raises UnsupportedError where the kernel cannot map a filesystem, PlanError for mappings that it refuses.
    """
    namespaces: dict[str, calls.Fd] = {}
    try:
        for slot, host, _, pointer in plan.trees:
            if slot in plan.idmaps:
                wanted, mount = plan.idmaps[slot], pointer.rpartition("/")[0]
                key = str(wanted[:3])
                if key not in namespaces:
                    namespaces[key] = namespace(wanted, mount)
                map_tree(trees[slot], namespaces[key], wanted[3], host, mount)
    finally:
        for fd in namespaces.values():
            fd.close()


def map_tree(tree: calls.Fd, namespace: calls.Fd, below: bool, host: str, mount: str) -> None:
    """mount_setattr(2), with the kernel's reasons in words."""
    try:
        calls.idmap(tree.number, namespace.number, below)
    except SystemCallError as error:
        if error.errno not in REASONS:
            raise error.at(mount) from None
        what = f'"{host}" cannot be idmapped: {REASONS[error.errno]}: {posix.strerror(error.errno).lower()}'
        raise UnsupportedError(what, mount) from None


def namespace(wanted: IdMap, mount: str) -> calls.Fd:
    """A user namespace with these mappings, or the one at the path."""
    uid_map, gid_map, path, _ = wanted
    if path:
        return open_namespace(path, "/linux/namespaces")
    keeper = calls.user_namespace()
    try:
        idmap.write(keeper, uid_map, gid_map, setgroups=True, section=mount)
        return open_namespace(f"/proc/{keeper}/ns/user", mount)
    finally:
        posix.kill(keeper, SIGKILL)
        posix.waitpid(keeper, 0)


def open_namespace(path: str, pointer: str) -> calls.Fd:
    """The namespace's file; by the path of a config, which may be anything."""
    try:
        return calls.opened(path, posix.O_NONBLOCK)
    except SystemCallError as error:
        raise error.at(pointer) from None
