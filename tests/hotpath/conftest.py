"""Containers with a stand-in for the init, from the unit tests; the launcher of the checkout."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.unit.container.conftest import children, make, root, sleeper, waiting

__all__ = ["children", "make", "root", "sleeper", "waiting"]


@pytest.fixture(scope="session")
def launcher(project: Path) -> str:
    """The program under test: $OCIRT, else the checkout's own."""
    program = os.environ.get("OCIRT") or str(project / "ocirt/_bin/ocirt")
    if not shutil.which(program):
        pytest.skip(f"{program} is not built: make build")
    return program
