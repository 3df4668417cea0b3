"""Files of cgroups written by perform/limit.c, on plain directories."""

from __future__ import annotations

import fcntl
import os
from errno import EINVAL, ENOENT, ENOSPC, ENOTDIR, EPERM
from pathlib import Path

import pytest

from ocirt.cgroup import devices
from ocirt.linux._kernel import lib
from ocirt.plan import host_ops, ops
from tests.performances import go_on, perform, performance

RULES = ["a *:* rwm", "c 1:3 rw", "b 8:0 r"]
FIELDS = [f"/linux/resources/devices/{number}" for number in range(3)]


def test_a_limit_is_written_and_a_file_that_is_missing_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "pids.max").write_text("max\n")
    assert perform(host_ops.write_limit("", str(tmp_path), "pids.max", "7", 1)) == 0
    assert (tmp_path / "pids.max").read_text() == "7ax\n", "one write, nothing cut off"
    assert perform(host_ops.write_limit("", str(tmp_path), "pids.peak", "7", 1)) == -ENOENT
    assert os.listdir(tmp_path) == ["pids.max"]


def test_a_limit_is_any_bytes(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    assert perform(host_ops.write_limit("", str(tmp_path), "x", "\udcff ü", 2)) == 0
    assert (tmp_path / "x").read_bytes() == b"\xff \xc3\xbc"


def test_a_limit_that_is_refused_gives_the_kernels_reason(tmp_path: Path) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    with performance() as p:
        assert go_on(p, host_ops.write_limit("", str(tmp_path), "full", "1", 1)) == -ENOSPC
        assert p.numbers[lib.PERFORM_AT] == 0


@pytest.mark.parametrize("there", [True, False])
def test_where_a_file_is_missing_the_other_one_is_written(tmp_path: Path, there: bool) -> None:
    names = ["one", "two"] if there else ["two"]
    for name in names:
        (tmp_path / name).touch()
    one = host_ops.write_limit("", str(tmp_path), "one", "1", 2)
    two = host_ops.write_limit("", str(tmp_path), "two", "2", 2)
    assert perform(*ops.fallback(one, [ENOENT], [two])) == 0
    assert {name: (tmp_path / name).read_text() for name in names} == (
        {"one": "1", "two": ""} if there else {"two": "2"}
    )


def test_device_rules_are_written_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "devices.allow").touch()
    assert perform(host_ops.device_rules("", str(tmp_path), "devices.allow", RULES, FIELDS, 1)) == 0
    assert (tmp_path / "devices.allow").read_text() == "".join(RULES)


def test_no_device_rules_write_nothing(tmp_path: Path) -> None:
    (tmp_path / "devices.allow").write_text("as before")
    assert perform(host_ops.device_rules("", str(tmp_path), "devices.allow", [], [], 1)) == 0
    assert (tmp_path / "devices.allow").read_text() == "as before"


def test_which_device_rule_was_refused_is_told(tmp_path: Path) -> None:
    fd = os.memfd_create("rules", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, len(RULES[0]))
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)  # the second one is EPERM
    with performance() as p:
        assert go_on(p, host_ops.device_rules("", "/proc/self/fd", str(fd), RULES, FIELDS, 1)) == -EPERM
        assert p.numbers[lib.PERFORM_DETAIL] == 1
        assert go_on(p, host_ops.device_rules("", str(tmp_path), "devices.deny", RULES, FIELDS, 1)) == -ENOENT
        assert p.numbers[lib.PERFORM_DETAIL] == -1, "the file itself"
    os.close(fd)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("name", "errno"), [("gone", ENOENT), ("file", ENOTDIR), ("link", ENOTDIR)])
def test_a_device_program_needs_a_directory(tmp_path: Path, name: str, errno: int) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    op = host_ops.device_program("", f"{tmp_path}/{name}", devices.program(True, []), 1)
    assert perform(op) == -errno


def test_a_device_program_that_is_none_is_refused(tmp_path: Path) -> None:
    op = host_ops.device_program("", str(tmp_path), devices.program(True, [])[:8], 1)
    assert perform(op) in {-EINVAL, -EPERM}, "EPERM for who may load none"
