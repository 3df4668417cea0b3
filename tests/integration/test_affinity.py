"""The CPUs that a container's processes run on: those of its cgroup, whichever the caller keeps to."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.integration.limits_table import ROWS, at_the_top
from tests.integration.limits_table import version as carried
from tests.integration.support import Runtime
from tests.integration.views import MakeBundle, user_namespace

ALLOWED = ["sh", "-c", "grep Cpus_allowed_list /proc/self/status"]
CPUS = sorted(os.sched_getaffinity(0))

pytestmark = pytest.mark.skipif(len(CPUS) < 2, reason="needs two CPUs")


def allowed(text: str) -> set[int]:
    """The CPUs in a line of status (proc_pid_status(5))."""
    found: set[int] = set()
    for part in text.split(":")[1].strip().split(","):
        low, _, high = part.partition("-")
        found.update(range(int(low), int(high or low) + 1))
    return found


def bound() -> None:
    """To the first CPU, as taskset(1) or a unit's CPUAffinity= does it."""
    os.sched_setaffinity(0, CPUS[:1])


@pytest.mark.parametrize("linux", [{}, user_namespace()], ids=["host's users", "user namespace"])
@pytest.mark.parametrize("flags", [(), ("--cgroup-manager", "disabled")], ids=["cgroups", "no cgroups"])
def test_the_callers_cpus_are_not_the_containers(
    linux: Any, flags: tuple[str, ...], runtime: Runtime, make_bundle: MakeBundle
) -> None:
    bundle = make_bundle(args=ALLOWED, linux=linux)
    container_id = runtime.new_id()
    done = runtime.run(*flags, "run", "--bundle", str(bundle.path), container_id, check=True, preexec_fn=bound)
    assert allowed(done.stdout) >= set(CPUS)


def test_nor_are_they_those_of_a_process_that_exec_adds(runtime: Runtime, make_bundle: MakeBundle) -> None:
    container = runtime.start(make_bundle(args=["sleep", "600"]), preexec_fn=bound)
    assert allowed(container.proc("status").split("Cpus_allowed_list")[1].split("\n")[0]) >= set(CPUS)
    for _ in range(2):  # the second one without an interpreter
        assert allowed(container.exec(*ALLOWED, preexec_fn=bound).stdout) >= set(CPUS)


@pytest.mark.cgroup
@pytest.mark.parametrize("cpu", CPUS[:2])
def test_the_cpuset_of_the_container_counts(cpu: int, runtime: Runtime, make_bundle: MakeBundle) -> None:
    if not carried(next(row for row in ROWS if row.pointer == "/cpu/cpus")):
        pytest.skip("no hierarchy has the controller cpuset")
    name = runtime.new_id()
    linux = {**at_the_top(name), "resources": {"cpu": {"cpus": str(cpu)}}}
    container = runtime.create(make_bundle(args=["sleep", "600"], linux=linux), container_id=name, preexec_fn=bound)
    assert os.sched_getaffinity(container.pid) == {cpu}
    assert allowed(container.exec(*ALLOWED, preexec_fn=bound).stdout) == {cpu}
    runtime.run("update", "--cpuset-cpus", f"{CPUS[0]},{CPUS[1]}", name, check=True)
    assert os.sched_getaffinity(container.pid) == set(CPUS[:2])


@pytest.mark.parametrize(
    ("affinity", "expected"),
    [({"initial": str(CPUS[-1])}, {CPUS[-1]}), ({"final": str(CPUS[-1])}, {CPUS[-1]}), ({"initial": ""}, set(CPUS))],
    ids=["initial", "final", "empty"],
)
def test_what_the_config_says_of_exec_stays(
    affinity: Any, expected: set[int], runtime: Runtime, make_bundle: MakeBundle
) -> None:
    container = runtime.start(make_bundle(args=["sleep", "600"], process={"execCPUAffinity": affinity}))
    assert os.sched_getaffinity(container.pid) >= set(CPUS)
    assert allowed(container.exec(*ALLOWED, preexec_fn=bound).stdout) >= expected
    assert len(expected) > 1 or allowed(container.exec(*ALLOWED, preexec_fn=bound).stdout) == expected
