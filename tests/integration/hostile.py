"""Hostile bundles, and what of the host they are after: that is compared before and after."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.integration.support import Bundle, Json, Result, Runtime

SECRET = "HOST-SECRET"
LIMIT = 10.0  # seconds that no hostile bundle may take


class Seen(NamedTuple):
    """What of a file of the host can be changed from inside."""

    kind: int
    mode: int
    owner: tuple[int, int]
    device: int
    content: str
    links: int


def look(path: Path) -> Seen:
    status = path.lstat()
    kind = stat.S_IFMT(status.st_mode)
    content = ""
    if stat.S_ISLNK(kind):
        content = os.readlink(path)
    elif stat.S_ISREG(kind):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    owner = (status.st_uid, status.st_gid)
    return Seen(kind, stat.S_IMODE(status.st_mode), owner, status.st_rdev, content, status.st_nlink)


def snapshot(top: Path) -> dict[str, Seen]:
    """Everything at and below `top`, by its path."""
    found = {"": look(top)}
    for directory, directories, files in os.walk(top):
        for name in directories + files:
            path = Path(directory) / name
            found[str(path.relative_to(top))] = look(path)
    return found


class Outside:
    """The canary: a directory of the host next to the rootfs, with something in it for every attack."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.path = bundle.path / "outside"
        self.path.mkdir()
        for name in ("ptmx", "hostfile", "null", "console"):
            (self.path / name).write_text(f"{SECRET} {name}\n")
        (self.path / "hostfile").chmod(0o666)
        (self.path / "dir").mkdir()
        (self.path / "dir" / "kept").write_text(SECRET)
        os.mkfifo(self.path / "fifo")
        self.before = snapshot(self.path)

    def link(self, style: str, depth: int = 1) -> str:
        """Text of a symlink to the canary that stands `depth` directories below the container's root.

        absolute; relative: by exactly as many ".." as lead out; climbing: by more ".." than there are directories.
        """
        up = "../" * depth
        return {
            "absolute": str(self.path),
            "relative": f"{up}outside",
            "climbing": f"{up}../../../../../../../../..{self.path}",
        }[style]

    def plant(self, name: str, text: str) -> None:
        """A symlink in the rootfs, in place of what is there."""
        path = self.bundle.rootfs / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        path.unlink(missing_ok=True)
        path.symlink_to(text)

    def check(self) -> None:
        """Nothing of it was changed, removed or added."""
        assert snapshot(self.path) == self.before


STYLES = ("absolute", "relative", "climbing")


@contextmanager
def untouched(bundle: Bundle) -> Iterator[Outside]:
    """The canary of a bundle, compared at the end; what the block changed in the config is written by `attack`."""
    outside = Outside(bundle)
    yield outside
    outside.check()


def clean_words(result: Result) -> None:
    """However it ended, the user reads one line of reason and never a traceback."""
    assert result.code >= 0, f"killed by signal {-result.code}\n{result.stderr}"
    assert "Traceback" not in result.stderr, result.stderr
    if result.code and not result.stdout:
        lines = result.stderr.strip().splitlines()
        assert lines, "it failed without a word"


def attack(runtime: Runtime, bundle: Bundle, *flags: str) -> Result:
    """Run the bundle: within seconds it has ended, whatever came of it, and without a traceback."""
    result = runtime.run_container(bundle.write(), *flags, timeout=LIMIT)
    clean_words(result)
    return result


def refused(runtime: Runtime, bundle: Bundle, *flags: str) -> str:
    """Run the bundle, which must fail with one line; that line."""
    result = attack(runtime, bundle, *flags)
    assert result.code != 0, f"it was accepted\n{result.stdout}"
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def without(config: Json, *destinations: str) -> None:
    """Take the mounts at these destinations out of the config."""
    config["mounts"] = [mount for mount in config["mounts"] if mount["destination"] not in destinations]


def bind(source: object, destination: str, *options: str) -> Json:
    return {"destination": destination, "type": "bind", "source": str(source), "options": ["bind", *options]}


def tmpfs(destination: str, *options: str) -> Json:
    return {"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": list(options)}


def shell(config: Json, script: str) -> None:
    config["process"]["args"] = ["sh", "-c", script]
