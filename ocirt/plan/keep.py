"""Which mounts the init keeps open: those at or below which a later operation resolves a path.

Whoever can write a directory of the root filesystem can rename it, with the mount on it, while the plan is carried out.
So a path below it is resolved from the mount itself (CVE-2025-52881 and its kind). Only names are compared: where a
symlink leads, the root filesystem decides, and nothing can be promised of that.
"""

from __future__ import annotations

from ocirt.errors import UnsupportedError
from ocirt.linux.consts import KEPT_MAX, MOUNT_KEEP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.plan.ops import Op

# Operation → which of its arguments is a path that is opened, or of which the parent directory is
PATHS = {
    "mount_fs": 0,
    "mount_legacy": 0,
    "mount_bind": 0,
    "mount_attr": 0,
    "mkdir": 0,
    "label": 0,
    "readonly": 0,
    "mask": 0,
}
PARENTS = {"mknod": 0, "symlink": 1}
CONSOLE = "/dev/pts/ptmx", "/dev/console"

# Those that mount something → which of their arguments has the flags
FLAGS = {"mount_fs": 6, "mount_legacy": 6, "mount_bind": 8, "readonly": 1}


def mark(found: list[Op]) -> list[Op]:
    """The operations, with MOUNT_KEEP where it is due. Raises UnsupportedError where that is more than KEPT_MAX."""
    standing: dict[str, list[int]] = {}  # target → where the operations stand that may have mounted what is there now
    last = -1  # the last of the operations that are done in place of one before
    kept: set[int] = set()
    for index, op in enumerate(found):
        name, _, guard, arguments = op
        path = ""
        if name in PATHS:
            path = arguments[PATHS[name]]
        elif name in PARENTS:
            path = arguments[PARENTS[name]].rpartition("/")[0]
        elif name == "console":
            for path in CONSOLE:
                keep_above(standing, kept, path)
            continue
        if not path:
            continue
        instead = index <= last and path in standing
        keep_above(standing, kept, path.rpartition("/")[0] if instead else path)
        if name in FLAGS:
            cover(standing, path, index, instead)
            last = max(last, index + (guard >> 32))
    if len(kept) > KEPT_MAX:
        text = f"more than {KEPT_MAX} mounts have other mounts, devices, masks or read-only paths below them"
        raise UnsupportedError(text, found[max(kept)][1])
    return [with_flag(op) if index in kept else op for index, op in enumerate(found)]


def keep_above(standing: dict[str, list[int]], kept: set[int], path: str) -> None:
    """Keep the innermost mount at or above `path`."""
    while path and path not in standing:
        path = path.rpartition("/")[0]
    kept.update(standing.get(path, ()))


def cover(standing: dict[str, list[int]], path: str, index: int, instead: bool) -> None:
    """The operation `index` mounts on `path`: over all that was mounted there, or in place of the one before."""
    if instead:
        standing[path].append(index)
        return
    if path == "/":
        standing.clear()
        return
    for hidden in [target for target in standing if target.startswith(path + "/")]:
        del standing[hidden]
    standing[path] = [index]


def with_flag(op: Op) -> Op:
    """The same operation, which keeps its mount open."""
    name, pointer, guard, arguments = op
    place = FLAGS[name]
    return (name, pointer, guard, (*arguments[:place], arguments[place] | MOUNT_KEEP, *arguments[place + 1 :]))
