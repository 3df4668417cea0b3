"""Mounts of type cgroup on v1, hybrid and v2 hosts; the layouts that this host lacks are made in a mount namespace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import BASE, CGROUP, Container, Mount, Runtime, wait_for
from tests.integration.views import ADMIN, HostView, MakeBundle, base_mounts, host_cgroups, namespaces, user_namespace

pytestmark = pytest.mark.cgroup

HIERARCHIES = [path.name for path in sorted(Path("/sys/fs/cgroup").iterdir()) if (path / "cgroup.procs").exists()]
HYBRID = bool(HIERARCHIES) and not Path("/sys/fs/cgroup/cgroup.procs").exists()
needs_v1 = pytest.mark.skipif(not HYBRID, reason="needs a host with v1 hierarchies")
KINDS = [entry["type"] for entry in BASE["linux"]["namespaces"]]
OWN = {"namespaces": namespaces(*KINDS, "cgroup")}
SHARED: dict[str, Any] = {}


def started(runtime: Runtime, make_bundle: MakeBundle, script: str = "", **delta: Any) -> Container:
    """A running container with a cgroup mount whose script has run."""
    options = delta.pop("options", CGROUP["options"])
    mounts = base_mounts({**CGROUP, "options": options})
    bundle = make_bundle(args=["sh", "-c", f"{script}\necho end; exec sleep 600"], mounts=mounts, **delta)
    container = runtime.start(bundle)
    wait_for(lambda: container.stdout.endswith("end\n"), "the script")
    return container


def below(container: Container, top: str = "/sys/fs/cgroup") -> dict[str, Mount]:
    """Name → mount below (and "" at) the cgroup mount."""
    return {mount.target[len(top) + 1 :]: mount for mount in container.mounts() if mount.target.startswith(top)}


@needs_v1
@pytest.mark.parametrize("linux", [OWN, SHARED, user_namespace()], ids=["own namespace", "host's namespace", "user"])
def test_each_hierarchy_is_mounted_by_its_name_and_read_only(
    runtime: Runtime, make_bundle: MakeBundle, linux: dict[str, Any]
) -> None:
    container = started(runtime, make_bundle, linux=linux)
    found = below(container)
    assert set(found) == {"", *HIERARCHIES} - {"unified"}, "v1 alone: a systemd inside would take v2 for its own"
    assert found[""].fstype == "tmpfs"
    for name, mount in found.items():
        assert {"ro", "nosuid", "nodev", "noexec"} <= mount.options, name
        assert not name or mount.fstype == "cgroup"


@needs_v1
@pytest.mark.parametrize("linux", [OWN, SHARED], ids=["own namespace", "host's namespace"])
def test_the_containers_own_cgroup_is_what_is_seen(
    runtime: Runtime, make_bundle: MakeBundle, linux: dict[str, Any]
) -> None:
    container = started(runtime, make_bundle, "cat /sys/fs/cgroup/pids/cgroup.procs", linux=linux)
    assert container.stdout.split()[0] == "1", "the first process is in the cgroup that is mounted"
    assert host_cgroups(container.pid)["pids"] == f"/ocirt/{container.id}"


@needs_v1
def test_nothing_can_be_changed_through_a_read_only_mount(runtime: Runtime, make_bundle: MakeBundle) -> None:
    script = "mkdir /sys/fs/cgroup/pids/x; echo 1 >/sys/fs/cgroup/cpu/notify_on_release; mkdir /sys/fs/cgroup/new"
    container = started(runtime, make_bundle, script, process=ADMIN, linux=OWN)
    assert container.stderr.count("Read-only file system") == 3


@needs_v1
@pytest.mark.parametrize("options", [["nosuid", "nodev", "noexec", "rw"], [], ["private"]], ids=" ".join)
def test_a_v1_mount_is_writable_unless_ro_is_said(
    runtime: Runtime, make_bundle: MakeBundle, options: list[str]
) -> None:
    """A container in a container makes cgroups, which go with it when it is deleted."""
    script = "mkdir /sys/fs/cgroup/pids/sub && echo 1 >/sys/fs/cgroup/pids/sub/cgroup.procs && echo made"
    container = started(runtime, make_bundle, script, linux=OWN, options=options)
    assert container.stdout.split()[0] == "made"
    assert host_cgroups(container.pid)["pids"] == f"/ocirt/{container.id}/sub"
    container.delete("--force")
    assert not Path("/sys/fs/cgroup/pids/ocirt", container.id).exists()


@needs_v1
@pytest.mark.parametrize("linux", [OWN, SHARED], ids=["own namespace", "host's namespace"])
def test_a_writable_v1_mount_has_no_release_agent(
    runtime: Runtime, make_bundle: MakeBundle, linux: dict[str, Any]
) -> None:
    """Who writes it runs programs on the host (CVE-2022-0492): it is in a hierarchy's root, which is not in sight."""
    script = "find /sys/fs/cgroup/ -name release_agent; find /sys/fs/cgroup/ -name notify_on_release | head -n 1"
    container = started(runtime, make_bundle, script, linux=linux, options=[])
    assert container.stdout.split()[0].endswith("notify_on_release")


