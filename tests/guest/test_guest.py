"""Tests run in the guest and reported here, each as if it had run here: "tests/guest/root/tests/…::test_…"."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from tests.guest import machine
from tests.guest.reporter import RUN, SEPARATOR
from tests.guest.selection import ENVIRONMENT, RUNS, SECONDS, Run

PYTEST = ".venv/bin/python -m pytest -q -p tests.guest.reporter -p no:cacheprovider"
PREPARED = "modprobe --all loop bfq"  # for a block device whose weights can be limited
ENDED = {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}


class Relay:
    """Takes what the guest writes, and hands the reports in it to this run's plugins."""

    def __init__(self, session: pytest.Session) -> None:
        self.session = session
        self.exits: dict[int, int] = {}
        self.text = b""
        self._rest = b""

    def feed(self, data: bytes) -> None:
        before, *records = (self._rest + data).split(SEPARATOR)
        self.text += before
        self._rest = b""
        for record in records:
            line, end, text = record.partition(b"\n")
            if not end:
                self._rest = SEPARATOR + record
                return
            self.take(json.loads(line))
            self.text += text

    def take(self, record: dict[str, Any]) -> None:
        if "exit" in record:
            self.exits[int(record["run"])] = record["exit"]
            return
        hook = self.session.config.hook
        report = hook.pytest_report_from_serializable(config=self.session.config, data=record["report"])
        report.nodeid = f"tests/guest/{RUNS[int(record['run'])].where}/{report.nodeid}"
        if isinstance(report.longrepr, list):  # of a skip: JSON has no tuples
            path, line, reason = report.longrepr
            report.longrepr = (path.replace("/ocirt/", f"{machine.PROJECT}/", 1), line, reason)
        if isinstance(report, pytest.CollectReport):
            hook.pytest_collectreport(report=report)
            return
        if report.when == "setup":
            self.session.testscollected += 1
            hook.pytest_runtest_logstart(nodeid=report.nodeid, location=report.location)
        hook.pytest_runtest_logreport(report=report)
        if report.when == "teardown":
            hook.pytest_runtest_logfinish(nodeid=report.nodeid, location=report.location)

    def early(self, boot: str) -> list[str]:
        """The runs that did not come to their end."""
        return [f"{run.where}: {' '.join(run.tests)}" for n, run in runs(boot) if self.exits.get(n) not in ENDED]


def runs(boot: str) -> list[tuple[int, Run]]:
    """Those of a boot, with their numbers."""
    return [(number, run) for number, run in enumerate(RUNS) if run.boot == boot]


def job(boot: str) -> str:
    """The shell script: every run at once, its own words to where nobody reads them, for the reports say it all."""
    lines = [PREPARED]
    for number, run in runs(boot):
        environment = {**ENVIRONMENT, RUN: str(number)}
        words = ["env", *(f"{name}={value}" for name, value in environment.items()), *PYTEST.split(), *run.tests]
        if run.without or run.only:
            chosen = [f"not {part}" for part in run.without] + [f"({' or '.join(run.only)})"] * bool(run.only)
            words += ["-k", " and ".join(chosen)]
        lines.append(shlex.join(words if run.user == "root" else ["as-user", *words]) + " >/dev/null &")
    return "\n".join([*lines, "wait"])


@pytest.mark.parametrize("boot", machine.BOOTS)
def test_the_guest_runs_its_tests_to_their_end(
    request: pytest.FixtureRequest, capfd: pytest.CaptureFixture, boot: str
) -> None:
    relay = Relay(request.session)
    try:
        with capfd.disabled():
            machine.run(job(boot), relay.feed, SECONDS, boot)
    except machine.Unavailable as reason:
        pytest.skip(f"no guest: {reason}")
    except (machine.Broken, machine.Late) as reason:
        pytest.fail(str(reason), pytrace=False)
    if early := relay.early(boot):
        text = relay.text.decode(errors="replace")[-4000:]
        pytest.fail(f"ended early in the guest: {', '.join(early)}\n{text}", pytrace=False)
