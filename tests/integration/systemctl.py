"""What the real systemd says: the system's, or rootless the user's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ocirt.cgroup import systemd

ROOTLESS = systemd.rootless()


def systemctl(*words: str) -> str:
    """The output of systemctl, however it ends."""
    command = ["systemctl", *(["--user"] if ROOTLESS else []), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def shown(unit: str, *properties: str) -> dict[str, str]:
    """What systemd knows of a unit."""
    lines = systemctl("show", unit, *(f"--property={name}" for name in properties)).splitlines()
    return dict(line.split("=", 1) for line in lines)


def loaded(unit: str) -> bool:
    """Whether systemd knows the unit at all."""
    return shown(unit, "LoadState")["LoadState"] != "not-found"


def cgroup_of(unit: str) -> Path:
    """The unit's cgroup; the hierarchy's root for a unit that has none."""
    return Path("/sys/fs/cgroup" + shown(unit, "ControlGroup")["ControlGroup"])
