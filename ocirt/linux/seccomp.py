"""A seccomp profile of config.json → a BPF program, by libseccomp; leaves loading it to the init.

Loaded only for configs with linux.seccomp. Source: config-linux.md "Seccomp", seccomp_rule_add(3).
"""

from __future__ import annotations

import posix
from _struct import Struct
from errno import ENOSYS, EPERM

from ocirt.errors import UnsupportedError
from ocirt.linux._seccomp import ffi, lib
from ocirt.linux.consts import BPF_ANY_BIT, BPF_EQUAL, BPF_GREATER, BPF_JUMP, BPF_LOAD, BPF_RETURN
from ocirt.linux.notify import notifies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

POINTER = "/linux/seccomp"

# linux/seccomp.h: action numbers as libseccomp takes them; the low 16 bits hold errno or the tracer's message
ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
WITH_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")

OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}

# linux/audit.h AUDIT_ARCH_…: machine | 0x80000000 (64 bit) | 0x40000000 (little endian); libseccomp's own for x32, n32
ARCHITECTURES = {
    "SCMP_ARCH_X86": 0x40000003,
    "SCMP_ARCH_X86_64": 0xC000003E,
    "SCMP_ARCH_X32": 0x4000003E,
    "SCMP_ARCH_ARM": 0x40000028,
    "SCMP_ARCH_AARCH64": 0xC00000B7,
    "SCMP_ARCH_LOONGARCH64": 0xC0000102,
    "SCMP_ARCH_M68K": 0x00000004,
    "SCMP_ARCH_MIPS": 0x00000008,
    "SCMP_ARCH_MIPS64": 0x80000008,
    "SCMP_ARCH_MIPS64N32": 0xA0000008,
    "SCMP_ARCH_MIPSEL": 0x40000008,
    "SCMP_ARCH_MIPSEL64": 0xC0000008,
    "SCMP_ARCH_MIPSEL64N32": 0xE0000008,
    "SCMP_ARCH_PARISC": 0x0000000F,
    "SCMP_ARCH_PARISC64": 0x8000000F,
    "SCMP_ARCH_PPC": 0x00000014,
    "SCMP_ARCH_PPC64": 0x80000015,
    "SCMP_ARCH_PPC64LE": 0xC0000015,
    "SCMP_ARCH_RISCV64": 0xC00000F3,
    "SCMP_ARCH_S390": 0x00000016,
    "SCMP_ARCH_S390X": 0x80000016,
    "SCMP_ARCH_SH": 0x0000002A,
    "SCMP_ARCH_SHEB": 0x0000002A,
}

# seccomp(2) SECCOMP_FILTER_FLAG_…; TSYNC is meaningless for the single-threaded init and accepted
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}
TSYNC = 1
WAIT_KILLABLE_RECV = 32

ATTR_OPTIMIZE = 8  # SCMP_FLTATR_CTL_OPTIMIZE of seccomp_attr_set(3)
EEXIST = 17


def action_number(name: str, errno_ret: int | None) -> int:
    """The action as libseccomp takes it, with the errno (default EPERM) of those that carry one."""
    number = ACTIONS[name]
    if name in WITH_ERRNO:
        number |= EPERM if errno_ret is None else errno_ret & 0xFFFF
    return number


