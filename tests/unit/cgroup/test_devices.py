"""Device rules: what is allowed in the end, the same for v1's files and v2's program as for the list itself."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ocirt.cgroup import Hierarchy, access, devices, tree
from ocirt.errors import OcirtError, UnsupportedError
from tests import cgroups

Json = dict[str, Any]
Request = tuple[str, int, int, int]  # type, major, minor, access bits

READ, WRITE, MKNOD = 2, 4, 1
DENY_ALL: Json = {"allow": False, "access": "rwm"}
ALLOW_ALL: Json = {"allow": True, "access": "rwm"}


def run(code: bytes, request: Request) -> int:
    """What the kernel would: an interpreter of the instructions that the programs have, in words of bpf(2)."""
    kind, major, minor, access = request
    context = struct.pack("<III", access << 16 | {"b": 1, "c": 2}[kind], major, minor)
    registers: list[int | None] = [None] * 11
    registers[1] = 0
    at, end = 0, len(code) // 8
    while True:
        assert at < end, "the program runs past its end"
        opcode, both, offset, value = struct.unpack_from("<BBhi", code, at * 8)
        target, source = both & 15, both >> 4
        at += 1
        if opcode == 0x95:  # exit
            assert registers[0] in {0, 1}
            return int(registers[0] or 0)
        if opcode == 0x61:  # load a word
            assert registers[source] == 0
            (registers[target],) = struct.unpack_from("<I", context, offset)
        elif opcode == 0xBC:  # copy
            assert registers[source] is not None
            registers[target] = registers[source]
        elif opcode == 0xB4:  # move
            registers[target] = value & 0xFFFFFFFF
        else:
            old = registers[target]
            assert old is not None, "a register is used before it has a value"
            if opcode == 0x54:  # and
                registers[target] = old & value & 0xFFFFFFFF
            elif opcode == 0x74:  # shift right
                registers[target] = old >> value
            elif opcode in {0x56, 0x16}:  # jump if not equal, if equal, 32 bits
                assert offset >= 0
                at += offset if (old == value & 0xFFFFFFFF) == (opcode == 0x16) else 0
            else:
                raise AssertionError(f"instruction {opcode:#x}")


def reference(listed: list[Json], request: Request) -> int:
    """The list read as the specification says it: for each bit the last rule that matches, else no."""
    defaults = [
        {"allow": True, "type": kind, "major": major, "minor": minor, "access": "m" if access == MKNOD else "rwm"}
        for kind, major, minor, access in devices.DEFAULTS
    ]
    kind, major, minor, access = request
    verdicts = []
    for letter, bit in (("r", READ), ("w", WRITE), ("m", MKNOD)):
        if access & bit:
            verdict = False
            for rule in [*listed, *defaults]:
                matches = (
                    rule.get("type", "a") in {"a", kind}
                    and rule.get("major", -1) in {-1, major}
                    and rule.get("minor", -1) in {-1, minor}
                    and letter in rule.get("access", "rwm")
                )
                verdict = rule["allow"] if matches else verdict
            verdicts.append(verdict)
    return int(all(verdicts))


class V1:
    """The files of the kernel's devices controller (security/device_cgroup.c, devices.rst)."""

    def __init__(self) -> None:
        self.default = True
        self.exceptions: dict[tuple[str, str, str], int] = {}

    def write(self, name: str, text: str) -> None:
        allow = name == "devices.allow"
        if text == "a":
            self.default, self.exceptions = allow, {}
            return
        kind, numbers, letters = text.split(" ")
        key = (kind, *numbers.split(":"))
        bits = sum({"r": READ, "w": WRITE, "m": MKNOD}[letter] for letter in letters)
        if allow is not self.default:
            self.exceptions[key] = self.exceptions.get(key, 0) | bits
        else:
            self.exceptions[key] = self.exceptions.get(key, 0) & ~bits

    def allows(self, request: Request) -> int:
        kind, major, minor, access = request
        found = [
            bits
            for (of, x, y), bits in self.exceptions.items()
            if of == kind and x in {"*", str(major)} and y in {"*", str(minor)}
        ]
        if self.default:
            return int(not any(bits & access for bits in found))
        return int(any(bits & access == access for bits in found))


