"""What others are told of a process: its plan with --debug; and its pid file, removed again."""

from __future__ import annotations

import posix

from ocirt import notes
from ocirt.errors import DOCUMENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def tell_plan(plan: Any, container_id: str, name: str | None = None, part: str = "") -> None:
    """Say the plan's warnings and its steps. `name` and `part` are those of OcirtError.name_document."""
    for warning in plan.warnings:
        where = f"{name or DOCUMENT}: {warning[len(part) :] if warning.startswith(part) else warning}"
        notes.warn(f'container "{container_id}": {where}')
    if notes.steps:
        from ocirt.plan import show

        for number, op in enumerate(plan.ops, 1):
            notes.step(f"step {number}: {show.describe(op)}")


def unlink(path: str) -> None:
    """Remove a file that may be gone."""
    try:
        posix.unlink(path)
    except OSError:
        pass
