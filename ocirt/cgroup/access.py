"""Carries out what devices.py makes of linux.resources.devices, in whichever hierarchy decides about devices.

Who is not allowed to restrict devices in the first place (rootless, in a user namespace) does without: no node that
they make opens a device of the host. So does a config that denies nothing where the hierarchy is not the runtime's to
write.
"""

from __future__ import annotations

import posix
from errno import EINVAL, ENOENT, ENOSYS, EPERM

from ocirt.cgroup import devices, tree, v2
from ocirt.errors import SystemCallError, UnsupportedError, failed
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


def write(path: str, file: str, lines: Sequence[str], fields: Sequence[str], asked: int) -> None:
    """Write lines, each of which comes from the field beside it, to a file of the v1 cgroup `path`.

    `asked`: whether the config denies anything. Raises UnsupportedError and SystemCallError, which name the rule.
    """
    text, pointer = "", devices.POINTER
    try:
        fd = posix.open(f"{path}/{file}", posix.O_WRONLY | posix.O_CLOEXEC)
        try:
            for text, pointer in zip(lines, fields, strict=True):  # noqa: B007 - the last one is the one that failed
                posix.write(fd, text.encode())
        finally:
            posix.close(fd)
    except OSError as error:
        # EPERM comes from a write, for a device that the cgroup above may not use: others may be written by then.
        nobodys = not asked and error.errno != EPERM and tree.not_ours(path)
        if not _does_without(path, error.errno or 0, nobodys):
            what = f'write "{text}" to' if text else "open"
            raise failed(f'{what} "{path}/{file}"', error).at(pointer) from None


def load(path: str, program: bytes, asked: int) -> None:
    """Let a program of v2 decide about the devices of the cgroup `path`; as `write`."""
    try:
        v2.replace_device_program(path, program)
    except (OSError, SystemCallError) as error:
        number = error.errno or 0
        if number in LACKING:
            if asked:
                text = f"the kernel lacks eBPF programs for devices ({error})"
                raise UnsupportedError(text, devices.POINTER) from None
        elif not _does_without(path, number, not asked):
            failure = error if isinstance(error, SystemCallError) else failed(f'open "{path}"', error)
            raise failure.at(devices.POINTER) from None


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