NUMBERS = (1, 3, 5)
numbers = st.one_of(st.none(), st.just(-1), st.sampled_from(NUMBERS))
listed_rules = st.lists(
    st.builds(
        lambda allow, kind, major, minor, access: {
            "allow": allow,
            **({"type": kind} if kind else {}),
            **({} if major is None else {"major": major}),
            **({} if minor is None else {"minor": minor}),
            **({} if access is None else {"access": access}),
        },
        st.booleans(),
        st.sampled_from([None, "a", "b", "c"]),
        numbers,
        numbers,
        st.sampled_from([None, "rwm", "r", "w", "m", "rw", "wm", ""]),
    ),
    max_size=6,
)
REQUESTS = [
    (kind, major, minor, access)
    for kind in "bc"
    for major in (*NUMBERS, 7)
    for minor in (*NUMBERS, 7)
    for access in (READ, WRITE, MKNOD, READ | WRITE)
]


@settings(deadline=None)  # a busy machine is no failure
@given(listed_rules)
def test_the_program_decides_as_the_list_does(listed: list[Json]) -> None:
    code = devices.program(*devices.rules(listed))
    assert [run(code, request) for request in REQUESTS] == [reference(listed, request) for request in REQUESTS]


@settings(deadline=None)  # a busy machine is no failure
@given(listed_rules)
def test_v1_never_allows_more_than_the_list_and_bit_by_bit_the_same(listed: list[Json]) -> None:
    default, kept = devices.rules(listed)
    if devices.holes(default, kept):
        return
    kernel = V1()
    for name, lines in devices.writes(default, kept):
        for text, _ in lines:
            kernel.write(name, text.decode())
    for request in REQUESTS:
        allowed, wanted = kernel.allows(request), reference(listed, request)
        # What two rules allow between them, the kernel allows in neither's name.
        assert allowed == wanted if request[3] in {READ, WRITE, MKNOD} else allowed <= wanted, request


@settings(deadline=None)  # a busy machine is no failure
@given(listed_rules)
@example([ALLOW_ALL, {"allow": False, "access": "wm"}, {"allow": False, "access": "w"}])
def test_what_makes_no_difference_is_not_kept(listed: list[Json]) -> None:
    default, kept = devices.rules(listed)
    assert (default, kept) == devices.effective([(default, "a", devices.ANY, devices.ANY, devices.ALL, ""), *kept])


CASES: dict[str, tuple[list[Json], list[tuple[str, str]]]] = {
    "no rules": ([], [("devices.deny", "a")]),
    "a rule without a type, as docker writes it": ([DENY_ALL], [("devices.deny", "a")]),
    "everything": ([DENY_ALL, ALLOW_ALL], [("devices.allow", "a")]),
    "one more device": (
        [DENY_ALL, {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}],
        [("devices.deny", "a"), ("devices.allow", "c 10:229 rw")],
    ),
    "both types": (
        [{"allow": True, "type": "a", "major": 7, "access": "r"}],
        [("devices.deny", "a"), ("devices.allow", "c 7:* r"), ("devices.allow", "b 7:* r")],
    ),
    "all but one": (
        [ALLOW_ALL, {"allow": False, "type": "b", "major": 8, "minor": 0, "access": "rw"}],
        [("devices.allow", "a"), ("devices.deny", "b 8:0 rw")],
    ),
    "a rule taken back": (
        [{"allow": True, "type": "c", "major": 10}, {"allow": False, "type": "c", "access": "w"}],
        [("devices.deny", "a"), ("devices.allow", "c 10:* rm")],
    ),
    "a number that no device has": (
        [{"allow": True, "type": "c", "major": 1 << 32, "minor": 0}],
        [("devices.deny", "a")],
    ),
}


@pytest.mark.parametrize(("listed", "expected"), CASES.values(), ids=CASES)
def test_v1_gets_few_writes(listed: list[Json], expected: list[tuple[str, str]]) -> None:
    defaults = [text for name, lines in devices.writes(*devices.rules([])) for text, _ in lines if name[8:] == "allow"]
    found = [
        (name, text.decode())
        for name, lines in devices.writes(*devices.rules(listed))
        for text, _ in lines
        if text not in defaults
    ]
    assert found == expected


def test_a_rule_keeps_its_place_in_the_config() -> None:
    listed = [DENY_ALL, {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}]
    ((_, _), (_, lines)) = devices.writes(*devices.rules(listed))
    assert lines[0] == (b"c 10:229 rw", "/linux/resources/devices/1")


