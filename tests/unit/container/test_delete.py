"""delete: nothing is left, whatever was there, and what lives stays unless it is forced; poststop hooks."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ocirt import notes
from ocirt.container import delete, quick, start
from ocirt.errors import ContainerError, ContainerNotFound, OcirtError
from ocirt.linux._kernel import lib
from tests import states
from tests.unit.container.conftest import Make, Sleeper, hooked, is_zombie, listen, rewrite


def test_delete_leaves_nothing_of_a_stopped_container(root: str, make: Make, tmp_path: Path) -> None:
    own, parent = tmp_path / "cgroup/parent/web", tmp_path / "cgroup/parent"
    own.mkdir(parents=True)
    make("web", cgroups=[str(own)], made=[str(own), str(parent)])
    for name in ("config.json", "start.sock", "plan.bin", "start.failure", ".state.json.tmp", "exec-1.plan"):
        Path(root, "web", name).write_text("")
    assert lib.quick_delete(root.encode(), b"web", 0) == lib.QUICK_DONE
    assert os.listdir(root) == []
    assert os.listdir(tmp_path / "cgroup") == []


@pytest.mark.parametrize("python", ["", "poststop"], ids=["quick", "by Python"])
def test_delete_keeps_the_cgroups_that_create_found_and_parents_in_use(
    root: str, make: Make, tmp_path: Path, python: str
) -> None:
    found, parent, other = tmp_path / "found", tmp_path / "parent", tmp_path / "parent/other"
    for directory in (found, other):
        directory.mkdir(parents=True)
    made = make("web", cgroups=[str(found)], made=[str(parent)], python=python)
    if python:
        hooked(root, made, "poststop", "true")
    delete.delete(root, "web")
    assert found.is_dir()
    assert other.is_dir()


@pytest.mark.parametrize("status", ["created", "running"])
def test_delete_of_a_living_container_is_refused_and_changes_nothing(root: str, waiting: Make, status: str) -> None:
    made = waiting("web")
    if status == "running":
        start.start(root, "web")
    with pytest.raises(ContainerError, match=f'container "web": cannot delete a container that is {status}'):
        delete.delete(root, "web")
    assert quick.status(root, "web") == (status, made.pid)


@pytest.mark.parametrize("pid_namespace", [True, False])
def test_delete_with_force_kills_first(root: str, waiting: Make, pid_namespace: bool) -> None:
    made = waiting("web", pid_namespace=pid_namespace)
    delete.delete(root, "web", force=True)
    assert is_zombie(made.pid)
    assert os.listdir(root) == []


def test_delete_with_force_of_what_does_not_exist_is_fine(root: str) -> None:
    delete.delete(root, "nope", force=True)
    assert lib.quick_delete(root.encode(), b"nope", 1) == lib.QUICK_DONE
    assert lib.quick_delete(root.encode(), b"nope", 0) == lib.QUICK_PYTHON


def test_delete_removes_what_it_does_not_know_from_a_directory_of_ours(root: str, make: Make) -> None:
    make("web")
    Path(root, "web/unknown").mkdir()
    Path(root, "web/unknown/file").touch()
    assert lib.quick_delete(root.encode(), b"web", 0) == lib.QUICK_PYTHON
    assert quick.status(root, "web") == ("stopped", 0)
    delete.delete(root, "web")
    assert os.listdir(root) == []


def test_delete_with_force_clears_away_what_a_killed_claim_or_delete_left(root: str) -> None:
    os.close(states.claim(root, "web"))
    with pytest.raises(ContainerNotFound):
        delete.delete(root, "web")
    assert os.listdir(root) == ["web"]
    delete.delete(root, "web", force=True)
    assert os.listdir(root) == []


@pytest.mark.parametrize("pid", [False, True])
def test_delete_with_force_clears_away_a_half_made_container(
    root: str, make: Make, sleeper: Sleeper, pid: bool
) -> None:
    members = {"pid": sleeper()} if pid else {}
    make("web", phase="creating", cgroups=["/nowhere/a"], made=["/nowhere/a"], **members)
    delete.delete(root, "web", force=True)
    assert os.listdir(root) == []


def test_delete_with_force_ends_a_start_that_hangs(root: str, make: Make, children: Callable[..., int]) -> None:
    """The start holds the lock; the death of the process that it waits for makes it let go."""
    made = make("web")
    listener = listen(f"{root}/web")
    made.born(children(lambda: time.sleep(60)))
    rewrite(root, made)
    listener.close()
    failed: list[OcirtError] = []

    def hang() -> None:
        try:
            start.start(root, "web")
        except OcirtError as error:
            failed.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    time.sleep(0.05)
    delete.delete(root, "web", force=True)
    thread.join(5)
    assert len(failed) == 1
    assert os.listdir(root) == []


def test_poststop_hooks_all_run_and_their_failures_are_warnings(
    root: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(notes, "warnings", warnings.append)
    made = make("web", python="poststop")
    hooked(root, made, "poststop", f"exit 1\ncat > {tmp_path}/seen")
    delete.delete(root, "web")
    assert len(warnings) == 1
    assert "/hooks/poststop/0" in warnings[0]
    assert json.loads((tmp_path / "seen").read_text())["status"] == "stopped"
    assert os.listdir(root) == []


def test_a_delete_that_fails_can_be_repeated(
    root: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    (own / "file-that-no-cgroup-has").mkdir(parents=True)
    make("web", cgroups=[str(own)], made=[str(own)])
    monkeypatch.setattr(delete.cgroup, "remove", lambda *_, **__: (_ for _ in ()).throw(OcirtError("busy")))
    with pytest.raises(OcirtError, match="busy"):
        delete.delete(root, "web")
    assert quick.status(root, "web") == ("stopped", 0)
    monkeypatch.undo()
    delete.delete(root, "web")
    assert os.listdir(root) == []


def test_ids_are_free_again_after_delete(root: str, make: Make) -> None:
    for _ in range(3):
        make("web")
        delete.delete(root, "web")
