"""System calls of create, start, exec and delete that fail: an error with a reason, or a container that is as asked.

OCIRT_FAULTS=N tries N of them for each verb; `make fuzz` tries all.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.fuzz.faults import VERBS, Matrix, some
from tests.integration.injection import INTERPRETER
from tests.integration.support import Container, Runtime
from tests.integration.views import MakeBundle

# What finds out what a container is
LOOKING = ("openat", "read", "pidfd_open")

SLICE = int(os.environ.get("OCIRT_FAULTS") or 20)


@pytest.mark.root
@pytest.mark.cgroup
@pytest.mark.slow
@pytest.mark.parametrize(("verb", "kept"), [*((verb, False) for verb in VERBS), ("create", True), ("exec", True)])
def test_a_call_that_fails_never_makes_a_weaker_container(
    verb: str, kept: bool, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    matrix = Matrix(runtime, verb, make_bundle, kept)
    faults = some(matrix.faults(), SLICE)
    assert len(faults) > 10
    wrong = matrix.wrong(faults)
    assert not wrong, "\n".join(wrong)


@pytest.mark.root
@pytest.mark.parametrize(("verb", "error"), [("state", "EMFILE"), ("delete", "ENOMEM")])
def test_what_cannot_be_read_makes_no_running_container_a_stopped_one(
    verb: str, error: str, sleeper: Container, runtime: Runtime, scratch: Path
) -> None:
    """An engine takes a stopped one for gone; and a delete would take away the state of one that runs on."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    log, program = scratch / "calls", [runtime.program, "--root", str(runtime.root), verb, sleeper.id]
    subprocess.run(["strace", "-o", log, f"--trace={','.join(LOOKING)}", *program], capture_output=True, check=False)
    counts = Counter(re.findall(r"^(\w+)\(", log.read_text(), re.MULTILINE))
    assert counts["openat"] > 3
    for call, most in counts.items():
        for n in range(1, most + 1):
            fault = f"--inject={call}:error={error}:when={n}"
            done = subprocess.run(["strace", "-o", log, fault, *program], capture_output=True, text=True, check=False)
            assert done.returncode or verb == "state", f"{fault}: deleted"
            assert "stopped" not in done.stdout + done.stderr, f"{fault}: {done.stdout}{done.stderr}"
            if not any(words in done.stderr for words in INTERPRETER):
                assert "Traceback" not in done.stderr, f"{fault}: {done.stderr}"
                assert "internal error" not in done.stderr, f"{fault}: {done.stderr}"
    assert sleeper.status == "running"
