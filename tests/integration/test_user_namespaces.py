"""User namespaces: id maps, and what belongs to whom, where root calls the runtime."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.support import PROC, Bundle, Runtime
from tests.integration.views import (
    SUBORDINATE,
    Inside,
    MakeBundle,
    base_mounts,
    fields,
    mapping,
    namespaces,
    ns_of,
    ns_path,
    user_namespace,
)

# ---- a new user namespace, made by root ------------------------------------------------------------------------------

RANGES = [
    [(0, SUBORDINATE, 65536)],
    [(0, SUBORDINATE, 1), (1, SUBORDINATE + 5000, 999), (1000, 0, 1)],
    [(0, 0, 4294967295)],
]


@pytest.mark.parametrize("ranges", RANGES)
def test_the_maps_are_as_configured(inside: Inside, ranges: list[tuple[int, int, int]]) -> None:
    section = user_namespace(uidMappings=mapping(*ranges), gidMappings=mapping(*ranges[::-1]))
    lines = inside("cat", "/proc/self/uid_map", "/proc/self/gid_map", linux=section).splitlines()
    assert sorted(tuple(map(int, line.split())) for line in lines) == sorted(ranges * 2)


def test_root_inside_is_an_ordinary_id_outside(runtime: Runtime, make_bundle: MakeBundle) -> None:
    container = runtime.start(make_bundle(args=["sleep", "600"], linux=user_namespace()))
    status = fields(container.proc("status"))
    assert status["Uid"].split() == status["Gid"].split() == [str(SUBORDINATE)] * 4
    assert status["Groups"] == ""
    assert ns_of(container.pid)["user"] != ns_of("self")["user"]


def test_a_user_inside_is_the_mapped_id_outside(runtime: Runtime, make_bundle: MakeBundle) -> None:
    account = {"uid": 1000, "gid": 100, "additionalGids": [5, 7]}
    container = runtime.start(make_bundle(args=["sleep", "600"], process={"user": account}, linux=user_namespace()))
    status = fields(container.proc("status"))
    assert status["Uid"].split()[0] == str(SUBORDINATE + 1000)
    assert status["Gid"].split()[0] == str(SUBORDINATE + 100)
    assert status["Groups"].split() == [str(SUBORDINATE + 5), str(SUBORDINATE + 7)]


def test_files_made_inside_belong_to_the_mapped_ids(runtime: Runtime, make_bundle: MakeBundle, scratch: Path) -> None:
    shared = scratch / "shared"
    shared.mkdir(mode=0o777)
    shared.chmod(0o777)
    mount = {"destination": "/shared", "type": "bind", "source": str(shared), "options": ["bind"]}
    bundle = make_bundle(
        args=["sh", "-c", "touch /shared/a; chown 12:34 /shared/a"], mounts=base_mounts(mount), linux=user_namespace()
    )
    bundle.rootfs.joinpath("shared").mkdir()
    runtime.run_container(bundle, check=True)
    made = (shared / "a").stat()
    assert (made.st_uid, made.st_gid) == (SUBORDINATE + 12, SUBORDINATE + 34)


def test_a_container_without_a_root_of_its_own_runs(runtime: Runtime, make_bundle: MakeBundle) -> None:
    only = mapping((1000, SUBORDINATE, 1))
    bundle = make_bundle(
        args=["id", "-u"],
        process={"user": {"uid": 1000, "gid": 1000}},
        hostname=None,
        mounts=[PROC],
        linux={
            "namespaces": namespaces("user", "mount", "pid"),
            "uidMappings": only,
            "gidMappings": only,
            "maskedPaths": None,
            "readonlyPaths": None,
        },
    )
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        bundle.add_file(f"/dev/{name}")
    for name, target in (("fd", "/proc/self/fd"), ("ptmx", "pts/ptmx")):
        (bundle.rootfs / "dev" / name).symlink_to(target)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        (bundle.rootfs / "dev" / name).symlink_to(f"/proc/self/fd/{number}")
    assert runtime.run_container(bundle, check=True).stdout == "1000\n"


def test_the_caller_reaches_what_the_container_s_root_may_not(
    runtime: Runtime, make_bundle: MakeBundle, scratch: Path
) -> None:
    """Engines keep bundles, and sources of bind mounts, below directories that nobody else may search."""
    private = scratch / "private"
    private.mkdir(mode=0o700)
    (private / "data").mkdir()
    (private / "data" / "file").write_text("reached\n")
    bundle = make_bundle(
        args=["cat", "/data/file"],
        mounts=base_mounts({"destination": "/data", "type": "bind", "source": f"{private}/data", "options": ["rbind"]}),
        linux=user_namespace(),
    )
    moved = Bundle(bundle.path.rename(private / "bundle"), bundle.config)
    moved.rootfs.joinpath("data").mkdir()
    assert runtime.run_container(moved, check=True).stdout == "reached\n"


def test_devices_work_although_nobody_inside_can_make_one(inside: Inside) -> None:
    script = "head -c4 /dev/zero | wc -c; echo x >/dev/null && echo ok; mknod /tmp/n c 1 3 2>&1"
    lines = inside("sh", "-c", script + "; true", linux=user_namespace()).splitlines()
    assert lines[:2] == ["4", "ok"]
    assert "Operation not permitted" in lines[2]


def test_a_device_of_the_host_by_the_right_name_but_another_number_is_not_given(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    """Nodes are bound from the host by their path; what was asked for is type and number."""
    for kind, minor in (("c", 3), ("b", 7)):
        device = {"path": "/dev/full", "type": kind, "major": 1, "minor": minor}
        bundle = make_bundle(linux={**user_namespace(), "devices": [device]})
        result = runtime.run("create", "--bundle", str(bundle.path), runtime.new_id(), check=False)
        assert "/linux/devices/0: make device /dev/full: there is a file that is not the device" in result.stderr


def test_all_capabilities_can_be_had_inside_and_none_count_outside(inside: Inside) -> None:
    everything = ["CAP_SYS_ADMIN", "CAP_SYS_RESOURCE", "CAP_MKNOD", "CAP_CHOWN"]
    sets = dict.fromkeys(("bounding", "effective", "permitted"), everything)
    script = (
        "grep CapEff /proc/self/status; mount -t tmpfs x /tmp && echo mounted; cat /proc/kcore >/dev/null || echo no"
    )
    lines = inside(
        "sh", "-c", script, process={"capabilities": sets}, linux=user_namespace(maskedPaths=None)
    ).splitlines()
    assert int(lines[0].split()[1], 16) == 1 << 21 | 1 << 24 | 1 << 27 | 1 << 0
    assert lines[1:] == ["mounted", "no"]


def test_a_joined_user_namespace_has_the_ids_of_its_first_container(runtime: Runtime, make_bundle: MakeBundle) -> None:
    first = runtime.start(make_bundle(args=["sleep", "600"], linux=user_namespace()))
    listed = [
        {"type": "user", "path": ns_path(first.pid, "user")},
        *namespaces("mount", "pid", "uts", "ipc", "network"),
    ]
    account = {"uid": 5, "gid": 6}
    second = runtime.start(make_bundle(args=["sleep", "600"], process={"user": account}, linux={"namespaces": listed}))
    status = fields(second.proc("status"))
    assert status["Uid"].split()[0] == str(SUBORDINATE + 5)
    assert status["Gid"].split()[0] == str(SUBORDINATE + 6)
    assert ns_of(second.pid)["user"] == ns_of(first.pid)["user"]


def test_locked_flags_of_a_bind_source_do_not_stop_the_mount(
    runtime: Runtime, make_bundle: MakeBundle, scratch: Path
) -> None:
    """What is nosuid and nodev outside stays so inside a user namespace; a read-only bind adds to it."""
    source = scratch / "locked"
    source.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,noexec", "locked", source], check=True)
    try:
        mount = {"destination": "/mnt", "type": "bind", "source": str(source), "options": ["bind", "ro"]}
        bundle = make_bundle(args=["grep", " /mnt ", "/proc/mounts"], mounts=base_mounts(mount), linux=user_namespace())
        bundle.rootfs.joinpath("mnt").mkdir()
        options = runtime.run_container(bundle, check=True).stdout.split()[3].split(",")
        assert {"ro", "nosuid", "nodev", "noexec"} <= set(options)
    finally:
        subprocess.run(["umount", source], check=True)


def test_pipes_of_the_caller_are_handed_to_the_mapped_user(runtime: Runtime, make_bundle: MakeBundle) -> None:
    ours, theirs = os.pipe()
    bundle = make_bundle(
        args=["sh", "-c", "echo again >/dev/stdout"], process={"user": {"uid": 7, "gid": 0}}, linux=user_namespace()
    )
    try:
        runtime.run_container(bundle, check=True, stdout=theirs)
        assert os.fstat(theirs).st_uid == SUBORDINATE + 7
        assert os.read(ours, 100) == b"again\n"
    finally:
        os.close(ours)
        os.close(theirs)


def test_the_hosts_sysfs_is_read_only_where_the_network_is_the_hosts(inside: Inside) -> None:
    section = user_namespace(namespaces=namespaces("mount", "pid", "ipc", "uts", "user"))
    seen = inside("grep", " /sys ", "/proc/mounts", linux=section).split()
    assert (seen[1], seen[2]) == ("/sys", "sysfs")
    assert "ro" in seen[3].split(",")
