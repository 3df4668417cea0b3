"""What the performer leaves when an operation fails, and what undoing takes for made."""

from __future__ import annotations

import os
import types
from typing import Any

import pytest

from ocirt.container import undo
from ocirt.container.performer import Performer
from ocirt.container.state import State
from ocirt.errors import ContainerNotRunning, SystemCallError
from ocirt.linux.consts import SLOT_CONSOLE
from ocirt.plan import host_ops
from ocirt.spawn import parent


def performer() -> Performer:
    return Performer("/nonexistent", State("box", "1.3.0", "/bundle", "/bundle/rootfs"))


def open_fds() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_what_was_lent_to_an_init_that_could_not_be_started_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise SystemCallError("vfork", 11)

    monkeypatch.setattr(parent, "spawn", refuse)
    before, p = open_fds(), performer()
    with pytest.raises(SystemCallError):
        p.perform([host_ops.connect_console("", SLOT_CONSOLE, ""), host_ops.spawn_init("", 0, "")])
    assert open_fds() != before
    p.close()
    assert open_fds() == before


def test_a_container_whose_process_has_gone_is_not_entered_outside_its_cgroup(monkeypatch: pytest.MonkeyPatch) -> None:
    """ESRCH of the init is no failure of `attach`; of the container's process it is one."""
    from ocirt.cgroup import inside

    def busy(*_: object) -> None:
        raise SystemCallError("move", 16)

    def gone(*_: object) -> list[str]:
        raise ProcessLookupError(3, "no such process")

    monkeypatch.setattr("ocirt.cgroup.attach", busy)
    monkeypatch.setattr(inside, "beside", gone)
    name, pointer, _, arguments = host_ops.attach("", "/c", 1)
    with pytest.raises(ContainerNotRunning):
        performer().perform([(name, pointer, 3, arguments)])


@pytest.mark.parametrize("asked", [False, True])
def test_a_unit_that_was_not_asked_for_is_not_stopped(asked: bool) -> None:
    """One of that name may be another container's."""
    p: Any = performer()
    p.record.pid = 4242
    p.scope = types.SimpleNamespace(ours=True, asked=asked, stop=lambda: None)
    creation: Any = types.SimpleNamespace(performer=p)
    assert (p.scope.stop in undo._steps(creation)) is asked