def flags(profile: dict[str, Any]) -> int:
    """SECCOMP_FILTER_FLAG_… bits for seccomp(2); SPEC_ALLOW where the profile names no flags, as the peers do.

    WAIT_KILLABLE_RECV is about a listener, and nothing without one: the kernel would refuse it.
    """
    bits = 0
    for position, name in enumerate(profile.get("flags", ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"])):
        if name not in FLAGS:
            raise UnsupportedError(f'seccomp flag "{name}" is not supported', f"{POINTER}/flags/{position}")
        bits |= FLAGS[name]
    return bits & ~TSYNC & ~(0 if notifies(profile) else WAIT_KILLABLE_RECV)


def compile(profile: dict[str, Any]) -> bytes:
    """The profile as an array of struct sock_filter.

    Raises UnsupportedError with the pointer of what libseccomp or this version cannot express.
    """
    context = lib.seccomp_init(action_number(profile["defaultAction"], profile.get("defaultErrnoRet")))
    if context == ffi.NULL:
        raise UnsupportedError(f"libseccomp refuses the action {profile['defaultAction']}", POINTER + "/defaultAction")
    try:
        _architectures(context, profile.get("architectures", ()))
        default = action_number(profile["defaultAction"], profile.get("defaultErrnoRet"))
        for position, entry in enumerate(profile.get("syscalls") or ()):
            _rules(context, entry, default, f"{POINTER}/syscalls/{position}")
        return _short_enough(_newer_calls(profile) + _export(context))
    finally:
        lib.seccomp_release(context)


def _architectures(context: Any, names: Sequence[str]) -> None:
    for position, name in enumerate(names):
        result = lib.seccomp_arch_add(context, ARCHITECTURES[name])
        if result < 0 and result != -EEXIST:
            raise UnsupportedError(f"libseccomp does not know {name}", f"{POINTER}/architectures/{position}")
    # A big table is searched as a tree: fewer comparisons a system call. Older libseccomp (< 2.5) ignores it.
    lib.seccomp_attr_set(context, ATTR_OPTIMIZE, 2)


def _rules(context: Any, entry: dict[str, Any], default: int, pointer: str) -> None:
    action = action_number(entry["action"], entry.get("errnoRet"))
    if action == default:
        return  # libseccomp refuses a rule that says what the default says
    comparisons = [_comparison(arg) for arg in entry.get("args") or ()]
    indices = [comparison[0] for comparison in comparisons]
    # Two conditions on one argument can't stand in one libseccomp rule. The peers take each as a rule of its own, and
    # profiles rely on it.
    groups = [[one] for one in comparisons] if len(set(indices)) < len(indices) else [comparisons]
    for name in entry["names"]:
        number = lib.seccomp_syscall_resolve_name(name.encode())
        if number == -1:
            continue  # not a system call of this libseccomp's time: the default action covers it
        for group in groups:
            result = lib.seccomp_rule_add_array(context, action, number, len(group), group)
            if result < 0 and result != -EEXIST:
                reason = posix.strerror(-result).lower()
                raise UnsupportedError(f'libseccomp refuses the rule for "{name}": {reason}', pointer)


def _comparison(arg: dict[str, Any]) -> tuple[int, int, int, int]:
    mask = 0xFFFFFFFFFFFFFFFF
    return arg["index"], OPERATORS[arg["op"]], arg["value"] & mask, arg.get("valueTwo", 0) & mask


def _export(context: Any) -> bytes:
    fd = posix.memfd_create("seccomp", posix.MFD_CLOEXEC)
    try:
        result = lib.seccomp_export_bpf(context, fd)
        if result < 0:
            raise UnsupportedError(f"libseccomp cannot build the filter: {posix.strerror(-result).lower()}", POINTER)
        return posix.pread(fd, posix.fstat(fd).st_size, 0)
    finally:
        posix.close(fd)


# ---- system calls that are newer than the profile --------------------------------------------------------------------

# linux/filter.h, struct sock_filter: the operation, how many to pass over where true and where false, the operand
INSTRUCTION = Struct("=HBBI")
NUMBER, ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
MAXIMUM = 4096  # BPF_MAXINSNS

REFUSE = (BPF_RETURN, 0, 0, ACTIONS["SCMP_ACT_ERRNO"] | ENOSYS)
X86_64, X32 = ARCHITECTURES["SCMP_ARCH_X86_64"], ARCHITECTURES["SCMP_ARCH_X32"]
X32_BIT = 0x40000000  # in the numbers of x32, whose architecture is x86-64 to the kernel
# s390 takes a number that is too large for its instruction for 0, the forgotten setup(2), where it knows no such call
S390 = (ARCHITECTURES["SCMP_ARCH_S390"], ARCHITECTURES["SCMP_ARCH_S390X"])

# Under these a call that the profile does not know is made, or left to a tracer, who knows better
PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")


def _newer_calls(profile: dict[str, Any]) -> bytes:
    """Instructions ahead of the filter: ENOSYS for each call with a number above all those that the profile names.

    Whoever wrote it did not know such a call. A C library that is answered with EPERM gives up; with ENOSYS it does
    what it did before the call was there. As runc does: whatever the default action refuses with.
    """
    if profile["defaultAction"] in PERMISSIVE:
        return b""
    return b"".join([_section(architecture, newest) for architecture, newest in sorted(_newest(profile).items())])


def _newest(profile: dict[str, Any]) -> dict[int, dict[int, int]]:
    """Architecture of the kernel → those of libseccomp that are the same to it → the highest number that is named."""
    names = {name.encode() for entry in profile.get("syscalls") or () for name in entry["names"]}
    found: dict[int, dict[int, int]] = {}
    # Docker's profile for ppc64le names no architecture at all: the machine's own always counts.
    for token in {lib.seccomp_arch_native(), *(ARCHITECTURES[name] for name in profile.get("architectures") or ())}:
        newest = max((lib.seccomp_syscall_resolve_name_arch(token, name) for name in names), default=0)
        if newest > 0:  # negative: not known, or no number of its own on that architecture
            found.setdefault(X86_64 if token == X32 else token, {})[token] = newest
    return found


def _section(architecture: int, newest: dict[int, int]) -> bytes:
    """For the calls of one architecture; those of others, and those that are not newer, come out at its end."""
    code = [(BPF_LOAD, 0, 0, NUMBER)]
    if architecture == X86_64:
        ours, theirs = _refused_above(newest.get(X86_64)), _refused_above(newest.get(X32))
        code += [(BPF_ANY_BIT, len(ours) + 1, 0, X32_BIT), *ours, (BPF_JUMP, 0, 0, len(theirs)), *theirs]
    else:
        code += [(BPF_EQUAL, 0, 1, 0), REFUSE] if architecture in S390 else []
        code += _refused_above(newest[architecture])
    head = [(BPF_LOAD, 0, 0, ARCHITECTURE), (BPF_EQUAL, 0, len(code), architecture)]
    return b"".join([INSTRUCTION.pack(*instruction) for instruction in head + code])


def _refused_above(number: int | None) -> list[tuple[int, int, int, int]]:
    return [] if number is None else [(BPF_GREATER, 0, 1, number), REFUSE]


def _short_enough(program: bytes) -> bytes:
    """The program, if it is not too long. Raises UnsupportedError."""
    count = len(program) // INSTRUCTION.size
    if count > MAXIMUM:
        raise UnsupportedError(f"the filter has {count} instructions, the kernel takes {MAXIMUM}", POINTER)
    return program


def version() -> str:
    """The version of the libseccomp in use, "2.5.4"."""
    found = lib.seccomp_version()
    return f"{found.major}.{found.minor}.{found.micro}"
