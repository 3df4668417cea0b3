"""Signatures of D-Bus taken apart; pure."""

from __future__ import annotations

OPENING = {"(": ")", "{": "}"}


def split(signature: str) -> list[str]:
    """The complete types of a signature (D-Bus specification, "Type System"), "a(st)ub" → ["a(st)", "u", "b"]."""
    found = []
    start = depth = 0
    for position, code in enumerate(signature):
        depth += (code in OPENING) - (code in OPENING.values())
        if not depth and code != "a":
            found.append(signature[start : position + 1])
            start = position + 1
    return found
