"""Images from a registry on loopback: each engine pushes one, forgets it, pulls it and runs it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.engines.conftest import need
from tests.engines.containerd import Containerd
from tests.engines.docker import Docker
from tests.engines.engine import IMAGE
from tests.engines.place import Place
from tests.engines.podman import Podman
from tests.integration.support import wait_for

CONFIG = """
version: 0.1
log: {{level: error}}
storage: {{filesystem: {{rootdirectory: {scratch}/registry}}}}
http: {{addr: "127.0.0.1:5000"}}
"""
NAME = "127.0.0.1:5000/tests/busybox:latest"


@pytest.fixture
def registry() -> Iterator[Callable[[Place], str]]:
    """A function: starts a registry in a place, at the port that it has for itself there; the name of its image."""
    need("docker-registry")
    started: list[tuple[Place, subprocess.Popen[bytes]]] = []

    def start(place: Place) -> str:
        config = place.scratch / "registry.yml"
        config.write_text(CONFIG.format(scratch=place.scratch))
        daemon = place.daemon("docker-registry", "serve", config)
        started.append((place, daemon))
        ask = "exec 3<>/dev/tcp/127.0.0.1/5000"
        wait_for(lambda: place.run("bash", "-c", ask).code == 0, "the registry answers")
        return NAME

    yield start
    for place, daemon in started:
        place.end(daemon)
        place.daemons.remove(daemon)


def test_podman_pushes_and_pulls(podman: Podman, registry: Callable[[Place], str]) -> None:
    name = registry(podman.place)
    podman("push", "--tls-verify=false", podman.image, name, check=True)
    assert podman("image", "exists", name).code == 1
    podman("pull", "--tls-verify=false", name, check=True)
    words = ("run", "--rm", "--network=none", *podman.container, name)
    assert podman(*words, "echo", "pulled", check=True).stdout == "pulled\n"
    podman("untag", name, name, check=True)


def test_buildah_builds_from_the_registry(podman: Podman, buildah: list[str], registry: Callable[[Place], str]) -> None:
    name = registry(podman.place)
    place = podman.place
    place.run(*buildah, "push", "--tls-verify=false", podman.image, f"docker://{name}", check=True)
    found = place.run(*buildah, "from", "--tls-verify=false", "--pull-always", name, check=True).stdout.strip()
    assert place.run(*buildah, "inspect", "--format={{.FromImage}}", found, check=True).stdout.strip() == name
    place.run(*buildah, "rm", found, check=True)
    place.run(*buildah, "rmi", name)


def test_docker_pushes_and_pulls(docker: Docker, registry: Callable[[Place], str]) -> None:
    name = registry(docker.place)
    docker("tag", IMAGE, name, check=True)
    docker("push", name, check=True)
    docker("rmi", name, check=True)
    assert docker("run", "--rm", "--network=none", name, "echo", "pulled", check=True).stdout == "pulled\n"
    docker("rmi", name, check=True)


def test_containerd_pushes_and_pulls(containerd: Containerd, registry: Callable[[Place], str]) -> None:
    name = registry(containerd.place)
    containerd("images", "tag", IMAGE, name, check=True)
    containerd("images", "push", "--plain-http", name, check=True)
    containerd("images", "remove", name, check=True)
    containerd("images", "pull", "--plain-http", name, check=True)
    words = ("run", "--rm", f"--runc-binary={containerd.runtime}", *containerd.cgroup("pulled"), name, "pulled")
    assert containerd(*words, "echo", "pulled", check=True).stdout == "pulled\n"
    containerd("images", "remove", name, check=True)
