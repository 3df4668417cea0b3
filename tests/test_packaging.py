"""An sdist, and a wheel made from it, carry all that `ocirt` needs: built, installed in new environments, tried."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
VERSION = next(line.split('"')[1] for line in (PROJECT / "pyproject.toml").open() if line.startswith("version ="))

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def run(*command: str | Path, cwd: Path | None = None, code: int = 0) -> str:
    """stdout and stderr of a command that must exit with `code`."""
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{command}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def environment(where: Path) -> Path:
    """A virtual environment that borrows this one's packages, as links: nothing is downloaded."""
    run(sys.executable, "-m", "venv", "--without-pip", where)
    target = where / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(("ocirt", "__editable__")):
            (target / entry.name).symlink_to(entry)
    return where


def install(archive: Path, where: Path) -> Path:
    """Install into a new environment; the installed program."""
    python = environment(where) / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "install", "--no-index"]
    run(*pip, "--no-deps", "--no-build-isolation", archive)
    return where / "bin" / "ocirt"


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made from a copy of the checkout: building writes into the tree that it builds."""
    where = tmp_path_factory.mktemp("sdist")
    ignored = shutil.ignore_patterns(
        ".git", ".venv", "build", "dist", "_bin", "*.so", "__pycache__", ".cache", "*.egg-info"
    )
    shutil.copytree(PROJECT, where / "ocirt", ignore=ignored)
    (where / "ocirt/ocirt/COMMIT").write_text(COMMIT + "\n")
    run(sys.executable, "-m", "build", "--no-isolation", "--sdist", "--outdir", where, where / "ocirt")
    return where / f"ocirt-{VERSION}.tar.gz"


@pytest.fixture(scope="session")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made from the sdist."""
    where = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-index", "--no-deps"]
    run(*pip, "--no-build-isolation", "--wheel-dir", where, sdist)
    (found,) = where.glob(f"ocirt-{VERSION}-*.whl")
    return found


def try_out(program: Path, cwd: Path) -> None:
    """The program says its version, writes a config, finds it valid, and explains one that is not."""
    assert run(program, "--version").startswith(f"ocirt version {VERSION}\ncommit: {COMMIT}\n")
    run(program, "spec", cwd=cwd)
    run(program, "validate", ".", cwd=cwd)
    assert "pivot_root" in run(program, "explain", ".", cwd=cwd)
    config = json.loads((cwd / "config.json").read_text())
    config["process"]["cwd"] = 7
    (cwd / "config.json").write_text(json.dumps(config))
    complaint = run(program, "validate", ".", cwd=cwd, code=1)
    assert "/process/cwd" in complaint
    assert "Traceback" not in complaint


def test_the_sdist_has_the_sources_and_nothing_that_is_built(sdist: Path) -> None:
    if not (PROJECT / ".git").exists():
        pytest.skip("not a git checkout: nothing tells sources from what is built")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    tracked = run(
        "git", "ls-files", "setup.py", "pyproject.toml", "Makefile", "spec", "ocirt", "tests", ".ci", cwd=PROJECT
    )
    missing = {name for name in tracked.split("\n") if name and (PROJECT / name).exists()} - names
    assert not missing
    built = (".so", ".pyc", "/_schema.py", "/_systemd.py")
    assert not {name for name in names if name.endswith(built) or "/_bin" in name}


def test_the_wheel_has_the_package_the_programs_and_the_schemas(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        launcher = archive.read(f"ocirt-{VERSION}.data/scripts/ocirt")
        init = archive.read("ocirt/_bin/ocirt-init")
    assert (launcher[:4], init[:4]) == (b"\x7fELF", b"\x7fELF")
    modules = {str(path.relative_to(PROJECT)) for path in (PROJECT / "ocirt").rglob("*.py")}
    # The launcher's are no modules: pack.py builds hot.bin, which holds boot.py.
    built_from = {str(path.relative_to(PROJECT)) for path in (PROJECT / "ocirt/launcher").glob("*.py")}
    assert not modules - built_from - names
    assert {"ocirt/config/_schema.py", "ocirt/linux/_systemd.py", "ocirt/py.typed", "ocirt/_bin/hot.bin"} <= names
    assert {f"ocirt/{path.relative_to(PROJECT)}" for path in (PROJECT / "spec").glob("*.json")} <= names
    assert not {name for name in names if name.endswith((".c", ".h")) or name.startswith("tests")}


def test_a_wheel_gives_a_working_program(wheel: Path, tmp_path: Path) -> None:
    program = install(wheel, tmp_path / "env")
    (tmp_path / "bundle").mkdir()
    try_out(program, tmp_path / "bundle")


def test_an_sdist_gives_a_working_program_also_through_a_link(sdist: Path, tmp_path: Path) -> None:
    program = install(sdist, tmp_path / "env")
    link = tmp_path / "ocirt"
    link.symlink_to(os.path.relpath(program, tmp_path))
    (tmp_path / "bundle").mkdir()
    try_out(link, tmp_path / "bundle")
