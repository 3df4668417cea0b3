"""Fixtures of the tests that drive the real init."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel import harness


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root filesystem of this test's own."""
    return harness.new_root(tmp_path / "root")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory of the host that no container may change; checked after the test."""
    path = tmp_path / "outside"
    path.mkdir()
    (path / "canary").write_text("untouched")
    return path
