"""Runs the validation programs of OCI runtime-tools against a runtime, and tells for each failure whose it is.

The programs speak TAP. A line "ok" or "not ok" is a check; a YAML block with an error that follows no such line is a
failure that the program has no check for, and so is an exit status other than 0. What is known of a failure stands in
reasons.json; a failure that is not listed there is the runtime's.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from conformance import host

REASONS = Path(__file__).with_name("reasons.json")
TIMEOUT_S = 120
CHECK = re.compile(r"^(not )?ok\b\s*\d*\s*-?\s*(.*)$")
ERROR = re.compile(r'^\s+"error": "(.+)",?$')


@dataclass
class Failure:
    """One failed check: its words, and whose it is: "runtime", "host" or "test"."""

    text: str
    cause: str = "runtime"
    why: str = ""


@dataclass
class Report:
    """What one program said."""

    program: str
    passed: int = 0
    skipped: int = 0
    failures: list[Failure] = field(default_factory=list)


class BadDirectory(Exception):
    """A directory that holds no programs, in one line."""


def programs(directory: Path) -> tuple[Path, list[Path]]:
    """The directory to run in and the programs, by name. Raises BadDirectory.

    `directory` is the checkout of runtime-tools or its validation/: the programs find runtimetest and the root
    filesystem's archive in the checkout.
    """
    top = directory.parent if directory.name == "validation" else directory
    found = sorted((top / "validation").glob("**/*.t"), key=lambda path: path.stem)
    if not found:
        raise BadDirectory(f'"{directory}" holds no validation/**/*.t: build them as runtime-tools\' README says')
    if not (top / "runtimetest").exists():
        raise BadDirectory(f'"{top}" holds no runtimetest: build it as runtime-tools\' README says')
    return top, found


def run(program: Path, directory: Path, runtime: str) -> Report:
    """Run one program; what it started and left running is killed with its process group."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [program.absolute()],
            cwd=directory,
            env={**os.environ, "RUNTIME": runtime},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            code = None
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for file in (output, errors):
            file.seek(0)
        report = parsed(program.stem, output.read().decode(errors="replace"))
        last = errors.read().decode(errors="replace").strip().rpartition("exit status")[0].strip().splitlines()[-2:]
    if code is None:
        report.failures.append(Failure(f"no end within {TIMEOUT_S} s"))
    elif code and not report.failures:
        report.failures.append(Failure(" ".join(last) or f"exit status {code}"))
    return report


def parsed(program: str, output: str) -> Report:
    """A program's output as a report."""
    report = Report(program)
    after_check = False
    for line in output.splitlines():
        check, error = CHECK.match(line), ERROR.match(line)
        if check:
            count(report, bool(check[1]), check[2])
        elif error and not after_check:
            report.failures.append(Failure(error[1].partition("\\n")[0]))
        if check or line.strip() == "...":
            after_check = bool(check)
    return report


def count(report: Report, failed: bool, text: str) -> None:
    """Enter one check."""
    if failed:
        report.failures.append(Failure(text))
    elif "# skip" in text.lower():
        report.skipped += 1
    else:
        report.passed += 1


def explain(report: Report) -> None:
    """Find the cause of each failure."""
    reasons = json.loads(REASONS.read_text(encoding="utf-8"))
    known = [reason for reason in reasons if report.program in reason["programs"] and host.lacks(reason.get("lacks"))]
    for failure in report.failures:
        for reason in known:
            if re.search(reason["failure"], failure.text):
                failure.cause, failure.why = reason["cause"], reason["why"]
                break


def table(reports: list[Report]) -> str:
    """The reports for a person: a line for each program, and below it each failure with whose it is."""
    width = max(len(report.program) for report in reports)
    lines = [f"{'program':{width}} passed failed skipped"]
    for report in reports:
        lines.append(f"{report.program:{width}} {report.passed:6} {len(report.failures):6} {report.skipped:7}".rstrip())
        seen = dict.fromkeys(f"    {f.cause}: {f.why or f.text}" for f in report.failures)
        lines += seen
    causes = [failure.cause for report in reports for failure in report.failures]
    clean = sum(not any(f.cause == "runtime" for f in report.failures) for report in reports)
    by_cause = ", ".join(f"{causes.count(cause)} {cause}" for cause in ("runtime", "host", "test"))
    passed = sum(report.passed for report in reports)
    lines.append(f"{len(reports)} programs, {clean} without a failure of the runtime")
    lines.append(f"{passed} checks passed, {len(causes)} failed: {by_cause}")
    return "\n".join(lines)
