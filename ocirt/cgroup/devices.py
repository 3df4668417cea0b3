"""linux.resources.devices → which devices may be opened and made: files of cgroup v1, an eBPF program on v2; pure.

The rules are a list in which the last that matches decides, for each of read, write and mknod by itself. `effective`
says the same with as few rules as possible: a default, and what differs from it.
"""

from __future__ import annotations

from _struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    # allow, type, major, minor, access bits, JSON pointer
    Rule = tuple[bool, str, int, int, int, str]

ANY = -1
U32_MAX = 0xFFFFFFFF

# <linux/bpf.h>, BPF_DEVCG_ACC_…: the bits of v2's programs, and here of v1's rules too
ACCESS = {"m": 1, "r": 2, "w": 4}
ALL = 7
LETTERS = [(bit, letter) for letter, bit in (("r", 2), ("w", 4), ("m", 1))]

POINTER = "/linux/resources/devices"

# What every container may do whatever its rules say, as with runc and crun: make any node, for opening it is another
# matter; open the default devices (config-linux.md "Default Devices") and terminals.
DEFAULTS = (
    ("c", ANY, ANY, ACCESS["m"]),
    ("b", ANY, ANY, ACCESS["m"]),
    ("c", 1, 3, ALL),  # null
    ("c", 1, 5, ALL),  # zero
    ("c", 1, 7, ALL),  # full
    ("c", 1, 8, ALL),  # random
    ("c", 1, 9, ALL),  # urandom
    ("c", 5, 0, ALL),  # tty
    ("c", 5, 1, ALL),  # console
    ("c", 5, 2, ALL),  # ptmx
    ("c", 136, ANY, ALL),  # pts/*
)


def rules(listed: Sequence[dict[str, Any]]) -> tuple[bool, list[Rule]]:
    """Return `effective` of linux.resources.devices with the default devices behind it.

    Without any rule nothing but the default devices is allowed (config-linux.md "Devices").
    """
    found: list[Rule] = []
    for index, entry in enumerate(listed):
        letters = entry.get("access")
        access = ALL if letters is None else sum([ACCESS[letter] for letter in set(letters)])
        major, minor = entry.get("major"), entry.get("minor")
        kind = entry.get("type") or "a"
        numbers = (ANY if major is None or major < 0 else major, ANY if minor is None or minor < 0 else minor)
        if max(numbers) <= U32_MAX:  # no device has a greater one
            found.append((entry["allow"], kind, *numbers, access, f"{POINTER}/{index}"))
    found += [(True, kind, major, minor, access, POINTER) for kind, major, minor, access in DEFAULTS]
    return effective(found)


def effective(found: Iterable[Rule]) -> tuple[bool, list[Rule]]:
    """Return whether everything is allowed by default, and the rules that make a difference, the later the stronger.

    Types are "b" and "c" in the result, "a" is both in `found`. No rule is left that a later one covers, none that says
    what goes without saying.
    """
    default = False
    kept: list[Rule] = []
    for allow, kind, major, minor, access, pointer in found:
        if (kind, major, minor, access) == ("a", ANY, ANY, ALL):
            default, kept = allow, []
            continue
        for each in "cb" if kind == "a" else kind:
            rule = (allow, each, major, minor, access, pointer)
            kept = _uncovered(kept, rule)
            if access:
                kept.append(rule)
    return default, _telling(default, kept)


def _uncovered(old_rules: list[Rule], new: Rule) -> list[Rule]:
    """What is left of rules when `new` comes after them."""
    found = []
    for at, old in enumerate(old_rules):
        left = old[4] & ~new[4] if _about(new, old) else old[4]
        if left == old[4] or (left and old[0] is new[0]):
            found.append(old)  # one that says the same in part stays as it was written: devices.list shows it so
        elif left and not any(_about(later, old) and not left & ~later[4] for later in old_rules[at + 1 :]):
            found.append((*old[:4], left, old[5]))
    return found


def _about(one: Rule, other: Rule) -> bool:
    """Whether `one` is about every device that `other` is about."""
    return one[1] == other[1] and one[2] in {ANY, other[2]} and one[3] in {ANY, other[3]}


def _telling(default: bool, kept: list[Rule]) -> list[Rule]:
    """Without those that say what the default says, unless a rule before them says otherwise."""
    found: list[Rule] = []
    for rule in kept:
        if rule[0] is not default or any(_overlap(old, rule) for old in found if old[0] is not default):
            found.append(rule)
    return found


def _overlap(one: Rule, other: Rule) -> bool:
    """Whether there is a request that both are about."""
    return (
        one[1] == other[1]
        and (one[2] == other[2] or ANY in {one[2], other[2]})
        and (one[3] == other[3] or ANY in {one[3], other[3]})
        and bool(one[4] & other[4])
    )


