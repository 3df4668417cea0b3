"""Cgroups that are somebody else's, as linux.cgroupsPath can name them: they and who is in them stay as they are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.support import Runtime
from tests.integration.views import MakeBundle

pytestmark = pytest.mark.cgroup
SLEEP = ["sleep", "600"]


@pytest.fixture
def cgroups(runtime: Runtime) -> Iterator[list[Path]]:
    """A directory for the test in every hierarchy that can be written, made by nobody yet."""
    root = Path("/sys/fs/cgroup")
    mounts = [root] if (root / "cgroup.procs").exists() else [path for path in root.iterdir() if path.is_dir()]
    name = runtime.new_id()
    found = [path / name for path in mounts if (path / "cgroup.procs").exists()]
    yield found
    for path in found:
        for directory in (*path.glob("*/"), path):
            if directory.is_dir():
                directory.rmdir()


def named(cgroups: list[Path]) -> dict[str, str]:
    return {"cgroupsPath": f"/{cgroups[0].name}"}


def test_a_create_refused_for_a_cgroup_in_use_leaves_what_is_below_it(
    runtime: Runtime, make_bundle: MakeBundle, cgroups: list[Path]
) -> None:
    first = runtime.create(make_bundle(args=SLEEP, linux=named(cgroups)))
    below = [path / "below" for path in cgroups]
    for path in below:
        path.mkdir()
    began = time.monotonic()
    second = runtime.run("create", "--bundle", str(first.bundle.path), runtime.new_id(), check=False)
    assert "is not empty" in second.stderr
    assert time.monotonic() - began < 5, "nothing is waited for"
    assert [path for path in below if not path.exists()] == []
    assert first.status == "created"
    first.delete("--force")


def test_a_failed_create_leaves_the_empty_cgroup_that_it_found(
    runtime: Runtime, make_bundle: MakeBundle, cgroups: list[Path]
) -> None:
    linux = named(cgroups)
    for path in cgroups:
        path.mkdir()
    bundle = make_bundle(args=SLEEP, mounts=[{"destination": "/x", "type": "no-such-type"}], linux=linux)
    runtime.run("create", "--bundle", str(bundle.path), runtime.new_id(), check=False)
    assert [path for path in cgroups if not path.exists()] == []


def test_the_empty_cgroup_of_a_stopped_container_is_not_given_to_another(
    runtime: Runtime, make_bundle: MakeBundle, cgroups: list[Path]
) -> None:
    first = runtime.create(make_bundle(args=SLEEP, linux=named(cgroups)))
    first.kill()
    first.wait_stopped()
    second = runtime.run("create", "--bundle", str(first.bundle.path), runtime.new_id(), check=False)
    assert f'is that of container "{first.id}"' in second.stderr
    first.delete()
    assert [path for path in cgroups if path.exists()] == []


def test_the_callers_umask_takes_nothing_off_a_cgroup(
    runtime: Runtime, make_bundle: MakeBundle, cgroups: list[Path]
) -> None:
    """A parent is shared with containers of others, and what the container's user binds must be searchable."""
    bundle = make_bundle(args=SLEEP, linux={"cgroupsPath": f"/{cgroups[0].name}/below"})
    container = runtime.create(bundle, umask=0o777)
    for path in cgroups:
        assert [oct(each.stat().st_mode & 0o777) for each in (path, path / "below")] == ["0o755", "0o755"], path
    container.delete("--force")
