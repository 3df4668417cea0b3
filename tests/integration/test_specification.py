"""Sentences of the specification that no other test shows: what create does and what it leaves to start, and hooks."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import CGROUP, Bundle, Runtime, needs_open_way, wait_for
from tests.integration.views import (
    HostView,
    Inside,
    MakeBundle,
    base_mounts,
    host_cgroups,
    namespaces,
    ns_of,
    user_namespace,
)

KINDS = ("pid", "mount", "ipc", "uts", "network", "cgroup")
PATH = ["PATH=/usr/bin:/bin"]


@pytest.fixture
def shared(make_bundle: MakeBundle, scratch: Path) -> Any:
    """shared(script, **delta): a bundle whose process is a script that has the host's directory SHARED at /shared."""
    directory = scratch / "shared"
    directory.mkdir(mode=0o777)

    def make(script: str, **delta: Any) -> tuple[Bundle, Path]:
        mount = {"destination": "/shared", "type": "bind", "source": str(directory), "options": ["bind"]}
        return make_bundle(args=["sh", "-c", script], mounts=base_mounts(mount), **delta), directory

    return make


def hook(script: str, path: str = "/bin/sh") -> dict[str, Any]:
    """An entry of hooks."""
    return {"path": path, "args": ["sh", "-c", script], "env": PATH}


# ---- runtime.md, "Lifecycle" and "Create" ----------------------------------------------------------------------------


def test_the_program_is_run_by_start_and_not_before(runtime: Runtime, shared: Any) -> None:
    bundle, directory = shared("echo ran >>/shared/mark; sleep 600")
    container = runtime.create(bundle)
    time.sleep(0.3)
    assert not (directory / "mark").exists()
    container.start()
    wait_for(lambda: (directory / "mark").exists() and (directory / "mark").read_text() == "ran\n", "the program")


def test_create_applies_all_but_the_process(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(
        args=["sleep", "600"],
        hostname="created",
        root={"readonly": True},
        linux={
            "devices": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3}],
            "sysctl": {"net.ipv4.ip_forward": "1"},
        },
    )
    container = runtime.create(bundle)
    assert container.status == "created"
    seen = {mount.target: mount for mount in container.mounts()}
    assert {mount["destination"] for mount in bundle.config["mounts"]} <= set(seen)
    assert "ro" in seen["/"].options
    assert Path(f"/proc/{container.pid}/root/dev/x").is_char_device()
    mine, host = ns_of(container.pid), ns_of("self")
    assert {kind for kind in mine if mine[kind] != host[kind]} == {"pid", "mount", "ipc", "uts", "network"}
    for kind, command, answer in (
        ("uts", ["hostname"], "created\n"),
        ("net", ["cat", "/proc/sys/net/ipv4/ip_forward"], "1\n"),
    ):
        words = ["nsenter", f"--{kind}=/proc/{container.pid}/ns/{kind}", "--", *command]
        assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == answer


def test_unknown_members_make_no_difference(inside: Inside) -> None:
    """config.md, "Extensibility"; unknown annotations too."""
    unknown = {"com.example": {"a": [None]}, "linux": {"mountains": 1}, "process": {"spirit": "x"}}
    assert inside("echo", "ran", annotations={"com.example.unknown": "x"}, **unknown) == "ran\n"


def test_a_size_is_of_no_interest_without_a_terminal(inside: Inside) -> None:
    process = {"terminal": False, "consoleSize": {"height": 31, "width": 97}}
    assert (
        inside("sh", "-c", "test -t 0 || echo none; test -e /dev/console || echo none", process=process)
        == "none\nnone\n"
    )


def test_a_relative_destination_is_below_the_root(runtime: Runtime, make_bundle: MakeBundle) -> None:
    mount = {"destination": "made/here", "type": "tmpfs", "source": "tmpfs"}
    container = runtime.start(make_bundle(args=["sleep", "600"], process={"cwd": "/tmp"}, mounts=base_mounts(mount)))
    assert "/made/here" in {mount.target for mount in container.mounts()}


# ---- config.md, "POSIX-platform Hooks" -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["prestart", "createRuntime"])
def test_runtime_hooks_come_when_the_namespaces_are_there_and_the_root_is_not_yet_changed(
    runtime: Runtime, make_bundle: MakeBundle, scratch: Path, kind: str
) -> None:
    script = (
        "pid=$(tr , '\\n' | sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p'); "
        f"{{ readlink /proc/$pid/ns/mnt /proc/$pid/ns/net; stat -Lc %d:%i /proc/$pid/root; }} >{scratch}/seen"
    )
    container = runtime.create(make_bundle(args=["sleep", "600"], hooks={kind: [hook(script)]}))
    mount, network, root = (scratch / "seen").read_text().split()
    found = ns_of(container.pid)
    assert (mount, network) == (found["mount"], found["network"])
    then, now = os.stat("/"), os.stat(f"/proc/{container.pid}/root")
    assert root == f"{then.st_dev}:{then.st_ino}"
    assert (now.st_dev, now.st_ino) != (then.st_dev, then.st_ino)


