"""Which directories are recorded as made for cgroups: before they are made, and then.

Plain ones stand in for cgroups.
"""

from __future__ import annotations

from collections.abc import Callable
from errno import ENOSPC
from pathlib import Path

import pytest

from ocirt.linux._kernel import ffi, lib
from ocirt.plan import host_ops
from ocirt.spawn.performance import Performance
from tests.oracle import cgroups, records
from tests.unit.perform.support import kept, recorded, state_of

Perform = Callable[..., int]


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """In one hierarchy the container's cgroup is missing, in one the default parent too, in one it is there."""
    (tmp_path / "a/ocirt").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "c/ocirt/web").mkdir(parents=True)
    return [f"{tmp_path}/{name}/ocirt/web" for name in "abc"]


def test_the_expected_ones_are_those_that_python_expects(
    paths: list[str], tmp_path: Path, performance: Performance, perform: Perform
) -> None:
    given = [*paths, f"{tmp_path}/d\udcff/deep/er/web", f"{tmp_path}/notocirt/web", f"{tmp_path}/ocirt"]
    assert perform(host_ops.expect_cgroups("", given, "")) == lib.PERFORM_DONE
    assert performance.made() == cgroups.missing(given)
    assert performance.numbers[lib.PERFORM_OURS] == 0


def test_expected_again_they_are_others(paths: list[str], performance: Performance, perform: Perform) -> None:
    for given in (paths, paths[:1], []):
        assert perform(host_ops.expect_cgroups("", given, "")) == lib.PERFORM_DONE
        assert performance.made() == cgroups.missing(given)


def test_of_systemds_unit_slices_are_not_expected(tmp_path: Path, performance: Performance, perform: Perform) -> None:
    paths = [f"{tmp_path}/{name}/some.slice/web.scope" for name in "ab"]
    assert perform(host_ops.expect_cgroups("", paths, "web.scope")) == lib.PERFORM_DONE
    assert performance.made() == paths
    assert performance.numbers[lib.PERFORM_OURS] == 1


def test_a_unit_that_is_there_is_somebody_elses(paths: list[str], performance: Performance, perform: Perform) -> None:
    assert perform(host_ops.expect_cgroups("", paths, "web.scope")) == lib.PERFORM_DONE
    assert performance.made() == paths[:2]
    assert performance.numbers[lib.PERFORM_OURS] == 0


@pytest.mark.parametrize("ours", [0, 1])
@pytest.mark.parametrize("brought", [0, 1])
def test_a_unit_is_recorded_where_it_is_ours(
    root: str, tmp_path: Path, performance: Performance, perform: Perform, ours: int, brought: int
) -> None:
    paths = [f"{tmp_path}/{name}/some.slice/web.scope" for name in "ab"]
    expect = host_ops.expect_cgroups("", paths, "web.scope")
    assert perform(host_ops.claim("", root, "web"), recorded(manager="systemd"), expect) == lib.PERFORM_DONE
    performance.numbers[lib.PERFORM_OURS], performance.numbers[lib.PERFORM_BROUGHT] = ours, brought
    assert perform(host_ops.write_state("", "creating")) == lib.PERFORM_DONE
    made = paths if ours or not brought else []
    said = {"manager": "systemd", "unit": "web.scope" if ours else "", "cgroups": paths, "made": made}
    assert kept(performance, "state.json") == record_text(performance, **said)[0]
    assert kept(performance, "ocirt.json") == record_text(performance, **said)[1]


def record_text(performance: Performance, **said: object) -> tuple[bytes, bytes]:
    """Python's state.json and mark."""
    expected = state_of(performance, "web", **said)
    return records.encode(expected), records.mark(expected)


def test_once_they_are_made_they_count_deepest_first(
    root: str, paths: list[str], performance: Performance, perform: Perform
) -> None:
    begin = [host_ops.claim("", root, "web"), recorded(), host_ops.expect_cgroups("", paths, "")]
    assert perform(*begin, *(host_ops.make_cgroup("", path) for path in paths[:2])) == lib.PERFORM_DONE
    parents = [path.rpartition("/")[0] for path in paths]
    made = [paths[1], parents[1], paths[0], parents[0]]
    assert performance.made() == made
    assert perform(host_ops.write_state("", "creating")) == lib.PERFORM_DONE
    state, mark = record_text(performance, cgroups=paths, made=made)
    assert (kept(performance, "state.json"), kept(performance, "ocirt.json")) == (state, mark)


def test_what_a_unit_has_brought_comes_first(tmp_path: Path, performance: Performance, perform: Perform) -> None:
    paths = [f"{tmp_path}/{name}/some.slice/web.scope" for name in "ab"]
    assert perform(host_ops.expect_cgroups("", paths, "web.scope")) == lib.PERFORM_DONE
    for path in paths:
        Path(path).mkdir(parents=True)
    performance.numbers[lib.PERFORM_BROUGHT] = 1
    more = f"{tmp_path}/c/ocirt/web"  # of a hierarchy that systemd leaves alone
    assert perform(*(host_ops.make_cgroup("", path) for path in (*paths, more))) == lib.PERFORM_DONE
    new = [more, more.rpartition("/")[0], f"{tmp_path}/c"]
    assert performance.made() == [*paths, *new]
    performance.numbers[lib.PERFORM_OURS] = 0
    assert performance.made() == new


def test_more_than_there_is_room_for(paths: list[str], performance: Performance, perform: Perform) -> None:
    assert perform(host_ops.expect_cgroups("", paths[:1], "")) == lib.PERFORM_DONE
    size = len(paths[0]) + len(paths[0].rpartition("/")[0]) + 2
    text = bytearray(size)
    assert lib.performance_made(performance.view, ffi.from_buffer(text), size) == size
    assert lib.performance_made(performance.view, ffi.from_buffer(text), size - 1) == -ENOSPC
