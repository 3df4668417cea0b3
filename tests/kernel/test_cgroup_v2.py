"""What only the kernel's v2 hierarchy has, against the one that is mounted: controllers, threads, device programs."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocirt import cgroup
from ocirt.cgroup import access, devices, v2
from ocirt.errors import ContainerError, SystemCallError, UnsupportedError
from ocirt.linux import calls
from ocirt.plan import host_ops
from tests import cgroups

V2 = [h for h in cgroup.hierarchies() if h.version == 2 and os.access(h.mount, os.W_OK)]

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not V2, reason="no writable v2 hierarchy"),
]

COUNTER = itertools.count()
NOTHING = devices.program(False, [])
EVERYTHING = devices.program(True, [])


@pytest.fixture
def box() -> Iterator[Path]:
    """An empty cgroup below the hierarchy's root; at the end it is gone, and the root hands down what it did before."""
    root = Path(V2[0].mount)
    enabled = set((root / "cgroup.subtree_control").read_text().split())
    path = root / f"ocirt-v2-{os.getpid()}-{next(COUNTER)}"
    path.mkdir()
    yield path
    cgroup.kill([str(path)])
    cgroup.remove([str(path)])
    for name in set((root / "cgroup.subtree_control").read_text().split()) - enabled:
        (root / "cgroup.subtree_control").write_text(f"-{name}")


def controllers(path: Path) -> set[str]:
    return set((path / "cgroup.controllers").read_text().split())


@pytest.fixture
def available() -> set[str]:
    """The controllers of the hierarchy's root."""
    found = controllers(Path(V2[0].mount))
    if not found:
        pytest.skip("this host has every controller on cgroup v1")
    return found


