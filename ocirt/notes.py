"""What a command says beside its result and its error: the steps that it takes, and warnings. Imports nothing.

The library itself is silent: a program sets where steps and warnings go, `ocirt.cli.main` its own.

    steps       takes one line for each step, None where nobody asked for them
    warnings    takes one line for each warning (runtime.md "Warnings")
    started     how the interpreter was started, which the launcher sets
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

steps: Callable[[str], None] | None = None
warnings: Callable[[str], None] | None = None
started = "an interpreter that imports each module"


def step(text: str) -> None:
    """Say what is done next, or was done, in one line."""
    if steps:
        steps(text)


def warn(text: str) -> None:
    """Say in one line what differs from what was asked for."""
    if warnings:
        warnings(text)
