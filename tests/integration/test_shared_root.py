"""A state root shared with other runtimes, as Docker, containerd and CRI-O have it: theirs is not seen nor touched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.integration.support import Runtime
from tests.integration.views import MakeBundle

# What is at the id's path: files of a directory, the content of a file, or the text of a symlink
FOREIGN: dict[str, dict[str, bytes] | bytes | str] = {
    "a container of runc": {"state.json": b'{"id": "theirs", "init_process_pid": 1}'},
    "a container of crun": {"status": b'{"pid": 1}', "config.json": b"{}", "exec.fifo": b""},
    "an empty directory": {},
    "a state that is no JSON": {"state.json": b"\xff{"},
    "a file": b"theirs",
    "a symlink": "/",
}


def put(path: Path, content: dict[str, bytes] | bytes | str) -> None:
    if isinstance(content, str):
        path.symlink_to(content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.mkdir()
        for name, data in content.items():
            (path / name).write_bytes(data)


def picture(path: Path) -> list[tuple[str, int, int]]:
    """Names, inodes and times of all that is there."""
    paths = [path, *sorted(path.iterdir())] if path.is_dir() and not path.is_symlink() else [path]
    return [(entry.name, entry.lstat().st_ino, entry.lstat().st_mtime_ns) for entry in paths]


@pytest.fixture(params=FOREIGN)
def theirs(request: pytest.FixtureRequest, runtime: Runtime) -> Path:
    """An entry of the state root that is not ours; the test removes it."""
    runtime.root.mkdir()
    path = runtime.root / "theirs"
    put(path, FOREIGN[request.param])
    return path


def test_what_is_another_runtimes_is_neither_listed_nor_touched(
    theirs: Path, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    before = picture(theirs)
    ours = runtime.create(make_bundle(args=["sleep", "600"]))
    assert runtime.run("list", "--quiet", check=True).stdout == f"{ours.id}\n"
    assert [entry["id"] for entry in runtime.run("list", "--format=json", check=True).json()] == [ours.id]
    for verb in ("state", "start", "kill", "delete"):
        assert 'container "theirs": container does not exist' in runtime.run(verb, "theirs", check=False).stderr
    runtime.run("delete", "--force", "theirs", check=True)
    taken = runtime.run("create", "--bundle", str(ours.bundle.path), "theirs", check=False)
    assert 'container "theirs": container with given ID already exists' in taken.stderr
    runtime.run("delete", "--force", "--regex", ".*", check=True)
    assert picture(theirs) == before
    if theirs.is_dir() and not theirs.is_symlink():
        shutil.rmtree(theirs)
    else:
        theirs.unlink()


def test_what_belongs_to_another_user_is_not_ours_whatever_it_says(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """Root in a directory of somebody else: his hooks would run, and his choice of processes be killed, as root."""
    ours = runtime.create(make_bundle(args=["sleep", "600"]))
    path, pid = runtime.root / ours.id, ours.pid
    os.chown(path, 1000, 1000)
    before = picture(path)
    assert runtime.run("list", "--quiet", check=True).stdout == ""
    for verb in ("state", "start", "kill", "delete"):
        assert "container does not exist" in runtime.run(verb, ours.id, check=False).stderr
    runtime.run("delete", "--force", ours.id, check=True)
    assert picture(path) == before
    os.chown(path, 0, 0)
    assert (ours.status, ours.pid) == ("created", pid)
