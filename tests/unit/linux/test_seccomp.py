"""Compiled profiles, run as the kernel would: system calls that are newer than the profile, on each architecture."""

from __future__ import annotations

import posix
from typing import Any

import pytest

pytest.importorskip("ocirt.linux._seccomp", reason="the binding of libseccomp is not built: make build")

from ocirt.errors import UnsupportedError
from ocirt.linux import consts, seccomp, verdict

ALLOW, ERRNO, ENOSYS = 0x7FFF0000, 0x00050000, 0x00050000 | 38
X86_64, I386, ARM64, ARM, S390X = 0xC000003E, 0x40000003, 0xC00000B7, 0x40000028, 0x80000016
X32_BIT = 0x40000000
needs_x86 = pytest.mark.skipif(posix.uname().machine != "x86_64", reason="libseccomp takes x86-64 for the native one")


def profile(*names: str, default: str = "SCMP_ACT_ERRNO", archs: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """Allows these calls. The names of architectures are without their prefix."""
    rules = [{"names": list(names), "action": "SCMP_ACT_ALLOW"}]
    listed = [f"SCMP_ARCH_{name}" for name in archs]
    return {"defaultAction": default, "architectures": listed, "syscalls": rules, **more}


def ahead(document: dict[str, Any], architecture: int, number: int) -> int | None:
    """What the instructions ahead of the filter say; None where they leave it to the filter."""
    marker = 0x12345678
    end = seccomp.INSTRUCTION.pack(consts.BPF_RETURN, 0, 0, marker)
    found = verdict.run(seccomp._newer_calls(document) + end, architecture, number)
    return None if found == marker else found


# openat2 is 437 on all of them; clone3 435; close_range 436
@pytest.mark.parametrize(
    ("name", "architecture"),
    [("X86_64", X86_64), ("X86", I386), ("AARCH64", ARM64), ("ARM", ARM), ("RISCV64", 0xC00000F3)],
)
def test_on_each_architecture_the_newest_name_is_the_limit(name: str, architecture: int) -> None:
    document = profile("read", "openat2", "clone3", archs=(name,))
    numbers = (3, 434, 436, 437, 438, 1000)
    assert [ahead(document, architecture, number) for number in numbers] == [None] * 4 + [ENOSYS] * 2


def test_architectures_have_limits_of_their_own() -> None:
    """arm_fadvise64_64 is ARM's alone, socketcall i386's: where a name is no call it does not count."""
    document = profile("mkdirat", "arm_fadvise64_64", archs=("AARCH64", "ARM"))
    assert (ahead(document, ARM64, 34), ahead(document, ARM64, 35)) == (None, ENOSYS)
    assert (ahead(document, ARM, 35), ahead(document, ARM, 323), ahead(document, ARM, 324)) == (None, None, ENOSYS)


def test_what_is_not_listed_is_left_to_the_filter() -> None:
    document = profile("read", archs=("AARCH64",))
    assert ahead(document, 0x80000015, 5000) is None


@needs_x86
@pytest.mark.parametrize("archs", [("X86_64", "X32"), ("X32",), ("X32", "X86_64", "X86")])
def test_x32_is_told_from_x86_64_by_a_bit(archs: tuple[str, ...]) -> None:
    document = profile("read", "execve", archs=archs)  # 0 and 59; 520 for x32
    assert [ahead(document, X86_64, number) for number in (59, 60)] == [None, ENOSYS]
    assert [ahead(document, X86_64, X32_BIT | number) for number in (60, 520, 521)] == [None, None, ENOSYS]


@needs_x86
def test_without_x32_its_calls_are_left_to_the_filter() -> None:
    assert ahead(profile("write", archs=("X86_64",)), X86_64, X32_BIT | 600) is None
    assert ahead(profile("write", archs=()), X86_64, 600) == ENOSYS, "the machine's own counts without being listed"


def test_s390_has_a_number_for_those_that_it_does_not_know() -> None:
    document = profile("read", "openat2", archs=("S390X",))
    assert [ahead(document, S390X, number) for number in (0, 1, 437, 438)] == [ENOSYS, None, None, ENOSYS]


@pytest.mark.parametrize("default", ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"])
def test_a_default_that_lets_calls_pass_has_no_limit(default: str) -> None:
    assert seccomp._newer_calls(profile("read", default=default)) == b""


REFUSING = sorted(set(seccomp.ACTIONS) - set(seccomp.PERMISSIVE))


@pytest.mark.parametrize("default", REFUSING)
def test_every_other_default_has(default: str) -> None:
    assert ahead(profile("read", default=default, archs=("AARCH64",)), ARM64, 600) == ENOSYS


def test_the_filter_behind_it_is_whole() -> None:
    document = profile("read", "openat2", defaultErrnoRet=13)
    code, numbers = verdict.MACHINES[posix.uname().machine]
    program = seccomp.compile(document)
    assert verdict.run(program, code, numbers["read"]) == ALLOW
    assert verdict.run(program, code, numbers["write"]) == ERRNO | 13
    assert verdict.run(program, code, 438) == ENOSYS


def test_a_filter_that_the_kernel_would_not_take_is_refused_in_words() -> None:
    args = [{"index": 0, "value": number, "op": "SCMP_CMP_EQ"} for number in range(5000)]
    rules = [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [arg]} for arg in args]
    with pytest.raises(
        UnsupportedError, match=r"/linux/seccomp: the filter has \d+ instructions, the kernel takes 4096"
    ):
        seccomp.compile({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules})
