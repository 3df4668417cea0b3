"""Mutated configs as real containers, through their whole life: 200 of them; `make fuzz` does more."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fuzz import lives

SEED, COUNT, PART = 1, 200, 50


@pytest.mark.root
@pytest.mark.cgroup
def test_no_mutated_config_hangs_breaks_leaves_anything_or_is_weaker_than_it_says(ocirt_bin: str) -> None:
    for program in ("gcc", "busybox", "unshare"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda first: lives.run(SEED, first, PART), range(0, COUNT, PART)))
    failures = [failure for found, _ in results for failure in found]
    assert not failures, "\n".join(
        f"case {one.case}: {one.what}\n{one.config}\n" + "\n".join(one.commands) for one in failures
    )
    assert sum(counts["ran"] for _, counts in results) > COUNT / 3