def test_start_container_hooks_run_before_the_program_in_start(runtime: Runtime, shared: Any) -> None:
    first = hook("echo hook >>/shared/order; sleep 0.2; echo done >>/shared/order")
    bundle, directory = shared("echo program >>/shared/order; sleep 600", hooks={"startContainer": [first]})
    container = runtime.create(bundle)
    assert not (directory / "order").exists()
    container.start()
    wait_for(lambda: (directory / "order").read_text().endswith("program\n"), "the program")
    assert (directory / "order").read_text().split() == ["hook", "done", "program"]


def test_poststop_hooks_come_when_the_container_is_gone_and_delete_waits_for_them(
    runtime: Runtime, make_bundle: MakeBundle, scratch: Path
) -> None:
    name = runtime.new_id()
    script = f"sleep 0.2; {{ find /sys/fs/cgroup -maxdepth 4 -type d -name {name}; echo end; }} >>{scratch}/seen"
    container = runtime.start(make_bundle(args=["sleep", "600"], hooks={"poststop": [hook(script)]}), container_id=name)
    assert any(path.endswith(name) for path in host_cgroups(container.pid).values())
    container.stop()
    assert (scratch / "seen").read_text() == "end\n"


# ---- config-linux.md -------------------------------------------------------------------------------------------------


def owners(path: Path) -> dict[str, tuple[int, int]]:
    """Whose each file below is."""
    return {str(entry): (entry.lstat().st_uid, entry.lstat().st_gid) for entry in [path, *path.rglob("*")]}


def test_a_user_namespace_changes_the_owner_of_no_file(
    runtime: Runtime, make_bundle: MakeBundle, scratch: Path
) -> None:
    volume = scratch / "volume"
    volume.mkdir()
    (volume / "file").touch()
    mount = {"destination": "/tmp", "type": "bind", "source": str(volume), "options": ["rbind"]}
    bundle = make_bundle(args=["true"], mounts=base_mounts(mount), linux=user_namespace())
    before = {**owners(bundle.rootfs), **owners(volume)}
    runtime.run_container(bundle, check=True)
    after = {**owners(bundle.rootfs), **owners(volume)}
    assert {path: after[path] for path in before} == before


def test_on_v1_the_cgroups_stay_the_runtimes(runtime: Runtime, make_bundle: MakeBundle, host_view: HostView) -> None:
    """Even where a writable mount, a cgroup namespace and a user namespace ask for it: delegation is not safe there."""
    if Path("/sys/fs/cgroup/cgroup.procs").exists():
        pytest.skip("needs a host with v1 hierarchies")
    if Path("/sys/fs/cgroup/unified").is_dir():
        host_view.run("umount", "/sys/fs/cgroup/unified")
    mount = {**CGROUP, "options": ["nosuid", "noexec", "nodev", "rw"]}
    linux = {**user_namespace(), "namespaces": namespaces(*KINDS, "user")}
    container = runtime.start(make_bundle(args=["sleep", "600"], mounts=base_mounts(mount), linux=linux))
    names = {name.removeprefix("name="): path for name, path in host_cgroups(container.pid).items() if name}
    v1 = [Path(f"/sys/fs/cgroup/{name}{path}") for name, path in names.items() if path.endswith(container.id)]
    assert v1
    assert {entry.stat().st_uid for path in v1 for entry in [path, *path.iterdir()]} == {0}


def test_the_same_cgroups_path_is_the_same_cgroup(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["sleep", "600"], linux={"cgroupsPath": f"/{runtime.prefix}-same/inner"})
    seen = []
    for _ in range(2):
        container = runtime.create(bundle)
        seen.append(host_cgroups(container.pid))
        container.delete("--force")
    assert seen[0] == seen[1]
    assert f"/{runtime.prefix}-same/inner" in seen[0].values()


def test_unified_writes_files_that_belong_to_no_controller(
    runtime: Runtime, make_bundle: MakeBundle, host_view: HostView
) -> None:
    """config-linux.md, "Unified": what the runtime knows nothing of is written all the same."""
    v2 = Path(host_view.show_v2())
    unified = {"cgroup.max.depth": "3", "cgroup.max.descendants": "7"}
    container = runtime.create(make_bundle(linux={"resources": {"unified": unified}}))
    path = v2 / host_cgroups(container.pid)[""].lstrip("/")
    assert path.name == container.id
    assert {name: (path / name).read_text().strip() for name in unified} == unified


# ---- features.md -----------------------------------------------------------------------------------------------------


def test_features_do_not_depend_on_the_host(runtime: Runtime, host_view: HostView, ocirt_bin: str) -> None:
    """Without cgroups, and for an ordinary user, they are what they are for root."""
    before = runtime.run("features", check=True).json()
    host_view.run("umount", "--recursive", "/sys/fs/cgroup")
    assert runtime.run("features", check=True).json() == before
    runtime.program = ocirt_bin  # nobody but root may enter the view
    needs_open_way(ocirt_bin)
    assert runtime.run("features", check=True, user=65534, group=65534, extra_groups=[]).json() == before
