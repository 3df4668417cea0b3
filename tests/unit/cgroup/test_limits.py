"""linux.resources → writes to cgroup files, for v1, v2 and hosts that lack a controller."""

from __future__ import annotations

from typing import Any

import pytest

from ocirt.cgroup import limits
from ocirt.cgroup.limits_v2 import weight_from_shares

Json = dict[str, Any]

V1 = ("cpu", "cpuset", "memory", "blkio", "pids", "hugetlb", "net_cls", "net_prio", "rdma")


def on_v1(resources: Json) -> list[tuple[str, str]]:
    """(file, text) on a host with every controller of v1."""
    return [(file, text) for _, _, file, text, _, _ in limits.writes(resources, V1, False)]


def on_v2(resources: Json) -> list[tuple[str, str]]:
    """(file, text) on a host with v2 alone."""
    return [(file, text) for _, _, file, text, _, _ in limits.writes(resources, (), True)]


MIB = 1 << 20
DISK = {"major": 8, "minor": 16}

# (resources, writes on v1, writes on v2; a text: the property that v2 refuses)
TABLE: list[tuple[Json, list[tuple[str, str]], list[tuple[str, str]] | str]] = [
    ({}, [], []),
    ({"pids": {"limit": 7}}, [("pids.max", "7")], [("pids.max", "7")]),
    ({"pids": {"limit": 0}}, [("pids.max", "1")], [("pids.max", "1")]),
    ({"pids": {"limit": -1}}, [("pids.max", "max")], [("pids.max", "max")]),
    ({"pids": {}}, [], []),
    ({"memory": {"limit": MIB}}, [("memory.limit_in_bytes", "1048576")], [("memory.max", "1048576")]),
    ({"memory": {"limit": 0, "swap": 0, "reservation": 0, "kernel": 0, "kernelTCP": 0}}, [], []),
    (
        {"memory": {"limit": MIB, "swap": 3 * MIB}},
        [("memory.limit_in_bytes", "1048576"), ("memory.memsw.limit_in_bytes", "3145728")],
        [("memory.swap.max", "2097152"), ("memory.max", "1048576")],
    ),
    (
        {"memory": {"limit": MIB, "swap": MIB}},
        [("memory.limit_in_bytes", "1048576"), ("memory.memsw.limit_in_bytes", "1048576")],
        [("memory.swap.max", "0"), ("memory.max", "1048576")],
    ),
    (
        {"memory": {"limit": MIB, "swap": -1}},
        [("memory.limit_in_bytes", "1048576"), ("memory.memsw.limit_in_bytes", "-1")],
        [("memory.swap.max", "max"), ("memory.max", "1048576")],
    ),
    (
        {"memory": {"limit": -1}},
        [("memory.limit_in_bytes", "-1"), ("memory.memsw.limit_in_bytes", "-1")],
        [("memory.swap.max", "max"), ("memory.max", "max")],
    ),
    (
        {"memory": {"limit": -1, "swap": MIB}},
        [("memory.limit_in_bytes", "-1"), ("memory.memsw.limit_in_bytes", "1048576")],
        [("memory.swap.max", "1048576"), ("memory.max", "max")],
    ),
    ({"memory": {"swap": MIB}}, [("memory.memsw.limit_in_bytes", "1048576")], "/memory/swap"),
    (
        {"memory": {"limit": 2 * MIB, "swap": MIB}},
        [("memory.limit_in_bytes", "2097152"), ("memory.memsw.limit_in_bytes", "1048576")],
        "/memory/swap",
    ),
    ({"memory": {"reservation": MIB}}, [("memory.soft_limit_in_bytes", "1048576")], [("memory.low", "1048576")]),
    ({"memory": {"reservation": -1}}, [("memory.soft_limit_in_bytes", "-1")], [("memory.low", "max")]),
    ({"memory": {"kernel": MIB}}, [("memory.kmem.limit_in_bytes", "1048576")], "/memory/kernel"),
    ({"memory": {"kernelTCP": MIB}}, [("memory.kmem.tcp.limit_in_bytes", "1048576")], "/memory/kernelTCP"),
    ({"memory": {"kernel": -1}}, [("memory.kmem.limit_in_bytes", "-1")], []),
    ({"memory": {"swappiness": 0}}, [("memory.swappiness", "0")], "/memory/swappiness"),
    ({"memory": {"disableOOMKiller": True}}, [("memory.oom_control", "1")], "/memory/disableOOMKiller"),
    ({"memory": {"disableOOMKiller": False}}, [("memory.oom_control", "0")], []),
    ({"memory": {"useHierarchy": True}}, [("memory.use_hierarchy", "1")], []),
    ({"memory": {"useHierarchy": False}}, [("memory.use_hierarchy", "0")], "/memory/useHierarchy"),
    ({"memory": {"checkBeforeUpdate": True}}, [], []),
    ({"cpu": {"shares": 1024}}, [("cpu.shares", "1024")], [("cpu.weight", "100")]),
    (
        {"cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": "", "realtimeRuntime": 0}},
        [],
        [],
    ),
    ({"cpu": {"quota": 5000}}, [("cpu.cfs_quota_us", "5000")], [("cpu.max", "5000")]),
    ({"cpu": {"period": 50000}}, [("cpu.cfs_period_us", "50000")], [("cpu.max", "max 50000")]),
    (
        {"cpu": {"quota": -1, "period": 50000}},
        [("cpu.cfs_period_us", "50000"), ("cpu.cfs_quota_us", "-1")],
        [("cpu.max", "max 50000")],
    ),
    (
        {"cpu": {"quota": 5000, "period": 50000, "burst": 1000}},
        [("cpu.cfs_period_us", "50000"), ("cpu.cfs_quota_us", "5000"), ("cpu.cfs_burst_us", "1000")],
        [("cpu.max", "5000 50000"), ("cpu.max.burst", "1000")],
    ),
    ({"cpu": {"burst": 0}}, [("cpu.cfs_burst_us", "0")], [("cpu.max.burst", "0")]),
    (
        {"cpu": {"idle": 1, "shares": 2}},
        [("cpu.shares", "2"), ("cpu.idle", "1")],
        [("cpu.weight", "1"), ("cpu.idle", "1")],
    ),
    (
        {"cpu": {"realtimePeriod": 1000000, "realtimeRuntime": 950000}},
        [("cpu.rt_period_us", "1000000"), ("cpu.rt_runtime_us", "950000")],
        "/cpu/realtimePeriod",
    ),
    ({"cpu": {"realtimeRuntime": 1}}, [("cpu.rt_runtime_us", "1")], "/cpu/realtimeRuntime"),
    (
        {"cpu": {"cpus": "0-1", "mems": "0"}},
        [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")],
        [("cpuset.cpus", "0-1"), ("cpuset.mems", "0")],
    ),
    ({"blockIO": {"weight": 500}}, [("blkio.weight", "500")], [("io.bfq.weight", "500")]),
    ({"blockIO": {"leafWeight": 500}}, [("blkio.leaf_weight", "500")], "/blockIO/leafWeight"),
    (
        {"blockIO": {"weightDevice": [{**DISK, "weight": 300}]}},
        [("blkio.weight_device", "8:16 300")],
        [("io.bfq.weight", "8:16 300")],
    ),
    (
        {"blockIO": {"weightDevice": [{**DISK, "leafWeight": 300}]}},
        [("blkio.leaf_weight_device", "8:16 300")],
        "/blockIO/weightDevice/0/leafWeight",
    ),
    (
        {"blockIO": {"throttleReadBpsDevice": [{**DISK, "rate": 1}, {**DISK, "minor": 0, "rate": 2}]}},
        [("blkio.throttle.read_bps_device", "8:16 1"), ("blkio.throttle.read_bps_device", "8:0 2")],
        [("io.max", "8:16 rbps=1"), ("io.max", "8:0 rbps=2")],
    ),
    (
        {"blockIO": {"throttleWriteBpsDevice": [{**DISK, "rate": 0}]}},
        [("blkio.throttle.write_bps_device", "8:16 0")],
        [("io.max", "8:16 wbps=max")],
    ),
    (
        {"blockIO": {"throttleReadIOPSDevice": [{**DISK, "rate": 9}]}},
        [("blkio.throttle.read_iops_device", "8:16 9")],
        [("io.max", "8:16 riops=9")],
    ),
    (
        {"blockIO": {"throttleWriteIOPSDevice": [{**DISK, "rate": 9}]}},
        [("blkio.throttle.write_iops_device", "8:16 9")],
        [("io.max", "8:16 wiops=9")],
    ),
    (
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]},
        [("hugetlb.2MB.limit_in_bytes", "4194304"), ("hugetlb.2MB.rsvd.limit_in_bytes", "4194304")],
        [("hugetlb.2MB.max", "4194304"), ("hugetlb.2MB.rsvd.max", "4194304")],
    ),
    ({"network": {"classID": 1048577}}, [("net_cls.classid", "1048577")], "/network/classID"),
    ({"network": {"classID": 0, "priorities": []}}, [], []),
    (
        {"network": {"priorities": [{"name": "lo", "priority": 0}]}},
        [("net_prio.ifpriomap", "lo 0")],
        "/network/priorities/0",
    ),
    (
        {"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 0}, "rxe3": {"hcaObjects": 9}}},
        [("rdma.max", "mlx5_1 hca_handle=3 hca_object=0"), ("rdma.max", "rxe3 hca_object=9")],
        [("rdma.max", "mlx5_1 hca_handle=3 hca_object=0"), ("rdma.max", "rxe3 hca_object=9")],
    ),
    ({"devices": [{"allow": False}]}, [], []),
]


