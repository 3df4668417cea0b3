"""What create leaves for the words of an error at start: plan.bin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("ocirt.linux._kernel", reason="the shim is not built: make build")

from ocirt.plan import ops
from ocirt.spawn import wire

if TYPE_CHECKING:
    from ocirt.plan.ops import Op


@pytest.mark.parametrize("begun", [0, 1])
def test_an_archived_plan_gives_its_operations_back_at_their_indices(begun: int) -> None:
    plan: list[Op] = [
        ops.hostname("/hostname", "one"),
        ops.hostname("/hostname", "two"),
        ops.chdir("/process/cwd", "/some/where"),
    ]
    archived = wire.archive(wire.encode(plan[begun:]), plan, begun)
    assert wire.decode(archived)[begun:] == plan[begun:]
    assert len(wire.decode(archived)) == len(plan)
