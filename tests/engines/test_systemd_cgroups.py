"""Engines that have systemd make their cgroups, of the system or rootless of the user: scopes, limits, no remains."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engines.conftest import by_systemd
from tests.engines.containerd import Containerd
from tests.engines.place import SystemdPlace
from tests.engines.podman import Podman
from tests.integration.support import wait_for
from tests.integration.systemctl import cgroup_of, loaded, shown, systemctl

if TYPE_CHECKING:
    from tests.engines.cri import Cri

pytestmark = [
    pytest.mark.anybody,
    pytest.mark.skipif(not by_systemd(), reason="needs ENGINES_CGROUPS=systemd on a host of cgroup v2 and systemd"),
]

MIB = 1 << 20
ROOTLESS = os.geteuid() != 0


@pytest.fixture
def place(request: pytest.FixtureRequest) -> SystemdPlace:
    """Where the test's engine lives."""
    engine = "podman" if "podman" in request.fixturenames else "containerd"
    found = request.getfixturevalue(engine).place
    assert isinstance(found, SystemdPlace)
    return found


def text(directory: Path, *names: str) -> dict[str, str]:
    """What the kernel says of a cgroup."""
    return {name: (directory / name).read_text().strip() for name in names}


def forgotten(unit: str) -> None:
    """systemd does not know the unit any more."""
    wait_for(lambda: not loaded(unit), f"{unit} is forgotten")


def gone(unit: str, directory: Path) -> None:
    """Nor is its cgroup there."""
    forgotten(unit)
    assert not directory.exists()


@pytest.fixture
def removed(podman: Podman) -> Iterator[str]:
    """A name; a container of that name is removed at the end."""
    yield "scoped"
    podman.remove("scoped")


def test_podmans_container_is_in_a_scope_with_its_limits_until_it_is_stopped(
    podman: Podman, place: SystemdPlace, removed: str
) -> None:
    cpus = [] if ROOTLESS else ["--cpus=0.5"]  # systemd hands a user the controllers of memory and tasks alone
    podman.start(removed, "--memory=64m", "--pids-limit=30", *cpus, "--", "sleep", "600")
    unit = f"libpod-{podman.inspect(removed, '.Id')}.scope"
    assert "active (running)" in systemctl("status", unit, "--no-pager")
    properties = {"Slice": place.cgroup, "Delegate": "yes", "MemoryMax": str(64 * MIB), "TasksMax": "30"}
    assert shown(unit, *properties) == properties
    directory = cgroup_of(unit)
    assert Path(f"/proc/{podman.inspect(removed, '.State.Pid')}/cgroup").read_text().strip().endswith(f"/{unit}")
    wanted = {"memory.max": str(64 * MIB), "pids.max": "30"} | ({"cpu.max": "50000 100000"} if cpus else {})
    assert text(directory, *wanted) == wanted
    done = podman("exec", removed, "sh", "-c", "echo executed; exit 6")
    assert (done.code, done.stdout) == (6, "executed\n")
    podman("stop", "--time=1", removed, check=True)
    assert podman.inspect(removed, ".State.Status") == "exited"
    gone(unit, directory)


def test_podman_passes_on_the_exit_code_of_a_container_whose_memory_ran_out(podman: Podman, removed: str) -> None:
    script = "dd if=/dev/zero of=/dev/null bs=64M count=1; exit $?"
    podman.start(removed, "--memory=16m", "--memory-swap=16m", "--", "sh", "-c", script)
    assert podman("wait", removed, check=True).stdout == "137\n"
    forgotten(f"libpod-{podman.inspect(removed, '.Id')}.scope")


@pytest.mark.root
def test_containerds_task_is_in_a_scope_with_its_limits_until_it_is_killed(
    containerd: Containerd, place: SystemdPlace
) -> None:
    containerd.run("task", "--memory-limit=33554432", "--cpus=0.5", "--", "sleep", "600", detach=True, check=True)
    unit = "ctr-task.scope"
    properties = {"ActiveState": "active", "Slice": place.cgroup, "Delegate": "yes", "MemoryMax": str(32 * MIB)}
    assert shown(unit, *properties) == properties
    directory = cgroup_of(unit)
    wanted = {"memory.max": str(32 * MIB), "cpu.max": "50000 100000"}
    assert text(directory, *wanted) == wanted
    done = containerd("tasks", "exec", "--exec-id=e1", "task", "sh", "-c", "cat /proc/self/cgroup; exit 4")
    assert done.code == 4
    assert "task" in containerd("tasks", "metrics", "task", check=True).stdout
    containerd("tasks", "kill", "--signal=SIGKILL", "task", check=True)
    wait_for(lambda: "STOPPED" in containerd("tasks", "list").stdout, "stopped", 30)
    containerd("tasks", "delete", "task")  # the exit code is the task's
    containerd("containers", "delete", "task", check=True)
    gone(unit, directory)


@pytest.mark.root
def test_containerd_passes_on_the_exit_code_of_a_task_in_a_scope(containerd: Containerd) -> None:
    done = containerd.run("one", "--", "sh", "-c", "echo out; exit 3")
    assert (done.code, done.stdout) == (3, "out\n")
    forgotten("ctr-one.scope")


@pytest.mark.root
def test_a_container_of_kubernetes_is_in_a_scope_and_its_limits_are_changed(cri: Cri, place: SystemdPlace) -> None:
    pod = cri.pod("scopes", host_network=True)
    resources = {"memory_limit_in_bytes": 64 * MIB, "cpu_quota": 50000, "cpu_period": 100000}
    container = cri.started(pod, "limited", "sleep", "600", resources=resources)
    unit = f"cri-containerd-{container}.scope"
    assert shown(unit, "Slice", "MemoryMax") == {"Slice": place.cgroup, "MemoryMax": str(64 * MIB)}
    directory = cgroup_of(unit)
    wanted = {"memory.max": str(64 * MIB), "cpu.max": "50000 100000"}
    assert text(directory, *wanted) == wanted
    changed = {"memory_limit_in_bytes": 96 * MIB, "cpu_quota": 20000, "cpu_period": 100000}
    cri("UpdateContainerResources", container_id=container, linux=changed)
    assert shown(unit, "MemoryMax") == {"MemoryMax": str(96 * MIB)}
    wanted = {"memory.max": str(96 * MIB), "cpu.max": "20000 100000"}
    assert text(directory, *wanted) == wanted
    assert cri.exec(container, "echo", "executed") == (0, "executed\n", "")
    cri("StopContainer", container_id=container, timeout=0)
    cri("RemoveContainer", container_id=container)
    gone(unit, directory)
    cri("StopPodSandbox", pod_sandbox_id=pod)
    cri("RemovePodSandbox", pod_sandbox_id=pod)
    gone(f"cri-containerd-{pod}.scope", directory.with_name(f"cri-containerd-{pod}.scope"))