@pytest.fixture
def sleeper(box: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in the box itself."""
    process = subprocess.Popen(["sleep", "60"])
    (box / "cgroup.procs").write_text(str(process.pid))
    yield process
    process.kill()
    process.wait()


def opens(path: Path, device: str = "/dev/null") -> bool:
    """Whether a process in the cgroup can open the device."""
    script = f"echo 0 >{path}/cgroup.procs && exec 3<{device}"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "ermi" in done.stderr, done.stderr
    return done.returncode == 0


def attached(path: Path) -> list[int]:
    with calls.Fd(os.open(path, os.O_RDONLY)) as fd:
        return calls.device_programs(fd)


# -- controllers -------------------------------------------------------------------------------------------------------


def test_every_controller_is_handed_down_to_the_container(box: Path, available: set[str]) -> None:
    path = box / "a" / "b"
    path.mkdir(parents=True)
    cgroups.perform([host_ops.hand_down("", V2[0].mount, str(path))])
    assert controllers(path) == available
    assert not (path / "cgroup.subtree_control").read_text().split(), "what is below the container is its own matter"


def test_a_parent_with_processes_hands_nothing_down_and_says_so(
    box: Path, available: set[str], sleeper: subprocess.Popen[bytes]
) -> None:
    path = box / "c"
    path.mkdir()
    cgroups.perform([host_ops.hand_down("", V2[0].mount, str(path))])
    assert controllers(path) == set()
    for name in available:
        words = v2.why_lacking(str(path), name)
        assert words == f'"{box}" may not hand it down while it holds processes itself'
    assert (path / "cgroup.type").read_text() == "domain\n", "the container's process can be in it"


def test_a_limit_without_its_controller_is_refused_with_the_reason(
    box: Path, available: set[str], sleeper: subprocess.Popen[bytes]
) -> None:
    path = box / "c"
    path.mkdir()
    for name in available:
        with pytest.raises(UnsupportedError, match=rf"unified/{name}\.max: needs.* while it holds processes itself"):
            cgroups.apply([str(path)], V2, {"unified": {f"{name}.max": "1"}})
    if "memory" in available:
        with pytest.raises(UnsupportedError, match=r"/linux/resources/memory/limit.* while it holds processes itself"):
            cgroups.apply([str(path)], V2, {"memory": {"limit": 1 << 30}})


def test_a_controller_that_the_host_has_not_on_v2_is_told_apart(box: Path) -> None:
    assert "the kernel lacks it or it is in use by cgroup v1" in v2.why_lacking(str(box), "perpetuum")


# -- threads -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def threaded(box: Path) -> Path:
    """A threaded cgroup in the box."""
    path = box / "threaded"
    path.mkdir()
    (path / "cgroup.type").write_text("threaded")
    return path


def test_a_threaded_cgroup_is_refused_for_a_container(threaded: Path) -> None:
    with pytest.raises(ContainerError, match='"threaded": as a part of a threaded cgroup it can hold threads alone'):
        cgroups.create([str(threaded)])
    assert threaded.is_dir(), "it was there before"


@pytest.mark.parametrize("where", ["threaded/c", "beside"])
def test_a_cgroup_inside_a_threaded_one_is_refused_and_not_left_behind(box: Path, threaded: Path, where: str) -> None:
    with pytest.raises(ContainerError, match="domain invalid"):
        cgroups.create([str(box / where)])
    assert not (box / where).exists()


def test_the_domain_of_threaded_cgroups_can_be_a_containers(box: Path, threaded: Path) -> None:
    assert (box / "cgroup.type").read_text() == "domain threaded\n"
    cgroups.create([str(box)])


def replace_program(box: Path, code: bytes) -> None:
    cgroups.perform([host_ops.device_program("/linux/resources/devices", str(box), code, 1)])


# -- device programs ---------------------------------------------------------------------------------------------------


def test_a_program_decides_about_the_devices_of_its_cgroup_and_those_below(box: Path) -> None:
    (box / "below").mkdir()
    replace_program(box, NOTHING)
    assert not opens(box)
    assert not opens(box / "below")


def test_a_program_takes_the_place_of_the_one_before(box: Path) -> None:
    replace_program(box, NOTHING)
    before = attached(box)
    replace_program(box, EVERYTHING)
    assert len(attached(box)) == 1
    assert attached(box) != before
    assert opens(box)


def test_a_program_takes_the_place_of_several(box: Path) -> None:
    with calls.Fd(os.open(box, os.O_RDONLY)) as fd:
        for code in (NOTHING, EVERYTHING, NOTHING):
            with calls.load_device_program(code) as program:
                calls.attach_device_program(fd, program, None)
    assert len(attached(box)) == 3
    replace_program(box, EVERYTHING)
    assert len(attached(box)) == 1
    assert opens(box)


def test_a_long_list_of_rules_makes_a_program_that_the_kernel_takes(box: Path) -> None:
    rules = [
        {"allow": bool(n % 2), "type": "cb"[n % 2], "major": n % 5, "minor": n, "access": "rw"} for n in range(400)
    ]
    replace_program(box, devices.program(*devices.rules(rules)))
    assert opens(box)
    assert not opens(box, "/dev/kmsg")


def test_a_program_that_the_kernel_refuses_is_an_error_and_changes_nothing(box: Path) -> None:
    replace_program(box, NOTHING)
    before = attached(box)
    with pytest.raises(UnsupportedError, match="lacks eBPF programs for devices"):
        replace_program(box, EVERYTHING[:8])
    assert attached(box) == before


def test_without_privileges_devices_stay_as_they_are(box: Path) -> None:
    """In a user namespace, as rootless: the rules are passed over, for no node of the host's can be made there."""
    code = (
        "import sys; from ocirt.cgroup import Hierarchy; from tests import cgroups; "
        "cgroups.restrict_devices([sys.argv[1]], [Hierarchy('', sys.argv[2], '/', 2)], [{'allow': False}]); "
        "print('passed over')"
    )
    project = str(Path(access.__file__).parents[2])
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", code, str(box), V2[0].mount]
    environment = {"PYTHONPATH": ":".join([project, *sys.path])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if "unshare failed" in done.stderr:
        pytest.skip("this host forbids user namespaces")
    assert (done.stdout, done.stderr) == ("passed over\n", "")
    assert attached(box) == []


def test_programs_that_others_change_all_the_time_are_an_error_in_the_end(box: Path) -> None:
    with pytest.raises(SystemCallError, match="others change all the time"):
        access.program_refused(str(box), 1, errno.EBUSY)
