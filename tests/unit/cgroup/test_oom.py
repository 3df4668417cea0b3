"""What counts as running out of memory, as far as it can be told without a cgroup."""

from __future__ import annotations

import os
from pathlib import Path

from ocirt.cgroup import oom

QUIET = "low 0\nhigh 0\nmax 3\noom 0\noom_kill 0\n"


def test_on_v2_only_the_oom_killer_counts(tmp_path: Path) -> None:
    events = tmp_path / "memory.events"
    events.write_text(QUIET)
    with oom.watch([str(tmp_path / "gone"), str(tmp_path)]) as watch:
        assert watch.fd >= 0
        told = []
        for text in (
            QUIET,
            QUIET.replace("max 3", "max 4"),
            "oom 1\noom_kill 1\n",
            "oom 2\noom_kill 1\n",
            "oom_kill 3\n",
        ):
            events.write_text(text)
            told.append(watch.fired())
    assert told == [False, False, True, False, True]


def test_what_happened_before_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("oom_kill 5\n")
    with oom.watch([str(tmp_path)]) as watch:
        assert not watch.fired()


def test_on_v1_the_kernel_is_asked_to_ring_and_nothing_stays_open(tmp_path: Path) -> None:
    for name in ("memory.oom_control", "cgroup.event_control"):
        (tmp_path / name).write_text("")
    before = len(os.listdir("/proc/self/fd"))
    with oom.watch([str(tmp_path)]) as watch:
        asked = (tmp_path / "cgroup.event_control").read_text().split()
        assert asked[0] == str(watch.fd)
        assert not watch.fired()
        os.eventfd_write(watch.fd, 1)
        assert watch.fired()
        assert not watch.fired()
        for path in tmp_path.iterdir():
            path.unlink()
        tmp_path.rmdir()
        os.eventfd_write(watch.fd, 1)
        assert not watch.fired(), "the cgroup's end"
    tmp_path.mkdir()
    assert len(os.listdir("/proc/self/fd")) == before


def test_without_the_memory_controller_nothing_is_watched(tmp_path: Path) -> None:
    with oom.watch([str(tmp_path)]) as watch:
        assert (watch.fd, watch.fired()) == (-1, False)


def test_what_the_oom_killer_has_killed_is_counted_on_either_version(tmp_path: Path) -> None:
    for name, text in (("v2/memory.events", QUIET), ("v1/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n")):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_text(text + "oom_kill 2\n")
        assert oom.kills([str(tmp_path / "gone"), str(path.parent)]) == 2
    assert oom.kills([str(tmp_path)]) == 0
