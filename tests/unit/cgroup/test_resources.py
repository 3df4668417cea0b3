"""Writing limits, and building on those that are set: plain directories stand in for cgroups."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocirt.cgroup import changes, host_steps, tree
from ocirt.cgroup.hierarchies import Hierarchy
from ocirt.container import host_failures
from ocirt.container.performer import Performer
from ocirt.errors import ContainerError, UnsupportedError
from tests import cgroups

Json = dict[str, Any]
V2 = [Hierarchy("", "/sys/fs/cgroup", "/", 2)]
apply = cgroups.apply
V1 = [Hierarchy("memory", "/sys/fs/cgroup/memory", "/", 1), Hierarchy("cpu,cpuacct", "/sys/fs/cgroup/cpu", "/", 1)]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """home("memory.max", …) or home(**{"memory.max": "text"}) → a directory with these files, to be written whole."""

    def write(path: str, data: bytes) -> None:
        with open(path, "r+b") as file:
            file.write(data)
            file.truncate()

    monkeypatch.setattr(tree, "write", write)

    def make(*names: str, **texts: str) -> Path:
        for name in names:
            (tmp_path / name).write_text("")
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
        return tmp_path

    return make


def set_on_v2(path: Path, wanted: Json) -> None:
    apply([str(path)], V2, wanted)


def test_a_limit_is_written_to_the_file_that_the_kernel_has(home: Callable[..., Path]) -> None:
    path = home("io.weight")
    set_on_v2(path, {"blockIO": {"weight": 1000}})
    assert (path / "io.weight").read_text() == "10000"


def test_what_asks_for_nothing_needs_no_file(home: Callable[..., Path]) -> None:
    path = home("memory.max", "hugetlb.2MB.max")
    wanted = {"memory": {"limit": 5, "swap": 5}, "hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}
    set_on_v2(path, {**wanted, "cpu": {"burst": 0, "idle": 0}})
    assert (path / "memory.max").read_text() == "5"
    assert {found.name for found in path.iterdir()} == {"memory.max", "hugetlb.2MB.max"}


def test_unified_overrides_the_limit_of_the_same_file(home: Callable[..., Path]) -> None:
    path = home("pids.max")
    set_on_v2(path, {"unified": {"pids.max": "3"}, "pids": {"limit": 1}})
    assert (path / "pids.max").read_text() == "3"


def test_a_controller_that_the_cgroup_does_not_have_is_named_with_the_field(home: Callable[..., Path]) -> None:
    path = home(**{"cgroup.controllers": "cpu pids\n"})
    for wanted, field in (
        ({"memory": {"limit": 5}}, "/linux/resources/memory/limit"),
        ({"unified": {"memory.high": "5"}}, "/linux/resources/unified/memory.high"),
    ):
        with pytest.raises(UnsupportedError) as caught:
            set_on_v2(path, wanted)
        assert str(caught.value).startswith(f'config.json: {field}: needs the cgroup controller "memory", which ')


def test_a_file_that_the_kernel_does_not_have_is_named(home: Callable[..., Path]) -> None:
    path = home(**{"cgroup.controllers": "cpu pids\n"})
    with pytest.raises(UnsupportedError, match=r'/linux/resources/cpu/idle: this kernel has no "cpu.idle" in'):
        set_on_v2(path, {"cpu": {"idle": 1}})


def test_limits_need_a_cgroup_that_could_be_made(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="which is not there: limits need root or delegation"):
        set_on_v2(tmp_path / "none", {"pids": {"limit": 1}})


def test_without_cgroups_no_limit_is_possible_and_none_is_missed() -> None:
    apply([], [], {"memory": {"limit": 0}, "network": {}})
    with pytest.raises(UnsupportedError, match=r"/linux/resources/memory/limit: .* the container has no cgroups"):
        apply([], [], {"memory": {"limit": 1}})


def test_a_limit_below_the_use_is_refused_ahead_of_any_write_when_it_is_to_be_checked(
    home: Callable[..., Path],
) -> None:
    path = home("memory.max", "pids.max", **{"memory.current": "1000\n"})
    for member, limits in (("limit", {"limit": 999}), ("swap", {"limit": 999, "swap": 999})):
        wanted = {"pids": {"limit": 1}, "memory": {"checkBeforeUpdate": True, **limits}}
        with pytest.raises(ContainerError, match=rf"/memory/{member}: rejecting memory limit 999, 1000 bytes are in"):
            set_on_v2(path, wanted)
    assert (path / "pids.max").read_text() == ""


PRESENT = [
    # files, wanted, what is written
    ({"cpu.max": "20000 100000\n"}, {"cpu": {"period": 50000}}, {"cpu.max": "20000 50000"}),
    ({"cpu.max": "max 100000\n"}, {"cpu": {"period": 50000}}, {"cpu.max": "max 50000"}),
    ({"cpu.max": "20000 100000\n"}, {"cpu": {"quota": 5000}}, {"cpu.max": "5000"}),
    ({"cpu.max": "20000 100000\n"}, {"cpu": {"quota": -1, "period": 9}}, {"cpu.max": "max 9"}),
    (
        {"memory.max": "100\n", "memory.swap.max": "50\n"},
        {"memory": {"limit": 120}},
        {"memory.max": "120", "memory.swap.max": "30"},
    ),
    (
        {"memory.max": "100\n", "memory.swap.max": "max\n"},
        {"memory": {"limit": 120}},
        {"memory.max": "120", "memory.swap.max": "max\n"},
    ),
    (
        {"memory.max": "100\n", "memory.swap.max": "50\n"},
        {"memory": {"swap": 110}},
        {"memory.max": "100", "memory.swap.max": "10"},
    ),
    (
        {"memory.max": "max\n", "memory.swap.max": "50\n"},
        {"memory": {"swap": 110}},
        {"memory.max": "max", "memory.swap.max": "110"},
    ),
    (
        {"memory.max": "100\n", "memory.swap.max": "50\n"},
        {"memory": {"limit": -1}},
        {"memory.max": "max", "memory.swap.max": "max"},
    ),
]


@pytest.mark.parametrize(("files", "wanted", "written"), PRESENT, ids=[str(row[1]) + str(row[0]) for row in PRESENT])
def test_a_change_on_v2_builds_on_what_is_set(
    files: dict[str, str], wanted: Json, written: dict[str, str], home: Callable[..., Path]
) -> None:
    path = home(**files)

    def write(limits: Json) -> None:
        for op in host_steps.limits([str(path)], V2, limits):
            if op[0] == "write_limit":
                Path(op[3][0], op[3][1]).write_text(op[3][2])

    changes.change([str(path)], V2, wanted, lambda pointer: pointer, write)
    assert {name: (path / name).read_text() for name in written} == written


def test_a_change_that_fails_is_taken_back(home: Callable[..., Path]) -> None:
    files = {
        "pids.max": "7\n",
        "io.max": "8:0 rbps=1 wbps=max riops=max wiops=max\n",
        "cpu.max": "20000 100000\n",
        "cgroup.controllers": "cpu io pids",
    }
    path = home(**files)
    devices = [{"major": 8, "minor": 0, "rate": 5}, {"major": 9, "minor": 0, "rate": 5}]
    wanted = {
        "pids": {"limit": 1},
        "cpu": {"quota": 5},
        "blockIO": {"throttleWriteBpsDevice": devices},
        "memory": {"limit": 9},
    }
    with pytest.raises(UnsupportedError, match="/memory/limit"):
        changes.change([str(path)], V2, wanted, lambda pointer: pointer, lambda limits: set_on_v2(path, limits))
    assert {name: (path / name).read_text().strip() for name in ("pids.max", "cpu.max")} == {
        "pids.max": "7",
        "cpu.max": "20000 100000",
    }


def test_what_undoes_a_write_is_the_line_of_its_device_or_none(home: Callable[..., Path]) -> None:
    path = home(**{"io.max": "8:0 rbps=1 wbps=max riops=max wiops=max\n8:16 rbps=2 wbps=max riops=max wiops=max\n"})
    file = str(path / "io.max")
    assert changes.former("io.max", "8:16 wbps=9", file) == ["8:16 rbps=2 wbps=max riops=max wiops=max"]
    assert changes.former("io.max", "8:32 wbps=9", file) == ["8:32 rbps=max wbps=max riops=max wiops=max"]
    assert changes.former("io.max", "8:32 wbps=9", str(path / "none")) == []
    (path / "cpuset.cpus").write_text("\n")
    (path / "cpuset.cpus.effective").write_text("0-7\n")
    assert changes.former("cpuset.cpus", "0", str(path / "cpuset.cpus")) == ["0-7"]


RULED = [
    ("cpu.cfs_quota_us", {"cpu": {"quota": 1}}, "a quota at least 1000"),
    ("cpuset.cpus", {"cpu": {"cpus": "99"}}, "they must exist"),
    ("memory.limit_in_bytes", {"memory": {"limit": 1}}, "at most the limit of memory and swap together"),
]


@pytest.mark.parametrize(("file", "wanted", "words"), RULED, ids=[row[0] for row in RULED])
def test_a_value_that_the_kernel_refuses_without_a_word_comes_with_the_rule(
    file: str, wanted: Json, words: str, home: Callable[..., Path]
) -> None:
    path = str(home(file))
    hs = [Hierarchy("cpu,cpuset,memory", "/sys/fs/cgroup/all", "/", 1)]
    (op,) = [op for op in host_steps.limits([path], hs, wanted) if op[0] == "write_limit" and op[3][1] == file]
    error = host_failures.explain(Performer("/nonexistent", "box", "/bundle"), op, OSError(errno.EINVAL, ""))
    assert re.search(words, str(error))
