"""Five questions that users of containers ask, each answered by two containers side by side on one machine."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from tests.integration.support import Container, Runtime, wait_for
from tests.integration.views import MakeBundle, namespaces, user_namespace

KINDS = ("pid", "mount", "ipc", "uts", "network")
FIRST, SECOND = 700_000, 800_000


@pytest.fixture
def two(runtime: Runtime, make_bundle: MakeBundle) -> tuple[Container, Container]:
    """Two containers that sleep, made from one image."""
    first, second = (runtime.start(make_bundle(args=["sleep", "600"], hostname=name)) for name in ("one", "two"))
    return first, second


def test_do_they_have_file_systems_that_do_not_touch(two: tuple[Container, Container]) -> None:
    first, second = two
    first.exec("sh", "-c", "echo mine >/etc/passwd; rm /bin/vi; mkdir /made; echo x >/dev/shm/made")
    assert first.exec("cat", "/etc/passwd").stdout == "mine\n"
    assert second.exec("cat", "/etc/passwd").stdout.startswith("root:")
    assert second.exec("ls", "/bin/vi").stdout == "/bin/vi\n"
    assert second.exec("ls", "/made", check=False).code != 0
    assert second.exec("ls", "/dev/shm").stdout == ""


def test_a_mount_in_one_is_not_seen_in_the_other(runtime: Runtime, make_bundle: MakeBundle) -> None:
    capabilities = {key: ["CAP_SYS_ADMIN"] for key in ("bounding", "effective", "permitted")}
    bundle = make_bundle(args=["sleep", "600"], process={"capabilities": capabilities})
    first, second = runtime.start(bundle), runtime.start(bundle)  # even of one rootfs
    first.exec("mount", "-t", "tmpfs", "mine", "/tmp")
    assert " /tmp " in first.exec("cat", "/proc/mounts").stdout
    assert " /tmp " not in second.exec("cat", "/proc/mounts").stdout


def test_can_processes_of_one_reach_those_of_the_other(two: tuple[Container, Container]) -> None:
    first, second = two
    assert first.exec("ps", "-o", "pid,args").stdout.count("sleep 600") == 1
    assert second.exec("kill", "-9", str(first.pid), check=False).code != 0
    assert first.status == "running"
    assert first.exec("ls", f"/proc/{second.pid}", check=False).code != 0


@pytest.mark.skipif(not shutil.which("ipcmk"), reason="needs ipcmk of util-linux")
def test_can_ipc_of_one_reach_the_other(two: tuple[Container, Container]) -> None:
    first, second = two
    subprocess.run(["nsenter", f"--target={first.pid}", "--ipc", "ipcmk", "--shmem", "4321"], check=True)
    assert "4321" in first.exec("cat", "/proc/sysvipc/shm").stdout
    assert "4321" not in second.exec("cat", "/proc/sysvipc/shm").stdout
    first.exec("touch", "/dev/mqueue/queue")
    assert first.exec("ls", "/dev/mqueue").stdout == "queue\n"
    assert second.exec("ls", "/dev/mqueue").stdout == ""


def test_do_they_get_their_own_addresses_and_ports(runtime: Runtime, make_bundle: MakeBundle) -> None:
    script = "mkdir /www; hostname >/www/page; exec httpd -f -p 80 -h /www"
    first, second = (runtime.start(make_bundle(args=["sh", "-c", script], hostname=name)) for name in ("one", "two"))
    pair = ["ip", "link", "add", "net0", "netns", str(first.pid), "type", "veth", "peer", "net0", "netns"]
    subprocess.run([*pair, str(second.pid)], check=True)
    for container, address in ((first, "10.77.0.1/24"), (second, "10.77.0.2/24")):
        enter = ["nsenter", f"--target={container.pid}", "--net", "ip"]
        subprocess.run([*enter, "address", "add", address, "dev", "net0"], check=True)
        subprocess.run([*enter, "link", "set", "net0", "up"], check=True)

    def page(asking: Container, address: str) -> str:
        fetch = f"import urllib.request as u; print(end=u.urlopen('http://{address}/page', timeout=2).read().decode())"
        argv = ["nsenter", f"--target={asking.pid}", "--net", sys.executable, "-c", fetch]
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout

    for asking in (first, second):
        for address, answer in (("10.77.0.1", "one\n"), ("10.77.0.2", "two\n")):
            wait_for(lambda asking=asking, address=address, answer=answer: page(asking, address) == answer, address)
    assert page(first, "127.0.0.1") == "one\n"
    assert page(second, "127.0.0.1") == "two\n"


def test_do_they_have_their_own_hostnames(two: tuple[Container, Container]) -> None:
    first, second = two
    assert [container.exec("hostname").stdout for container in two] == ["one\n", "two\n"]
    subprocess.run(["nsenter", f"--target={first.pid}", "--uts", "hostname", "changed"], check=True)
    assert first.exec("hostname").stdout == "changed\n"
    assert second.exec("hostname").stdout == "two\n"


def test_do_they_have_their_own_root_and_users(runtime: Runtime, make_bundle: MakeBundle) -> None:
    def started(base: int) -> Container:
        mapping = [{"containerID": 0, "hostID": base, "size": 65536}]
        linux = {**user_namespace(), "uidMappings": mapping, "gidMappings": mapping}
        bundle = make_bundle(args=["sleep", "600"], linux=linux)
        subprocess.run(["chown", "-R", f"{base}:{base}", bundle.rootfs], check=True)
        return runtime.start(bundle)

    first, second = started(FIRST), started(SECOND)
    for container, base in ((first, FIRST), (second, SECOND)):
        assert container.exec("id", "-u").stdout == "0\n"
        assert container.exec("cat", "/proc/self/uid_map").stdout.split() == ["0", str(base), "65536"]
        container.exec("touch", "/made")
        assert (container.bundle.rootfs / "made").stat().st_uid == base
    # The root of one has no right over what belongs to the other's, even where it can name it.
    linux = {
        "namespaces": [*namespaces(*KINDS), {"type": "user", "path": f"/proc/{first.pid}/ns/user"}],
        "maskedPaths": None,
        "readonlyPaths": None,
    }
    mount = {"destination": "/mnt", "type": "bind", "source": str(second.bundle.rootfs), "options": ["rbind"]}
    guest = make_bundle(args=["sh", "-c", "stat -c %u /mnt/made; rm /mnt/made"], linux=linux, mounts=[mount])
    subprocess.run(["chown", "-R", f"{FIRST}:{FIRST}", guest.rootfs], check=True)
    done = runtime.run_container(guest, check=False)
    assert done.stdout == "65534\n"
    assert (second.bundle.rootfs / "made").exists()
