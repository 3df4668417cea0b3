"""What Docker alone has: a daemon that knows its runtimes, updates, timed healthchecks, late networks, compose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.conftest import need
from tests.engines.docker import Docker
from tests.engines.engine import SLEEP
from tests.integration.support import wait_for

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
def removed(docker: Docker) -> Iterator[str]:
    """A name; a container of that name is removed at the end."""
    yield "own"
    docker.remove("own")


def test_the_daemon_knows_the_runtime_and_its_version(docker: Docker) -> None:
    assert docker("info", "--format={{.DefaultRuntime}}", check=True).stdout.strip() == docker.name
    version = docker("version", "--format={{json .Server.Components}}", check=True).stdout
    assert f'"Name":"{docker.name}"' in version


def test_update_changes_the_limits(docker: Docker, removed: str) -> None:
    docker.start(removed, *SLEEP)
    docker("update", "--pids-limit=55", "--cpu-shares=300", "--memory=64m", "--memory-swap=-1", removed, check=True)
    if not Path("/sys/fs/cgroup/pids").is_dir():
        pytest.skip("needs cgroup v1")
    files = [f"/sys/fs/cgroup/{name}" for name in ("pids/pids.max", "cpu/cpu.shares", "memory/memory.limit_in_bytes")]
    assert docker("exec", removed, "cat", *files, check=True).stdout.split() == ["55", "300", "67108864"]


def test_a_healthcheck_is_an_exec(docker: Docker, removed: str) -> None:
    words = ("--health-cmd=test -e /tmp/well", "--health-interval=200ms", "--health-retries=1")
    docker.start(removed, *words, *SLEEP)
    wait_for(lambda: docker.inspect(removed, ".State.Health.Status") == "unhealthy", "unhealthy")
    docker("exec", removed, "touch", "/tmp/well", check=True)
    wait_for(lambda: docker.inspect(removed, ".State.Health.Status") == "healthy", "healthy")


def test_a_container_over_its_memory_is_killed_and_docker_knows_why(docker: Docker, removed: str) -> None:
    script = "x=x; while :; do x=$x$x; done"
    docker.start(removed, "--memory=16m", "--memory-swap=16m", "--", "sh", "-c", script)
    assert docker("wait", removed, check=True).stdout == "137\n"
    assert docker.inspect(removed, ".State.OOMKilled") == "true"


def test_a_network_is_connected_while_the_container_runs(docker: Docker, removed: str) -> None:
    docker("network", "create", "joined", check=True)
    docker.start(removed, *SLEEP, network="bridge")
    docker("network", "connect", "joined", removed, check=True)
    assert docker("exec", removed, "ls", "/sys/class/net", check=True).stdout.split() == ["eth0", "eth1", "lo"]
    docker("network", "disconnect", "joined", removed, check=True)
    assert docker("exec", removed, "ls", "/sys/class/net", check=True).stdout.split() == ["eth0", "lo"]
    docker("network", "rm", "joined", check=True)


def test_compose_brings_services_up_and_down(docker: Docker, tmp_path: Path) -> None:
    need("docker-compose", "wget")
    file = tmp_path / "docker-compose.yml"
    file.write_text(COMPOSE.replace("CGROUP", docker.place.cgroup))
    compose = ["docker-compose", f"--host={docker.program[-1]}", "--project-name=composed", f"--file={file}"]
    docker.place.run(*compose, "up", "--detach", check=True, timeout=90)
    try:
        wait_for(lambda: docker.fetched("http://127.0.0.1:8088/page") == "composed\n", "the page")
        asked = docker.place.run(*compose, "exec", "-T", "asking", "wget", "-qO-", "http://web/page", check=True)
        assert asked.stdout == "composed\n"
        docker.place.run(*compose, "restart", "--timeout=0", "web", check=True)
        wait_for(lambda: docker.fetched("http://127.0.0.1:8088/page") == "composed\n", "the page again")
    finally:
        docker.place.run(*compose, "down", "--timeout=0", check=True)
    assert docker("ps", "--all", "--quiet", "--filter=name=composed", check=True).stdout == ""
