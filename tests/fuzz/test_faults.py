"""System calls of create, start, exec and delete that fail: an error with a reason, or a container that is as asked.

OCIRT_FAULTS=N tries N of them for each verb; `make fuzz` tries all.
"""

from __future__ import annotations

import os

import pytest

from tests.fuzz.faults import VERBS, Matrix, some
from tests.integration.support import Runtime
from tests.integration.views import MakeBundle

SLICE = int(os.environ.get("OCIRT_FAULTS") or 20)


@pytest.mark.root
@pytest.mark.cgroup
@pytest.mark.parametrize("verb", VERBS)
def test_a_call_that_fails_never_makes_a_weaker_container(verb: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    matrix = Matrix(runtime, verb, make_bundle)
    faults = some(matrix.faults(), SLICE)
    assert len(faults) > 10
    wrong = matrix.wrong(faults)
    assert not wrong, "\n".join(wrong)
