"""Programs built in another way than the tree's own: for tests of how the launcher gets an interpreter."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest


def without_library(project: Path, where: Path) -> str:
    """A launcher as for an interpreter without a shared library, which it executes; in a tree that has its package."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler or not Path(sysconfig.get_path("include"), "Python.h").exists():
        pytest.skip("needs a C compiler and Python's headers")
    package = where / "ocirt"
    package.mkdir()
    for entry in (project / "ocirt").iterdir():
        if entry.name != "_bin":
            (package / entry.name).symlink_to(entry)
    (package / "_bin").mkdir()
    (package / "_bin/ocirt-init").symlink_to(project / "ocirt/_bin/ocirt-init")
    macros = {
        "PYTHON_VERSION": "{}.{}".format(*sys.version_info), "PYTHON_EXE": os.path.realpath(sys.executable),
        "LIBPYTHON": "", "STDLIB": sysconfig.get_path("stdlib"), "DYNLOAD": "", "VERSION": "0",
        "EXT_SUFFIX": sysconfig.get_config_var("EXT_SUFFIX"), "SITE_PACKAGES": sysconfig.get_path("purelib"),
    }  # fmt: skip
    defines = [f'-DOCIRT_{name}="{value}"' for name, value in macros.items()]
    parts = ("launcher", "linux", "perform")
    sources = [str(path) for part in parts for path in (project / "ocirt" / part).glob("*.c")]
    sources.append(str(project / "ocirt/spawn/init/plan.c"))
    program = str(package / "_bin/ocirt")
    include = [f"-I{sysconfig.get_path('include')}", f"-I{project / 'ocirt'}"]
    subprocess.run(
        [compiler, "-std=gnu11", "-pthread", *include, *defines, "-o", program, *sources, "-ldl"], check=True
    )
    return program
