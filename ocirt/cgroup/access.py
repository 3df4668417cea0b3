"""Carries out what devices.py makes of linux.resources.devices, in whichever hierarchy decides about devices.

Who is not allowed to restrict devices in the first place (rootless, in a user namespace) does without: no node that
they make opens a device of the host. So does a config that denies nothing where the hierarchy is not the runtime's to
write.
"""

from __future__ import annotations

import posix
from errno import EBUSY, EINVAL, ENOENT, ENOSYS, EPERM

from ocirt.cgroup import devices, tree
from ocirt.errors import SystemCallError, UnsupportedError
from ocirt.linux import facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ocirt.cgroup.hierarchies import Hierarchy

# bpf(2) of a kernel without eBPF for cgroups, or behind a filter of system calls
LACKING = (EINVAL, ENOSYS)


def home(paths: Sequence[str], hs: Sequence[Hierarchy]) -> tuple[str, int]:
    """Return the cgroup, of `paths` in `hs`, that decides about devices, and the version of its hierarchy; ("", 0)."""
    for path, hierarchy in zip(paths, hs, strict=True):
        if "devices" in hierarchy.controllers.split(","):
            return path, 1
    return (paths[0], 2) if hs and hs[0].version == 2 else ("", 0)


def asked(listed: Sequence[dict[str, Any]]) -> bool:
    """Whether the config denies anything."""
    return not all(entry["allow"] for entry in listed)


def unprivileged() -> bool:
    """Whether the caller is not the host's root, and is refused (devices.rst; CAP_BPF of capabilities(7))."""
    return posix.geteuid() != 0 or facts.in_user_namespace()


def refuse_holes(default: bool, kept: Sequence[devices.Rule]) -> None:
    """Raise UnsupportedError for what v1 cannot express."""
    for pointer in devices.holes(default, kept):
        raise UnsupportedError("cgroup v1 cannot revoke part of a wildcard rule", pointer)


def rules_refused(  # noqa: PLR0913, PLR0917 - those of the operation, and what became of it
    path: str, file: str, lines: Sequence[str], fields: Sequence[str], asked: int, at: int, number: int
) -> None:
    """What becomes of lines, each of the field beside it, that could not be written to a file of the v1 cgroup `path`.

    asked    whether the config denies anything
    at       index of the line that was refused, with errno `number`; -1: the file could not be opened

    Raises UnsupportedError and SystemCallError, which name the rule.
    """
    # EPERM comes from a write, for a device that the cgroup above may not use: others may be written by then.
    nobodys = not asked and number != EPERM and tree.not_ours(path)
    if not _does_without(path, number, nobodys):
        what = "open" if at < 0 else f'write "{lines[at]}" to'
        pointer = devices.POINTER if at < 0 else fields[at]
        raise SystemCallError(f'{what} "{path}/{file}"', number).at(pointer)


def program_refused(path: str, asked: int, number: int) -> None:
    """As `rules_refused`, of a program of v2 that was to decide about the devices of the cgroup `path`."""
    if number in LACKING:
        if asked:
            text = f"the kernel lacks eBPF programs for devices ({posix.strerror(number).lower()})"
            raise UnsupportedError(text, devices.POINTER)
    elif not _does_without(path, number, not asked):
        why = ", which others change all the time" if number == EBUSY else ""
        raise SystemCallError(f'change the device program of "{path}"{why}', number).at(devices.POINTER)


def _does_without(path: str, number: int, nobodys: bool) -> bool:
    """Whether that errno is no failure. Raises UnsupportedError where all is read-only."""
    if number not in {ENOENT, *tree.DENIED}:
        return False
    if nobodys or unprivileged():
        return True
    from ocirt.cgroup import refusals

    if posix.access(path, posix.F_OK) or not refusals.read_only(path):
        return False
    raise UnsupportedError(refusals.missing(path), devices.POINTER)
