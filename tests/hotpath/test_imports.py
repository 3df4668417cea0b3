"""The happy path of create, run and exec imports only what allowed.txt names, and nothing of cold.txt.

Imports are most of what a runtime in Python could waste: `re` alone costs as much as the bare interpreter. A new line
in allowed.txt is fine for a module of ocirt's own that is needed, or for one in C; never for one of the standard
library's in Python.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ocirt.linux._kernel", reason="the shim is not built: make build")

from ocirt.config import default

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
ALLOWED = set((HERE / "allowed.txt").read_text().split())
COLD = set((HERE / "cold.txt").read_text().split())

# Runs the verb in an interpreter as bare as the launcher's, then tells what has been imported and the exit code.
PROBE = """
import sys
before = set(sys.modules)
sys.path += sys.argv[2].split(":")
from ocirt.cli.main import main
code = main(sys.argv[3:])
with open(sys.argv[1], "w") as report:
    report.write(" ".join(set(sys.modules) - before))
sys.exit(code)
"""


def imported(report: Path, *argv: str) -> set[str]:
    """What one successful command imports."""
    paths = ":".join([str(PROJECT), *(path for path in sys.path if path.endswith("-packages"))])
    command = [sys.executable, "-I", "-S", "-B", "-c", PROBE, str(report), paths, *argv]
    # No pipe: the container keeps what it inherits.
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60, check=True)
    return set(report.read_text().split())


@pytest.fixture
def bundle(tmp_path: Path) -> Iterator[str]:
    """A bundle with the document of `ocirt spec` and a static program."""
    busybox = shutil.which("busybox")
    if os.geteuid() != 0 or not busybox:
        pytest.skip("needs root and busybox")
    (tmp_path / "bundle/rootfs/bin").mkdir(parents=True)
    for directory in ("proc", "sys", "dev"):
        (tmp_path / "bundle/rootfs" / directory).mkdir()
    shutil.copy(busybox, tmp_path / "bundle/rootfs/bin/true")
    config = default.document(rootless=False)
    config["process"].update(args=["true"], terminal=False)
    (tmp_path / "bundle/config.json").write_text(json.dumps(config))
    yield str(tmp_path / "bundle")
    launcher = PROJECT / "ocirt/_bin/ocirt"
    subprocess.run([launcher, "--root", tmp_path / "root", "delete", "--force", "hot"], check=False)


def test_create_and_start_import_nothing_that_is_not_allowed(bundle: str, tmp_path: Path) -> None:
    root = f"{tmp_path}/root"
    assert imported(tmp_path / "1", "--root", root, "create", "--bundle", bundle, "hot") - ALLOWED == set()
    assert imported(tmp_path / "2", "--root", root, "start", "hot") - ALLOWED == set()


def test_exec_imports_nothing_that_is_not_allowed(bundle: str, tmp_path: Path) -> None:
    command = [PROJECT / "ocirt/_bin/ocirt", "--root", tmp_path / "root", "create", "--bundle", bundle, "hot"]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60, check=True)
    assert imported(tmp_path / "1", "--root", f"{tmp_path}/root", "exec", "hot", "true") - ALLOWED == set()


def test_run_imports_nothing_that_is_not_allowed(bundle: str, tmp_path: Path) -> None:
    assert imported(tmp_path / "1", "--root", f"{tmp_path}/root", "run", "--bundle", bundle, "hot") - ALLOWED == set()


def test_what_is_cold_is_not_allowed() -> None:
    assert set() == ALLOWED & COLD


def test_what_is_allowed_is_ours_or_compiled() -> None:
    import importlib.util

    for name in ALLOWED:
        if name.split(".")[0] not in {"ocirt", "__future__"} and name not in sys.builtin_module_names:
            spec = importlib.util.find_spec(name)
            assert spec is not None, name
            assert spec.origin is not None, name
            assert spec.origin.endswith(".so"), name


def test_the_lists_name_modules_that_exist() -> None:
    for name in sorted(ALLOWED | COLD):
        if not name.startswith("ocirt."):
            continue
        path = PROJECT / name.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").exists() or name.startswith("ocirt.linux._"), name
