"""Idmapped mounts: whose files are, as seen from inside the container, and on the host when they are made inside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import Json, Runtime
from tests.integration.views import MAPPED, SUBORDINATE, HostView, Inside, MakeBundle, base_mounts, user_namespace

ZERO_TO_1000 = [{"containerID": 0, "hostID": 1000, "size": 100}]
SEVEN = [{"containerID": 0, "hostID": 7, "size": 100}]
STAT = ["stat", "-c", "%u:%g", "/root", "/root/file", "/root/below"]


@pytest.fixture
def source(scratch: Path) -> Path:
    """A directory of the host's root, with a file of user 3, group 4."""
    path = scratch / "source"
    (path / "below").mkdir(parents=True)
    (path / "file").touch()
    os.chown(path / "file", 3, 4)
    return path


def bind(source: Path, *options: str, **mappings: Any) -> list[Json]:
    entry = {"destination": "/root", "type": "bind", "source": str(source), "options": list(options)}
    return base_mounts({**entry, **mappings})


@pytest.mark.parametrize("options", [["bind"], ["rbind"], ["bind", "idmap"], ["rbind", "ridmap"]], ids=" ".join)
def test_files_belong_to_the_mapped_ids(inside: Inside, source: Path, options: list[str]) -> None:
    mounts = bind(source, *options, uidMappings=ZERO_TO_1000, gidMappings=SEVEN)
    assert inside(*STAT, mounts=mounts).split() == ["1000:7", "1003:11", "1000:7"]


def test_an_option_may_have_the_mappings_as_crun_writes_them(inside: Inside, source: Path) -> None:
    absolute = bind(source, "bind", "idmap=uids=0-1000-3#3-1003-1;gids=0-7-100")
    assert inside(*STAT, mounts=absolute).split() == ["1000:7", "1003:11", "1000:7"]
    relative = bind(source, "bind", "idmap=uids=@0-20-10;gids=@0-0-10")
    assert inside(*STAT, mounts=relative, linux=user_namespace()).split() == ["20:0", "23:4", "20:0"]


def test_what_is_made_inside_belongs_to_the_unmapped_ids_on_the_host(inside: Inside, source: Path) -> None:
    mounts = bind(source, "rbind", uidMappings=ZERO_TO_1000, gidMappings=SEVEN)
    user = {"user": {"uid": 1005, "gid": 10}}
    source.chmod(0o777)
    inside("touch", "/root/made", mounts=mounts, process=user)
    made = (source / "made").stat()
    assert (made.st_uid, made.st_gid) == (5, 3)


def test_attributes_hold_for_an_idmapped_mount_too(runtime: Runtime, make_bundle: MakeBundle, source: Path) -> None:
    mounts = bind(source, "bind", "ro", "noexec", uidMappings=ZERO_TO_1000, gidMappings=SEVEN)
    container = runtime.start(make_bundle(args=["sleep", "600"], mounts=mounts))
    (found,) = [mount for mount in container.mounts() if mount.target == "/root"]
    assert {"ro", "noexec", "idmapped"} <= found.options


def test_a_user_namespaces_root_owns_what_is_roots(inside: Inside, source: Path) -> None:
    mounts = bind(source, "rbind", "idmap")
    assert inside(*STAT, mounts=mounts, linux=user_namespace()).split() == ["0:0", "3:4", "0:0"]


def test_a_mounts_own_mappings_hold_in_a_user_namespace(inside: Inside, source: Path) -> None:
    """As engines write it: the ids of the host that the container's are."""
    shifted = [{"containerID": 0, "hostID": SUBORDINATE + 20, "size": 100}]
    mounts = bind(source, "rbind", uidMappings=MAPPED["uidMappings"], gidMappings=shifted)
    assert inside(*STAT, mounts=mounts, linux=user_namespace()).split() == ["0:20", "3:24", "0:20"]


def test_a_joined_user_namespaces_mappings_are_taken(
    runtime: Runtime, make_bundle: MakeBundle, inside: Inside, source: Path
) -> None:
    other = runtime.start(make_bundle(args=["sleep", "600"], linux=user_namespace()))
    kinds = ("pid", "mount", "ipc", "uts", "network")
    users = {"type": "user", "path": f"/proc/{other.pid}/ns/user"}
    joined = {"namespaces": [*({"type": kind} for kind in kinds), users]}
    mounts = bind(source, "rbind", "idmap")
    assert inside(*STAT, mounts=mounts, linux=joined).split() == ["0:0", "3:4", "0:0"]


@pytest.mark.parametrize(("option", "below"), [("idmap", "0:0"), ("ridmap", "1000:7")])
def test_ridmap_alone_maps_what_is_mounted_below(
    runtime: Runtime, host_view: HostView, make_bundle: MakeBundle, source: Path, option: str, below: str
) -> None:
    host_view.run("mount", "-t", "tmpfs", "tmpfs", str(source / "below"))
    mounts = bind(source, "rbind", option, uidMappings=ZERO_TO_1000, gidMappings=SEVEN)
    result = runtime.run_container(make_bundle(args=STAT, mounts=mounts), check=None)
    if "cannot be idmapped" in result.stderr:
        pytest.skip("this kernel cannot idmap a tmpfs (Linux 6.3)")
    assert result.stdout.split() == ["1000:7", "1003:11", below], result.stderr


def test_many_mounts_with_the_same_mappings_leave_nothing_behind(inside: Inside, source: Path) -> None:
    entries = [
        {"destination": f"/mnt{n}", "source": str(source), "options": ["bind"], "type": "bind"} for n in range(40)
    ]
    mappings = {"uidMappings": ZERO_TO_1000, "gidMappings": SEVEN}
    mounts = base_mounts(*({**entry, **mappings} for entry in entries))
    assert inside("stat", "-c", "%u:%g", "/mnt0", "/mnt39/file", mounts=mounts).split() == ["1000:7", "1003:11"]


def test_a_filesystem_that_cannot_be_idmapped_below_is_an_error_too(
    runtime: Runtime, host_view: HostView, make_bundle: MakeBundle, source: Path
) -> None:
    host_view.run("mount", "-t", "proc", "proc", str(source / "below"))
    mounts = bind(source, "rbind", "ridmap", uidMappings=ZERO_TO_1000, gidMappings=SEVEN)
    result = runtime.run_container(make_bundle(args=STAT, mounts=mounts), check=False)
    assert f'config.json: /mounts/6: "{source}" cannot be idmapped: its filesystem, or one' in result.stderr


def test_a_source_that_is_not_there_is_an_error_that_names_it(
    runtime: Runtime, make_bundle: MakeBundle, source: Path
) -> None:
    mounts = bind(source / "no", "bind", uidMappings=ZERO_TO_1000, gidMappings=SEVEN)
    result = runtime.run_container(make_bundle(mounts=mounts), check=False)
    assert f'config.json: /mounts/6/source: open_tree "{source}/no": no such file or directory' in result.stderr
