"""Podman's networks, pods and namespaces that containers share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines.conftest import need
from tests.engines.podman import Podman
from tests.integration.support import wait_for

SERVER = ("--", "sh", "-c", "mkdir /www; echo page-of-$(hostname) >/www/page; exec httpd -f -p 80 -h /www")
SLEEP = ("--", "sleep", "600")


@pytest.fixture(autouse=True)
def programs() -> None:
    """What bridges need."""
    need("iptables", "wget")


@pytest.fixture
def names(podman: Podman) -> Iterator[tuple[str, str]]:
    """Two names; containers with them are removed at the end."""
    yield "first", "second"
    podman("rm", "--force", "--time=0", "--ignore", "first", "second", check=True)


@pytest.fixture
def network(podman: Podman) -> Iterator[str]:
    """A network with names."""
    podman("network", "create", "named", check=True)
    yield "named"
    podman("network", "rm", "--force", "named", check=True)


def fetched(podman: Podman, url: str) -> str:
    """What a server answers, asked for from the place's own network."""
    return podman.place.run("wget", "-qO-", "--timeout=5", "--tries=1", url).stdout


def test_a_container_has_its_own_address_and_a_published_port(podman: Podman, names: tuple[str, str]) -> None:
    podman.start(names[0], "--publish=127.0.0.1:8077:80", "--hostname=web", *SERVER, network="podman")
    wait_for(lambda: fetched(podman, "http://127.0.0.1:8077/page") == "page-of-web\n", "the page")
    address = podman.inspect(names[0], ".NetworkSettings.IPAddress")
    assert fetched(podman, f"http://{address}/page") == "page-of-web\n"


def test_two_containers_have_different_addresses_and_reach_each_other(podman: Podman, names: tuple[str, str]) -> None:
    for name in names:
        podman.start(name, f"--hostname={name}", *SERVER, network="podman")
    addresses = [podman.inspect(name, ".NetworkSettings.IPAddress") for name in names]
    assert len(set(addresses)) == 2
    asked = podman.run("--", "wget", "-qO-", f"http://{addresses[1]}/page", network="podman", check=True)
    assert asked.stdout == "page-of-second\n"


def test_a_name_is_resolved_between_containers_of_a_network(
    podman: Podman, names: tuple[str, str], network: str
) -> None:
    podman.start(names[0], "--hostname=web", *SERVER, network=network)
    asked = podman.run("--", "sh", "-c", "sleep 0.5; wget -qO- http://first/page", network=network, check=True)
    assert asked.stdout == "page-of-web\n"


def test_a_container_joins_the_namespaces_of_another(podman: Podman, names: tuple[str, str]) -> None:
    podman.start(names[0], "--hostname=shared", *SLEEP)
    joined = [f"--{kind}=container:{names[0]}" for kind in ("pid", "ipc", "uts", "cgroupns")]
    done = podman.run(*joined, "--", "sh", "-c", "hostname; ps -o args", network=f"container:{names[0]}", check=True)
    assert done.stdout.splitlines()[0] == "shared"
    assert "sleep 600" in done.stdout


def test_a_user_namespace_is_joined_too(podman: Podman, names: tuple[str, str]) -> None:
    podman.start(names[0], "--uidmap=0:100000:65536", "--gidmap=0:100000:65536", *SLEEP)
    joined = [f"--{kind}=container:{names[0]}" for kind in ("userns", "pid", "ipc")]
    done = podman.run(*joined, "--", "cat", "/proc/self/uid_map", network=f"container:{names[0]}", check=True)
    assert done.stdout.split() == ["0", "100000", "65536"]


def test_a_named_network_namespace_is_joined(podman: Podman) -> None:
    place = podman.place
    place.run("ip", "netns", "add", "outer", check=True)
    place.run("ip", "-n", "outer", "link", "add", "seen0", "type", "veth", check=True)
    done = podman.run("--", "ls", "/sys/class/net", network="ns:/run/netns/outer", check=True)
    assert "seen0" in done.stdout.split()
    place.run("ip", "netns", "del", "outer", check=True)


def test_containers_of_a_pod_share_its_namespaces(podman: Podman) -> None:
    infra = ("--infra-command", "/bin/sleep 600", "--infra-image", podman.image)
    cgroup = f"--cgroup-parent={podman.place.cgroup}"
    created = podman("pod", "create", "--name=pod", "--hostname=podhost", "--share=net,ipc,uts", cgroup, *infra)
    assert created.code == 0, created.text
    try:
        start = ("run", "--detach", "--pod=pod")
        podman(*start, "--name=web", podman.image, "sh", "-c", SERVER[-1], check=True)
        asked = "sleep 0.5; hostname; wget -qO- http://127.0.0.1/page"
        done = podman("run", "--rm", "--pod=pod", podman.image, "sh", "-c", asked, check=True)
        assert done.stdout.splitlines() == ["podhost", "page-of-podhost"]
        podman("pod", "stop", "--time=0", "pod", check=True)
        assert podman("pod", "ps", "--format={{.Status}}", check=True).stdout.strip() == "Exited"
        podman("pod", "start", "pod", check=True)
        assert podman("pod", "ps", "--format={{.Status}}", check=True).stdout.strip() == "Running"
    finally:
        podman("pod", "rm", "--force", "--time=0", "pod")
