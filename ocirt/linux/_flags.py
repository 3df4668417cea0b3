"""How the C is compiled and linked: one table for ocirt-init, the launcher and cffi's modules. For setup.py only.

CPPFLAGS, CFLAGS and LDFLAGS of the environment come after ours, so that what a distribution sets wins
(dpkg-buildflags(1), rpm's macros); after them comes only what a program cannot do without.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
from functools import cache
from typing import NamedTuple

FOR_LINKING = ("-static-pie", "-nostdlib")
Words = tuple[str, ...]
Choice = tuple[Words, ...]

C: Words = ("-std=gnu11", "-Wall", "-Wextra", "-Werror")
LINK: Words = ("-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack")

# The first that the compiler takes, or nothing.
STACK: Choice = (("-fstack-protector-strong",),)
BRANCHES: Choice = (("-fcf-protection=full",), ("-mbranch-protection=standard",))  # x86-64, arm64
FORTIFY: Choice = tuple(("-U_FORTIFY_SOURCE", f"-D_FORTIFY_SOURCE={level}") for level in (3, 2))
# Its stack's guard is a variable: it has no libc, and so no thread's block, where a compiler looks for one else.
OWN_GUARD: Choice = (("-mstack-protector-guard=global",), ("-fno-stack-protector",))


class Kind(NamedTuple):
    """The flags of a kind of program; `after` those of the environment."""

    compile: Words
    link: Words
    choices: tuple[Choice, ...] = (STACK, BRANCHES, FORTIFY)
    after: Words = ()
    after_choices: tuple[Choice, ...] = ()


KINDS = {
    # No fortification: that is glibc's. Its loops must not become calls of the functions that they are the body of.
    "init": Kind(
        compile=(
            *(*C, "-D_GNU_SOURCE", "-Os", "-fno-asynchronous-unwind-tables"),
            *("-ffunction-sections", "-fdata-sections"),
        ),
        link=(*LINK, "-s", "-Wl,--gc-sections", "-Wl,--build-id=none"),
        choices=(STACK, BRANCHES),
        after=(
            *("-ffreestanding", "-fno-builtin", "-fno-tree-loop-distribute-patterns", "-fno-lto", "-fno-exceptions"),
            *("-fPIE", "-fvisibility=hidden", "-static-pie", "-nostdlib"),
        ),
        after_choices=(OWN_GUARD,),
    ),
    "launcher": Kind(compile=(*C, "-O2", "-pthread", "-fPIE"), link=(*LINK, "-pie")),
    "shim": Kind(compile=(*C, "-O2", "-fvisibility=hidden", "-Wno-unused-function"), link=LINK),
}  # fmt: skip


def compiler() -> list[str]:
    """`$CC`, else gcc, as arguments."""
    return shlex.split(os.environ.get("CC") or "gcc")


def given(name: str) -> list[str]:
    """What the environment's variable says, as arguments."""
    return shlex.split(os.environ.get(name, ""))


def compile_flags(kind: str, directory: str) -> list[str]:
    """How a kind of KINDS is compiled from `directory`, whose name is not to be found in the result."""
    flags = KINDS[kind]
    chosen = [word for choice in flags.choices for word in choose(choice)]
    needed = [word for choice in flags.after_choices for word in choose(choice)]
    same_everywhere = f"-ffile-prefix-map={directory}=."
    return [*flags.compile, *chosen, same_everywhere, *given("CPPFLAGS"), *given("CFLAGS"), *flags.after, *needed]


def link_flags(kind: str) -> list[str]:
    """How it is linked; those of `compile_flags` are to be given too, and before."""
    return [*KINDS[kind].link, *given("LDFLAGS"), *(word for word in KINDS[kind].after if word in FOR_LINKING)]


@cache
def choose(choice: Choice) -> Words:
    """The first that the compiler takes, with what the environment says: -O0 and fortification do not go together."""
    told = [*compiler(), *given("CPPFLAGS"), *given("CFLAGS"), str(sysconfig.get_config_var("CFLAGS"))]
    if choice == FORTIFY and "_FORTIFY_SOURCE" in " ".join(told):
        return ()
    return next((words for words in choice if takes(words)), ())


def takes(words: Words) -> bool:
    """Whether the compiler takes them without a word."""
    test = ["-O2", *words, *given("CPPFLAGS"), *given("CFLAGS"), "-Werror", "-x", "c", "-c", "-o", "/dev/null", "-"]
    source = b"#include <features.h>\nint main(void) { return 0; }\n"
    try:
        done = subprocess.run([*compiler(), *test], input=source, capture_output=True, check=False)
    except OSError as error:
        raise SystemExit(f"{compiler()[0]}: {error}") from None
    return done.returncode == 0
