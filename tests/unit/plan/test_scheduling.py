"""scheduler, ioPriority, memoryPolicy, personality and execCPUAffinity in the kernel's terms."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from ocirt.errors import ConfigError
from ocirt.plan import scheduling
from ocirt.plan.describe import host as describe
from tests.unit.plan.support import compiled, config, named, order


def attributes(section: dict[str, Any]) -> tuple[int, ...]:
    """process.scheduler as it is handed to the kernel."""
    plan = compiled(config(process={"scheduler": section}))
    ((name, pointer, _, (packed,)),) = plan.errands
    assert (name, pointer) == ("scheduler", "/process/scheduler")
    return struct.unpack("<IIQiIQQQII", packed)


@pytest.mark.parametrize(
    ("policy", "number"),
    [
        ("SCHED_OTHER", 0),
        ("SCHED_FIFO", 1),
        ("SCHED_RR", 2),
        ("SCHED_BATCH", 3),
        ("SCHED_ISO", 4),
        ("SCHED_IDLE", 5),
        ("SCHED_DEADLINE", 6),
    ],
)
def test_what_is_not_set_is_zero(policy: str, number: int) -> None:
    assert attributes({"policy": policy}) == (56, number, 0, 0, 0, 0, 0, 0, 0, 0)


def test_every_parameter_has_its_place() -> None:
    found = attributes(
        {
            "policy": "SCHED_DEADLINE",
            "nice": -5,
            "priority": 7,
            "flags": list(scheduling.SCHED_FLAGS),
            "runtime": 1,
            "deadline": 2,
            "period": 1 << 40,
        }
    )
    assert found == (56, 6, 0x7F, -5, 7, 1, 2, 1 << 40, 0, 0)


@pytest.mark.parametrize(("name", "number"), [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)])
def test_an_io_priority_is_its_class_and_level(name: str, number: int) -> None:
    plan = compiled(config(process={"ioPriority": {"class": name, "priority": 5}}))
    assert plan.errands == [("io_priority", "/process/ioPriority", 0, (number << 13 | 5,))]


def test_the_init_waits_for_the_runtimes_errands() -> None:
    plan = compiled(config(process={"scheduler": {"policy": "SCHED_BATCH"}}))
    assert 2 in plan.syncs
    assert 2 not in compiled(config()).syncs


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"mode": "MPOL_DEFAULT"}, (0, b"")),
        ({"mode": "MPOL_PREFERRED", "nodes": ""}, (1, b"")),
        ({"mode": "MPOL_BIND", "nodes": "0"}, (2, b"\1" + bytes(7))),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "1-3, 64"}, (3, b"\x0e" + bytes(7) + b"\1" + bytes(7))),
        ({"mode": "MPOL_LOCAL"}, (4, b"")),
        ({"mode": "MPOL_PREFERRED_MANY", "nodes": "63"}, (5, bytes(7) + b"\x80")),
        (
            {"mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
            (6 | 1 << 15, b"\1" + bytes(7)),
        ),
        (
            {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES"]},
            (2 | 1 << 13 | 1 << 14, b"\1" + bytes(7)),
        ),
    ],
)
def test_a_memory_policy_is_a_mode_with_flags_and_a_mask(policy: dict[str, Any], expected: tuple[int, bytes]) -> None:
    plan = compiled(config(linux={"memoryPolicy": policy}))
    assert named(plan, "memory_policy") == [expected]
    assert order(plan).index("sync") < order(plan).index("memory_policy"), "a cpuset limits the nodes"


def test_a_node_beyond_every_kernels_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"memoryPolicy/nodes: found 1024, must be from 0 to 1023"):
        compiled(config(linux={"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-1024"}}))


@pytest.mark.parametrize(("domain", "number"), [("LINUX", 0), ("LINUX32", 8)])
def test_the_execution_domain_is_set_before_a_filter_could_forbid_it(domain: str, number: int) -> None:
    plan = compiled(config(linux={"personality": {"domain": domain}}), seccomp=1)
    assert named(plan, "personality") == [(number,)]
    assert order(plan).index("personality") < order(plan).index("seccomp")


def test_cpus_of_exec_are_read_before_and_after_the_cgroup() -> None:
    process = {"execCPUAffinity": {"initial": "7", "final": "0-3, 7,2"}}
    assert scheduling.affinity(process, "initial") == [7]
    assert scheduling.affinity(process, "final") == [0, 1, 2, 3, 7]
    assert scheduling.affinity({"execCPUAffinity": {"initial": ""}}, "initial") == []
    assert scheduling.affinity({}, "final") == []
    with pytest.raises(ConfigError, match=r"/process/execCPUAffinity/final: found 8192"):
        scheduling.affinity({"execCPUAffinity": {"final": "8192"}}, "final")


def test_cpus_of_exec_change_nothing_for_the_first_process() -> None:
    assert compiled(config(process={"execCPUAffinity": {"initial": "1"}})).ops == compiled(config()).ops


def test_errands_are_told_in_one_line_with_what_helps() -> None:
    process = {
        "scheduler": {"policy": "SCHED_RR", "priority": 3, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
        "ioPriority": {"class": "IOPRIO_CLASS_RT", "priority": 0},
    }
    first, second = compiled(config(process=process)).errands
    words = "set the scheduling policy SCHED_RR (priority 3, SCHED_FLAG_RESET_ON_FORK)"
    assert describe.describe(first) == words
    assert describe.failure(first, 1).startswith(f"{words} (a real-time policy")
    assert describe.describe(second) == "set the I/O priority IOPRIO_CLASS_RT, 0"
    assert describe.failure(second, 5) == describe.describe(second)
