"""A directory that behaves as a resctrl filesystem does: its groups have files from the start, and go as a whole."""

from __future__ import annotations

import errno
import os
import posix
import shutil
from pathlib import Path
from typing import Any

import pytest

from ocirt.cgroup import resctrl


class Kernel:
    """Stands in for the module posix of cgroup/resctrl.py. `full`: no group can be made any more."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.full = False
        root.mkdir()
        self._fill(root, "    L3:0=7ff;1=7ff\n    MB:0=100;1=100\n")
        (root / "info").mkdir()
        (root / "info" / "last_cmd_status").write_text("ok\n")

    def __getattr__(self, name: str) -> Any:
        return getattr(posix, name)

    @staticmethod
    def _fill(path: Path, schemata: str) -> None:
        (path / "tasks").write_text("")
        (path / "schemata").write_text(schemata)
        (path / "mon_groups").mkdir()

    def mkdir(self, path: str, mode: int) -> None:
        """Make a group with its files."""
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.mkdir(path, mode)
        if path.rsplit("/", 2)[1] == "mon_groups":
            (Path(path) / "tasks").write_text("")
        else:
            self._fill(Path(path), "")

    def rmdir(self, path: str) -> None:
        """Remove a group with all below it."""
        if not os.path.isdir(path):
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        shutil.rmtree(path)

    def groups(self) -> set[str]:
        """The classes of service, and the monitoring groups of each."""
        found = {path.parent for path in self.root.rglob("tasks")} - {self.root}
        return {str(path.relative_to(self.root)) for path in found}


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """The fake filesystem, mounted as far as ocirt can see."""
    made = Kernel(tmp_path / "resctrl")
    mountinfo = tmp_path / "mountinfo"
    lines = ["20 1 0:5 / /proc rw - proc proc rw", f"21 1 0:9 / {made.root} rw shared:3 - resctrl resctrl rw", ""]
    mountinfo.write_text("\n".join(lines))
    monkeypatch.setattr(resctrl, "MOUNTINFO", str(mountinfo))
    monkeypatch.setattr(resctrl, "posix", made)
    return made