@pytest.mark.parametrize(("resources", "v1", "v2"), TABLE, ids=[str(row[0]) for row in TABLE])
def test_each_resource_is_written_where_the_kernel_has_it(
    resources: Json, v1: list[tuple[str, str]], v2: list[tuple[str, str]] | str
) -> None:
    assert on_v1(resources) == v1
    if isinstance(v2, str):
        with pytest.raises(limits.Unmet) as caught:
            on_v2(resources)
        assert caught.value.pointer == v2
    else:
        assert on_v2(resources) == v2


@pytest.mark.parametrize(("resources", "v1", "v2"), TABLE, ids=[str(row[0]) for row in TABLE])
def test_a_limit_that_no_hierarchy_can_hold_is_refused_and_no_limit_is_not(
    resources: Json, v1: list[tuple[str, str]], v2: list[tuple[str, str]] | str
) -> None:
    nothing_is_asked = not v1 or list(resources.values()) in (
        [{"disableOOMKiller": False}], [{"useHierarchy": True}], [{"burst": 0}],
    )  # fmt: skip
    if nothing_is_asked:
        assert limits.writes(resources, (), False) == []
        return
    with pytest.raises(limits.Unmet) as caught:
        limits.writes(resources, ("freezer",), False)
    assert caught.value.pointer.startswith("/" + next(iter(resources)))
    assert "no hierarchy with it is mounted" in caught.value.reason


