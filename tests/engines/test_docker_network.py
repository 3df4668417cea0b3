"""Docker's networks, builds and compose, with containers that talk to each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.conftest import need
from tests.engines.docker import Docker
from tests.integration.support import wait_for

SERVER = ("--", "sh", "-c", "mkdir /www; echo page-of-$(hostname) >/www/page; exec httpd -f -p 80 -h /www")
SLEEP = ("--", "sleep", "600")

DOCKERFILE = """
FROM localhost/busybox:latest
ENV A=b
WORKDIR /work
COPY given .
RUN cat given >made && echo $A >>made
USER 1000
RUN id -u >/tmp/who
CMD ["cat", "/work/made", "/tmp/who"]
"""

COMPOSE = """
version: "2.4"
services:
  web:
    image: localhost/busybox:latest
    command: [sh, -c, "mkdir /www; echo composed >/www/page; exec httpd -f -p 80 -h /www"]
    cgroup_parent: CGROUP
    ports: ["127.0.0.1:8088:80"]
  asking:
    image: localhost/busybox:latest
    command: [sleep, "600"]
    cgroup_parent: CGROUP
    depends_on: [web]
"""


@pytest.fixture
def names(docker: Docker) -> Iterator[tuple[str, str]]:
    """Two names; containers with them are removed at the end."""
    yield "first", "second"
    docker("rm", "--force", "first", "second")


@pytest.fixture
def network(docker: Docker) -> Iterator[str]:
    """A network with names."""
    docker("network", "create", "named", check=True)
    yield "named"
    docker("network", "rm", "named", check=True)


def fetched(docker: Docker, url: str) -> str:
    """What a server answers, asked for from the place's own network."""
    return docker.place.run("wget", "-qO-", "--timeout=5", "--tries=1", url).stdout


def test_a_container_has_its_own_address_and_a_published_port(docker: Docker, names: tuple[str, str]) -> None:
    need("wget")
    docker.start(names[0], "--publish=127.0.0.1:8077:80", "--hostname=web", *SERVER, network="bridge")
    wait_for(lambda: fetched(docker, "http://127.0.0.1:8077/page") == "page-of-web\n", "the page")
    address = docker.inspect(names[0], ".NetworkSettings.IPAddress")
    assert fetched(docker, f"http://{address}/page") == "page-of-web\n"


def test_two_containers_have_different_addresses_and_reach_each_other(docker: Docker, names: tuple[str, str]) -> None:
    for name in names:
        docker.start(name, f"--hostname={name}", *SERVER, network="bridge")
    addresses = [docker.inspect(name, ".NetworkSettings.IPAddress") for name in names]
    assert len(set(addresses)) == 2
    asked = docker.run("--", "wget", "-qO-", f"http://{addresses[1]}/page", network="bridge", check=True)
    assert asked.stdout == "page-of-second\n"


def test_a_name_is_resolved_between_containers_of_a_network(
    docker: Docker, names: tuple[str, str], network: str
) -> None:
    docker.start(names[0], "--hostname=web", *SERVER, network=network)
    asked = docker.run("--", "wget", "-qO-", "http://first/page", network=network, check=True)
    assert asked.stdout == "page-of-web\n"
    docker("rm", "--force", names[0], check=True)


def test_a_network_is_connected_while_the_container_runs(docker: Docker, names: tuple[str, str], network: str) -> None:
    docker.start(names[0], *SLEEP, network="bridge")
    docker("network", "connect", network, names[0], check=True)
    assert docker("exec", names[0], "ls", "/sys/class/net", check=True).stdout.split() == ["eth0", "eth1", "lo"]
    docker("network", "disconnect", network, names[0], check=True)
    assert docker("exec", names[0], "ls", "/sys/class/net", check=True).stdout.split() == ["eth0", "lo"]


def test_a_container_joins_the_namespaces_of_another(docker: Docker, names: tuple[str, str]) -> None:
    docker.start(names[0], "--ipc=shareable", *SLEEP)
    joined = [f"--{kind}=container:{names[0]}" for kind in ("pid", "ipc")]
    done = docker.run(*joined, "--", "ps", "-o", "args", network=f"container:{names[0]}", check=True)
    assert "sleep 600" in done.stdout


def built(docker: Docker, name: str) -> str:
    """What a container of the image says."""
    output = docker("run", "--rm", "--network=none", name, check=True).stdout
    docker("rmi", name, check=True)
    return output


def test_docker_builds_an_image_by_containers(docker: Docker, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "given").write_text("given\n")
    docker.place.environment["DOCKER_BUILDKIT"] = "0"
    words = ("--no-cache", "--network=none", f"--cgroup-parent={docker.place.cgroup}")
    docker("build", *words, "--tag=built", str(tmp_path), check=True)
    assert built(docker, "built") == "given\nb\n1000\n"


def test_a_step_that_fails_fails_the_build_with_its_code(docker: Docker, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM localhost/busybox:latest\nRUN exit 9\n")
    words = ("--no-cache", "--network=none", f"--cgroup-parent={docker.place.cgroup}")
    assert "returned a non-zero code: 9" in docker("build", *words, str(tmp_path), check=False).stderr


def test_compose_brings_services_up_and_down(docker: Docker, tmp_path: Path) -> None:
    need("docker-compose", "wget")
    file = tmp_path / "docker-compose.yml"
    file.write_text(COMPOSE.replace("CGROUP", docker.place.cgroup))
    compose = ["docker-compose", f"--host={docker.socket}", "--project-name=composed", f"--file={file}"]
    docker.place.run(*compose, "up", "--detach", check=True, timeout=90)
    try:
        wait_for(lambda: fetched(docker, "http://127.0.0.1:8088/page") == "composed\n", "the page")
        asked = docker.place.run(*compose, "exec", "-T", "asking", "wget", "-qO-", "http://web/page", check=True)
        assert asked.stdout == "composed\n"
        docker.place.run(*compose, "restart", "--timeout=0", "web", check=True)
        wait_for(lambda: fetched(docker, "http://127.0.0.1:8088/page") == "composed\n", "the page again")
    finally:
        docker.place.run(*compose, "down", "--timeout=0", check=True)
    assert docker("ps", "--all", "--quiet", "--filter=name=composed", check=True).stdout == ""
