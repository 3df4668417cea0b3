"""What the machine lacks that a validation program takes for granted."""

from __future__ import annotations

import os
from pathlib import Path

CAP_SYS_RESOURCE = 24


def lacks(what: str | None) -> bool:
    """Whether the host lacks it; True for None. Raises KeyError for a name that is not known."""
    if what is None:
        return True
    name, _, argument = what.partition(":")
    return not PRESENT[name](argument)


def selinux(_: str) -> bool:
    """SELinux with a policy."""
    return Path("/sys/fs/selinux/enforce").exists()


def apparmor(_: str) -> bool:
    """AppArmor, enabled."""
    return Path("/sys/module/apparmor/parameters/enabled").exists()


def capability(number: str) -> bool:
    """A capability in our bounding set."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapBnd:"):
            return bool(int(line.split()[1], 16) >> int(number) & 1)
    return False


def controller(name: str) -> bool:
    """A cgroup v1 hierarchy of that controller, which the programs read."""
    return any(name in entry.split(",") for entry in os.listdir("/sys/fs/cgroup"))


def cgroup_file(path: str) -> bool:
    """A file in the root of a v1 hierarchy or in what any cgroup there has."""
    return any(Path("/sys/fs/cgroup").glob(path)) or any(Path("/sys/fs/cgroup").glob(path.replace("/", "/*/", 1)))


def kernel_before(version: str) -> bool:
    """A kernel older than that version, for what was taken out of it."""
    running = os.uname().release.split(".")[:2]
    return [int(part.partition("-")[0]) for part in running] < [int(part) for part in version.split(".")]


PRESENT = {
    "selinux": selinux,
    "apparmor": apparmor,
    "capability": capability,
    "controller": controller,
    "cgroup_file": cgroup_file,
    "kernel_before": kernel_before,
}
