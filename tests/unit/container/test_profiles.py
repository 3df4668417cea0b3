"""Compiled seccomp profiles that are kept: what is compiled is what the format says."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

pytest.importorskip("ocirt.linux._kernel", reason="the shim is not built: make build")

from ocirt.container import profiles
from ocirt.container.place import OPEN_DIRECTORY

PACKAGE = Path(__file__).parents[3] / "ocirt"
# For each format, what compiles: another text may compile another filter, which kept ones would hide after an update.
# Where that changes: raise profiles.FORMAT, and put the new digest here.
COMPILERS = {
    1: "9276b02779f13894d574c47b34e194ef99f0991296b806ec19b3a4e64c6dd354",
    2: "b3b30358db721eaececb3d1c1d96541a2c3ba0665d8702e595fe68959f42493c",
}


def test_another_compiler_is_another_format() -> None:
    text = b"".join((PACKAGE / "linux" / name).read_bytes() for name in ("seccomp.py", "notify.py"))
    assert hashlib.sha256(text).hexdigest() == COMPILERS[profiles.FORMAT]


def test_a_file_that_got_its_name_meanwhile_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another process between our open and our lock: it is what containers read now."""
    directory = profiles._open(str(tmp_path), OPEN_DIRECTORY)
    lock = profiles.flock

    def late(file: int, how: int) -> None:
        (tmp_path / "3.new").rename(tmp_path / "3")
        lock(file, how)

    (tmp_path / "3.new").write_bytes(b"whole")
    (tmp_path / "3.new").chmod(0o600)
    monkeypatch.setattr(profiles, "flock", late)
    with pytest.raises(FileNotFoundError):
        profiles._write(directory, "3", b"half")
    assert (tmp_path / "3").read_bytes() == b"whole"


def test_a_profile_that_cannot_be_a_key_is_compiled_each_time(tmp_path: Path) -> None:
    deep: object = []
    for _ in range(2500):
        deep = [deep]
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "unknown": deep}
    program, _ = profiles.compiled(str(tmp_path), profile)
    assert program
    assert not (tmp_path / profiles.DIRECTORY).exists()


def test_many_at_once_keep_what_is_whole(tmp_path: Path) -> None:
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO"}]}
    expected = profiles.compiled(str(tmp_path / "other"), profile)
    (tmp_path / "root").mkdir()
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(profiles.compiled(str(tmp_path / "root"), profile)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 8
