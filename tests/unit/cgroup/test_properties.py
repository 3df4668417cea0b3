"""linux.resources and annotations as properties of a unit, on v1 and on v2."""

from __future__ import annotations

from typing import Any

import pytest

from ocirt.cgroup import devices
from ocirt.cgroup.properties import INFINITY, mask, of_annotations, of_devices, of_resources
from ocirt.errors import ConfigError

Json = dict[str, Any]
MIB = 1 << 20
DISK = {"major": 8, "minor": 16}

# (resources, properties on v1, properties on v2)
TABLE: list[tuple[Json, list[Any], list[Any]]] = [
    ({}, [], []),
    ({"pids": {"limit": 7}}, [("TasksMax", "t", 7)], [("TasksMax", "t", 7)]),
    ({"pids": {"limit": -1}}, [("TasksMax", "t", INFINITY)], [("TasksMax", "t", INFINITY)]),
    ({"pids": {"limit": 0}}, [("TasksMax", "t", 1)], [("TasksMax", "t", 1)]),
    ({"memory": {"limit": MIB}}, [("MemoryLimit", "t", MIB)], [("MemoryMax", "t", MIB)]),
    (
        {"memory": {"limit": MIB, "swap": 3 * MIB, "reservation": 512}},
        [("MemoryLimit", "t", MIB)],
        [("MemoryMax", "t", MIB), ("MemoryLow", "t", 512), ("MemorySwapMax", "t", 2 * MIB)],
    ),
    (
        {"memory": {"limit": -1}},
        [("MemoryLimit", "t", INFINITY)],
        [("MemoryMax", "t", INFINITY), ("MemorySwapMax", "t", INFINITY)],
    ),
    ({"cpu": {"shares": 1024}}, [("CPUShares", "t", 1024)], [("CPUWeight", "t", 100)]),
    ({"cpu": {"shares": 1024, "idle": 1}}, [], []),
    ({"cpu": {"quota": 50000}}, *[[("CPUQuotaPerSecUSec", "t", 500000)]] * 2),
    (
        {"cpu": {"quota": 15001, "period": 10000}},
        *[[("CPUQuotaPeriodUSec", "t", 10000), ("CPUQuotaPerSecUSec", "t", 1510000)]] * 2,
    ),
    (
        {"cpu": {"quota": -1, "period": 10000}},
        *[[("CPUQuotaPeriodUSec", "t", 10000), ("CPUQuotaPerSecUSec", "t", INFINITY)]] * 2,
    ),
    (
        {"cpu": {"cpus": "0-2,9", "mems": "0"}},
        *[[("AllowedCPUs", "ay", b"\x07\x02"), ("AllowedMemoryNodes", "ay", b"\x01")]] * 2,
    ),
    (
        {
            "blockIO": {
                "weight": 1000,
                "weightDevice": [{**DISK, "weight": 10}],
                "throttleReadBpsDevice": [{**DISK, "rate": 99}],
                "throttleWriteIOPSDevice": [{**DISK, "rate": 0}],
            }
        },
        [
            ("BlockIOWeight", "t", 1000),
            ("BlockIODeviceWeight", "a(st)", [("/dev/block/8:16", 10)]),
            ("BlockIOReadBandwidth", "a(st)", [("/dev/block/8:16", 99)]),
        ],
        [
            ("IOWeight", "t", 10000),
            ("IODeviceWeight", "a(st)", [("/dev/block/8:16", 1)]),
            ("IOReadBandwidthMax", "a(st)", [("/dev/block/8:16", 99)]),
            ("IOWriteIOPSMax", "a(st)", [("/dev/block/8:16", INFINITY)]),
        ],
    ),
    ({"hugepageLimits": [{"pageSize": "2MB", "limit": 5}], "rdma": {}}, [], []),
    (
        {"memory": {"limit": MIB}, "unified": {"memory.max": "4096", "memory.high": "max", "pids.max": "3"}},
        [("MemoryLimit", "t", MIB)],
        [("MemoryMax", "t", 4096), ("MemoryHigh", "t", INFINITY), ("TasksMax", "t", 3)],
    ),
    (
        {"unified": {"cpu.max": "1000 20000", "cpuset.cpus": "8", "cpu.weight": "5", "memory.oom.group": "1"}},
        [],
        [
            ("CPUQuotaPeriodUSec", "t", 20000),
            ("CPUQuotaPerSecUSec", "t", 50000),
            ("AllowedCPUs", "ay", b"\x00\x01"),
            ("CPUWeight", "t", 5),
        ],
    ),
    ({"unified": {"cpu.max": "max"}}, [], [("CPUQuotaPerSecUSec", "t", INFINITY)]),
    ({"unified": {"memory.max": "1M", "cpuset.cpus": "0-1:1/2", "cpu.max": "a b", "io.max": "8:0 rbps=1"}}, [], []),
]