def test_on_a_hybrid_host_each_controller_is_written_in_the_manner_of_its_hierarchy() -> None:
    resources = {"memory": {"limit": 1}, "hugepageLimits": [{"pageSize": "2MB", "limit": 2}]}
    found = [write[:4] for write in limits.writes(resources, ("memory",), True)]
    assert found == [
        (1, "memory", "memory.limit_in_bytes", "1"),
        (2, "hugetlb", "hugetlb.2MB.max", "2"),
        (2, "hugetlb", "hugetlb.2MB.rsvd.max", "2"),
    ]


def test_unified_is_verbatim_line_by_line_and_last() -> None:
    resources = {"unified": {"io.max": "8:0 rbps=1\n8:16 wiops=2", "memory.high": ""}, "pids": {"limit": 1}}
    assert on_v2(resources) == [
        ("pids.max", "1"),
        ("io.max", "8:0 rbps=1"),
        ("io.max", "8:16 wiops=2"),
        ("memory.high", "\n"),
    ]


@pytest.mark.parametrize("name", ["memory/high", "../cgroup.procs", "memory", ".high", ""])
def test_unified_names_files_of_the_cgroup_and_nothing_else(name: str) -> None:
    with pytest.raises(limits.Unmet, match="is not the name of a file"):
        on_v2({"unified": {name: "1"}})


def test_unified_needs_a_v2_hierarchy() -> None:
    with pytest.raises(limits.Unmet, match="is not mounted"):
        on_v1({"unified": {"memory.high": "1"}})


@pytest.mark.parametrize(
    ("shares", "weight"),
    [
        (1, 1),
        (2, 1),
        (3, 2),
        (100, 17),
        (512, 59),
        (1024, 100),
        (2048, 174),
        (262143, 10000),
        (262144, 10000),
        (1 << 63, 10000),
    ],
)
def test_shares_become_the_weight_that_runc_and_crun_make_of_them(shares: int, weight: int) -> None:
    assert weight_from_shares(shares) == weight


def test_more_shares_are_never_less_weight() -> None:
    weights = [weight_from_shares(shares) for shares in range(2, 262145, 7)]
    assert weights == sorted(weights)


def test_weights_of_block_devices_fall_back_to_the_linear_scale_of_io_weight() -> None:
    found = limits.writes({"blockIO": {"weight": 10, "weightDevice": [{**DISK, "weight": 1000}]}}, (), True)
    assert [write[5] for write in found] == [(("io.weight", "1"),), (("io.weight", "8:16 10000"),)]
