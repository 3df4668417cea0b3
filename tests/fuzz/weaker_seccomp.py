"""weaker.py's judge of the filter: the program that the kernel has, run on system calls that the profile is about.

The program comes from the process itself (ptrace(2), PTRACE_SECCOMP_GET_FILTER). What each call must lead to is read
from the profile: the action of a rule that names it, else the default.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fuzz.weaker import Case

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_SECCOMP_GET_FILTER = 17, 0x4206, 0x4207, 0x420C
WALL = 0x40000000
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[platform.machine()]
NATIVE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}[platform.machine()]
EPERM, ENOSYS = 1, 38

# linux/seccomp.h SECCOMP_RET_…; the first that holds counts where several rules are about a call
ACTIONS = {
    "SCMP_ACT_KILL": 0, "SCMP_ACT_KILL_THREAD": 0, "SCMP_ACT_KILL_PROCESS": 0x80000000, "SCMP_ACT_TRAP": 0x30000,
    "SCMP_ACT_ERRNO": 0x50000, "SCMP_ACT_NOTIFY": 0x7FC00000, "SCMP_ACT_TRACE": 0x7FF00000, "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}  # fmt: skip
OTHERS = ["read", "write", "mount", "bpf", "ptrace", "reboot", "kexec_load", "setns", "clone3", "getpid"]

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


@functools.cache
def library() -> Any:
    return ctypes.CDLL("libseccomp.so.2")


@functools.cache
def number_of(name: str) -> int:
    """The native number of a system call, negative for none."""
    found: int = library().seccomp_syscall_resolve_name(name.encode())
    return found


def ptrace(request: int, pid: int, addr: int = 0, data: Any = None) -> int:
    result: int = libc.ptrace(request, pid, addr, data)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:x}")
    return result


def programs(pid: int) -> list[list[tuple[int, int, int, int]]]:
    """The filters of a process, the last that was loaded first: (code, jt, jf, k) of each instruction."""
    ptrace(PTRACE_SEIZE, pid)
    try:
        ptrace(PTRACE_INTERRUPT, pid)
        os.waitpid(pid, WALL)
        found = []
        while True:
            try:
                count = ptrace(PTRACE_SECCOMP_GET_FILTER, pid, len(found))
            except OSError:
                return found
            buffer = ctypes.create_string_buffer(count * 8)
            ptrace(PTRACE_SECCOMP_GET_FILTER, pid, len(found), buffer)
            found.append(list(struct.iter_unpack("=HBBI", buffer.raw)))
    finally:
        ptrace(PTRACE_DETACH, pid)


JUMPS = {0x10: "eq", 0x20: "gt", 0x30: "ge", 0x40: "set"}


def run(program: list[tuple[int, int, int, int]], number: int, arguments: list[int]) -> int:
    """What a filter returns for a call (bpf(4) as seccomp(2) allows it)."""
    data = struct.pack("=iIQ6Q", number, AUDIT_ARCH, 0, *[value % 2**64 for value in arguments])
    accumulator, at = 0, 0
    memory: dict[int, int] = {}
    while True:
        code, yes, no, k = program[at]
        at += 1
        kind = code & 7
        if kind == 6:  # BPF_RET
            return k if code & 0x18 == 0 else accumulator
        if kind == 0:  # BPF_LD
            accumulator = (
                k if code & 0xE0 == 0 else memory[k] if code & 0xE0 == 0x60 else struct.unpack_from("=I", data, k)[0]
            )
        elif kind == 2:  # BPF_ST
            memory[k] = accumulator
        elif kind == 4:  # BPF_ALU
            accumulator = {0x50: accumulator & k, 0x40: accumulator | k, 0xA0: accumulator ^ k}[code & 0xF0]
        elif kind == 5 and code & 0xF0 == 0:  # BPF_JA
            at += k
        else:
            holds = {
                0x10: accumulator == k, 0x20: accumulator > k, 0x30: accumulator >= k, 0x40: bool(accumulator & k),
            }[code & 0xF0]  # fmt: skip
            at += yes if holds else no


def action(name: str, errno: int | None) -> int:
    """An action of a profile as the kernel's number."""
    with_data = name in ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
    return ACTIONS[name] | ((EPERM if errno is None else errno) if with_data else 0)


