"""weaker.py's judges of the cgroups: where the process stands, and what is written there."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fuzz.weaker import Case

PAGE = os.sysconf("SC_PAGE_SIZE")
TOP = Path("/sys/fs/cgroup")

# Section, member → file of v1, of v2; a number there must not be larger than what is asked for.
UPPER = [
    ("memory", "limit", "memory.limit_in_bytes", "memory.max"),
    ("memory", "reservation", "memory.soft_limit_in_bytes", "memory.low"),
    ("pids", "limit", "pids.max", "pids.max"),
    ("cpu", "quota", "cpu.cfs_quota_us", ""),
    ("cpu", "shares", "cpu.shares", ""),
]
# Devices that every container may use; and every device node may be made.
DEFAULT = re.compile(r"c:(1:[35789]|5:[012]|136:\d+|10:200)")


def cgroups(case: Case) -> list[str]:
    """In every hierarchy a cgroup that is not the runtime's, and the one that linux.cgroupsPath names."""
    wrong = []
    wanted = case.linux.get("cgroupsPath") or ""
    own = dict(case.host.cgroups)
    for controllers, path in case.seen.cgroups:
        if case.first:
            if path != dict(case.first.cgroups)[controllers]:
                wrong.append(f"cgroup {controllers}: {path}, not that of the first process")
        elif not home(controllers) or case.ordinary:
            continue
        elif wanted[:1] == "/" and wanted == os.path.normpath(wanted) and wanted != "/":
            if path != wanted:
                wrong.append(f"cgroup {controllers}: {path}, not {wanted}")
        elif path == own.get(controllers):
            wrong.append(f"cgroup {controllers}: the runtime's")
    return wrong


def home(controllers: str) -> Path | None:
    """Where a hierarchy is mounted."""
    if not controllers:
        return next((path for path in (TOP / "unified", TOP) if (path / "cgroup.controllers").exists()), None)
    names = [controllers.removeprefix("name="), *controllers.split(",")]
    return next((TOP / name for name in names if (TOP / name / "cgroup.procs").exists()), None)


def file_of(case: Case, name: str) -> Path | None:
    """A control file of the process's cgroups."""
    for controllers, path in case.seen.cgroups:
        where = home(controllers)
        if where and name and (where / path[1:] / name).exists():
            return where / path[1:] / name
    return None


def values(case: Case) -> list[str]:
    """Limits are not above what is asked for."""
    wrong = []
    resources: dict[str, Any] = {} if case.ordinary else case.linux.get("resources") or {}
    for section, member, *names in UPPER:
        asked = (resources.get(section) or {}).get(member)
        path = next(filter(None, (file_of(case, name) for name in names)), None)
        if not asked or asked < 0 or path is None or case.first:
            continue
        text = path.read_text().strip()
        most = max(asked, 2) if member == "shares" else asked
        if text == "max" or text == "-1" or int(text) > most:
            wrong.append(f"{path.name}: {text}, not {asked}")
    return wrong


def rule_allows(rules: list[dict[str, Any]], kind: str, major: int, minor: int, letter: str) -> bool:
    """config-linux.md, "Allowed Device list": the last rule about it decides."""
    allowed = False
    for rule in rules:
        wanted = (rule.get("type") or "a", rule.get("major"), rule.get("minor"))
        matches = wanted[0] in ("a", kind) and all(
            asked is None or asked < 0 or asked == number
            for asked, number in zip(wanted[1:], (major, minor), strict=True)
        )
        if matches and letter in (rule.get("access") or "rwm"):
            allowed = bool(rule["allow"])
    return allowed


def devices(case: Case) -> list[str]:
    """Of v1, whose list can be read: no device is open to the container that no rule allows, and that none needs."""
    path = file_of(case, "devices.list")
    if path is None or case.ordinary:
        return []
    listed = [re.split(r"[ :]", line) for line in path.read_text().splitlines()]
    rules = (case.linux.get("resources") or {}).get("devices") or []
    probes = {("c", 1, 1), ("b", 8, 0), ("c", 4, 64), ("c", 10, 229)}
    probes |= {
        (kind, rule.get("major") or 0, rule.get("minor") or 0)
        for rule in rules
        for kind in ("cb" if (rule.get("type") or "a") == "a" else rule["type"])
        if (rule.get("major") or 0) >= 0 and (rule.get("minor") or 0) >= 0
    }
    wrong = []
    for kind, major, minor in sorted(probes):
        for letter in "rw":
            opened = any(
                entry[0] in ("a", kind)
                and entry[1] in ("*", str(major))
                and entry[2] in ("*", str(minor))
                and letter in entry[3]
                for entry in listed
            )
            needed = DEFAULT.fullmatch(f"{kind}:{major}:{minor}")
            # A list that begins with "a" does not show what is excepted from it.
            if opened and listed[0][0] != "a" and not needed and not rule_allows(rules, kind, major, minor, letter):
                wrong.append(f"device {kind} {major}:{minor} may be opened for {letter}")
    if listed and listed[0][0] == "a" and not any(rule["allow"] and (rule.get("type") or "a") == "a" for rule in rules):
        wrong.append("every device may be opened")
    return wrong
