"""Which process an exec has made is told over a socket that the container may have got hold of: it is checked.

The process inherits the socket, and a container with CAP_SYS_PTRACE can seize the process.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ocirt.container import launches
from tests.integration.support import Container, Runtime, static_program
from tests.integration.views import MakeBundle


@pytest.fixture
def flag(tmp_path: Path) -> Path:
    """While it exists, the init forges the pid that it holds; "y" after that: and reports a failure."""
    return tmp_path / "flag"


@pytest.fixture
def forged(runtime: Runtime, make_bundle: MakeBundle, tmp_path: Path, flag: Path) -> Container:
    """A container whose runtime has an init that can forge."""
    package = Path(__file__).parents[2] / "ocirt"
    shutil.copytree(package, tmp_path / "ocirt", ignore=shutil.ignore_patterns("__pycache__"))
    real, fake = tmp_path / "real", tmp_path / "ocirt/_bin/ocirt-init"
    fake.rename(real)
    static_program("forged.c", fake, f'-DFLAG="{flag}"', f'-DREAL="{real}"')
    runtime.program = str(tmp_path / "ocirt/_bin/ocirt")
    return runtime.start(make_bundle(args=["sleep", "600"]))


@pytest.mark.parametrize("fails", ["n", "y"])
@pytest.mark.parametrize("again", [False, True], ids=["compiled", "again"])
def test_no_process_of_the_host_is_taken_for_it(
    forged: Container, tmp_path: Path, flag: Path, again: bool, fails: str
) -> None:
    if again:
        forged.exec("true")
        assert list(forged.runtime.root.glob(f"{launches.DIRECTORY}/*.launch"))
    file = tmp_path / "pid"
    with subprocess.Popen(["sleep", "600"]) as victim:
        flag.write_text(f"{victim.pid} {fails}")
        result = forged.exec("true", flags=["--detach", "--pid-file", str(file)], check=None)
        flag.unlink()
        spared = victim.poll() is None
        victim.kill()
    assert spared
    assert result.code != 0
    assert result.stderr.startswith("ocirt: ")
    assert "Traceback" not in result.stderr
    assert not file.exists()
