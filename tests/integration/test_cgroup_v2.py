"""Containers on cgroup v2 alone: born in their cgroup, and owning it where that is asked for.

On a host with v1 hierarchies too, the runtime is called in a mount namespace that does not show them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.support import CGROUP, Container, Json, Runtime, wait_for
from tests.integration.views import (
    SUBORDINATE,
    HostView,
    MakeBundle,
    base_mounts,
    host_cgroups,
    namespaces,
    user_namespace,
)

WRITABLE: Json = {**CGROUP, "options": ["nosuid", "noexec", "nodev", "relatime"]}
KINDS = ("pid", "mount", "ipc", "uts", "network", "cgroup")


@pytest.fixture
def v2(host_view: HostView) -> Path:
    """Where the v2 hierarchy is mounted as the test sees it; to the runtime it is the only one."""
    return Path(host_view.show_v2())


def home(v2: Path, container: Container) -> Path:
    return v2 / host_cgroups(container.pid)[""].lstrip("/")


@pytest.mark.parametrize("linux", [{}, user_namespace()], ids=["no user namespace", "user namespace"])
def test_the_process_is_in_its_cgroup_and_goes_with_it(
    v2: Path, runtime: Runtime, make_bundle: MakeBundle, linux: Json
) -> None:
    container = runtime.start(make_bundle(args=["sleep", "600"], linux=linux))
    path = home(v2, container)
    assert path.name == container.id
    assert (path / "cgroup.procs").read_text() == f"{container.pid}\n"
    container.stop()
    assert not path.exists()


def test_the_process_is_born_in_its_cgroup(v2: Path, runtime: Runtime, make_bundle: MakeBundle) -> None:
    """No write to cgroup.procs: clone3(2) takes the cgroup."""
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    log = runtime.scratch / "trace"
    bundle = make_bundle(args=["true"])
    runtime.program, program = str(runtime.scratch / "traced"), runtime.program
    Path(runtime.program).write_text(f'#!/bin/sh\nexec strace -f -qq -e trace=clone3,openat -o {log} {program} "$@"\n')
    Path(runtime.program).chmod(0o755)
    try:
        runtime.run_container(bundle, check=True)
    finally:
        runtime.program = program
    text = log.read_text()
    assert "CLONE_INTO_CGROUP" in text
    assert not [
        line for line in text.splitlines() if runtime.prefix in line and "cgroup.procs" in line and "O_WRONLY" in line
    ]


def test_a_process_of_no_new_namespace_that_is_made_with_it_is_moved(
    v2: Path, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    bundle = make_bundle(args=["/bin/sleep", "600"])
    bundle.config["linux"] = {}
    bundle.config["mounts"] = []
    bundle.config.pop("hostname")
    bundle.config["process"]["noNewPrivileges"] = False
    container = runtime.start(bundle.write())
    assert home(v2, container).name == container.id


def test_a_container_that_fails_leaves_no_cgroup(v2: Path, runtime: Runtime, make_bundle: MakeBundle) -> None:
    result = runtime.run_container(make_bundle(args=["/nowhere"]), check=False)
    assert "/nowhere" in result.stderr
    assert not list(v2.glob(f"ocirt/{runtime.prefix}*"))


def test_a_cgroup_that_hands_controllers_down_takes_no_process_and_the_error_says_so(
    v2: Path, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    names = (v2 / "cgroup.controllers").read_text().split()
    domain = set(names) & {"memory", "io", "hugetlb", "misc", "rdma"}
    if not domain:
        pytest.skip("every controller of v2 here can be used with threads")
    name, path = min(domain), v2 / f"{runtime.prefix}-full"
    enabled = name in (v2 / "cgroup.subtree_control").read_text().split()
    (v2 / "cgroup.subtree_control").write_text(f"+{name}")
    path.mkdir()
    try:
        (path / "cgroup.subtree_control").write_text(f"+{name}")
        result = runtime.run_container(make_bundle(linux={"cgroupsPath": f"/{path.name}"}), check=False)
        assert "the container's cgroup hands controllers down to those below it" in result.stderr
        assert path.is_dir(), "it was there before"
    finally:
        path.rmdir()
        if not enabled:
            (v2 / "cgroup.subtree_control").write_text(f"-{name}")


def test_a_threaded_cgroup_is_refused(v2: Path, runtime: Runtime, make_bundle: MakeBundle) -> None:
    path = v2 / f"{runtime.prefix}-threads"
    path.mkdir()
    try:
        (path / "t").mkdir()
        (path / "t" / "cgroup.type").write_text("threaded")
        result = runtime.run_container(make_bundle(linux={"cgroupsPath": f"/{path.name}/t"}), check=False)
        assert '"threaded": as a part of a threaded cgroup it can hold threads alone' in result.stderr
    finally:
        (path / "t").rmdir()
        path.rmdir()


# -- ownership ---------------------------------------------------------------------------------------------------------


def owners(path: Path) -> dict[str, int]:
    names = ["", *Path("/sys/kernel/cgroup/delegate").read_text().split()]
    return {name: (path / name).stat().st_uid for name in names if (path / name).exists()}


@pytest.mark.parametrize(
    ("uid", "linux", "owner"),
    [
        (0, user_namespace(), SUBORDINATE),
        (1000, user_namespace(), SUBORDINATE + 1000),
        (1000, {}, 1000),
        (0, {}, 0),
    ],
    ids=["root of a user namespace", "a user of it", "a user of the host's", "root"],
)
def test_with_a_writable_mount_and_a_cgroup_namespace_the_processs_user_owns_the_cgroup(
    v2: Path, runtime: Runtime, make_bundle: MakeBundle, uid: int, linux: Json, owner: int
) -> None:
    """config-linux.md "Cgroup ownership": the directory and what the kernel lists, and no more."""
    kinds = (*KINDS, "user") if "uidMappings" in linux else KINDS
    script = "mkdir /sys/fs/cgroup/sub && echo 0 >/sys/fs/cgroup/sub/cgroup.procs && echo moved; exec sleep 600"
    bundle = make_bundle(
        args=["sh", "-c", script],
        mounts=base_mounts(WRITABLE),
        linux={**linux, "namespaces": namespaces(*kinds)},
        process={"user": {"uid": uid, "gid": uid}},
    )
    container = runtime.start(bundle)
    wait_for(lambda: container.stdout or container.stderr, "the script")
    assert (container.stdout, container.stderr) == ("moved\n", "")
    path = home(v2, container).parent
    assert path.name == container.id
    assert set(owners(path).values()) == {owner}
    others = [entry for entry in os.scandir(path) if not entry.is_dir() and entry.name not in owners(path)]
    assert {entry.stat().st_uid for entry in others} == {0}


OTHERWISE = {
    "read-only": ([*KINDS, "user"], CGROUP),
    "elsewhere": ([*KINDS, "user"], {**WRITABLE, "destination": "/tmp"}),
    "no cgroup namespace": ([*KINDS[:-1], "user"], WRITABLE),
}


@pytest.mark.parametrize(("kinds", "mount"), OTHERWISE.values(), ids=OTHERWISE)
def test_otherwise_the_cgroup_stays_the_runtimes(
    v2: Path, runtime: Runtime, make_bundle: MakeBundle, kinds: list[str], mount: Json
) -> None:
    linux = {**user_namespace(), "namespaces": namespaces(*kinds)}
    container = runtime.start(make_bundle(args=["sleep", "600"], mounts=base_mounts(mount), linux=linux))
    assert set(owners(home(v2, container)).values()) == {0}


def test_a_signal_while_the_device_program_is_verified_makes_no_difference(
    runtime: Runtime, make_bundle: MakeBundle, host_view: HostView, tmp_path: Path
) -> None:
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    host_view.show_v2()
    log, bundle, name = tmp_path / "strace", make_bundle(args=["true"]), runtime.new_id()
    inject = ["-e", "trace=bpf", "-e", "inject=bpf:error=EAGAIN:when=1..3"]
    strace = [*host_view.prefix, "strace", "-o", str(log), *inject, runtime.program, "--root", str(runtime.root)]
    command = [*strace, "--kept", "off", "run", "--bundle", str(bundle.path), name]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert log.read_text().count("(INJECTED)") == 3
