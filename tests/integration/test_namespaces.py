"""linux.namespaces: made, joined by path, left alone; with names, time offsets and the loopback interface."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.integration.support import DEV, PROC, Container, Json, Runtime, wait_for
from tests.integration.views import (
    KINDS,
    MAPPED,
    NAMESPACE_FILES,
    Inside,
    MakeBundle,
    host_cgroups,
    namespaces,
    ns_of,
    ns_path,
)

ALL = ("user", "cgroup", "ipc", "mount", "network", "pid", "time", "uts")
# What a config can have whatever its namespaces are; a procfs takes a pid namespace of the same owner.
BARE: Json = {"hostname": None, "mounts": [DEV]}
PLAIN: Json = {"hostname": None, "mounts": [PROC, DEV]}


def linux(listed: list[Json], **more: object) -> Json:
    """A `linux` section for these namespaces."""
    maps = MAPPED if {"type": "user"} in listed else {}
    return {"namespaces": listed, "maskedPaths": None, "readonlyPaths": None, **maps, **more}


@pytest.fixture
def holder(runtime: Runtime, make_bundle: MakeBundle) -> Container:
    """A running container with every kind of namespace of its own."""
    offsets = {"timeOffsets": {"boottime": {"secs": 500000}, "monotonic": {"secs": 500000}}}
    bundle = make_bundle(args=["sleep", "600"], **PLAIN, linux=linux(namespaces(*ALL), **offsets))
    return runtime.start(bundle)


def joining(holder: Container, *kinds: str) -> list[Json]:
    """linux.namespaces that join the holder's."""
    return [{"type": kind, "path": ns_path(holder.pid, kind)} for kind in kinds]


# ---- made ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_namespace_of_each_kind_is_made_and_the_others_are_the_hosts(
    runtime: Runtime, make_bundle: MakeBundle, kind: str
) -> None:
    listed = namespaces(*dict.fromkeys((kind, "mount")))
    container = runtime.start(make_bundle(args=["sleep", "600"], **BARE, linux=linux(listed)))
    inside, host = ns_of(container.pid), ns_of("self")
    assert {name for name in KINDS if inside[name] != host[name]} == {kind, "mount"}


