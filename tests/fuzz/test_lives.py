"""Mutated configs as real containers, through their whole life: 200 of them; `make fuzz` does more."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fuzz import lives, sanitized
from tests.integration.support import needs_open_way

SEED, COUNT, PART = 1, 200, 50
SANITIZED = 60
ORDINARY = 40

pytestmark = [pytest.mark.root, pytest.mark.cgroup, pytest.mark.slow]


def run(seed: int, count: int, part: int, ordinary: bool = False) -> None:
    """All must be well, and enough of them must have come up."""
    starts = range(0, count, part)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda first: lives.run(seed, first, part, ordinary=ordinary), starts))
    failures = [failure for found, _ in results for failure in found]
    assert not failures, "\n".join(
        f"case {one.case}: {one.what}\n{one.config}\n" + "\n".join(one.commands) for one in failures
    )
    assert sum(counts["ran"] for _, counts in results) > count / 3


@pytest.fixture(autouse=True)
def programs() -> None:
    for program in ("gcc", "busybox", "unshare", "setpriv"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")


def test_no_mutated_config_hangs_breaks_leaves_anything_or_is_weaker_than_it_says(
    ocirt_bin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCIRT", ocirt_bin)
    run(SEED, COUNT, PART)


def test_an_ordinary_users_containers_are_not_weaker_either(ocirt_bin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_open_way(ocirt_bin)
    monkeypatch.setenv("OCIRT", ocirt_bin)
    run(SEED + 2, ORDINARY, ORDINARY // 2, ordinary=True)


def test_no_mutated_config_has_c_do_what_c_leaves_undefined(monkeypatch: pytest.MonkeyPatch) -> None:
    library = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    if not os.path.isabs(library.stdout):
        pytest.skip("needs gcc's libasan")
    monkeypatch.setenv("OCIRT", str(sanitized.build()))
    for name, value in sanitized.OPTIONS.items():
        monkeypatch.setenv(name, value)
    run(SEED + 1, SANITIZED, SANITIZED // 2)
