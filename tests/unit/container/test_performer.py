"""What the performer leaves when an operation fails, and what undoing takes for made."""

from __future__ import annotations

import os
import types
from errno import EBUSY, ESRCH
from typing import Any

import pytest

from ocirt.cgroup import inside
from ocirt.container import host_failures, undo
from ocirt.container.performer import Performer
from ocirt.errors import ContainerNotRunning, SystemCallError
from ocirt.linux._kernel import lib
from ocirt.linux.consts import SLOT_CONSOLE
from ocirt.plan import host_ops, ops
from ocirt.spawn import parent
from tests.oracle import records


def performer() -> Performer:
    return Performer("/nonexistent", "box", "/bundle")


def open_fds() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_what_was_lent_to_an_init_that_could_not_be_started_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parent, "program_path", lambda: "/none")
    before, p = open_fds(), performer()
    steps = [host_ops.connect_console("", SLOT_CONSOLE, ""), host_ops.spawn_init("", 0, "")]
    with pytest.raises(SystemCallError, match="start ocirt-init: no such file or directory"):
        p.perform([*steps, host_ops.send_plan("", 0, 0, 0, 0, 0)])
    assert open_fds() != before
    p.close()
    assert open_fds() == before


def test_a_container_whose_process_has_gone_is_not_entered_outside_its_cgroup(monkeypatch: pytest.MonkeyPatch) -> None:
    """ESRCH of the init is no failure of `attach`; of the container's process it is one."""

    def gone(*_: object) -> list[str]:
        raise ProcessLookupError(ESRCH, "no such process")

    monkeypatch.setattr(inside, "beside", gone)
    p = Performer("/nonexistent", "box", "/bundle", record=records.State("box", "1.3.0", "/bundle", "/bundle/rootfs"))
    with pytest.raises(ContainerNotRunning):
        p.take_over(ops.ignoring(host_ops.attach("", "/c", 1), ESRCH), EBUSY)


def test_a_refusal_of_the_other_way_that_the_operation_ignores_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    p = performer()
    gone = OSError(ESRCH, "no such process")
    monkeypatch.setattr(host_failures, "take_over", lambda *_: raising(gone))
    p.take_over(ops.ignoring(host_ops.attach("", "/c", 1), ESRCH), EBUSY)
    assert p.numbers[lib.PERFORM_NEXT] == 1


def test_what_c_was_refused_with_it_has_held_against_the_guard_itself() -> None:
    """In a group that is tried together, the guard of another operation may be the one that counted."""
    with pytest.raises(SystemCallError, match="no such process"):
        performer().take_over(ops.ignoring(host_ops.attach("", "/c", 1), ESRCH), ESRCH)


def raising(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("asked", [False, True])
def test_a_unit_that_was_not_asked_for_is_not_stopped(asked: bool) -> None:
    """One of that name may be another container's."""
    p: Any = performer()
    p.scope = types.SimpleNamespace(ours=True, asked=asked, stop=lambda: None)
    host = types.SimpleNamespace(cgroups=types.SimpleNamespace(paths=[]))
    creation: Any = types.SimpleNamespace(performer=p, host=host)
    assert (p.scope.stop in undo._steps(creation)) is asked
