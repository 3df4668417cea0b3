"""In the guest: a pytest plugin that sends each report to the host, among whatever else is written.

A record is a JSON text sequence's (RFC 7464): the separator, one line of JSON.
"""

from __future__ import annotations

import fcntl
import json
import os
from typing import Any

import pytest

SEPARATOR = b"\x1e"
RUN = "OCIRT_GUEST_RUN"  # the environment's name for the run that a report belongs to

OUTPUT = os.dup(2)  # now, before pytest captures it


class Reporter:
    """Sends reports as they come."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def send(self, **record: Any) -> None:
        line = json.dumps({"run": os.environ.get(RUN, ""), **record}).encode()
        left = memoryview(SEPARATOR + line + b"\n")
        with open(__file__) as lock:  # others send to the same port
            fcntl.flock(lock, fcntl.LOCK_EX)
            while left:
                left = left[os.write(OUTPUT, left) :]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.send(report=self.config.hook.pytest_report_to_serializable(config=self.config, report=report))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if not report.passed:
            self.send(report=self.config.hook.pytest_report_to_serializable(config=self.config, report=report))

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        self.send(exit=int(exitstatus))


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Reporter(config), "ocirt-guest-reporter")
