"""The numbers of linux/consts.py are those of wire.h, the kernel's headers and Python's own modules."""

from __future__ import annotations

import inspect
import os
import re
import resource
import stat

import pytest

from ocirt.linux import consts
from ocirt.plan import ops
from ocirt.plan.devices import makedev
from tests.unit.plan import support


def enumerated(text: str) -> dict[str, int]:
    """Every name of every enum of wire.h."""
    found = {}
    for body in re.findall(r"enum \{(.*?)\}", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL), re.DOTALL):
        value = -1
        for part in filter(None, (word.strip() for word in body.split(","))):
            name, _, given = part.partition("=")
            value = int(given, 0) if given else value + 1
            found[name.strip()] = value
    return found


def test_slots_points_and_flags_are_those_of_wire_h() -> None:
    text = (support.DEFINITIONS / "wire.h").read_text()
    wire = {name: number for name, number in enumerated(text).items() if name.startswith(("SLOT_", "SYNC_", "MOUNT_"))}
    assert wire
    assert {name: getattr(consts, name) for name in wire} == wire
    assert f"#define MSG_FDS_MAX {consts.MSG_FDS_MAX}\n" in text
    assert "#define SLOT_NONE 0xffffffffU" in text
    assert consts.SLOT_NONE == 0xFFFFFFFF


def test_there_is_one_constructor_for_each_operation_with_its_arguments_in_order() -> None:
    text = (support.DEFINITIONS / "ops.def").read_text()
    defined = dict(re.findall(r'^OP\((\w+),\s*"(\w*)"\)', text, re.MULTILINE))
    guards = {"ignoring", "fallback", "ignored", "skipped"}
    made = {
        name
        for name, value in vars(ops).items()
        if inspect.isfunction(value) and value.__module__ == ops.__name__ and name not in guards
    }
    assert made == set(defined)


def test_the_documentation_has_each_operation_once() -> None:
    text = (support.DEFINITIONS / "ops.def").read_text()
    operations = re.findall(r'OP\((\w+),\s*"', text.partition("*/")[2])
    table = (support.DOCS / "plan.md").read_text().partition("| operation |")[2].partition("\n\n")[0]
    named = [name for line in table.splitlines()[2:] for name in line.split("|")[1].strip().split(", ")]
    assert sorted(name for name in named if not name.startswith("…")) == sorted(operations)


def test_the_documentation_names_each_operation_of_the_host_plan() -> None:
    text = (support.DEFINITIONS / "host_ops.def").read_text()
    section = (support.DOCS / "plan.md").read_text().partition("## The host plan")[2].partition("\n## ")[0]
    operations = re.findall(r'OP\((\w+),\s*"', text.partition("*/")[2])
    assert [name for name in operations if not re.search(rf"\b{name}\b", section)] == []


def test_rlimits_are_pythons() -> None:
    for name, number in consts.RLIMITS.items():
        if hasattr(resource, name):
            assert getattr(resource, name) == number


@pytest.mark.parametrize(("major", "minor"), [(1, 3), (5, 0), (259, 70000), (4095, 1048575), (0, 255), (8, 256)])
def test_device_numbers_are_those_of_makedev(major: int, minor: int) -> None:
    assert makedev(major, minor) == os.makedev(major, minor)


def test_file_types_are_pythons() -> None:
    for name in ("S_IFBLK", "S_IFCHR", "S_IFDIR", "S_IFIFO", "S_IFREG"):
        assert getattr(consts, name) == getattr(stat, name)
        assert getattr(stat, name) & consts.S_IFMT == getattr(stat, name)


def test_capabilities_are_numbered_without_a_gap() -> None:
    assert sorted(consts.CAPABILITIES.values()) == list(range(41))
