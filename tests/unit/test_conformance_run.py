"""conformance/run reads what validation programs say, and tells whose each failure is."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SAY = "cat <<END\n{}\nEND\n"  # $RUNTIME in it is the runtime that the program was told
PROGRAMS = {
    "good": SAY.format(
        'TAP version 13\nok 1 - first\nSee: there\n  ---\n  {\n    "error": "wanted"\n  }\n  ...\n'
        "ok 2 - second # SKIP why\n1..2"
    ),
    "bad": SAY.format('ok 1 - first\nnot ok 2 - $RUNTIME\n  ---\n  {\n    "error": "detail"\n  }\n  ...\n1..2'),
    "silent": SAY.format('TAP version 13\n  ---\n  {\n    "error": "no check for it\\\\nmore"\n  }\n  ...\n1..0'),
    "dead": "echo 'it says why' >&2; echo 'exit status 3' >&2; exit 1",
    "hooks": SAY.format("not ok 1 - Hooks MUST be called in the listed order"),
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a built checkout of runtime-tools looks like."""
    for name, script in PROGRAMS.items():
        program = tmp_path / "validation" / name / f"{name}.t"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    (tmp_path / "runtimetest").touch()
    return tmp_path


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """conformance/run, called as a person does."""
    command = [PROJECT / "conformance/run", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def reports(checkout: Path, *words: str) -> dict[str, Any]:
    """What it says as JSON, by program."""
    done = run("--validation", str(checkout), "--runtime", "true", "--json", *words)
    assert done.stderr == ""
    return {report["program"]: report for report in json.loads(done.stdout)}


def test_checks_are_counted(checkout: Path) -> None:
    good = reports(checkout)["good"]
    assert (good["passed"], good["skipped"], good["failures"]) == (1, 1, [])


def test_a_failed_check_is_one_failure_and_the_programs_get_the_runtimes_path(checkout: Path) -> None:
    bad = reports(checkout)["bad"]
    assert bad["passed"] == 1
    assert [(f["text"], f["cause"]) for f in bad["failures"]] == [("/usr/bin/true", "runtime")]


def test_an_error_without_a_check_and_an_exit_status_are_failures_too(checkout: Path) -> None:
    found = reports(checkout)
    assert [f["text"] for f in found["silent"]["failures"]] == ["no check for it"]
    assert [f["text"] for f in found["dead"]["failures"]] == ["it says why"]


def test_a_known_failure_of_the_test_is_not_the_runtimes(checkout: Path) -> None:
    (failure,) = reports(checkout)["hooks"]["failures"]
    assert failure["cause"] == "test"
    assert "own hooks" in failure["why"]


def test_the_exit_status_is_that_of_the_runtime(checkout: Path) -> None:
    words = ("--validation", str(checkout / "validation"), "--runtime", "true")
    assert run(*words, "good", "hooks").returncode == 0
    failed = run(*words, "bad")
    assert failed.returncode == 1
    assert failed.stdout.splitlines()[-1] == "1 checks passed, 1 failed: 1 runtime, 0 host, 0 test"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--validation", "/nonexistent", "--runtime", "true"], "holds no validation"),
        (["--validation", "{}", "--runtime", "no-such-runtime"], "no such runtime"),
        (["--validation", "{}", "--runtime", "true", "nosuch"], "no such program: nosuch"),
        (["nosuch"], "programs are those of --validation"),
        (["--report", "/nonexistent"], 'no such report: "/nonexistent"'),
    ],
)
def test_bad_usage_is_one_line(checkout: Path, words: list[str], message: str) -> None:
    done = run(*[word.format(checkout) for word in words])
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_every_reason_is_whole_and_asks_for_something_that_can_be_asked() -> None:
    present = (PROJECT / "conformance/host.py").read_text()
    for reason in json.loads((PROJECT / "conformance/reasons.json").read_text()):
        assert reason["cause"] in {"host", "test"}
        assert reason["programs"]
        assert reason["why"]
        assert (reason["cause"] == "host") == ("lacks" in reason)
        assert f'"{reason.get("lacks", "selinux").partition(":")[0]}"' in present
