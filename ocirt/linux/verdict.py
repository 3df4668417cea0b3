"""What a seccomp filter says about system calls: runs its program as the kernel would. Loads nothing into the kernel.

Source: Linux, Documentation/networking/filter.rst and seccomp(2), "struct seccomp_data".
"""

from __future__ import annotations

import posix
from _struct import Struct

from ocirt.linux.consts import BPF_ANY_BIT, BPF_AT_LEAST, BPF_EQUAL, BPF_GREATER, BPF_JUMP, BPF_LOAD, BPF_RETURN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Calls = Iterable[tuple[str, tuple[int, ...]]]

INSTRUCTION = Struct("<HBBI")  # struct sock_filter
DATA = Struct("<IIQ6Q")  # struct seccomp_data: number, architecture, instruction pointer, arguments

# linux/bpf_common.h: what libseccomp makes filters of besides
AND, TO_INDEX, TO_ACCUMULATOR = 0x54, 0x07, 0x87
STORE, LOAD_MEMORY, RETURN_ACCUMULATOR = 0x02, 0x60, 0x16
CONDITIONS: dict[int, Callable[[int, int], bool]] = {
    BPF_EQUAL: lambda a, k: a == k,
    BPF_GREATER: lambda a, k: a > k,
    BPF_AT_LEAST: lambda a, k: a >= k,
    BPF_ANY_BIT: lambda a, k: a & k != 0,
}
MASK = 0xFFFFFFFF

# seccomp(2): the actions that let the call be made; of the others one waits for an agent, one for a tracer
ALLOW, LOG, ACTION = 0x7FFF0000, 0x7FFC0000, 0xFFFF0000

CLONE_PARENT, TIOCSCTTY, PR_SET_DUMPABLE = 0x8000, 0x540E, 4

# uname(2) machine → AUDIT_ARCH_…, and the numbers of the calls that are asked about
MACHINES = {
    "x86_64": (
        0xC000003E,
        {
            "read": 0, "write": 1, "close": 3, "ioctl": 16, "sendto": 44, "clone": 56, "setsid": 112, "prctl": 157,
            "exit_group": 231, "pipe2": 293, "prlimit64": 302,
        },
    ),
    "aarch64": (
        0xC00000B7,
        {
            "ioctl": 29, "close": 57, "pipe2": 59, "read": 63, "write": 64, "exit_group": 94, "setsid": 157,
            "prctl": 167, "sendto": 206, "clone": 220, "prlimit64": 261,
        },
    ),
}  # fmt: skip

# What the init calls to make a process (op_clone), and that before it is as a process was that loads the filter itself
TO_CLONE: Calls = (
    ("pipe2", ()),
    ("clone", (CLONE_PARENT,)),
    ("sendto", ()),
    ("write", ()),
    ("exit_group", ()),
    ("prctl", (PR_SET_DUMPABLE,)),
    ("close", ()),
    ("read", ()),
    ("setsid", ()),
    ("ioctl", (0, TIOCSCTTY)),
    ("prlimit64", ()),
)


def allows(program: bytes, calls: Calls) -> bool:
    """Whether all of the calls are made under the filter; False where that is not known."""
    machine = MACHINES.get(posix.uname().machine)
    if machine is None:
        return False
    architecture, numbers = machine
    try:
        verdicts = [run(program, architecture, numbers[name], arguments) for name, arguments in calls]
    except ValueError:
        return False
    return all(verdict & ACTION in {ALLOW, LOG} for verdict in verdicts)


def run(program: bytes, architecture: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What the filter returns (SECCOMP_RET_…) for a call.

    architecture   AUDIT_ARCH_…
    arguments      of the call; those that are left out are 0

    Raises ValueError for an instruction that no profile compiles to, and for a program that does not end.
    """
    data = DATA.pack(number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    accumulator, index, at, memory = 0, 0, 0, [0] * 16
    while at < len(program):
        code, yes, no, value = INSTRUCTION.unpack_from(program, at)
        at += INSTRUCTION.size
        if code in CONDITIONS:
            at += INSTRUCTION.size * (yes if CONDITIONS[code](accumulator, value) else no)
        elif code == BPF_LOAD:
            accumulator = int.from_bytes(data[value : value + 4], "little")
        elif code == BPF_JUMP:
            at += INSTRUCTION.size * value
        elif code == BPF_RETURN:
            return int(value)
        elif code == RETURN_ACCUMULATOR:
            return accumulator
        elif code == AND:
            accumulator &= value
        elif code == STORE:
            memory[value] = accumulator
        elif code == LOAD_MEMORY:
            accumulator = memory[value]
        elif code == TO_INDEX:
            index = accumulator
        elif code == TO_ACCUMULATOR:
            accumulator = index
        else:
            raise ValueError(f"instruction {code:#x}")
    raise ValueError("no return")
