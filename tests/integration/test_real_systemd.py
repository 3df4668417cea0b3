"""The systemd manager, against a real systemd: that of the system, or rootless the user's. Runs in the guest."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocirt.cgroup import systemd
from tests.integration.support import Bundle, Json, Runtime, merged, wait_for
from tests.integration.systemctl import ROOTLESS, loaded, shown, systemctl
from tests.integration.views import MakeBundle

pytestmark = pytest.mark.anybody

MIB = 1 << 20
V2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
RESOURCES: Json = {
    "pids": {"limit": 55},
    "memory": {"limit": 64 * MIB, "swap": 80 * MIB},
    "cpu": {"shares": 512, "quota": 15500, "period": 100000},
}


@pytest.fixture(autouse=True)
def _real_systemd() -> Iterator[None]:
    """A manager that answers; and no unit of ours is left with it."""
    try:
        systemd.connect(ROOTLESS).close()
    except Exception as error:
        pytest.skip(str(error))
    yield
    left = [line for line in units() if "ocirt-test" in line]
    assert not left


def units() -> list[str]:
    return systemctl("list-units", "--all", "--plain", "--no-legend", "--no-pager").splitlines()


def bundle_of(make_bundle: MakeBundle, **delta: object) -> Bundle:
    if not ROOTLESS:
        return make_bundle(args=["sleep", "1000"], **delta)
    ids = {"uidMappings": [(0, os.getuid())], "gidMappings": [(0, os.getgid())]}
    maps = {
        name: [{"containerID": inside, "hostID": outside, "size": 1} for inside, outside in entries]
        for name, entries in ids.items()
    }
    kinds = ("pid", "mount", "ipc", "uts", "user", "cgroup")
    linux = {**maps, "namespaces": [{"type": kind} for kind in kinds]}
    mounts = [{"destination": "/proc", "type": "proc", "source": "proc"}]
    return make_bundle(args=["sleep", "1000"], **merged({"linux": linux, "mounts": mounts}, delta))


def test_systemctl_shows_the_scope_while_the_container_runs_and_nothing_after(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    linux = {"cgroupsPath": "ocirttest-sub.slice:ocirt-test:one", "resources": RESOURCES}
    annotations = {"org.systemd.property.TimeoutStopSec": "7"}
    container = runtime.start(bundle_of(make_bundle, linux=linux, annotations=annotations), "--systemd-cgroup")
    unit = "ocirt-test-one.scope"
    assert "active (running)" in systemctl("status", unit, "--no-pager")
    properties = {
        "ActiveState": "active",
        "Slice": "ocirttest-sub.slice",
        "Delegate": "yes",
        "DefaultDependencies": "no",
        "CollectMode": "inactive-or-failed",
        "TasksMax": "55",
        **({"MemoryMax": str(64 * MIB), "MemorySwapMax": str(16 * MIB)} if V2 else {"MemoryLimit": str(64 * MIB)}),
        "CPUQuotaPerSecUSec": "160ms",  # rounded up to a percentage
        "CPUQuotaPeriodUSec": "100ms",
        "TimeoutStopUSec": "7s",
    }
    assert shown(unit, *properties) == properties
    where = shown(unit, "ControlGroup")["ControlGroup"]
    assert where.endswith("/ocirttest.slice/ocirttest-sub.slice/ocirt-test-one.scope")
    homes = container.cgroups()
    assert all(str(home).endswith(where) for home in homes)
    assert container.cgroup_file("pids.max") == "55\n"
    if V2:
        assert container.proc("cgroup") == f"0::{where}\n"
        assert container.cgroup_file("memory.swap.max") == f"{16 * MIB}\n"
        if "cpu" in container.cgroup_file("cgroup.controllers").split():
            assert container.cgroup_file("cpu.max") == "15500 100000\n"
    else:
        assert container.cgroup_file("memory.memsw.limit_in_bytes") == f"{80 * MIB}\n"
        assert container.cgroup_file("cpu.cfs_quota_us") == "15500\n"
    container.stop()
    assert not loaded(unit)
    assert not [home for home in homes if home.exists()]


def test_an_update_holds_though_systemd_reads_its_units_anew(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = bundle_of(make_bundle, linux={"cgroupsPath": ":ocirt-test:two", "resources": RESOURCES})
    container = runtime.start(bundle, "--systemd-cgroup")
    runtime.run("update", "--pids-limit", "33", "--memory", str(32 * MIB), container.id, check=True)
    unit = "ocirt-test-two.scope"
    memory = "MemoryMax" if V2 else "MemoryLimit"
    assert shown(unit, "TasksMax", memory) == {"TasksMax": "33", memory: str(32 * MIB)}
    systemctl("daemon-reload")
    assert container.cgroup_file("pids.max") == "33\n"
    assert container.cgroup_file("memory.max" if V2 else "memory.limit_in_bytes") == f"{32 * MIB}\n"
    container.stop()


def test_a_container_that_ends_by_itself_can_be_deleted_and_its_name_used_again(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    bundle = bundle_of(make_bundle, linux={"cgroupsPath": ":ocirt-test:three"})
    for _ in range(3):
        container = runtime.start(bundle, "--systemd-cgroup")
        container.kill("KILL")
        container.wait_stopped()
        container.delete()
    assert not loaded("ocirt-test-three.scope")


def test_a_unit_of_the_same_name_that_is_alive_is_not_touched(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = bundle_of(make_bundle, linux={"cgroupsPath": ":ocirt-test:four"})
    container = runtime.start(bundle, "--systemd-cgroup")
    result = runtime.run_container(bundle, "--systemd-cgroup", check=False)
    assert "ocirt-test-four.scope" in result.stderr
    assert container.status == "running"
    container.stop()


def test_devices_are_denied_also_after_a_daemon_reload(runtime: Runtime, make_bundle: MakeBundle) -> None:
    if ROOTLESS:
        pytest.skip("an ordinary user may not restrict devices, and makes no nodes")
    deny = [{"allow": False, "access": "rwm"}]
    nodes = [{"path": "/dev/kmsg2", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}]
    script = "while ! test -e /go; do sleep 0.1; done; cat /dev/null && ! head -c1 /dev/kmsg2 && echo denied"
    bundle = make_bundle(
        args=["sh", "-c", script],
        linux={"cgroupsPath": ":ocirt-test:five", "resources": {"devices": deny}, "devices": nodes},
    )
    container = runtime.start(bundle, "--systemd-cgroup")
    assert shown("ocirt-test-five.scope", "DevicePolicy")["DevicePolicy"] == "strict"
    systemctl("daemon-reload")
    (bundle.rootfs / "go").touch()
    wait_for(lambda: container.status == "stopped", "its end", 30)
    assert container.stdout == "denied\n"
    container.delete()


def test_a_property_that_systemd_does_not_know_is_an_error_that_leaves_nothing(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    bundle = bundle_of(
        make_bundle, linux={"cgroupsPath": ":ocirt-test:six"}, annotations={"org.systemd.property.Colour": "'red'"}
    )
    result = runtime.run_container(bundle, "--systemd-cgroup", check=False)
    assert "systemd says" in result.stderr
    assert "Colour" in result.stderr
    assert json.loads(runtime.run("list", "--format", "json", check=True).stdout) in (None, [])
