"""Devices and the links of /dev."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests.integration.support import Runtime
from tests.integration.views import Inside, MakeBundle, base_mounts, user_namespace, with_capabilities

# config-linux.md "Default Devices"; numbers of the kernel's admin-guide/devices.txt
DEFAULTS = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
STAT = "%F %a %u:%g %t:%T"


@pytest.mark.parametrize(("name", "numbers"), DEFAULTS.items(), ids=DEFAULTS)
def test_a_default_device_is_there_for_everybody(inside: Inside, name: str, numbers: tuple[int, int]) -> None:
    major, minor = numbers
    assert inside("stat", "-c", STAT, f"/dev/{name}") == f"character special file 666 0:0 {major:x}:{minor:x}\n"


LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}


def test_the_links_of_dev_are_as_specified(inside: Inside) -> None:
    script = "cd /dev; for name in " + " ".join(LINKS) + "; do readlink $name; done"
    assert inside("sh", "-c", script).split() == list(LINKS.values())


def test_the_default_devices_do_what_they_are_for(inside: Inside) -> None:
    script = """
        echo gone >/dev/null && wc -c </dev/null; head -c5 /dev/zero | wc -c; head -c6 /dev/urandom | wc -c
        echo x 2>/dev/null >/dev/full || echo full; echo via | cat /dev/stdin; ls /dev/fd/0
    """
    assert inside("sh", "-c", script).split() == ["0", "5", "6", "full", "via", "/dev/fd/0"]


def test_ptmx_gives_terminals_of_the_containers_own_devpts(inside: Inside) -> None:
    assert inside("sh", "-c", "exec 3<>/dev/ptmx; ls /dev/pts").split() == ["0", "ptmx"]


@pytest.fixture
def device(inside: Inside) -> Any:
    """A function: what stat says of one configured device."""

    def look(**entry: Any) -> str:
        return inside("stat", "-c", STAT, entry["path"], linux={"devices": [entry]}).strip()

    return look


CONFIGURED = {
    "character": ({"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}, "character special file 666 0:0 a:e5"),
    "unbuffered": ({"path": "/dev/u", "type": "u", "major": 10, "minor": 200}, "character special file 666 0:0 a:c8"),
    "block": ({"path": "/dev/b", "type": "b", "major": 7, "minor": 300}, "block special file 666 0:0 7:12c"),
    "fifo": ({"path": "/dev/p", "type": "p"}, "fifo 666 0:0 0:0"),
    "mode": (
        {"path": "/dev/m", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640},
        "character special file 640 0:0 1:3",
    ),
    "mode with the type in it": (
        {"path": "/dev/m", "type": "c", "major": 1, "minor": 3, "fileMode": 0o020600},
        "character special file 600 0:0 1:3",
    ),
    "owner": (
        {"path": "/dev/o", "type": "c", "major": 1, "minor": 3, "uid": 5, "gid": 6},
        "character special file 666 5:6 1:3",
    ),
    "no mode at all": (
        {"path": "/dev/n", "type": "c", "major": 1, "minor": 3, "fileMode": 0},
        "character special file 0 0:0 1:3",
    ),
    "below a directory to be made": (
        {"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200},
        "character special file 666 0:0 a:c8",
    ),
    "outside of /dev": (
        {"path": "/srv/node", "type": "c", "major": 1, "minor": 5},
        "character special file 666 0:0 1:5",
    ),
    "in place of a default one": (
        {"path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o400, "uid": 3},
        "character special file 400 3:0 1:5",
    ),
    "with large numbers": (
        {"path": "/dev/l", "type": "c", "major": 4095, "minor": 1048575},
        "character special file 666 0:0 fff:fffff",
    ),
}


@pytest.mark.parametrize(("entry", "expected"), CONFIGURED.values(), ids=CONFIGURED)
def test_a_configured_device_is_made(device: Any, entry: dict[str, Any], expected: str) -> None:
    assert device(**entry) == expected


def test_the_callers_umask_takes_nothing_off_a_device(runtime: Runtime, make_bundle: MakeBundle) -> None:
    entry = {"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 0o662}
    bundle = make_bundle(args=["stat", "-c", "%a", "/dev/x", "/dev/null"], linux={"devices": [entry]})
    assert runtime.run_container(bundle, check=True, umask=0o777).stdout.split() == ["662", "666"]


def test_a_node_of_the_image_with_the_same_numbers_is_kept(runtime: Runtime, make_bundle: MakeBundle) -> None:
    entry = {"path": "/node", "type": "c", "major": 1, "minor": 3}
    bundle = make_bundle(args=["stat", "-c", STAT, "/node"], linux={"devices": [entry]})
    subprocess.run(["mknod", "-m", "600", bundle.rootfs / "node", "c", "1", "3"], check=True)
    assert runtime.run_container(bundle, check=True).stdout == "character special file 600 0:0 1:3\n"


def test_a_node_of_the_image_with_other_numbers_is_refused(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(linux={"devices": [{"path": "/node", "type": "c", "major": 1, "minor": 3}]})
    subprocess.run(["mknod", bundle.rootfs / "node", "c", "1", "5"], check=True)
    result = runtime.run_container(bundle, check=False)
    assert "/linux/devices/0" in result.stderr
    assert "/node" in result.stderr


def test_nothing_is_made_in_a_dev_that_is_the_hosts(runtime: Runtime, make_bundle: MakeBundle) -> None:
    shared = runtime.scratch / "dev"
    shared.mkdir()
    subprocess.run(["mknod", "-m", "666", shared / "null", "c", "1", "3"], check=True)
    bind = {"destination": "/dev", "type": "bind", "source": str(shared), "options": ["rbind"]}
    mounts = [bind, *[mount for mount in base_mounts() if not mount["destination"].startswith("/dev")]]
    runtime.run_container(make_bundle(args=["ls", "/dev"], mounts=mounts), check=True)
    assert [path.name for path in shared.iterdir()] == ["null"]


def test_in_a_user_namespace_a_device_is_the_hosts_own(inside: Inside) -> None:
    entry = {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}
    seen = inside(
        "sh",
        "-c",
        "stat -c '%F %t:%T' /dev/fuse; grep -c ' /dev/fuse ' /proc/mounts",
        linux=user_namespace(devices=[entry]),
    )
    assert seen.splitlines() == ["character special file a:e5", "1"]


def test_a_process_with_the_right_to_can_make_nodes(inside: Inside) -> None:
    script = "mknod /tmp/null c 1 3 && echo x >/tmp/null && stat -c %t:%T /tmp/null"
    assert inside("sh", "-c", script, process=with_capabilities("CAP_MKNOD")) == "1:3\n"
