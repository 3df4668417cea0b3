"""The systemd manager, against a stand-in that notes what it is asked; the real one is in the guest."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

import ocirt
from ocirt import cgroup
from tests.integration.support import Bundle, Runtime, wait_for
from tests.integration.systemd import Systemd, systemd
from tests.integration.views import MakeBundle, host_cgroups

pytestmark = pytest.mark.usefixtures("as_each_test_says")

__all__ = ["systemd"]

NOWHERE = ("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus")


@pytest.fixture
def managed(runtime: Runtime, systemd: Systemd) -> Runtime:
    """The runtime, used by an engine that says --systemd-cgroup to `create` and `run` alone."""
    create, run = runtime.create, runtime.run_container
    runtime.create = lambda bundle, *flags, **more: create(bundle, "--systemd-cgroup", *flags, **more)  # type: ignore[method-assign]
    runtime.run_container = lambda bundle, *flags, **more: run(bundle, "--systemd-cgroup", *flags, **more)  # type: ignore[method-assign]
    return runtime


def create_without_end(managed: Runtime, systemd: Systemd, bundle: Bundle) -> tuple[str, subprocess.Popen[bytes]]:
    """The id and the process of a `create` that waits for a systemd which is at work for ever."""
    systemd.behave("hang")
    name = managed.new_id()
    argv = ("create", "--systemd-cgroup", "--bundle", str(bundle.path), name)
    process = managed.popen(*argv, stem=managed.scratch / "without-end")
    wait_for(lambda: systemd.calls, "the request")
    time.sleep(0.1)
    return name, process


def test_a_container_lives_in_a_scope_that_its_deletion_ends(
    managed: Runtime, systemd: Systemd, make_bundle: MakeBundle
) -> None:
    bundle = make_bundle(args=["sleep", "100"], linux={"cgroupsPath": "a-b.slice:test:one"})
    container = managed.start(bundle)
    where = systemd.parent + "/a.slice/a-b.slice/test-one.scope"
    mounted = {h.controllers for h in cgroup.hierarchies()}
    found = host_cgroups(container.pid)
    assert {found[controllers] for controllers in mounted} == {where}
    properties = systemd.properties()
    assert properties["Slice"] == ["s", "a-b.slice"]
    assert properties["Delegate"] == ["b", True]
    assert properties["DefaultDependencies"] == ["b", False]
    assert properties["PIDs"] == ["au", [container.pid]]
    record = container.record()
    assert (record["manager"], record["unit"]) == ("systemd", "test-one.scope")
    container.stop()
    assert systemd.members == ["StartTransientUnit", "StopUnit", "ResetFailedUnit"]
    assert not systemd.directories()


def test_without_a_path_the_scope_is_named_after_the_container(
    managed: Runtime, systemd: Systemd, make_bundle: MakeBundle
) -> None:
    container = managed.create(make_bundle())
    assert systemd.calls[0][1][0] == f"ocirt-{container.id}.scope"
    assert systemd.properties()["Slice"] == ["s", "system.slice"]
    container.delete("--force")
    assert not systemd.directories()


def test_the_container_sees_the_scope_as_the_root_of_its_cgroups(managed: Runtime, make_bundle: MakeBundle) -> None:
    def add(config: dict) -> None:  # type: ignore[type-arg]
        config["linux"]["namespaces"].append({"type": "cgroup"})

    result = managed.run_container(make_bundle(add, args=["cat", "/proc/self/cgroup"]), check=True)
    mounted = {h.controllers for h in cgroup.hierarchies()}
    lines = [line.split(":", 2) for line in result.stdout.splitlines()]
    assert {path for _, controllers, path in lines if controllers in mounted} == {"/"}


def test_limits_are_told_to_systemd_and_written_to_files(
    managed: Runtime, systemd: Systemd, make_bundle: MakeBundle
) -> None:
    resources = {"pids": {"limit": 77}, "cpu": {"shares": 512}, "memory": {"limit": 64 << 20}}
    container = managed.start(make_bundle(args=["sleep", "100"], linux={"resources": resources}))
    properties = systemd.properties()
    assert properties["TasksMax"] == ["t", 77]
    assert 64 << 20 in {properties[name][1] for name in ("MemoryMax", "MemoryLimit") if name in properties}
    assert container.cgroup_file("pids.max") == "77\n"
    managed.run("update", "--pids-limit", "55", container.id, check=True)
    assert systemd.properties("SetUnitProperties") == {"TasksMax": ["t", 55]}
    assert [body[:2] for member, body in systemd.calls if member == "SetUnitProperties"] == [
        [f"ocirt-{container.id}.scope", True]
    ]
    assert container.cgroup_file("pids.max") == "55\n"
    container.delete("--force")


def test_annotations_become_properties(managed: Runtime, systemd: Systemd, make_bundle: MakeBundle) -> None:
    annotations = {
        "org.systemd.property.TimeoutStopUSec": "uint64 10000000",
        "org.systemd.property.RuntimeMaxSec": "1.5",
        "org.systemd.property.CollectMode": "'inactive'",
        "org.systemd.property.Documentation": "['man:ocirt(1)', 'https://example.org']",
    }
    managed.run_container(make_bundle(annotations=annotations), check=True)
    properties = systemd.properties()
    assert properties["TimeoutStopUSec"] == ["t", 10000000]
    assert properties["RuntimeMaxUSec"] == ["t", 1500000]
    assert properties["CollectMode"] == ["s", "inactive"]
    assert properties["Documentation"] == ["as", ["man:ocirt(1)", "https://example.org"]]


@pytest.mark.parametrize(
    ("behaviour", "annotations", "words", "calls"),
    [
        (
            "failed",
            {},
            "its job ended as failed",
            ["StartTransientUnit", "ResetFailedUnit", "StopUnit", "ResetFailedUnit"],
        ),
        (
            "exists",
            {},
            "already loaded",
            ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"],
        ),
        (
            "refuse Colour",
            {"org.systemd.property.Colour": "'red'"},
            "/annotations: property Colour",
            ["StartTransientUnit", "StopUnit", "ResetFailedUnit"],
        ),
    ],
)
def test_what_systemd_refuses_is_an_error_that_leaves_nothing(
    managed: Runtime,
    systemd: Systemd,
    make_bundle: MakeBundle,
    behaviour: str,
    annotations: dict[str, str],
    words: str,
    calls: list[str],
) -> None:
    systemd.behave(behaviour)
    result = managed.run_container(make_bundle(annotations=annotations), check=False)
    assert words in result.stderr
    assert ".scope" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert systemd.members == calls
    assert not systemd.directories()


def test_a_failed_unit_of_the_same_name_is_reset_and_does_not_matter(
    managed: Runtime, systemd: Systemd, make_bundle: MakeBundle
) -> None:
    systemd.behave("exists until reset")
    managed.run_container(make_bundle(args=["true"]), check=True)
    assert systemd.members[:3] == ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"]


def test_the_unit_of_another_container_is_left_alone(
    managed: Runtime, systemd: Systemd, make_bundle: MakeBundle
) -> None:
    bundle = make_bundle(args=["sleep", "100"], linux={"cgroupsPath": ":test:same"})
    first = managed.start(bundle)
    result = managed.run_container(bundle, check=False)
    assert "already loaded" in result.stderr
    assert first.status == "running"
    assert "StopUnit" not in systemd.members
    first.stop()


def test_a_slice_that_is_there_is_used_and_kept(managed: Runtime, systemd: Systemd, make_bundle: MakeBundle) -> None:
    systemd.behave("exists")
    bundle = make_bundle(args=["sleep", "100"], linux={"cgroupsPath": ":test:mine.slice"})
    container = managed.start(bundle)
    assert set(host_cgroups(container.pid).values()) & {f"{systemd.parent}/mine.slice"}
    container.stop()
    assert "StopUnit" not in systemd.members


def test_a_runtime_killed_while_systemd_is_at_work_leaves_what_delete_force_removes(
    managed: Runtime, systemd: Systemd, make_bundle: MakeBundle
) -> None:
    name, process = create_without_end(managed, systemd, make_bundle(args=["sleep", "100"]))
    process.send_signal(signal.SIGKILL)
    process.wait()
    systemd.behave("done")
    managed.run("delete", "--force", name, check=True)
    assert systemd.members == ["StartTransientUnit", "StopUnit", "ResetFailedUnit"]
    assert not (managed.root / name).exists()


def test_ctrl_c_while_systemd_is_at_work_undoes_all(
    managed: Runtime, systemd: Systemd, make_bundle: MakeBundle
) -> None:
    name, process = create_without_end(managed, systemd, make_bundle(args=["sleep", "100"]))
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) != 0
    managed.run("delete", "--force", name, check=True)
    assert not (managed.root / name).exists()
    assert "StopUnit" in systemd.members


@pytest.mark.parametrize("behaviour", ["hang", "deaf"])
def test_a_systemd_that_does_not_come_to_an_end_is_not_waited_for_for_ever(
    managed: Runtime, systemd: Systemd, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch, behaviour: str
) -> None:
    monkeypatch.setattr("ocirt.cgroup.systemd.JOB_DEADLINE_S", 0.5)
    monkeypatch.setattr("ocirt.cgroup.systemd.HURRY_S", 0.5)
    systemd.behave(behaviour)
    name = managed.new_id()
    with pytest.raises(ocirt.SystemCallError) as error:
        ocirt.Runtime(str(managed.root), "systemd").create(name, str(make_bundle().path))
    assert f'start the unit "ocirt-{name}.scope" within 0.5 s' in str(error.value)
    assert systemd.members[:2] == ["StartTransientUnit", "StopUnit"]
    assert not (managed.root / name).exists()


def test_a_host_without_systemd_says_so_only_when_it_is_asked_for(
    runtime: Runtime, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.path.exists("/run/systemd/private"):
        pytest.skip("this host has a systemd")
    monkeypatch.setenv(*NOWHERE)
    bundle = make_bundle(args=["true"])
    runtime.run_container(bundle, check=True)
    result = runtime.run_container(bundle, "--systemd-cgroup", check=False)
    assert "needs a running systemd: cannot connect to" in result.stderr


def test_a_path_of_the_other_manager_is_refused(managed: Runtime, make_bundle: MakeBundle) -> None:
    result = managed.run_container(make_bundle(linux={"cgroupsPath": "/a/b"}), check=False)
    assert '/linux/cgroupsPath: "/a/b" is not of the form slice:prefix:name' in result.stderr


def test_a_container_is_deleted_though_systemd_has_gone(
    managed: Runtime, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = managed.create(make_bundle())
    monkeypatch.setenv(*NOWHERE)
    container.delete("--force")
    assert not (managed.root / container.id).exists()