@needs_v1
def test_a_release_agent_in_sight_takes_a_privilege_of_the_host(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """Linux 5.17: what is written is what it holds already."""
    mount = {"destination": "/mnt", "type": "bind", "source": "/sys/fs/cgroup/pids", "options": ["bind", "rw"]}
    script = 'cd /mnt; now=$(cat release_agent) && echo "$now" >release_agent'
    result = runtime.run_container(make_bundle(args=["sh", "-c", script], mounts=base_mounts(mount)), check=False)
    assert "ermitted" in result.stderr or "denied" in result.stderr


@needs_v1
def test_other_mounts_find_their_place_in_a_read_only_one(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """As Podman has it for a systemd inside: its hierarchy is bound where a rootless runtime may have made nothing."""
    more = {"destination": "/sys/fs/cgroup/extra/deep", "type": "tmpfs", "options": ["ro"]}
    container = runtime.start(make_bundle(args=["sleep", "600"], mounts=base_mounts(CGROUP, more), linux=OWN))
    found = below(container)
    assert found["extra/deep"].fstype == "tmpfs"
    assert "ro" in found["extra/deep"].options
    assert "ro" in found[""].options


# ---- other layouts ---------------------------------------------------------------------------------------------------


@needs_v1
def test_a_host_with_v1_alone_shows_v1_alone(runtime: Runtime, make_bundle: MakeBundle, host_view: HostView) -> None:
    if "unified" not in HIERARCHIES:
        pytest.skip("has no v2 hierarchy to hide")
    host_view.run("umount", "/sys/fs/cgroup/unified")
    container = started(runtime, make_bundle, linux=OWN)
    assert set(below(container)) == {"", *HIERARCHIES} - {"unified"}
    assert host_cgroups(container.pid)[""] == "/"


@pytest.fixture
def v2_host(host_view: HostView) -> HostView:
    """A view in which /sys/fs/cgroup is a v2 hierarchy and nothing else."""
    host_view.show_v2()
    return host_view


@pytest.mark.parametrize("linux", [OWN, SHARED], ids=["own namespace", "host's namespace"])
def test_on_v2_the_own_cgroup_is_the_mount(
    runtime: Runtime, make_bundle: MakeBundle, v2_host: HostView, linux: dict[str, Any]
) -> None:
    container = started(runtime, make_bundle, "cat /sys/fs/cgroup/cgroup.procs; mkdir /sys/fs/cgroup/x", linux=linux)
    found = below(container)
    assert set(found) == {""}
    assert found[""].fstype == "cgroup2"
    assert "ro" in found[""].options
    assert container.stdout.split()[0] == "1"
    assert "Read-only" in container.stderr
    assert host_cgroups(container.pid)[""] == f"/ocirt/{container.id}"


def test_on_v2_a_writable_mount_lets_the_container_make_cgroups(
    runtime: Runtime, make_bundle: MakeBundle, v2_host: HostView
) -> None:
    script = "mkdir /sys/fs/cgroup/sub && echo 1 >/sys/fs/cgroup/sub/cgroup.procs && cat /proc/self/cgroup"
    container = started(runtime, make_bundle, script, linux=OWN, options=["rw"])
    assert "0::/sub" in container.stdout.split()
    container.delete("--force")


@needs_v1
def test_without_cgroups_the_mount_is_an_empty_directory(
    runtime: Runtime, make_bundle: MakeBundle, host_view: HostView
) -> None:
    host_view.run("umount", "--recursive", "/sys/fs/cgroup")
    container = started(runtime, make_bundle, "ls -A /sys/fs/cgroup", linux=OWN)
    assert container.stdout == "end\n"
    assert "ro" in below(container)[""].options


@needs_v1
@pytest.mark.parametrize("layout", ["hybrid", "v2"])
def test_where_cgroups_are_read_only_a_limit_says_so(
    runtime: Runtime, make_bundle: MakeBundle, host_view: HostView, layout: str
) -> None:
    """As in a container of an engine; what asks for no limit runs without a cgroup of its own."""
    if layout == "v2":
        host_view.show_v2()
    tops = ["/sys/fs/cgroup"] if layout == "v2" else [f"/sys/fs/cgroup/{name}" for name in HIERARCHIES]
    for top in tops:
        host_view.run("mount", "-o", "remount,bind,ro", top)
    why = "which is not there: the hierarchy is mounted read-only here, as in a container: mount it writable"
    rules = [{"allow": False, "access": "rwm"}]
    for field, resources in (("devices", {"devices": rules}), ("pids/limit", {"pids": {"limit": 9}})):
        result = runtime.run_container(make_bundle(linux={"resources": resources}), check=False)
        assert f"config.json: /linux/resources/{field}: needs the cgroup " in result.stderr
        assert why in result.stderr
    assert (
        runtime.run_container(make_bundle(args=["echo", "ran"], linux={"resources": None}), check=True).stdout
        == "ran\n"
    )


def test_the_manager_disabled_makes_no_cgroup(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["cat", "/proc/self/cgroup"])
    ours = Path("/proc/self/cgroup").read_text()
    result = runtime.run(
        "--cgroup-manager", "disabled", "run", "--bundle", str(bundle.path), runtime.new_id(), check=True
    )
    assert result.stdout == ours


@needs_v1
@pytest.mark.parametrize(("path", "placed"), [("/{id}/deep", "/{id}/deep"), ("{id}", "/{id}")])
def test_cgroups_path_is_where_the_cgroup_is(runtime: Runtime, make_bundle: MakeBundle, path: str, placed: str) -> None:
    name = runtime.new_id()
    bundle = make_bundle(args=["sleep", "600"], linux={"cgroupsPath": path.format(id=name)})
    container = runtime.start(bundle)
    found = host_cgroups(container.pid)["pids"]
    assert found.endswith(placed.format(id=name))
    container.stop()
    assert not Path("/sys/fs/cgroup/pids", name).exists()
