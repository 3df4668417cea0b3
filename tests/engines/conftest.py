"""The engines, each in a place of its own, with ocirt as their runtime; ENGINES_RUNTIME names another, as a control.

ENGINES_CGROUPS=systemd: Podman and containerd have systemd make the cgroups.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from tests.engines.containerd import Containerd
from tests.engines.docker import Docker
from tests.engines.engine import Engine
from tests.engines.place import Place, SystemdPlace
from tests.engines.podman import Podman
from tests.images import archives
from tests.integration.views import fields

if TYPE_CHECKING:
    from tests.engines.cri import Cri

CAP_SYS_RESOURCE = 24
HERE = Path(__file__).parent
Made = TypeVar("Made", Podman, Docker, Containerd)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = [item for item in items if HERE in item.path.parents]
    for item in ours:
        if not item.get_closest_marker("anybody"):
            item.add_marker(pytest.mark.root)
    # Last of all: the engines live to the end of the session, and other tests count and kill what runs.
    others = [item for item in items if HERE not in item.path.parents]
    items[:] = others + ours


def need(*programs: str) -> None:
    """Skip where a program is missing."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")


@pytest.fixture
def every_capability(engine_runtime: str) -> None:
    """Skips where the runtime would refuse what --privileged asks for: runc, without CAP_SYS_RESOURCE to give."""
    bounding = int(fields(Path("/proc/self/status").read_text())["CapBnd"], 16)
    if Path(engine_runtime).name == "runc" and not bounding >> CAP_SYS_RESOURCE & 1:
        pytest.skip("runc needs CAP_SYS_RESOURCE for a privileged container")


@pytest.fixture(scope="session")
def engine_runtime(ocirt_bin: str) -> str:
    """The runtime that the engines call."""
    other = os.environ.get("ENGINES_RUNTIME")
    found = shutil.which(other) if other else ocirt_bin
    assert found, f"ENGINES_RUNTIME: no such program: {other}"
    return found


@pytest.fixture(scope="session")
def image_archive(busybox_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The busybox image as an archive that every engine loads; pause.tar beside it has one that only stays."""
    need("skopeo")
    return archives(busybox_image, tmp_path_factory.mktemp("archive"))


def by_systemd() -> bool:
    """Whether systemd is to make the cgroups."""
    return os.environ.get("ENGINES_CGROUPS") == "systemd"


def lived(engine: type[Made], runtime: str, image: Path) -> Iterator[Made]:
    """An engine in a place of its own, which must be empty when the engine has ended."""
    place = SystemdPlace() if by_systemd() else Place()
    try:
        made = engine(place, runtime, image)
        yield made
        made.close()
    finally:
        left = place.close()
    assert not left, "left behind:\n  " + "\n  ".join(left)


@pytest.fixture(scope="session")
def podman(engine_runtime: str, image_archive: Path) -> Iterator[Podman]:
    """Podman."""
    need("podman", "conmon", *([] if by_systemd() else ["nsenter"]))
    yield from lived(Podman, engine_runtime, image_archive)


@pytest.fixture
def buildah(podman: Podman) -> list[str]:
    """The command line of Buildah, on Podman's storage."""
    need("buildah")
    return ["buildah", *podman.storage]


@pytest.fixture(scope="session")
def docker(engine_runtime: str, image_archive: Path) -> Iterator[Docker]:
    """Docker."""
    need("dockerd", "docker", "containerd", "iptables", "nsenter")
    yield from lived(Docker, engine_runtime, image_archive)


@pytest.fixture(scope="session")
def containerd(engine_runtime: str, image_archive: Path) -> Iterator[Containerd]:
    """containerd."""
    need("containerd", "ctr", *([] if by_systemd() else ["iptables", "nsenter"]))
    yield from lived(Containerd, engine_runtime, image_archive)


@pytest.fixture(params=["podman", "docker"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each of the engines that people type commands to."""
    found: Engine = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def cri(containerd: Containerd) -> Iterator[Cri]:
    """A client of containerd's CRI plugin; every pod is removed at the end."""
    pytest.importorskip("cri_api")
    from tests.engines.cri import Cri

    client = Cri(containerd.socket, containerd.place)
    yield client
    client.close()
