"""Writes a user namespace's id maps from outside; leaves to plan/ which ids map to what.

Source: user_namespaces(7), newuidmap(1).
"""

from __future__ import annotations

import posix
from errno import EINVAL, EPERM

from ocirt.errors import PlanError, failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# Fixed, and the host's: a helper found through the caller's PATH would run with the helper's set-user-ID rights.
HELPER_DIRECTORIES = ("/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/run/wrappers/bin")


def write(pid: int, uid_map: Sequence[str], gid_map: Sequence[str], setgroups: bool, section: str = "/linux") -> None:
    """Write the maps of process `pid`, by newuidmap and newgidmap where the kernel does not let us.

    A mapping is "inside outside count".

    Raises PlanError with the pointer of the mapping, which is in `section` of the config.
    """
    if not setgroups:
        # Before gid_map: the kernel demands it of unprivileged writers (user_namespaces(7), CVE-2014-8989).
        _put(pid, "setgroups", "deny", f"{section}/gidMappings")
    for name, mappings in (("uid", uid_map), ("gid", gid_map)):
        pointer = f"{section}/{name}Mappings"
        text = "".join([f"{line}\n" for line in mappings])
        if text and _put(pid, f"{name}_map", text, pointer) == EPERM:
            _helper(f"new{name}map", pid, mappings, pointer)


def finish(pid: int, uid_map: Sequence[str], gid_map: Sequence[str], setgroups: bool, number: int, done: int) -> None:
    """Go on where C was refused with errno `number` when `done` of the maps were written; -1: at setgroups.

    Raises as `write`.
    """
    if number != EPERM:
        steps = (("setgroups", "gid", ()), ("uid_map", "uid", uid_map), ("gid_map", "gid", gid_map))
        name, kind, lines = steps[done + 1]
        raise _refused(name, "".join([f"{line}\n" for line in lines]), f"/linux/{kind}Mappings", number)
    write(pid, () if done > 0 else uid_map, gid_map, setgroups)


def _put(pid: int, name: str, text: str, pointer: str) -> int:
    path = f"/proc/{pid}/{name}"
    try:
        fd = posix.open(path, posix.O_WRONLY | posix.O_CLOEXEC)
        try:
            posix.write(fd, text.encode())
        finally:
            posix.close(fd)
    except OSError as error:
        number = error.errno or 0
        if number == EPERM and name != "setgroups":
            return number
        raise _refused(name, text, pointer, number) from None
    return 0


def _refused(name: str, text: str, pointer: str, number: int) -> PlanError:
    words = f"config.json: {pointer}: write {name}: {posix.strerror(number).lower()}{_why(number, text)}"
    return PlanError(words, pointer, number)


def _why(number: int, text: str) -> str:
    """What is known of a map that the kernel calls invalid (user_namespaces(7): it takes less than a page)."""
    page = posix.sysconf("SC_PAGE_SIZE")
    if number != EINVAL or len(text) < page:
        return ""
    lines = text.count("\n")
    return f" ({lines} mappings are {len(text)} bytes of text, which must be less than {page}: merge some)"


def _helper(name: str, pid: int, mappings: Sequence[str], pointer: str) -> None:
    path = next((f"{d}/{name}" for d in HELPER_DIRECTORIES if posix.access(f"{d}/{name}", posix.X_OK)), None)
    if posix.geteuid() == 0 or path is None:
        why = "" if posix.geteuid() == 0 else f", and {name} is not installed (package uidmap)"
        text = f"config.json: {pointer}: the kernel refuses these mappings{why}: operation not permitted"
        raise PlanError(text, pointer, EPERM)
    argv = [name, str(pid), *(number for line in mappings for number in line.split())]
    output = posix.memfd_create("helper-output", posix.MFD_CLOEXEC)
    try:
        actions = [(posix.POSIX_SPAWN_DUP2, output, fd) for fd in (1, 2)]
        child = posix.posix_spawn(path, argv, {}, file_actions=actions)
        if posix.waitpid(child, 0)[1]:
            said = posix.pread(output, 512, 0).decode("utf-8", "replace").strip().replace("\n", "; ")
            raise PlanError(f"config.json: {pointer}: {name}: {said or 'failed'}", pointer, EPERM)
    except OSError as error:
        raise failed(path, error) from None
    finally:
        posix.close(output)
