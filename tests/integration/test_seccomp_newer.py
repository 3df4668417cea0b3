"""System calls that are newer than a seccomp profile: ENOSYS, for a C library to do without, and never EPERM."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from errno import ENOSYS, EPERM
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import Json, Runtime, static_program
from tests.integration.test_seccomp import ALLOW, ERRNO, rule
from tests.integration.views import MakeBundle

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86-64")

# What a static program, and an init under an early filter, call; close_range is the newest that is named beside them
BASE = [
    "read", "write", "close", "brk", "mmap", "munmap", "mprotect", "fstat", "newfstatat", "arch_prctl", "exit",
    "exit_group", "execve", "uname", "readlink", "readlinkat", "getrandom", "prctl", "capset", "setgid", "setuid",
    "setgroups", "setresgid", "setresuid", "getresuid", "getresgid", "umask", "chdir", "fchdir", "getcwd", "openat",
    "faccessat", "sendto", "sendmsg", "recvmsg", "ioctl", "writev", "prlimit64", "set_tid_address", "set_robust_list",
    "rt_sigaction", "fcntl", "stat", "lseek", "clone", "pipe2", "setsid", "access", "rseq",
]  # fmt: skip
NEWER = 437  # openat2
PIDFD_OPEN = 434  # between those that are named


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return static_program("calls.c", tmp_path_factory.mktemp("calls") / "calls")


Ask = Callable[..., dict[str, int]]


@pytest.fixture
def ask(runtime: Runtime, make_bundle: MakeBundle, calls: Path) -> Ask:
    """A function: what calls ("64:437") are answered under a profile, 0 for one that is made."""

    def run(*which: str, nnp: bool = True, **profile: Any) -> dict[str, int]:
        linux: Json = {
            "seccomp": {"defaultAction": ERRNO, "syscalls": [rule([*BASE, "close_range"], ALLOW)], **profile}
        }
        bundle = make_bundle(args=["/calls", *which], linux=linux, process={"noNewPrivileges": nnp})
        shutil.copy(calls, bundle.rootfs / "calls")
        lines = runtime.run_container(bundle, check=True).stdout.split("\n")[:-1]
        return {name: int(number) for name, number in (line.split() for line in lines)}

    return run


@pytest.mark.parametrize("nnp", [True, False])
def test_a_call_above_the_newest_that_is_named_is_not_there(ask: Ask, nnp: bool) -> None:
    found = ask(f"64:{PIDFD_OPEN}", f"64:{NEWER}", "64:600", nnp=nnp)
    assert found == {f"64:{PIDFD_OPEN}": EPERM, f"64:{NEWER}": ENOSYS, "64:600": ENOSYS}


def test_the_number_of_the_default_error_is_for_those_that_are_older(ask: Ask) -> None:
    assert ask(f"64:{PIDFD_OPEN}", f"64:{NEWER}", defaultErrnoRet=13) == {f"64:{PIDFD_OPEN}": 13, f"64:{NEWER}": ENOSYS}


@pytest.mark.parametrize("action", ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"])
def test_nobody_is_killed_for_a_call_that_is_newer(ask: Ask, action: str) -> None:
    assert ask("64:600", defaultAction=action) == {"64:600": ENOSYS}


def test_what_is_named_to_be_refused_is_known(ask: Ask) -> None:
    """A rule that says what the default says compiles to nothing, and tells what the profile's writer knew."""
    rules = [rule(BASE, ALLOW), rule(["faccessat2"], ERRNO)]  # 439
    found = ask("64:438", "64:439", "64:440", syscalls=rules)
    assert found == {"64:438": EPERM, "64:439": EPERM, "64:440": ENOSYS}


@pytest.mark.parametrize("default", ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"])
def test_a_profile_that_allows_the_rest_allows_what_is_newer(ask: Ask, default: str) -> None:
    refused = [rule(["mkdir"], ERRNO)]
    assert ask("64:424", defaultAction=default, syscalls=refused)["64:424"] not in {EPERM, ENOSYS}  # pidfd_send_signal


def test_each_architecture_counts_by_itself(ask: Ask) -> None:
    """i386 has other numbers below 403; what is not listed has none that is newer, for every call of it kills."""
    found = ask("64:437", "32:434", "32:437", architectures=["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"])
    assert found == {"64:437": ENOSYS, "32:434": EPERM, "32:437": ENOSYS}


def test_the_architecture_of_the_machine_counts_where_it_is_not_listed(ask: Ask) -> None:
    assert ask("64:434", "64:437", architectures=["SCMP_ARCH_X86"]) == {"64:434": EPERM, "64:437": ENOSYS}


def test_exec_has_the_same(runtime: Runtime, make_bundle: MakeBundle, calls: Path) -> None:
    linux = {"seccomp": {"defaultAction": ERRNO, "syscalls": [rule([*BASE, "nanosleep", "clock_nanosleep"], ALLOW)]}}
    bundle = make_bundle(args=["sleep", "600"], linux=linux)
    shutil.copy(calls, bundle.rootfs / "calls")
    container = runtime.start(bundle)
    assert container.exec("/calls", "64:600", "64:83").stdout == f"64:600 {ENOSYS}\n64:83 {EPERM}\n"  # mkdir
