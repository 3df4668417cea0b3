"""The figures of a stats event, from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocirt.cgroup import stats

# The members that readers of runc's events count on: its document has them always.
NO_FIGURES = {
    "cpu": {"usage": {"kernel": 0, "user": 0}, "throttling": {}},
    "cpuset": {
        "cpu_exclusive": 0, "mem_hardwall": 0, "mem_exclusive": 0, "memory_migrate": 0, "memory_spread_page": 0,
        "memory_spread_slab": 0, "memory_pressure": 0, "sched_load_balance": 0, "sched_relax_domain_level": 0,
    },
    "memory": {
        "usage": {"limit": 0, "failcnt": 0},
        "swap": {"limit": 0, "failcnt": 0},
        "kernel": {"limit": 0, "failcnt": 0},
        "kernelTCP": {"limit": 0, "failcnt": 0},
    },
    "pids": {}, "blkio": {}, "hugetlb": {}, "intel_rdt": {}, "network_interfaces": None,
}  # fmt: skip

PRESSURE = "some avg10=1.50 avg60=0.25 avg300=0.00 total=12345\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
PSI = {
    "some": {"avg10": 1.5, "avg60": 0.25, "avg300": 0.0, "total": 12345},
    "full": {"avg10": 0.0, "avg60": 0.0, "avg300": 0.0, "total": 7},
}

V1_FILES = {
    "cpuacct.usage": "4000\n",
    "cpuacct.usage_percpu": "1000 3000 \n",
    "cpuacct.usage_all": "cpu user system\n0 600 400\n1 2000 1000\n",
    "cpuacct.stat": "user 26\nsystem 14\n",
    "cpu.stat": "nr_periods 7\nnr_throttled 3\nthrottled_time 900\nnr_bursts 0\nburst_time 0\n",
    "cpuset.cpus": "0-2,5\n",
    "cpuset.mems": "0\n",
    "cpuset.cpu_exclusive": "0\n",
    "cpuset.sched_load_balance": "1\n",
    "cpuset.sched_relax_domain_level": "-1\n",
    "memory.stat": "cache 4096\nrss 8192\ntotal_rss 8192\n",
    "memory.usage_in_bytes": "12288\n",
    "memory.max_usage_in_bytes": "16384\n",
    "memory.limit_in_bytes": "1048576\n",
    "memory.failcnt": "5\n",
    "memory.memsw.usage_in_bytes": "12289\n",
    "memory.memsw.limit_in_bytes": "9223372036854771712\n",
    "memory.kmem.usage_in_bytes": "100\n",
    "memory.kmem.tcp.failcnt": "2\n",
    "pids.current": "3\n",
    "pids.max": "max\n",
    "blkio.bfq.io_service_bytes_recursive": "Total 0\n",
    "blkio.throttle.io_service_bytes_recursive": "254:0 Read 10\n254:0 Write 20\n254:0 Total 30\nTotal 30\n",
    "blkio.sectors_recursive": "8:16 512\n",
    "hugetlb.2MB.usage_in_bytes": "1\n",
    "hugetlb.2MB.rsvd.usage_in_bytes": "2097152\n",
    "hugetlb.2MB.rsvd.max_usage_in_bytes": "4194304\n",
    "hugetlb.2MB.rsvd.failcnt": "1\n",
    "hugetlb.1GB.usage_in_bytes": "0\n",
}

V2_FILES = {
    "cgroup.controllers": "cpu io memory pids hugetlb\n",
    "cpu.stat": "usage_usec 40\nuser_usec 26\nsystem_usec 14\nnr_periods 7\nnr_throttled 3\nthrottled_usec 9\n",
    "cpu.pressure": PRESSURE,
    "memory.stat": "anon 8192\nfile 4096\n",
    "memory.current": "12288\n",
    "memory.peak": "16384\n",
    "memory.max": "1048576\n",
    "memory.events": "low 0\nhigh 0\nmax 5\noom 1\noom_kill 1\n",
    "memory.swap.current": "1000\n",
    "memory.swap.max": "2000\n",
    "memory.pressure": PRESSURE,
    "pids.current": "3\n",
    "pids.max": "10\n",
    "io.stat": "254:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n8:0 \n",
    "io.pressure": PRESSURE,
    "hugetlb.2MB.current": "2097152\n",
    "hugetlb.2MB.events": "max 1\n",
}


def cgroup_of(path: Path, files: dict[str, str]) -> str:
    path.mkdir()
    for name, text in files.items():
        (path / name).write_text(text)
    return str(path)


def test_every_v1_file_has_its_place(tmp_path: Path) -> None:
    found = stats.stats([cgroup_of(tmp_path / "one", V1_FILES)])
    tick = stats.NS_OF_TICK
    assert found["cpu"] == {
        "usage": {
            "total": 4000, "percpu": [1000, 3000], "percpu_kernel": [400, 1000], "percpu_user": [600, 2000],
            "kernel": 14 * tick, "user": 26 * tick,
        },
        "throttling": {"periods": 7, "throttledPeriods": 3, "throttledTime": 900},
    }  # fmt: skip
    assert found["cpuset"] == {
        "cpus": [0, 1, 2, 5], "mems": [0], "cpu_exclusive": 0, "mem_hardwall": 0, "mem_exclusive": 0,
        "memory_migrate": 0, "memory_spread_page": 0, "memory_spread_slab": 0, "memory_pressure": 0,
        "sched_load_balance": 1, "sched_relax_domain_level": -1,
    }  # fmt: skip
    assert found["memory"] == {
        "cache": 4096,
        "raw": {"cache": 4096, "rss": 8192, "total_rss": 8192},
        "usage": {"usage": 12288, "max": 16384, "limit": 1048576, "failcnt": 5},
        "swap": {"usage": 12289, "limit": 9223372036854771712, "failcnt": 0},
        "kernel": {"usage": 100, "limit": 0, "failcnt": 0},
        "kernelTCP": {"limit": 0, "failcnt": 2},
    }
    assert found["pids"] == {"current": 3}, "no limit is none"
    assert found["blkio"] == {
        "ioServiceBytesRecursive": [
            {"major": 254, "op": "Read", "value": 10},
            {"major": 254, "op": "Write", "value": 20},
            {"major": 254, "op": "Total", "value": 30},
        ],
        "sectorsRecursive": [{"major": 8, "minor": 16, "value": 512}],
    }
    assert found["hugetlb"] == {
        "1GB": {"failcnt": 0},
        "2MB": {"usage": 2097152, "max": 4194304, "failcnt": 1},
    }


def test_every_v2_file_has_its_place_and_v1s_units(tmp_path: Path) -> None:
    found = stats.stats([cgroup_of(tmp_path / "two", V2_FILES)])
    assert found["cpu"] == {
        "usage": {"total": 40_000, "kernel": 14_000, "user": 26_000},
        "throttling": {"periods": 7, "throttledPeriods": 3, "throttledTime": 9_000},
        "psi": PSI,
    }
    assert found["memory"] == {
        "cache": 4096,
        "raw": {"anon": 8192, "file": 4096},
        "usage": {"usage": 12288, "max": 16384, "limit": 1048576, "failcnt": 5},
        "swap": {"usage": 13288, "limit": 1050576, "failcnt": 0},
        "kernel": {"limit": 0, "failcnt": 0},
        "kernelTCP": {"limit": 0, "failcnt": 0},
        "psi": PSI,
    }
    assert found["pids"] == {"current": 3, "limit": 10}
    assert found["blkio"] == {
        "ioServiceBytesRecursive": [
            {"major": 254, "op": "Read", "value": 10},
            {"major": 254, "op": "Write", "value": 20},
        ],
        "ioServicedRecursive": [{"major": 254, "op": "Read", "value": 1}, {"major": 254, "op": "Write", "value": 2}],
        "psi": PSI,
    }
    assert found["hugetlb"] == {"2MB": {"usage": 2097152, "failcnt": 1}}


def test_no_limit_of_v2_is_the_largest_number(tmp_path: Path) -> None:
    files = V2_FILES | {"memory.max": "max\n", "memory.swap.max": "max\n"}
    memory = stats.stats([cgroup_of(tmp_path / "two", files)])["memory"]
    assert (memory["usage"]["limit"], memory["swap"]["limit"]) == (2**64 - 1, 2**64 - 1)


def test_a_hybrid_hosts_figures_are_v1s_with_what_only_v2_has(tmp_path: Path) -> None:
    two = cgroup_of(
        tmp_path / "two", {name: V2_FILES[name] for name in ("cgroup.controllers", "cpu.stat", "cpu.pressure")}
    )
    one = cgroup_of(tmp_path / "one", {"cpuacct.usage": "4000\n", "cpuacct.stat": "user 1\nsystem 1\n"})
    cpu = stats.stats([two, one])["cpu"]
    assert cpu["usage"] == {"total": 4000, "kernel": stats.NS_OF_TICK, "user": stats.NS_OF_TICK}
    assert cpu["psi"] == PSI


def test_without_cgroups_the_document_has_the_members_that_are_always_there(tmp_path: Path) -> None:
    assert stats.stats([str(tmp_path / "gone")]) == NO_FIGURES
    assert stats.stats([]) == NO_FIGURES


def test_one_documents_figures_are_not_anothers(tmp_path: Path) -> None:
    stats.stats([cgroup_of(tmp_path / "one", V1_FILES)])
    found = stats.stats([])
    assert found["memory"]["usage"] == {"limit": 0, "failcnt": 0}
    assert found["pids"] == {}


@pytest.mark.parametrize(("text", "found"), [("\n", []), ("3\n", [3]), ("0-1,4-5\n", [0, 1, 4, 5])])
def test_lists_of_ids(text: str, found: list[int]) -> None:
    assert stats.ids(text) == found
