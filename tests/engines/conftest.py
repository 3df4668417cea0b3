"""The engines, each in a place of its own, with ocirt as their runtime; ENGINES_RUNTIME names another, as a control."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.place import Place
from tests.engines.podman import IMAGE, Podman

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.root)


def need(*programs: str) -> None:
    """Skip where a program is missing."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")


@pytest.fixture(scope="session")
def engine_runtime(ocirt_bin: str) -> str:
    """The runtime that the engines call."""
    other = os.environ.get("ENGINES_RUNTIME")
    found = shutil.which(other) if other else ocirt_bin
    assert found, f"ENGINES_RUNTIME: no such program: {other}"
    return found


@pytest.fixture(scope="session")
def image_archive(busybox_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The busybox image as an archive that every engine loads (docker-archive)."""
    need("skopeo")
    archive = tmp_path_factory.mktemp("archive") / "busybox.tar"
    target = f"docker-archive:{archive}:{IMAGE}"
    subprocess.run(["skopeo", "copy", "--quiet", f"oci:{busybox_image}:busybox", target], check=True)
    return archive


@pytest.fixture(scope="session")
def podman(engine_runtime: str, image_archive: Path) -> Iterator[Podman]:
    """Podman."""
    need("podman", "conmon", "nsenter")
    place = Place()
    try:
        podman = Podman(place, engine_runtime, image_archive)
        yield podman
        podman.close()
    finally:
        left = place.close()
    assert not left, "left behind:\n  " + "\n  ".join(left)
