"""A container's cgroups: one directory per mounted hierarchy, made, entered, listed, frozen, killed, removed.

    hs = hierarchies()                                   where cgroups are mounted
    paths = paths_for(cgroups_path, container_id, hs)    pure; hs[i] and paths[i] belong together
    expected = missing(paths)                            what create is about to make: recorded before it does
    make(path, made) …; attach(paths, pid)               as host_steps.py has it, with limits and device rules
    …
    kill(paths); remove(paths, made=made)

The list of paths is all that later commands need; it is in the container's state. v2, where it is mounted, comes
first: a v2 cgroup can be killed and frozen with one write, so it is preferred for everything but limits.
Which hierarchies there are is left to hierarchies.py, walking and removing to tree.py, the two versions' own files to
v1.py and v2.py, limits to resources.py, devices to access.py. A hierarchy that can't be written (rootless, read-only)
is passed over, as long as nothing is asked of it.
"""

from __future__ import annotations

import posix
from errno import ENODEV, ENOENT

from ocirt.cgroup import processes, tree, v1, v2
from ocirt.cgroup.hierarchies import Hierarchy, hierarchies, layout
from ocirt.errors import ConfigError, ContainerError, Problem, SystemCallError, failed
from ocirt.linux.consts import SIGKILL
from ocirt.plan import holes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

__all__ = [
    "Hierarchy", "delegate", "freeze", "frozen", "hierarchies", "kill", "layout", "paths_for", "pids",
    "refuse_frozen", "refuse_used", "remove", "thaw",
]  # fmt: skip

# The parent of containers without a cgroupsPath: every container's and nobody's, removed by whoever leaves it empty.
DEFAULT_PARENT = "ocirt"

FREEZE_DEADLINE_S = 2.0
SIGNAL_DEADLINE_S = 10.0


