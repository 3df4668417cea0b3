"""Pause and resume, what else can be done to a paused container, and freezers that somebody else has used."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.integration.support import Container, Runtime, wait_for
from tests.integration.views import MakeBundle, host_cgroups, namespaces

BUSY = ["sh", "-c", "while :; do :; done"]


@pytest.fixture
def busy(runtime: Runtime, make_bundle: MakeBundle) -> Container:
    """A running container that uses all the time it is given."""
    container = runtime.start(make_bundle(args=BUSY))
    if not freezers(container.pid):
        pytest.skip("needs a freezer")
    return container


def freezers(pid: int) -> dict[str, tuple[Path, str, str]]:
    """Version → the file that freezes the process's cgroup, the word that does, and the one that thaws."""
    paths = host_cgroups(pid)
    places = [
        ("v2", f"/sys/fs/cgroup{paths.get('', '')}/cgroup.freeze", "1", "0"),
        ("v2", f"/sys/fs/cgroup/unified{paths.get('', '')}/cgroup.freeze", "1", "0"),
        ("v1", f"/sys/fs/cgroup/freezer{paths.get('freezer', '')}/freezer.state", "FROZEN", "THAWED"),
    ]
    return {version: (Path(file), *words) for version, file, *words in places if Path(file).exists()}


def ticks(container: Container) -> int:
    """The time that the container's process has used."""
    fields = container.proc("stat").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_paused_container_stands_still_until_it_is_resumed(busy: Container) -> None:
    wait_for(lambda: ticks(busy) > 0, "it runs")
    quiet = busy.pause()
    assert quiet.stdout + quiet.stderr == ""
    assert busy.status == "paused"
    listed = busy.runtime.run("list", "--format=json", check=True).json()
    assert [(entry["id"], entry["status"], entry["pid"]) for entry in listed] == [(busy.id, "paused", busy.pid)]
    before = ticks(busy)
    time.sleep(0.1)
    assert ticks(busy) == before
    busy.resume()
    assert busy.status == "running"
    wait_for(lambda: ticks(busy) > before, "it runs again")


def test_pausing_twice_and_resuming_what_runs_fail_in_the_words_of_the_peers(busy: Container) -> None:
    assert "container not paused" in busy.resume(check=False).stderr
    busy.pause()
    assert "container not running" in busy.pause(check=False).stderr
    assert busy.status == "paused"


def test_what_is_stopped_or_missing_cannot_be_paused_or_resumed(busy: Container) -> None:
    busy.kill("KILL")
    busy.wait_stopped()
    assert "container not running (it is stopped)" in busy.pause(check=False).stderr
    assert "container not paused (it is stopped)" in busy.resume(check=False).stderr
    for verb in ("pause", "resume"):
        assert "container does not exist" in busy.runtime.run(verb, "no-such", check=False).stderr


def test_a_container_that_waits_for_its_start_can_be_paused_but_not_started_meanwhile(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    container = runtime.create(make_bundle(args=["sleep", "60"]))
    if not freezers(container.pid):
        pytest.skip("needs a freezer")
    container.pause()
    assert "cannot start a container that is paused" in container.start(check=False).stderr
    container.resume()
    assert container.status == "created"
    container.start()
    assert container.status == "running"


def test_without_a_cgroup_there_is_nothing_to_pause_it_by(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle, container_id = make_bundle(args=["sleep", "60"]), runtime.new_id()
    argv = ("--cgroup-manager=disabled", "run", "--detach", "--bundle", str(bundle.path), container_id)
    runtime.containers.append(Container(runtime, container_id, bundle))
    runtime.run(*argv, check=True)
    assert "it has no cgroup with a freezer" in runtime.run("pause", container_id, check=False).stderr


def test_a_paused_container_is_deleted_only_by_force(busy: Container) -> None:
    busy.pause()
    assert "cannot delete a container that is paused" in busy.delete(check=False).stderr
    assert busy.status == "paused"
    busy.delete("--force")


@pytest.mark.parametrize("flags", [(), ("--all",)], ids=["first", "all"])
@pytest.mark.parametrize("own", [True, False], ids=["own pid namespace", "the host's"])
def test_sigkill_ends_a_paused_container(
    runtime: Runtime, make_bundle: MakeBundle, own: bool, flags: tuple[str, ...]
) -> None:
    names = ("mount", "ipc", "uts") + (("pid",) if own else ())
    linux = {"namespaces": namespaces(*names), "maskedPaths": None, "readonlyPaths": None}
    container = runtime.start(make_bundle(args=["sh", "-c", "sleep 600 & sleep 600"], linux=linux))
    if not freezers(container.pid):
        pytest.skip("needs a freezer")
    container.pause()
    container.kill(*flags, "KILL")
    container.wait_stopped()
    container.delete()


def test_another_signal_to_a_paused_container_arrives_when_it_is_resumed(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    script = "trap 'exit 0' USR1; echo ready; while :; do sleep 0.01; done"
    container = runtime.start(make_bundle(args=["sh", "-c", script]))
    wait_for(lambda: "ready" in container.stdout, "the trap")
    if not freezers(container.pid):
        pytest.skip("needs a freezer")
    container.pause()
    container.kill("USR1")
    assert container.status == "paused"
    container.resume()
    container.wait_stopped()


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_who_was_frozen_by_hand_is_paused_and_can_be_resumed(busy: Container, version: str) -> None:
    """On a hybrid host somebody may use the freezer that the runtime does not."""
    if version not in (found := freezers(busy.pid)):
        pytest.skip(f"needs a {version} freezer at a known place")
    file, word, _ = found[version]
    file.write_text(word)
    wait_for(lambda: busy.status == "paused", "paused")
    assert "cannot delete" in busy.delete(check=False).stderr
    busy.resume()
    assert busy.status == "running"
    file.write_text(word)
    wait_for(lambda: busy.status == "paused", "paused")
    busy.kill("KILL")
    busy.wait_stopped()


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_resume_says_when_a_cgroup_above_is_frozen(runtime: Runtime, make_bundle: MakeBundle, version: str) -> None:
    bundle = make_bundle(args=["sleep", "60"], linux={"cgroupsPath": f"/{runtime.prefix}-above/box"})
    container = runtime.start(bundle)
    if version not in (found := freezers(container.pid)):
        pytest.skip(f"needs a {version} freezer at a known place")
    file, freeze, thaw = found[version]
    above = file.parent.parent / file.name
    above.write_text(freeze)
    try:
        wait_for(lambda: container.status == "paused", "paused")
        assert "is still frozen because an ancestor cgroup is frozen" in container.resume(check=False).stderr
    finally:
        above.write_text(thaw)
    wait_for(lambda: container.status == "running", "running")
