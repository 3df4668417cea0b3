"""Which files of a container's cgroup its user gets to own (config-linux.md "Cgroup ownership")."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocirt.cgroup import v2

FALLBACK = {"", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"}


@pytest.fixture
def owned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """File of the cgroup at CGROUP, "" for itself → its new owner."""
    found: dict[str, int] = {}

    def chown(path: str, uid: int, gid: int) -> None:
        Path(path).stat()
        assert gid == -1
        found[str(Path(path).relative_to(tmp_path / "box")) if path != str(tmp_path / "box") else ""] = uid

    (tmp_path / "box").mkdir()
    for name in ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "memory.max", "memory.reclaim"):
        (tmp_path / "box" / name).touch()
    monkeypatch.setattr(v2.posix, "chown", chown)
    return found


def test_the_directory_and_what_the_kernel_lists_and_is_there(
    owned: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "delegate").write_text("cgroup.procs\nmemory.oom.group\nmemory.reclaim\n")
    monkeypatch.setattr(v2, "DELEGATE", str(tmp_path / "delegate"))
    v2.delegate(str(tmp_path / "box"), 7)
    assert owned == {"": 7, "cgroup.procs": 7, "memory.reclaim": 7}


def test_without_the_kernels_list_it_is_the_specifications(
    owned: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(v2, "DELEGATE", str(tmp_path / "none"))
    v2.delegate(str(tmp_path / "box"), 7)
    assert owned == dict.fromkeys(FALLBACK, 7)
