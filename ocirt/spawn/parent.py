"""What the program has for its Python, and where ocirt-init is; perform/exchange.c starts that, and talks with it.

Python never enters a namespace: what happens on the other side, the init does.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Stopped = tuple[bytes, int, int, bytes]

PROGRAM = "_bin/ocirt-init"

# Set by the launcher (boot.py).
# Carries out the launch that has just been kept, and ends the program; comes back where that cannot be done.
launch: Callable[[], object] | None = None
# Gives what of a launch has stopped half way: its struct performance, the half, what stopped it, config.json; or 0.
# Once.
take: Callable[[], Stopped | int] | None = None
# After which the signals come that were held since.
release: Callable[[], object] | None = None
# After which no signal interrupts any more: the launcher's, for a container that is complete and the caller's.
hold: Callable[[], object] | None = None


def program_path() -> str:
    """Where the build put ocirt-init: beside this package."""
    return __file__.rpartition("/")[0].rpartition("/")[0] + "/" + PROGRAM


def complete() -> None:
    """There is a container, which a signal from now on must not make an error of; one that came before still does."""
    if hold:
        hold()


def carry_out() -> None:
    """Have the launcher carry out the launch that has just been kept; returns where it cannot."""
    if launch:
        launch()


def taken() -> Stopped | None:
    """The launch that has stopped half way, which is the caller's from now on."""
    stopped = take() if take else 0
    return stopped if isinstance(stopped, tuple) else None


def undoable() -> None:
    """A signal may interrupt again: what the launcher has begun would be undone."""
    if release:
        release()
