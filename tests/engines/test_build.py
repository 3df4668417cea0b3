"""Builds by Podman, Docker and Buildah: a Dockerfile with RUN steps, each a container of the runtime under test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.engines.engine import Engine
from tests.engines.podman import Podman

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
# Buildah takes the parent for the container's own cgroup: it needs one that nobody else uses.
ULIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A directory to build."""
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "given").write_text("given\n")
    return tmp_path


def built(engine: Engine, name: str) -> str:
    """What a container of the image says."""
    output = engine("run", "--rm", "--network=none", *engine.container, name, check=True).stdout
    engine("rmi", name, check=True)
    return output


def options(engine: Engine) -> list[str]:
    """Those of a build."""
    engine.place.environment["DOCKER_BUILDKIT"] = "0"  # BuildKit has a runc of its own
    return ["--no-cache", "--network=none", f"--cgroup-parent={engine.place.cgroup}/build", *ULIMITS]


def test_an_image_is_built(engine: Engine, context: Path) -> None:
    engine("build", *options(engine), "--tag=built", str(context), check=True)
    assert built(engine, "built") == "given\nb\n1000\n"


def test_a_step_that_fails_fails_the_build_with_its_code(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM localhost/busybox:latest\nRUN exit 9\n")
    done = engine("build", *options(engine), str(tmp_path), check=False)
    assert re.search("exit status 9|non-zero code: 9", done.text)


def test_buildah_builds_an_image(podman: Podman, buildah: list[str], context: Path) -> None:
    words = (
        "--isolation=oci",
        "--network=none",
        "--no-cache",
        f"--cgroup-parent={podman.place.cgroup}/build",
        *ULIMITS,
    )
    where = (f"--runtime={podman.runtime}", "--tag=built", str(context))
    podman.place.run(*buildah, "bud", *words, *where, check=True)
    assert built(podman, "localhost/built") == "given\nb\n1000\n"


def test_buildah_runs_in_a_working_container(podman: Podman, buildah: list[str]) -> None:
    name = podman.place.run(
        *buildah, "from", f"--cgroup-parent={podman.place.cgroup}/build", *ULIMITS, podman.image, check=True
    ).stdout.strip()
    run = [*buildah, "run", f"--runtime={podman.runtime}", "--isolation=oci", "--network=none"]
    try:
        done = podman.place.run(*run, name, "sh", "-c", "id -u; echo err >&2; exit 6")
        assert (done.code, done.stdout) == (6, "0\n")
        assert done.stderr.startswith("err\n")
        assert podman.place.run(*run, "--user=1000", name, "id", "-u", check=True).stdout == "1000\n"
        assert podman.place.run(*run, name, "cat", stdin=b"in\n", check=True).stdout == "in\n"
        assert "executable file" in podman.place.run(*run, name, "nosuch", check=False).stderr
    finally:
        podman.place.run(*buildah, "rm", name, check=True)
