"""kill: whom a signal reaches, and when there is nobody."""

from __future__ import annotations

import os
import signal

import pytest

from ocirt.container import kill
from ocirt.errors import ContainerNotRunning
from tests.unit.container.conftest import Make, Sleeper, is_zombie, wait_until


def test_kill_sends_the_signal_to_the_process(root: str, make: Make, sleeper: Sleeper) -> None:
    made = make("web", pid=sleeper())
    kill.kill(root, "web", 0)
    kill.kill(root, "web", signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(made.pid, 0)[1]) == -signal.SIGTERM


def test_a_created_container_can_be_killed(root: str, waiting: Make) -> None:
    made = waiting("web")
    kill.kill(root, "web", signal.SIGKILL)
    wait_until(lambda: is_zombie(made.pid))


def test_kill_of_a_stopped_container_fails_in_the_words_that_engines_match(root: str, make: Make) -> None:
    make("web")
    with pytest.raises(ContainerNotRunning, match='container "web": container not running'):
        kill.kill(root, "web", signal.SIGTERM)


@pytest.mark.parametrize("pid_namespace", [True, False])
def test_kill_all_of_a_stopped_container_is_no_error(root: str, make: Make, pid_namespace: bool) -> None:
    make("web", pid_namespace=pid_namespace)
    kill.kill(root, "web", signal.SIGKILL, all=True)


def test_kill_all_of_a_container_being_created_is_refused(root: str, make: Make, sleeper: Sleeper) -> None:
    made = make("web", phase="creating", pid=sleeper(), pid_namespace=False, cgroups=["/nowhere"])
    with pytest.raises(ContainerNotRunning):
        kill.kill(root, "web", signal.SIGKILL, all=True)
    assert not is_zombie(made.pid)


def test_kill_of_a_container_being_created_is_refused(root: str, make: Make, sleeper: Sleeper) -> None:
    made = make("web", phase="creating", pid=sleeper())
    with pytest.raises(ContainerNotRunning):
        kill.kill(root, "web", signal.SIGKILL)
    assert not is_zombie(made.pid)


@pytest.mark.parametrize(("number", "alone"), [(signal.SIGTERM, True), (signal.SIGKILL, False)])
def test_sigkill_reaches_all_where_the_pid_namespace_is_shared(
    root: str, make: Make, sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch, number: int, alone: bool
) -> None:
    made = make("web", pid=sleeper(), pid_namespace=False, cgroups=["/nowhere"])
    killed: list[tuple[list[str], int]] = []
    monkeypatch.setattr(kill.cgroup, "kill", lambda paths, signal: killed.append((paths, signal)))
    kill.kill(root, "web", number)
    assert killed == ([] if alone else [(["/nowhere"], number)])
    if alone:
        assert os.waitstatus_to_exitcode(os.waitpid(made.pid, 0)[1]) == -number


def test_kill_all_reaches_the_others_after_the_first_has_exited(
    root: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("web", pid_namespace=False, cgroups=["/nowhere"])
    killed: list[tuple[list[str], int]] = []
    monkeypatch.setattr(kill.cgroup, "kill", lambda paths, signal: killed.append((paths, signal)))
    kill.kill(root, "web", 15, all=True)
    assert killed == [(["/nowhere"], 15)]
