"""Carries out what plan/errands.py lists, from the runtime's side; loaded where a config asks for it."""

from __future__ import annotations

from ocirt.errors import SystemCallError
from ocirt.linux import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ocirt.plan.errands import Errand


def run(errands: Sequence[Errand], pid: int) -> None:
    """Do them all for process `pid`, which stands in its cgroup. Raises SystemCallError with the field."""
    for errand in errands:
        name, pointer, arguments = errand
        try:
            ACTIONS[name](pid, *arguments)
        except SystemCallError as error:
            from ocirt.plan import errand_words

            raise SystemCallError(errand_words.failure(errand, error.errno), error.errno).at(pointer) from None


ACTIONS: dict[str, Callable[..., None]] = {
    "scheduler": calls.sched_setattr,
    "io_priority": calls.ioprio_set,
}
