"""Seccomp profiles that leave some system calls to an agent (seccomp_unotify(2)); no more than what tells them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NOTIFY = "SCMP_ACT_NOTIFY"


def notifies(profile: dict[str, Any]) -> bool:
    """True for a linux.seccomp with that action anywhere."""
    return NOTIFY in (profile["defaultAction"], *(rule["action"] for rule in profile.get("syscalls") or ()))
