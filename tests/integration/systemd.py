"""A systemd for tests on hosts without: fake_systemd.py behind a message bus of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ocirt import cgroup
from tests.integration.support import wait_for

BUS = """<busconfig>
<type>system</type>
<listen>unix:path={directory}/bus</listen>
<policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/><allow user="*"/>
</policy>
</busconfig>
"""


class Systemd:
    """What the stand-in was asked, and what it is to do."""

    def __init__(self, directory: Path, parent: str) -> None:
        self.directory = directory
        self.parent = parent
        self.behave("done")

    def behave(self, how: str) -> None:
        """See fake_systemd.py for the words."""
        (self.directory / "behaviour").write_text(how)

    @property
    def calls(self) -> list[tuple[str, list[Any]]]:
        """(method, arguments) of each call; but for questions."""
        lines = (self.directory / "calls").read_text().splitlines() if (self.directory / "calls").exists() else []
        found = [tuple(json.loads(line)) for line in lines]
        return [(member, body) for member, body in found if member not in {"Get", "Subscribe"}]

    @property
    def members(self) -> list[str]:
        """The methods called."""
        return [member for member, _ in self.calls]

    def properties(self, member: str = "StartTransientUnit") -> dict[str, list[Any]]:
        """The properties in the last call of that method: name → [signature, value]."""
        body = [body for name, body in self.calls if name == member][-1]
        return dict(body[2])

    def directories(self) -> list[Path]:
        """The cgroups below the stand-in's own, but for slices."""
        found = [path for h in cgroup.hierarchies() for path in Path(h.mount + self.parent).rglob("*/")]
        return [path for path in found if not path.name.endswith(".slice")]


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Systemd]:
    """A manager that the runtime finds as the system's, in a part of the host's cgroups of its own."""
    if os.path.exists("/run/systemd/private"):
        pytest.skip("this host has a systemd, which the runtime would find")
    for need, there in (("dbus-daemon", shutil.which("dbus-daemon")), ("dbus-fast", find_spec("dbus_fast"))):
        if not there:
            pytest.skip(f"needs {need}")
    directory = Path(tempfile.mkdtemp(prefix="ocirt-test-systemd-"))
    parent = f"/{directory.name}"
    (directory / "bus.conf").write_text(BUS.format(directory=directory))
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={directory}/bus")
    mounts = [h.mount for h in cgroup.hierarchies() if h.version == 2 or h.controllers == "name=systemd"]
    programs = [
        ["dbus-daemon", "--nofork", "--nopidfile", f"--config-file={directory}/bus.conf"],
        [sys.executable, str(Path(__file__).with_name("fake_systemd.py")), str(directory), parent, *mounts],
    ]
    manager = Systemd(directory, parent)
    with (directory / "log").open("wb") as log:
        running: list[subprocess.Popen[bytes]] = []
        try:
            for program, file in zip(programs, ("bus", "ready"), strict=True):
                running.append(subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
                wait_for((directory / file).exists, f"{program[0]}: {(directory / 'log').read_text()}")
            yield manager
        finally:
            for process in running[::-1]:
                process.kill()
                process.wait()
            for h in cgroup.hierarchies():
                cgroup.remove([h.mount + parent], 5.0)
            shutil.rmtree(directory)