def holds(rule: dict[str, Any], arguments: list[int]) -> bool:
    """Whether a rule is about a call with these arguments; several conditions on one argument hold one by one."""
    conditions = rule.get("args") or ()

    def true(one: dict[str, Any]) -> bool:
        value, wanted = arguments[one["index"]], one["value"]
        masked = one.get("valueTwo") or 0
        return {
            "SCMP_CMP_NE": value != wanted, "SCMP_CMP_LT": value < wanted, "SCMP_CMP_LE": value <= wanted,
            "SCMP_CMP_EQ": value == wanted, "SCMP_CMP_GE": value >= wanted, "SCMP_CMP_GT": value > wanted,
            "SCMP_CMP_MASKED_EQ": value & wanted == masked & wanted,
        }[one["op"]]  # fmt: skip

    indices = [one["index"] for one in conditions]
    if len(set(indices)) < len(indices):
        return any(map(true, conditions))
    return all(map(true, conditions))


def probes(rules: list[dict[str, Any]]) -> list[list[int]]:
    """Arguments around every value that rules about one call compare with."""
    found = [[0] * 6, [2**64 - 1] * 6]
    for rule in rules:
        arguments = [0] * 6
        for one in rule.get("args") or ():
            if one["index"] < 6:
                arguments[one["index"]] = (
                    (one.get("valueTwo") or 0) if one["op"] == "SCMP_CMP_MASKED_EQ" else one["value"]
                )
        found.append(arguments)
        for one in rule.get("args") or ():
            for step in (-1, 1):
                near = list(arguments)
                near[one["index"] % 6] = (near[one["index"] % 6] + step) % 2**64
                found.append(near)
    return found


def filters(case: Case) -> list[str]:
    """A filter where there is a profile and none where there is none; and each call that the profile names."""
    profile = case.linux.get("seccomp")
    mode = case.seen.number("Seccomp", 10)
    if not profile:
        return [] if mode == case.host.number("Seccomp", 10) else ["a filter that nobody asked for"]
    if mode != 2:
        return ["no filter"]
    if case.seen.number("TracerPid", 10):  # whoever traces it is the only one who can read its filters
        return [] if case.seen.number("Seccomp_filters", 10) else ["no filter"]
    chain = programs(case.seen.pid)
    if not chain:
        return ["no filter"]
    names = {name for rule in profile.get("syscalls") or () for name in rule.get("names") or ()}
    wrong = []
    for name in sorted(names | set(OTHERS)):
        if number_of(name) >= 0:
            wrong += judged(profile, chain[0], name)
    return wrong


def judged(profile: dict[str, Any], program: list[tuple[int, int, int, int]], name: str) -> list[str]:
    """A line where the filter lets a call come to something that no rule about it says."""
    number = number_of(name)
    rules = [rule for rule in profile.get("syscalls") or () if name in (rule.get("names") or ())]
    default = action(profile["defaultAction"], profile.get("defaultErrnoRet"))
    for arguments in probes(rules):
        matching = [rule for rule in rules if holds(rule, arguments)]
        right = {action(rule["action"], rule.get("errnoRet")) for rule in matching} or {default}
        if not rules and profile["defaultAction"] == "SCMP_ACT_ERRNO":
            right.add(ACTIONS["SCMP_ACT_ERRNO"] | ENOSYS)  # a call that is newer than the profile
        found = run(program, number, arguments)
        if found not in right:
            return [f"seccomp: {name} {arguments} leads to {found:x}, not {sorted(map(hex, right))}"]
    return []
