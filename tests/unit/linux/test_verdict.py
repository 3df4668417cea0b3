"""What a filter says: its program is run as the kernel would."""

from __future__ import annotations

import posix
from typing import Any

import pytest

pytest.importorskip("ocirt.linux._seccomp", reason="the binding of libseccomp is not built: make build")

from ocirt.linux import seccomp, verdict

X86_64 = 0xC000003E
ERRNO, ALLOW, KILL = 0x00050000, 0x7FFF0000, 0
pytestmark = pytest.mark.skipif(posix.uname().machine != "x86_64", reason="the numbers are those of x86-64")


def profile(default: str, *rules: tuple[str, str], **members: Any) -> dict[str, Any]:
    return {
        "defaultAction": default,
        "syscalls": [{"names": [name], "action": action} for name, action in rules],
        **members,
    }


NEEDED = [name for name, _ in verdict.TO_CLONE]


def test_a_call_is_judged_by_its_number_architecture_and_arguments() -> None:
    flags = {"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
    rules = [{"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [flags]}]
    program = seccomp.compile({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules})
    assert verdict.run(program, X86_64, 56, (0x8000,)) == ALLOW
    assert verdict.run(program, X86_64, 56, (0x10000000,)) == ERRNO | 1
    assert verdict.run(program, X86_64, 55) == ERRNO | 1
    assert verdict.run(program, 0x40000003, 56) == KILL


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("action", ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_TRAP", "SCMP_ACT_NOTIFY"])
def test_each_call_that_makes_a_process_has_to_be_allowed(name: str, action: str) -> None:
    assert not verdict.allows(seccomp.compile(profile("SCMP_ACT_ALLOW", (name, action))), verdict.TO_CLONE)


@pytest.mark.parametrize("default", ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"])
def test_a_filter_that_refuses_something_else_lets_it_be_made(default: str) -> None:
    program = seccomp.compile(profile(default, ("mkdir", "SCMP_ACT_ERRNO"), ("clone3", "SCMP_ACT_ERRNO")))
    assert verdict.allows(program, verdict.TO_CLONE)


def test_a_list_of_what_is_allowed_has_to_name_all() -> None:
    whole = [(name, "SCMP_ACT_ALLOW") for name in NEEDED]
    assert verdict.allows(seccomp.compile(profile("SCMP_ACT_ERRNO", *whole)), verdict.TO_CLONE)
    assert not verdict.allows(seccomp.compile(profile("SCMP_ACT_ERRNO", *whole[1:])), verdict.TO_CLONE)


@pytest.mark.parametrize("program", [b"", b"\x04\0\0\0\0\0\0\0", b"\x20\0\0\0\0\0\0\0"])
def test_what_is_no_filter_allows_nothing(program: bytes) -> None:
    assert not verdict.allows(program, verdict.TO_CLONE)


def test_on_another_machine_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    uname = posix.uname()
    monkeypatch.setattr(posix, "uname", lambda: posix.uname_result((*uname[:4], "riscv64")))
    assert not verdict.allows(seccomp.compile(profile("SCMP_ACT_ALLOW")), verdict.TO_CLONE)
