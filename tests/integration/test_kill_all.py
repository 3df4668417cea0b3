"""`kill --all` and `delete --force` leave no process, whatever the container's processes do to outlive them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration import leftovers
from tests.integration.support import PROC, Container, Json, Runtime, wait_for
from tests.integration.views import MakeBundle, host_cgroups, namespaces

# Three that fork all the time, one in a session of its own, one that ignores what can be ignored
RESTLESS = """
trap '' TERM HUP INT
fork() { while :; do (:) & wait; done; }
fork & fork & fork &
setsid sleep 601 &
sleep 602
"""
NAMESPACES = {"own": namespaces("mount", "ipc", "uts", "pid"), "shared": namespaces("mount", "ipc", "uts")}


@pytest.fixture(params=sorted(NAMESPACES))
def restless(request: pytest.FixtureRequest, runtime: Runtime, make_bundle: MakeBundle) -> Container:
    """A container, with and without a pid namespace of its own, the processes of which do what they can to live on."""
    linux: Json = {"namespaces": NAMESPACES[request.param], "maskedPaths": None, "readonlyPaths": None}
    container = runtime.start(make_bundle(args=["sh", "-c", RESTLESS], linux=linux, mounts=[PROC]))
    wait_for(lambda: {"sleep 601", "sleep 602"} <= set(map(leftovers.command_of, members(container))), "all of them")
    return container


def members(container: Container) -> list[int]:
    """What `ps` lists."""
    found = container.runtime.run("ps", "--format=json", container.id, check=True).json()
    assert isinstance(found, list)
    return found


def alive(pids: list[int]) -> list[str]:
    """The commands of those that run; zombies have none."""
    return [command for pid in pids if (command := leftovers.command_of(pid))]


def test_kill_all_ends_every_process(restless: Container) -> None:
    before = members(restless)
    restless.kill("--all", "KILL")
    wait_for(lambda: not members(restless), "an empty cgroup")
    assert alive(before) == []
    restless.wait_stopped()
    restless.delete()


def test_kill_all_ends_every_process_of_a_paused_container(restless: Container) -> None:
    restless.pause()
    before = members(restless)
    restless.kill("--all", "KILL")
    wait_for(lambda: not members(restless), "an empty cgroup")
    assert alive(before) == []


def test_delete_by_force_ends_every_process(restless: Container) -> None:
    before = members(restless)
    restless.delete("--force")
    assert alive(before) == []


def test_delete_by_force_ends_every_process_of_a_paused_container(restless: Container) -> None:
    restless.pause()
    before = members(restless)
    restless.delete("--force")
    assert alive(before) == []


def test_kill_all_and_delete_by_force_end_who_is_frozen_by_the_freezer_of_v1(restless: Container) -> None:
    """On a hybrid host, where the runtime itself prefers v2's."""
    file = Path(f"/sys/fs/cgroup/freezer{host_cgroups(restless.pid).get('freezer', '')}/freezer.state")
    if not file.exists():
        pytest.skip("needs a v1 freezer at a known place")
    file.write_text("FROZEN")
    wait_for(lambda: restless.status == "paused", "paused")
    before = members(restless)
    restless.kill("--all", "KILL")
    wait_for(lambda: not members(restless), "an empty cgroup")
    assert alive(before) == []
    restless.delete("--force")


def test_a_signal_to_all_of_a_paused_container_waits_for_resume(runtime: Runtime, make_bundle: MakeBundle) -> None:
    script = "trap 'echo told' USR1; sh -c \"trap 'echo child' USR1; while :; do sleep 0.01; done\" & \
              while :; do sleep 0.01; done"
    container = runtime.start(make_bundle(args=["sh", "-c", script]))
    wait_for(lambda: len(members(container)) >= 3, "the child")
    container.pause()
    container.kill("--all", "USR1")
    assert container.status == "paused"
    assert container.stdout == ""
    container.resume()
    wait_for(lambda: {"told", "child"} <= set(container.stdout.split()), "both are told")
