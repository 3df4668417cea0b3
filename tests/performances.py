"""Operations of the host plan as perform/perform.c carries them out, without a container."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ocirt.spawn.performance import Performance

if TYPE_CHECKING:
    from ocirt.plan.ops import Op

NOBODY = 65534


@contextmanager
def performance() -> Iterator[Performance]:
    """One that is closed at the end."""
    p = Performance()
    try:
        yield p
    finally:
        p.close()


def go_on(p: Performance, *ops: Op) -> int:
    """Carry these out next: 0, or the negative errno of the one that failed."""
    p.take(ops)
    return p.go_on()


def perform(*ops: Op) -> int:
    """Carry out these alone."""
    with performance() as p:
        return go_on(p, *ops)


def as_nobody(action: Callable[[], int]) -> int:
    """What `action` returns to a user who may not write what root has made."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(writer, str(action()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return int(text)
