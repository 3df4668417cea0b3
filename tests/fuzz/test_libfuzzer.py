"""libFuzzer's targets, each for some thousand inputs from its seeds; `make fuzz` runs them for long."""

from __future__ import annotations

import re

import pytest

from tests.fuzz import libfuzzer

RUNS = 20000
# Target → branches that the seeds alone reach when they get past the first checks
REACHED = {"record": 35, "words": 35, "launch": 35, "plan": 35, "shape": 150}


@pytest.mark.slow
@pytest.mark.parametrize("name", libfuzzer.TARGETS)
def test_no_input_leads_outside_what_was_read(name: str) -> None:
    if not libfuzzer.available():
        pytest.skip("needs clang and its libFuzzer")
    code, text = libfuzzer.run(name, [f"-runs={RUNS}", "-max_total_time=10"])
    assert code == 0, text[-4000:]
    done = re.search(r"Done (\d+) runs", text)
    assert done, text[-1000:]
    assert int(done[1]) > RUNS / 20
    seeds = re.search(r"INITED\s+cov: (\d+)", text)
    assert seeds, text[:1000]
    assert int(seeds[1]) > REACHED[name], "the seeds do not get past the first check: of another format?"