def test_without_namespaces_the_process_is_in_the_hosts_and_sees_its_rootfs(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    bundle = make_bundle(args=["sleep", "600"], hostname=None, mounts=None, linux=linux([]))
    container = runtime.start(bundle)
    assert ns_of(container.pid) == ns_of("self")
    assert os.readlink(f"/proc/{container.pid}/root") == str(bundle.rootfs)


@pytest.mark.parametrize("order", [ALL, ALL[::-1], ALL[3:] + ALL[:3], ("time", "pid", "user", "mount", "uts")])
def test_new_namespaces_can_be_listed_in_any_order(
    runtime: Runtime, make_bundle: MakeBundle, order: tuple[str, ...]
) -> None:
    container = runtime.start(make_bundle(args=["sleep", "600"], **BARE, linux=linux(namespaces(*order))))
    inside, host = ns_of(container.pid), ns_of("self")
    assert {name for name in KINDS if inside[name] != host[name]} == set(order)


def test_children_of_the_process_are_in_its_pid_and_time_namespaces(inside: Inside) -> None:
    script = "cd /proc/self/ns; for name in pid pid_for_children time time_for_children; do readlink $name; done"
    lines = inside("sh", "-c", script, **PLAIN, linux=linux(namespaces("mount", "pid", "time"))).splitlines()
    assert lines[0] == lines[1]
    assert lines[2] == lines[3]


# ---- joined ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "mount"])
def test_a_namespace_of_each_kind_is_joined_by_path(
    runtime: Runtime, make_bundle: MakeBundle, holder: Container, kind: str
) -> None:
    listed = joining(holder, kind) + namespaces("mount")
    container = runtime.start(make_bundle(args=["sleep", "600"], **BARE, linux=linux(listed)))
    inside, theirs, host = ns_of(container.pid), ns_of(holder.pid), ns_of("self")
    assert inside[kind] == theirs[kind]
    assert {name for name in KINDS if inside[name] != host[name]} == {kind, "mount"}


def test_a_joined_mount_namespace_gets_a_root_of_ours_and_keeps_its_own(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    first = runtime.start(make_bundle(args=["sleep", "600"]))
    before = first.proc("mountinfo")
    # In that namespace the bundle has to be reachable: that of the first container, seen as /proc/PID/root.
    subprocess.run(["cp", "-a", first.bundle.rootfs / "bin", first.bundle.rootfs / "tmp" / "bin"], check=True)
    listed = joining(first, "mount")
    second = make_bundle(args=["ls", "/"], **BARE, linux=linux(listed))
    second.config["root"]["path"] = "/tmp"
    result = runtime.run_container(second.write(), check=True)
    assert result.stdout == "bin\ndev\n"
    assert first.proc("mountinfo").splitlines()[: len(before.splitlines())] == before.splitlines()


ORDERS = [ALL, ALL[::-1], ("pid", "mount", "user", "network", "time", "uts", "ipc", "cgroup")]


@pytest.mark.parametrize("order", ORDERS)
def test_many_namespaces_are_joined_in_whatever_order_they_are_listed(
    runtime: Runtime, make_bundle: MakeBundle, holder: Container, order: tuple[str, ...]
) -> None:
    listed = [*joining(holder, *[kind for kind in order if kind != "mount"]), {"type": "mount"}]
    container = runtime.start(make_bundle(args=["sleep", "600"], **BARE, linux=linux(listed)))
    inside, theirs = ns_of(container.pid), ns_of(holder.pid)
    assert {name for name in KINDS if inside[name] != theirs[name]} == {"mount"}


MIXES = [("network", "ipc", "uts"), ("pid",), ("user", "network"), ("cgroup", "time", "pid")]


@pytest.mark.parametrize("joined", MIXES)
def test_some_namespaces_are_joined_while_the_others_are_new(
    runtime: Runtime, make_bundle: MakeBundle, holder: Container, joined: tuple[str, ...]
) -> None:
    new = [kind for kind in ALL if kind not in (*joined, "user")]
    # Interleaved: neither all joined first nor all new first.
    pairs = itertools.zip_longest(namespaces(*new), joining(holder, *joined))
    listed = [entry for pair in pairs for entry in pair if entry]
    container = runtime.start(make_bundle(args=["sleep", "600"], **BARE, linux=linux(listed)))
    inside, theirs, host = ns_of(container.pid), ns_of(holder.pid), ns_of("self")
    assert {name for name in KINDS if inside[name] == theirs[name]} == set(joined)
    assert {name for name in KINDS if inside[name] == host[name]} == {"user"} - set(joined)


def test_a_joined_pid_namespace_shows_both_containers_and_outlives_the_second(
    runtime: Runtime, make_bundle: MakeBundle, holder: Container
) -> None:
    listed = joining(holder, "pid") + namespaces("mount")
    bundle = make_bundle(args=["sh", "-c", "echo $$; cat /proc/1/cmdline"], **PLAIN, linux=linux(listed))
    own_pid, _, init = runtime.run_container(bundle, check=True).stdout.partition("\n")
    assert own_pid != "1"
    assert init.startswith("sleep\0")
    assert holder.status == "running"


def test_a_namespace_is_joined_by_a_file_it_is_bound_to(
    runtime: Runtime, make_bundle: MakeBundle, holder: Container, scratch: Path
) -> None:
    file = scratch / "netns"
    file.touch()
    subprocess.run(["mount", "--bind", ns_path(holder.pid, "network"), file], check=True)
    try:
        listed = [{"type": "network", "path": str(file)}, {"type": "mount"}]
        container = runtime.start(make_bundle(args=["sleep", "600"], **BARE, linux=linux(listed)))
        assert ns_of(container.pid)["network"] == ns_of(holder.pid)["network"]
    finally:
        subprocess.run(["umount", file], check=True)


# ---- what goes with them ---------------------------------------------------------------------------------------------


def test_a_new_network_has_a_loopback_interface_that_is_up_and_no_other(inside: Inside) -> None:
    lines = inside("sh", "-c", "ip -o link; ping -c1 -W2 127.0.0.1 >/dev/null && echo answered").splitlines()
    assert len(lines) == 2
    assert "LOOPBACK,UP" in lines[0]
    assert lines[1] == "answered"


def test_hostname_and_domainname_are_the_containers_alone(inside: Inside) -> None:
    host = socket.gethostname(), Path("/proc/sys/kernel/domainname").read_text()
    seen = inside(
        "cat", "/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname", hostname="web-1", domainname="example.net"
    )
    assert seen == "web-1\nexample.net\n"
    assert (socket.gethostname(), Path("/proc/sys/kernel/domainname").read_text()) == host


def test_ipc_objects_of_the_host_are_out_of_sight(inside: Inside) -> None:
    made = subprocess.run(["ipcmk", "--queue"], capture_output=True, text=True, check=True).stdout.split()[-1]
    try:
        assert len(inside("cat", "/proc/sysvipc/msg").splitlines()) == 1
        shared = linux(namespaces("mount", "pid"))
        assert made in inside("cat", "/proc/sysvipc/msg", **PLAIN, linux=shared).split()
    finally:
        subprocess.run(["ipcrm", "--queue-id", made], check=True)


OFFSETS = [
    {"boottime": {"secs": 86400}},
    {"monotonic": {"secs": 3600, "nanosecs": 5}},
    {"boottime": {"secs": 7, "nanosecs": 999999999}, "monotonic": {"secs": 90000}},
    {"boottime": {"secs": -1}, "monotonic": {"secs": -2, "nanosecs": 1}},
]


@pytest.mark.parametrize("offsets", OFFSETS)
def test_clocks_of_a_new_time_namespace_have_the_offsets(inside: Inside, offsets: dict[str, dict[str, int]]) -> None:
    before = float(Path("/proc/uptime").read_text().split()[0])
    section = linux(namespaces("mount", "time", "pid"), timeOffsets=offsets)
    seen = inside("cat", "/proc/self/timens_offsets", "/proc/uptime", **PLAIN, linux=section).splitlines()
    found = {clock: (int(secs), int(nanosecs)) for clock, secs, nanosecs in map(str.split, seen[:2])}
    wanted = {clock: offsets.get(clock, {}) for clock in ("boottime", "monotonic")}
    assert found == {clock: (value.get("secs", 0), value.get("nanosecs", 0)) for clock, value in wanted.items()}
    shift = float(seen[2].split()[0]) - before
    assert shift == pytest.approx(found["boottime"][0] + found["boottime"][1] / 1e9, abs=2)


def test_a_joined_time_namespace_has_its_clocks(runtime: Runtime, make_bundle: MakeBundle, holder: Container) -> None:
    host = float(Path("/proc/uptime").read_text().split()[0])
    bundle = make_bundle(
        args=["cat", "/proc/uptime"], **PLAIN, linux=linux(joining(holder, "time") + namespaces("mount"))
    )
    uptime = float(runtime.run_container(bundle, check=True).stdout.split()[0])
    assert uptime - host == pytest.approx(500000, abs=5)


def test_a_cgroup_namespace_has_the_containers_cgroup_for_root(runtime: Runtime, make_bundle: MakeBundle) -> None:
    listed = namespaces("mount", "pid", "cgroup")
    script = "cat /proc/self/cgroup; exec sleep 600"
    container = runtime.start(make_bundle(args=["sh", "-c", script], **PLAIN, linux=linux(listed)))
    lines = wait_for(lambda: container.stdout, "the cgroups").splitlines()
    assert {line.split(":", 2)[2] for line in lines} == {"/"}
    assert any(path.endswith(f"/ocirt/{container.id}") for path in host_cgroups(container.pid).values())


def test_without_a_cgroup_namespace_the_path_is_the_hosts(runtime: Runtime, make_bundle: MakeBundle) -> None:
    container = runtime.create(make_bundle())
    assert any(path.endswith(f"/ocirt/{container.id}") for path in host_cgroups(container.pid).values())
    assert ns_of(container.pid)["cgroup"] == ns_of("self")["cgroup"]


def test_every_namespace_of_a_deleted_container_is_gone(runtime: Runtime, make_bundle: MakeBundle) -> None:
    container = runtime.start(make_bundle(args=["sleep", "600"], **BARE, linux=linux(namespaces(*ALL))))
    made = {link for kind, link in ns_of(container.pid).items() if link != ns_of("self")[kind]}
    assert len(made) == len(NAMESPACE_FILES)
    container.stop()
    in_use = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            in_use |= set(ns_of(process.name).values())
        except OSError:
            continue
    assert not made & in_use
