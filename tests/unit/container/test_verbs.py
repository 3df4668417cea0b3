"""What all verbs have in common: ids, words for what does not exist, descriptors."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from ocirt.container import create, delete, kill, prepare, quick, run, start, state
from ocirt.errors import BundleError, ContainerError, ContainerNotFound, InvalidID, OcirtError
from tests.unit.container.conftest import Make, is_zombie, wait_until

NO_SUCH = r'container "nope": container does not exist'


@pytest.mark.parametrize("verb", [quick.status, start.start, state.read, delete.delete])
def test_what_does_not_exist_is_said_in_the_words_that_engines_match(root: str, verb: Callable[..., object]) -> None:
    with pytest.raises(ContainerNotFound, match=NO_SUCH):
        verb(root, "nope")
    with pytest.raises(ContainerNotFound, match=NO_SUCH):
        kill.kill(root, "nope", 9)


def test_another_runtimes_container_does_not_exist_and_is_left_alone(root: str) -> None:
    Path(root, "nope").mkdir(parents=True)
    Path(root, "nope/state.json").write_text('{"id":"nope","init_process_pid":1,"cgroup_paths":{}}')
    for act in (start.start, delete.delete, quick.status):
        with pytest.raises(ContainerNotFound, match=NO_SUCH):
            act(root, "nope")
    delete.delete(root, "nope", force=True)
    assert os.listdir(f"{root}/nope") == ["state.json"]


@pytest.mark.parametrize(
    ("bundle", "why"), [("/nonexistent", "no such file or directory"), ("/etc/passwd", "not a directory")]
)
@pytest.mark.parametrize("verb", [create.create, run.run])
def test_a_bundle_that_is_no_directory_is_named(root: str, verb: Callable[..., object], bundle: str, why: str) -> None:
    with pytest.raises(BundleError, match=f'^bundle "{bundle}": {why}$'):
        verb(root, "web", bundle, options=prepare.Options())
    assert not os.path.exists(root) or os.listdir(root) == []


@pytest.mark.parametrize("act", [start.start, delete.delete, lambda root, name: kill.kill(root, name, 9)])
def test_a_bad_id_is_called_bad_by_every_verb(root: str, act: Callable[[str, str], object]) -> None:
    with pytest.raises(InvalidID):
        act(root, "../x")


def test_a_root_with_a_nul_byte_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OcirtError):
        quick.status(f"{tmp_path}\0x", "web")


def test_no_verb_leaves_a_descriptor_open(root: str, waiting: Make) -> None:
    made = waiting("web")
    before = os.listdir("/proc/self/fd")
    quick.status(root, "web")
    start.start(root, "web")
    for act in (start.start, delete.delete):
        with pytest.raises(ContainerError):
            act(root, "web")
    kill.kill(root, "web", signal.SIGKILL)
    wait_until(lambda: is_zombie(made.pid))
    delete.delete(root, "web")
    assert os.listdir("/proc/self/fd") == before
