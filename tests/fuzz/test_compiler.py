"""Mutated documents through the compiler: a plan that C accepts, or an error with words. `make fuzz` does a million."""

from __future__ import annotations

import shutil

import pytest

from tests.fuzz import compiler

COUNT = 4000


def test_no_mutated_document_ends_in_anything_but_a_plan_or_words() -> None:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc, for the decoder")
    found, counts = compiler.run(seed=1, count=COUNT)
    assert not found, "\n".join(f"{finding.what}\n{finding.document!r}" for finding in found)
    # Or most would have ended at the first check
    assert counts["decoded"] == counts["compiled"] > COUNT / 6
    assert counts["refused by rules"] > COUNT / 30
    assert counts["translated"] > COUNT / 30
    assert counts["states"] > COUNT / 200
