"""Carries out what devices.py makes of linux.resources.devices, in whichever hierarchy decides about devices."""

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


def restrict_devices(paths: Sequence[str], hs: Sequence[Hierarchy], listed: Sequence[dict[str, Any]]) -> None:
    """Let the members of the container's cgroups, paths[i] in hs[i], use the devices that `listed` allows and no other.

    v1's files are used where there are any, else a program of v2. Who is not allowed to restrict devices in the first
    place (rootless, in a user namespace) does without: no node that they make opens a device of the host. So does a
    config that denies nothing where the hierarchy is not the runtime's to write.
    Raises UnsupportedError and SystemCallError, which name the rule.
    """
    if not paths:
        return  # no cgroups, as the caller wished
    path, version = home(paths, hs)
    default, kept = devices.rules(listed)
    try:
        if not path:
            raise UnsupportedError('needs the cgroup controller "devices", which this host lacks', devices.POINTER)
        (_write if version == 1 else _load)(path, default, kept)
    except UnsupportedError:
        if asked(listed):
            raise
    except SystemCallError as error:
        # EPERM of v1 comes from a write, for a device that the cgroup above may not use: others may be written by then.
        nobodys = not asked(listed) and (version == 2 or error.errno != EPERM)
        if error.errno not in {ENOENT, *tree.DENIED} or not (nobodys or unprivileged()):
            from ocirt.cgroup import refusals

            if posix.access(path, posix.F_OK) or not refusals.read_only(path):
                raise
            raise UnsupportedError(refusals.missing(path), devices.POINTER) from None


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
    return posix.geteuid() != 0 or not facts.in_first_user_namespace()


def refuse_holes(default: bool, kept: Sequence[devices.Rule]) -> None:
    """Raise UnsupportedError for what v1 cannot express."""
    for pointer in devices.holes(default, kept):
        raise UnsupportedError("cgroup v1 cannot revoke part of a wildcard rule", pointer)


def _write(path: str, default: bool, kept: Sequence[devices.Rule]) -> None:
    """The files of v1. Raises as `restrict_devices`."""
    refuse_holes(default, kept)
    for name, lines in devices.writes(default, kept):
        text, pointer = b"", devices.POINTER
        try:
            fd = posix.open(f"{path}/{name}", posix.O_WRONLY | posix.O_CLOEXEC)
            try:
                for text, pointer in lines:  # noqa: B007 - the last one is the one that failed
                    posix.write(fd, text)
            finally:
                posix.close(fd)
        except OSError as error:
            what = f'write "{text.decode()}" to' if text else "open"
            raise failed(f'{what} "{path}/{name}"', error).at(pointer) from None


def _load(path: str, default: bool, kept: Sequence[devices.Rule]) -> None:
    """The program of v2. Raises as `restrict_devices`."""
    try:
        v2.replace_device_program(path, devices.program(default, kept))
    except OSError as error:
        raise failed(f'open "{path}"', error).at(devices.POINTER) from None
    except SystemCallError as error:
        if error.errno in LACKING:
            raise UnsupportedError(f"the kernel lacks eBPF programs for devices ({error})", devices.POINTER) from None
        raise error.at(devices.POINTER) from None