def test_v1_cannot_take_back_a_part_of_a_wildcard() -> None:
    listed = [
        {"allow": True, "type": "c", "major": 10, "access": "rw"},
        {"allow": False, "type": "c", "major": 10, "minor": 229, "access": "rw"},
    ]
    assert devices.holes(*devices.rules(listed)) == ["/linux/resources/devices/1"]
    assert devices.holes(*devices.rules(listed[::-1])) == []


def test_large_numbers_are_compared_as_they_are() -> None:
    code = devices.program(*devices.rules([{"allow": True, "type": "c", "major": 0xFFFFFFFF, "minor": 0x80000000}]))
    assert run(code, ("c", 0xFFFFFFFF, 0x80000000, READ)) == 1
    assert run(code, ("c", 0xFFFFFFFF, 0x80000001, READ)) == 0


# -- where the rules cannot be carried out -----------------------------------------------------------------------------


@pytest.fixture
def nowhere(tmp_path: Path) -> tuple[list[str], list[Hierarchy]]:
    """A container's cgroups that could not be made, in a hierarchy of the devices controller."""
    return [str(tmp_path / "x")], [Hierarchy("devices", str(tmp_path), "/", 1)]


@pytest.mark.parametrize("listed", [[], [ALLOW_ALL]], ids=["no rules", "all allowed"])
@pytest.mark.parametrize("user", ["root", "somebody"])
def test_where_nothing_is_denied_a_cgroup_that_cannot_be_written_does_not_matter(
    nowhere: tuple[list[str], list[Hierarchy]], listed: list[Json], user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "unprivileged", lambda: user != "root")
    monkeypatch.setattr(tree, "not_ours", lambda path: True)
    cgroups.restrict_devices(*nowhere, listed)


@pytest.mark.parametrize("asked", [0, 1])
def test_a_refusal_is_no_reason_to_go_without_rules_where_the_cgroup_can_be_written(
    nowhere: tuple[list[str], list[Hierarchy]], asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without rules all devices but the default ones are denied: nothing of that may be missing."""
    monkeypatch.setattr(access, "unprivileged", lambda: False)
    os.mkdir(nowhere[0][0])
    with pytest.raises(OcirtError, match=r"/linux/resources/devices: open .*/x/devices\.\w+.: permission denied"):
        access.rules_refused(nowhere[0][0], "devices.deny", ["a"], ["/d"], asked, -1, errno.EACCES)


def test_a_rule_that_cannot_be_carried_out_is_an_error_for_root(
    nowhere: tuple[list[str], list[Hierarchy]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "unprivileged", lambda: False)
    with pytest.raises(
        OcirtError, match=r'config.json: /linux/resources/devices: open ".*/x/devices.deny": no such file'
    ):
        cgroups.restrict_devices(*nowhere, [DENY_ALL])


def test_who_is_not_root_may_do_without_rules(
    nowhere: tuple[list[str], list[Hierarchy]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "unprivileged", lambda: True)
    cgroups.restrict_devices(*nowhere, [DENY_ALL])


def test_a_host_without_the_controller_is_told_only_to_who_denies_something(tmp_path: Path) -> None:
    hs = [Hierarchy("pids", str(tmp_path), "/", 1)]
    cgroups.restrict_devices([str(tmp_path)], hs, [])
    with pytest.raises(UnsupportedError, match='needs the cgroup controller "devices", which this host lacks'):
        cgroups.restrict_devices([str(tmp_path)], hs, [DENY_ALL])


def test_without_cgroups_there_are_no_rules() -> None:
    """--cgroup-manager=disabled: engines leave the rules in the config."""
    cgroups.restrict_devices([], [], [DENY_ALL])


def test_the_write_that_fails_is_named_with_its_rule(tmp_path: Path) -> None:
    for name in ("devices.deny", "devices.allow"):
        (tmp_path / name).symlink_to("/dev/full")
    hs = [Hierarchy("devices", str(tmp_path), "/", 1)]
    with pytest.raises(
        OcirtError, match=r'config.json: /linux/resources/devices: write "a" to ".*/devices.deny": no space'
    ):
        cgroups.restrict_devices([str(tmp_path)], hs, [DENY_ALL])
    (tmp_path / "devices.deny").unlink()
    (tmp_path / "devices.deny").write_bytes(b"")
    with pytest.raises(OcirtError, match=r"config.json: /linux/resources/devices/1: write .c 1:11 r. to"):
        cgroups.restrict_devices(
            [str(tmp_path)], hs, [DENY_ALL, {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}]
        )
