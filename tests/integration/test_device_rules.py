"""Which devices a container may open: linux.resources.devices, by files of cgroup v1 and by a program of v2."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ocirt import cgroup
from tests.integration.support import Json, Runtime
from tests.integration.views import HostView, MakeBundle, base_mounts

DENY_ALL: Json = {"allow": False, "access": "rwm"}
ALLOW_ALL: Json = {"allow": True, "access": "rwm"}
# A device of every kernel that is no default one; opening it only for writing takes no capability.
KMSG: Json = {"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}
NUMBERS: Json = {"type": "c", "major": 1, "minor": 11}

Layout = Callable[[], None]


@pytest.fixture(params=["v1", "v2"])
def layout(request: pytest.FixtureRequest, host_view: HostView) -> str:
    """The tests run with the device rules of each cgroup version that the host has."""
    if request.param == "v2":
        host_view.show_v2()
    elif not any(h.controllers == "devices" for h in cgroup.hierarchies()):
        pytest.skip("needs the v1 hierarchy of the devices controller")
    return str(request.param)


@pytest.fixture
def tried(runtime: Runtime, make_bundle: MakeBundle, layout: str) -> Callable[..., str]:
    """tried(script, rules, **delta) → what the script said in a container with these rules and /dev/kmsg."""

    def run(script: str, rules: list[Json] | None, **delta: Any) -> str:
        linux = {"devices": [KMSG], **delta.pop("linux", {})}
        if rules is not None:
            linux["resources"] = {"devices": rules}
        bundle = make_bundle(args=["sh", "-c", f"exec 2>&1; {script}"], linux=linux, **delta)
        return runtime.run_container(bundle, check=True).stdout

    return run


WRITE = "(: >/dev/kmsg) && echo opened"
READ_ZERO = "head -c3 /dev/zero | wc -c"
DENIED = "Operation not permitted"

CASES = {
    "everything is denied": ([DENY_ALL], DENIED),
    "there are no rules": (None, DENIED),
    "the list is empty": ([], DENIED),
    "it is allowed again": ([DENY_ALL, {"allow": True, **NUMBERS, "access": "w"}], "opened"),
    "its major number is": ([DENY_ALL, {"allow": True, "type": "c", "major": 1, "access": "rw"}], "opened"),
    "the minor number is any, as -1": (
        [DENY_ALL, {"allow": True, "type": "c", "major": 1, "minor": -1, "access": "rwm"}],
        "opened",
    ),
    "only reading is allowed": ([DENY_ALL, {"allow": True, **NUMBERS, "access": "r"}], DENIED),
    "another is allowed": ([DENY_ALL, {"allow": True, "type": "c", "major": 1, "minor": 12, "access": "rwm"}], DENIED),
    "a block device is allowed": ([DENY_ALL, {"allow": True, **NUMBERS, "type": "b", "access": "rwm"}], DENIED),
    "everything is allowed": ([ALLOW_ALL], "opened"),
    "all others are allowed": ([ALLOW_ALL, {"allow": False, **NUMBERS, "access": "rwm"}], DENIED),
    "it is allowed and denied again": ([{"allow": True, **NUMBERS}, {"allow": False, **NUMBERS}], DENIED),
}


@pytest.mark.parametrize(("rules", "expected"), CASES.values(), ids=CASES)
def test_a_device_that_is_denied_cannot_be_opened_and_default_ones_can(
    tried: Callable[..., str], rules: list[Json] | None, expected: str
) -> None:
    said = tried(f"{WRITE}; {READ_ZERO}", rules)
    assert expected in said
    assert said.endswith("3\n")


def test_terminals_work_and_nodes_can_be_made_whatever_is_denied(tried: Callable[..., str]) -> None:
    script = f"exec 3<>/dev/ptmx && echo terminal; mknod /tmp/b b 7 7 && echo made; head -c1 /tmp/b; {READ_ZERO}"
    said = tried(script, [DENY_ALL])
    assert "terminal\nmade\n" in said
    assert DENIED in said


def test_a_process_that_is_executed_later_is_held_to_the_rules_by_its_cgroup(
    runtime: Runtime, make_bundle: MakeBundle, layout: str
) -> None:
    linux = {"devices": [KMSG], "resources": {"devices": [DENY_ALL]}}
    bundle = make_bundle(args=["sh", "-c", f"sh -c '{WRITE}'"], linux=linux)
    result = runtime.run_container(bundle)
    assert DENIED in result.stderr


def test_the_rules_are_set_in_a_cgroup_that_was_there_before(
    runtime: Runtime, make_bundle: MakeBundle, layout: str
) -> None:
    """Whatever rules it had: they are replaced."""
    mount = next(
        h.mount for h in cgroup.hierarchies() if h.version == int(layout[1]) and h.controllers in {"devices", ""}
    )
    before = f"/{runtime.prefix}-before"
    os.mkdir(mount + before)
    linux = {"devices": [KMSG], "cgroupsPath": before}
    bundle = make_bundle(args=["sh", "-c", WRITE], linux=linux)
    try:
        for rules, code in (([ALLOW_ALL], 0), ([DENY_ALL], 1)):
            bundle.config["linux"]["resources"] = {"devices": rules}
            assert runtime.run_container(bundle.write()).code == code
            if not os.path.exists(mount + before):
                os.mkdir(mount + before)
    finally:
        os.rmdir(mount + before)


def test_a_rule_that_v1_cannot_keep_is_refused_by_its_name(
    runtime: Runtime, make_bundle: MakeBundle, layout: str
) -> None:
    rules = [{"allow": True, "type": "c", "major": 1}, {"allow": False, **NUMBERS}]
    bundle = make_bundle(args=["sh", "-c", WRITE], linux={"devices": [KMSG], "resources": {"devices": rules}})
    result = runtime.run_container(bundle, check=False)
    assert ("/linux/resources/devices/1" if layout == "v1" else DENIED) in result.stderr


@pytest.fixture
def block_device(runtime: Runtime) -> Iterator[str]:
    """A block device of the host with an empty ext2 on it."""
    if not (shutil.which("mke2fs") and shutil.which("losetup")):
        pytest.skip("needs mke2fs and losetup")
    image = runtime.scratch / "image"
    image.write_bytes(bytes(1 << 20))
    subprocess.run(["mke2fs", "-q", image], check=True)
    done = subprocess.run(["losetup", "--find", "--show", image], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no loop device: {done.stderr.strip()}")
    yield done.stdout.strip()
    subprocess.run(["losetup", "--detach", done.stdout.strip()], check=True)


@pytest.mark.parametrize("hooked", [False, True], ids=["without hooks", "with hooks"])
def test_a_filesystem_can_be_mounted_from_a_device_that_the_container_may_not_open(
    tried: Callable[..., str], block_device: str, hooked: bool
) -> None:
    mount = {"destination": "/mnt", "type": "ext2", "source": block_device}
    major, minor = os.major(os.stat(block_device).st_rdev), os.minor(os.stat(block_device).st_rdev)
    script = f"ls /mnt; mknod /tmp/b b {major} {minor}; head -c1 /tmp/b || true"
    hooks = {"createRuntime": [{"path": "/bin/true"}]} if hooked else {}
    said = tried(script, [DENY_ALL], mounts=base_mounts(mount), hooks=hooks)
    assert said.startswith("lost+found\n")
    assert DENIED in said


def test_the_rules_are_all_there_before_the_process_enters_on_v1(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """Between the rule that denies all and those that allow, a terminal could not be opened."""
    if not Path("/sys/fs/cgroup/devices").is_dir() or not shutil.which("strace"):
        pytest.skip("needs the devices hierarchy of cgroup v1, and strace")
    container_id, log = runtime.new_id(), runtime.scratch / "trace"
    bundle = make_bundle(linux={"resources": {"devices": [{"allow": False, "access": "rwm"}]}})
    command = ["strace", "-o", log, "-e", "trace=openat", runtime.program, "--root", runtime.root, "create"]
    subprocess.run([*command, "--bundle", bundle.path, container_id], stdin=subprocess.DEVNULL, timeout=30, check=True)
    runtime.run("delete", "--force", container_id, check=True)
    files = re.findall(r'"/sys/fs/cgroup/devices/[^"]*/([^"/]+)"', log.read_text())
    assert "devices.allow" in files
    entered = [name for name in files if name in {"tasks", "cgroup.procs"}][-1]
    assert len(files) - 1 - files[::-1].index("devices.allow") < len(files) - 1 - files[::-1].index(entered)