# -- cgroup v1 --------------------------------------------------------------------------------------------------------


def holes(default: bool, kept: Sequence[Rule]) -> list[str]:
    """Return the pointers of rules that v1 cannot express: exceptions from an exception with a wildcard.

    The kernel would take them and do nothing (admin-guide/cgroup-v1/devices.rst).
    """
    return [rule[5] for rule in kept if rule[0] is default]


def writes(default: bool, kept: Sequence[Rule]) -> list[tuple[str, list[tuple[bytes, str]]]]:
    """Return (file, [(text, JSON pointer)]) in the order of writing; each text takes a write of its own."""
    lines = [(line(rule).encode(), rule[5]) for rule in kept]
    first, second = ("devices.allow", "devices.deny") if default else ("devices.deny", "devices.allow")
    return [(first, [(b"a", POINTER)]), (second, lines)] if lines else [(first, [(b"a", POINTER)])]


def line(rule: Rule) -> str:
    """Return a rule as v1 has it: "c 1:* rw"."""
    _, kind, major, minor, access, _ = rule
    return f"{kind} {_number(major)}:{_number(minor)} {letters(access)}"


def letters(access: int) -> str:
    """Return access bits as "rwm" and parts of it."""
    return "".join([letter for bit, letter in LETTERS if access & bit])


def _number(value: int) -> str:
    return "*" if value == ANY else str(value)


# -- cgroup v2 --------------------------------------------------------------------------------------------------------

# struct bpf_insn: code, registers (the source's in the upper four bits), offset, immediate (bpf/instruction-set.rst)
INSTRUCTION = Struct("<BBhi")
LOAD = 0x61  # BPF_LDX | BPF_MEM | BPF_W: dst = *(u32 *)(src + offset)
AND, SHIFT_RIGHT, MOVE = 0x54, 0x74, 0xB4  # BPF_ALU with an immediate: 32 bits
COPY = 0xBC  # BPF_ALU | BPF_MOV | BPF_X
UNLESS_EQUAL, IF_EQUAL = 0x56, 0x16  # BPF_JMP32 | BPF_JNE, BPF_JEQ: 32 bits, an immediate would be sign-extended else
EXIT = 0x95

# Registers: 0 is the result, 1 comes as the address of struct bpf_cgroup_dev_ctx
RESULT, CONTEXT, TYPE, WANTED, MAJOR, MINOR = range(6)
TYPES = {"b": 1, "c": 2}  # BPF_DEVCG_DEV_…


def program(default: bool, kept: Sequence[Rule]) -> bytes:
    """Return a program of BPF_PROG_TYPE_CGROUP_DEVICE: 1 for a request that is allowed, else 0.

    Strongest rule first. WANTED is what of the request is still undecided: a rule that allows takes its bits off it and
    decides when none is left, a rule that denies decides when one of its bits is there.
    """
    code = [
        _instruction(LOAD, TYPE, CONTEXT, 0),  # access_type: access in the upper half
        _instruction(COPY, WANTED, TYPE),
        _instruction(AND, TYPE, value=0xFFFF),
        _instruction(SHIFT_RIGHT, WANTED, value=16),
        _instruction(LOAD, MAJOR, CONTEXT, 4),
        _instruction(LOAD, MINOR, CONTEXT, 8),
    ]
    for rule in reversed(kept):
        code += _block(rule)
    return b"".join(code + _verdict(default))


def _block(rule: Rule) -> list[bytes]:
    """One rule: what it does, behind the jumps over that for requests that it is not about."""
    allow, kind, major, minor, access, _ = rule
    body = _verdict(allow)
    if access != ALL and allow:
        body = [_instruction(AND, WANTED, value=~access), _instruction(UNLESS_EQUAL, WANTED, offset=len(body)), *body]
    elif access != ALL:
        asked = [_instruction(COPY, RESULT, WANTED), _instruction(AND, RESULT, value=access)]
        body = [*asked, _instruction(IF_EQUAL, RESULT, offset=len(body)), *body]
    for register, value in ((MINOR, minor), (MAJOR, major), (TYPE, TYPES[kind])):
        if value != ANY:
            body.insert(0, _instruction(UNLESS_EQUAL, register, offset=len(body), value=value))
    return body


def _verdict(allow: bool) -> list[bytes]:
    return [_instruction(MOVE, RESULT, value=int(allow)), _instruction(EXIT)]


def _instruction(code: int, register: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return INSTRUCTION.pack(code, register | source << 4, offset, value - (1 << 32) if value > 0x7FFFFFFF else value)
