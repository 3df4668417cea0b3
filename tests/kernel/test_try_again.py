"""try_again of the host plan: settings of a network namespace, two of which limit each other as limits of cgroups do.

ip_unprivileged_port_start may not lie above the lowest port of ip_local_port_range (ip-sysctl.rst); EINVAL says so.
"""

from __future__ import annotations

import subprocess
import sys
from errno import EINVAL, ENOENT

import pytest

PERFORM = """
import sys
from ocirt.errors import OcirtError
from ocirt.plan import host_ops, ops
from tests import cgroups

def write(file, text):
    return host_ops.write_limit(f"/linux/resources/unified/{file}", "/proc/sys/net/ipv4", file, text, 2)

start, low = sys.argv[1:3]
others = ops.fallback(write("no_such_file", "1"), [2], [write("ip_default_ttl", "33")])
plan = [write("ip_unprivileged_port_start", start), *others, write("ip_local_port_range", f"{low} 61001")]
try:
    cgroups.perform([host_ops.try_again("", len(plan)), *plan])
except OcirtError as error:
    print(error.errno, error)
for name in ("ip_unprivileged_port_start", "ip_default_ttl", "ip_local_port_range"):
    print(open(f"/proc/sys/net/ipv4/{name}").read().split()[0])
"""


def performed(start: int, low: int) -> list[str]:
    """The error, if any, and what is set in the end."""
    words = ["unshare", "--net", sys.executable, "-c", PERFORM, str(start), str(low)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize(("start", "low"), [(50000, 60000), (100, 200), (1024, 32768)])
def test_what_is_refused_is_tried_again_after_the_others(start: int, low: int) -> None:
    assert performed(start, low) == [str(start), "33", str(low)]


def test_what_is_refused_in_the_end_is_named_and_the_others_are_set() -> None:
    error, *values = performed(62000, 60000)
    assert error.startswith(f"{EINVAL} config.json: /linux/resources/unified/ip_unprivileged_port_start: write")
    assert values == ["1024", "33", "60000"]


def test_another_reason_ends_it_at_once() -> None:
    assert ENOENT == 2
    error, *values = performed(-1, 60000)
    assert error.startswith(f"{EINVAL} ")
    assert values[0] == "1024"
