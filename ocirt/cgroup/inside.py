"""Where in its cgroups a container is joined by `exec`: below its own, or where its first process went meanwhile."""

from __future__ import annotations

from ocirt.cgroup import hierarchies, tree
from ocirt.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocirt.cgroup.hierarchies import Hierarchy


def below(paths: Sequence[str], wanted: Sequence[str], hs: Sequence[Hierarchy]) -> list[str]:
    """The container's cgroups with those of `wanted` below them; pure.

    wanted    "path", for every hierarchy, or "controller,controller:path" as runc has it on v1; relative to the
              container's own cgroup, a leading slash makes no difference
    hs        the mounted hierarchies

    Raises UsageError for a path that leads out, for a controller that the container has no cgroup of.
    """
    found = list(paths)
    for word in wanted:
        controllers, colon, path = word.rpartition(":")
        parts = [part for part in path.split("/") if part not in {"", "."}]
        if ".." in parts:
            raise UsageError(
                f'flag --cgroup: "{word}" has a ".." component; only cgroups below the container\'s can be named'
            )
        tail = "".join([f"/{part}" for part in parts])
        chosen = [_of(paths, name, word, hs) for name in controllers.split(",")] if colon else range(len(paths))
        for index in chosen:
            found[index] = paths[index] + tail
    return found


def _of(paths: Sequence[str], controller: str, word: str, hs: Sequence[Hierarchy]) -> int:
    """The index of the path whose hierarchy has the controller."""
    for h in hs:
        if controller in {*h.controllers.split(","), h.controllers.removeprefix("name=")}:
            for index, path in enumerate(paths):
                if path.startswith(h.mount + "/"):
                    return index
    raise UsageError(f'flag --cgroup: "{word}": the container has no cgroup of controller "{controller}"')


def beside(paths: Sequence[str], pid: int) -> list[str]:
    """`paths` with the v2 one, the first, replaced by the cgroup of process `pid`.

    An init such as systemd moves into a cgroup below and enables controllers for it: then nobody may enter the one
    above, which says EBUSY (cgroups(7), "no internal processes"). Only below: one that has left the container's cgroup
    does not take others along, out of its limits. Raises OSError.
    """
    text = tree.read(f"/proc/{pid}/cgroup").decode("utf-8", "surrogateescape")
    for h in hierarchies():
        for line in text.split("\n"):
            if h.version == 2 and line.startswith(f"0::{paths[0].removeprefix(h.mount)}/") and "/../" not in line:
                return [h.mount + line[3:], *paths[1:]]
    return list(paths)
