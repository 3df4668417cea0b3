"""Host plans that C carries out, with neither an init nor Python's performer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("ocirt.linux._kernel", reason="the shim is not built: make build")

from ocirt.spawn.performance import Performance

if TYPE_CHECKING:
    from ocirt.plan.ops import Op


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A state root that does not exist yet."""
    return str(tmp_path / "state")


@pytest.fixture
def performance() -> Iterator[Performance]:
    """One, closed after the test."""
    made = Performance()
    yield made
    made.close()


@pytest.fixture
def perform(performance: Performance) -> Callable[..., int]:
    """perform(op, …) → as perform() of perform.h."""

    def carry_out(*ops: Op) -> int:
        performance.take(ops)
        return performance.go_on()

    return carry_out