def paths_for(cgroups_path: str | None, container_id: str, hs: Sequence[Hierarchy]) -> list[str]:
    """Return the container's absolute directory in each hierarchy, in their order.

    An absolute `cgroups_path` starts at the hierarchy's mount, a relative one at the runtime's own cgroup, and None or
    "" is /ocirt/<id> (config-linux.md, "Cgroups Path"). Raises ConfigError for ".." and for a path that names no
    cgroup of its own, as "/" or "/ocirt": the container would own everybody's processes.
    """
    if not holes.is_given(cgroups_path):
        return [holes.concat(h.mount, "/", DEFAULT_PARENT, "/", container_id) for h in hs]
    if isinstance(cgroups_path, holes.Opaque):  # absolute, and one that names no default parent
        return [holes.concat(h.mount, cgroups_path) for h in hs]
    text = str(cgroups_path)
    parts = [part for part in text.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise ConfigError([Problem("/linux/cgroupsPath", f'"{text}" has a ".." component; name the cgroup without it')])
    if not parts:
        raise ConfigError([Problem("/linux/cgroupsPath", f'"{text}" names no cgroup of the container\'s own')])
    if text[0] == "/" and parts == [DEFAULT_PARENT]:
        raise ConfigError([Problem("/linux/cgroupsPath", f'"{text}" is where other containers have their cgroups')])
    tail = "/" + "/".join(parts)
    if text[0] == "/":
        return [h.mount + tail for h in hs]
    return [h.mount + ("" if h.own == "/" else h.own) + tail for h in hs]


def refuse_used(path: str, pid: int = 0) -> None:
    """Raise ContainerError for a cgroup that holds processes other than `pid`, itself or below. SystemCallError."""
    found = tree.members(path)
    if pid:  # 0 stands for those of another pid namespace
        found.pop(pid, None)
    if found:
        raise ContainerError(f'cgroup "{path}" is not empty, it holds {tree.names_of(found)}')


def refuse_frozen(path: str, version: ModuleType) -> None:
    """Raise ContainerError for a cgroup in which a process could not run; `version` is v1 or v2. SystemCallError."""
    if version is v2:
        v2.refuse_threaded(path)
    try:
        if posix.access(path + version.FREEZER, posix.F_OK) and not version.thawed(path):
            raise ContainerError(f'cgroup "{path}" is frozen, a process in it could not run')
    except OSError as error:
        raise failed("read the state of the freezer", error) from None


def delegate(path: str, uid: int) -> None:
    """Give the v2 cgroup `path` to a user of the host, to make cgroups below it. Raises SystemCallError."""
    try:
        v2.delegate(path, uid)
    except OSError as error:
        # Who is not root gives away nothing, and what create passed over is not there.
        if not posix.geteuid() or error.errno not in {ENOENT, *tree.DENIED}:
            raise failed(f'give cgroup "{path}" to user {uid}', error) from None


def pids(paths: Sequence[str]) -> list[int]:
    """Return the ids, in the caller's pid namespace, of all members, those of cgroups below included.

    They are read from the first hierarchy that has any; processes that the caller can't name are left out.
    Raises SystemCallError.
    """
    return [pid for pid in _home(paths)[1] if pid]


def kill(paths: Sequence[str], signal: int = SIGKILL) -> bool:
    """Send `signal` to every member, those of cgroups below included; none escapes by forking. False without a member.

    Raises SystemCallError.
    SIGKILL is one write to cgroup.kill (v2, Linux 5.14). Otherwise the cgroup is frozen meanwhile where there is a
    freezer, and always thawed: on v1 even SIGKILL takes effect only then. A container that was paused stays so, unless
    it was killed.
    """
    home, found = _home(paths)
    try:
        if not found:
            return False
        if signal != SIGKILL or not v2.kill(home):
            # The runtime itself among them could not thaw what it froze; signal 0 is none that could be escaped.
            usable = _freezers(paths)[:1] if signal and posix.getpid() not in found else []
            if usable:
                _signal_frozen(home, signal, *usable[0])
            else:
                processes.signal_all(home, signal, SIGNAL_DEADLINE_S)
        if signal == SIGKILL:
            _thaw_v1(paths)
    except OSError as error:
        if error.errno not in {ENOENT, ENODEV}:  # the last process has gone and somebody removed the cgroup meanwhile
            raise failed(f'send signal {signal} to the processes of cgroup "{home}"', error) from None
    return True


def remove(paths: Sequence[str], deadline_s: float = 10.0, made: Sequence[str] = ()) -> None:
    """Remove the directories with all cgroups below them, then those of `made` (as from `missing`) that are empty.

    What is gone already is no error. Processes that are about to be gone are waited for until `deadline_s` seconds
    have passed; then SystemCallError names the directory and the processes that hold it.
    """
    busy = [path for path in paths if not tree.rmdir(path)]
    if busy:
        tree.remove(busy, deadline_s)
    _remove_empty([path for path in made if path not in paths])


def freeze(paths: Sequence[str], deadline_s: float = FREEZE_DEADLINE_S) -> None:
    """Stop every member; on failure they run as before. Raises ContainerError without a freezer, SystemCallError."""
    path, version = _first_freezer(paths, "freeze")
    try:
        version.freeze(path, deadline_s)
    except OSError as error:
        raise failed(f'freeze cgroup "{path}"', error) from None


def thaw(paths: Sequence[str], deadline_s: float = FREEZE_DEADLINE_S) -> None:
    """Let every member run again, whichever freezer holds it.

    Raises ContainerError without a freezer and where a cgroup above is frozen, SystemCallError.
    """
    _first_freezer(paths, "thaw")
    for path, version in _freezers(paths):
        try:
            if not version.thawed(path):
                version.thaw(path, deadline_s)
            above = not version.thawed(path)
        except SystemCallError:  # v2 has waited for it in vain
            above = True
        except OSError as error:
            raise failed(f'thaw cgroup "{path}"', error) from None
        if above:
            raise ContainerError(f'cgroup "{path}" is still frozen because an ancestor cgroup is frozen')


def frozen(paths: Sequence[str]) -> bool:
    """Whether the members are stopped by a freezer; False where there is none or no cgroup. Raises SystemCallError."""
    for path, version in _freezers(paths):
        try:
            if version.frozen(path):
                return True
        except OSError as error:
            if error.errno not in {ENOENT, ENODEV}:  # removed since the look-up
                raise failed(f'read "{path}{version.FREEZER}"', error) from None
    return False


def _remove_empty(directories: Sequence[str]) -> None:
    for directory in directories:
        try:
            posix.rmdir(directory)
        except OSError:
            pass  # in use by others, or gone


def _home(paths: Sequence[str]) -> tuple[str, dict[int, None]]:
    """Return the first of `paths` that has members, and these."""
    for path in paths:
        if found := tree.members(path):
            return path, found
    return "", {}


def _freezers(paths: Sequence[str]) -> list[tuple[str, ModuleType]]:
    """Return those of `paths` that can be frozen, each with the module that does it; v2 comes first in `paths`."""
    found = []
    for path in paths[:1]:
        if posix.access(path + v2.FREEZER, posix.F_OK):
            found.append((path, v2))
    for path in paths:
        if posix.access(path + v1.FREEZER, posix.F_OK):
            found.append((path, v1))
            break  # no other hierarchy of v1 has that controller
    return found


def _thaw_v1(paths: Sequence[str]) -> None:
    """On a hybrid host somebody may have used the other freezer, which holds even who has been killed."""
    for path, version in _freezers(paths):
        if version is v1 and not v1.thawed(path):
            v1.thaw(path, 0)


def _first_freezer(paths: Sequence[str], action: str) -> tuple[str, ModuleType]:
    for found in _freezers(paths):
        return found
    raise ContainerError(f"can't {action} the container, it has no cgroup with a freezer")


def _signal_frozen(home: str, signal: int, freezer_path: str, version: ModuleType) -> None:
    paused = version.frozen(freezer_path)
    try:
        if not paused:
            version.freeze(freezer_path, FREEZE_DEADLINE_S / 4)
    except SystemCallError:
        pass  # a process that can't stop now: signal_all runs until no new process shows up
    try:
        processes.signal_all(home, signal, SIGNAL_DEADLINE_S)
    finally:
        if signal == SIGKILL or not paused:
            version.thaw(freezer_path, 0)