@pytest.mark.parametrize(("resources", "v1", "v2"), TABLE)
def test_limits_become_properties(resources: Json, v1: list[Any], v2: list[Any]) -> None:
    assert of_resources(resources, False) == v1
    assert of_resources(resources, True) == v2


@pytest.mark.parametrize(
    ("numbers", "bits"),
    [("0", b"\x01"), ("7", b"\x80"), ("8", b"\x00\x01"), ("0-15", b"\xff\xff"), ("1, 3", b"\x0a"), ("", b"")],
)
def test_a_list_of_processors_is_a_mask_of_bytes(numbers: str, bits: bytes) -> None:
    assert mask(numbers) == bits


@pytest.mark.parametrize("numbers", ["a", "3-1", "1-", "-1", "99999999999", "1-99999999999", "1,,2"])
def test_what_is_no_list_of_processors_is_no_mask(numbers: str) -> None:
    assert mask(numbers) == b""


def rules(*listed: Json) -> list[Any]:
    return of_devices(*devices.rules(listed))


@pytest.mark.parametrize("text", ["9" * 5000, str(2**64), "\u0663", "1 " + "9" * 5000])
def test_a_text_that_is_no_number_of_the_kernel_is_no_property(text: str) -> None:
    unified = dict.fromkeys(("pids.max", "memory.max", "cpu.weight", "cpu.max", "cpuset.cpus"), text)
    assert of_resources({"unified": unified, "cpu": {"cpus": text}}, True) == []


def test_allowed_devices_are_told_to_systemd() -> None:
    allow = {"allow": True, "type": "b", "major": 8, "access": "r"}
    policy, emptied, allowed = rules({"allow": False, "access": "rwm"}, allow)
    assert policy == ("DevicePolicy", "s", "strict")
    assert emptied == ("DeviceAllow", "a(ss)", [])
    assert {("block-8", "r"), ("/dev/char/1:3", "rwm"), ("char-136", "rwm"), ("char-*", "m")} <= set(allowed[2])


@pytest.mark.parametrize(
    "listed",
    [
        [{"allow": True, "access": "rwm"}],
        [{"allow": False}, {"allow": True, "type": "b", "access": "rwm"}, {"allow": False, "type": "b", "major": 8}],
    ],
)
def test_rules_that_systemd_cannot_express_are_left_to_the_runtime(listed: list[Json]) -> None:
    assert rules(*listed) == [("DevicePolicy", "s", "auto"), ("DeviceAllow", "a(ss)", [])]


def test_seconds_become_microseconds() -> None:
    def usec(text: str) -> Any:
        return of_annotations({"org.systemd.property.TimeoutStopSec": text})

    assert usec("10") == usec("uint64 10") == usec("10.0") == [("TimeoutStopUSec", "t", 10_000_000)]
    assert usec("0.5") == [("TimeoutStopUSec", "t", 500_000)]


def test_other_annotations_are_no_properties() -> None:
    assert of_annotations({"a": "b", "org.systemd.propertyX": "1"}) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("", "1"), ("Ab", "1"), ("A_B", "1"), ("Exec Start", "1"), ("Naïve", "1"), ("TasksMax", "unquoted"),
        ("TimeoutSec", "'5'"), ("TimeoutSec", "-1"), ("TimeoutSec", "1e300"), ("TimeoutSec", "1e999"),
        ("TimeoutSec", "@ai []"), ("PIDs", "[uint32 1]"), ("Slice", "'system.slice'"),
    ],
)  # fmt: skip
def test_a_wrong_property_is_an_error_of_its_annotation(name: str, text: str) -> None:
    with pytest.raises(ConfigError) as error:
        of_annotations({f"org.systemd.property.{name}": text})
    assert error.value.pointer == f"/annotations/org.systemd.property.{name}"
