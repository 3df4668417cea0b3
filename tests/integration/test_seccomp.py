"""linux.seccomp: actions, arguments, error numbers, architectures and flags, tried by system calls of busybox."""

from __future__ import annotations

import errno
import os
import platform
import signal
import subprocess
from typing import Any

import pytest

from tests.integration.support import Json, Runtime
from tests.integration.views import Inside, MakeBundle, fields, user_namespace, with_capabilities

ALLOW, ERRNO = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"
MKDIR = ["mkdir", "mkdirat"]
TRY = ["sh", "-c", "mkdir /tmp/new 2>&1; echo $?"]


def rule(names: list[str], action: str, **more: Any) -> Json:
    """One entry of linux.seccomp.syscalls."""
    return {"names": names, "action": action, **more}


def profile(*rules: Json, default: str = ALLOW, **more: Any) -> Json:
    """A `linux` delta."""
    return {"seccomp": {"defaultAction": default, "syscalls": list(rules), **more}}


def complaint(number: int) -> str:
    """What busybox says of a mkdir that failed so."""
    return f"mkdir: can't create directory '/tmp/new': {os.strerror(number)}\n1\n"


@pytest.mark.parametrize("privileges", [True, False], ids=["no_new_privs", "privileged"])
def test_the_process_is_filtered(inside: Inside, privileges: bool) -> None:
    process = {"noNewPrivileges": privileges}
    status = fields(inside("cat", "/proc/self/status", process=process, linux=profile(rule(MKDIR, ERRNO))))
    assert (status["Seccomp"], status["Seccomp_filters"]) == ("2", "1")
    assert status["NoNewPrivs"] == ("1" if privileges else "0")


def test_a_user_without_capabilities_is_filtered_too(inside: Inside) -> None:
    process = {"noNewPrivileges": False, "user": {"uid": 1000, "gid": 1000}, "capabilities": None}
    assert inside(*TRY, process=process, linux=profile(rule(MKDIR, ERRNO))) == complaint(errno.EPERM)


# What an old profile does not list; the init must do without once such a filter is in force.
NEWER = ["openat2", "faccessat2", "statx", "close_range", "clone3", "mount_setattr", "epoll_pwait2", "execveat"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOSYS])
def test_a_profile_older_than_a_system_call_lets_the_container_start(
    runtime: Runtime, make_bundle: MakeBundle, number: int
) -> None:
    hooks = {"startContainer": [{"path": "/bin/true", "args": ["true"]}]}
    linux = profile(rule(NEWER, ERRNO, errnoRet=number))
    process = {"noNewPrivileges": False, "user": {"uid": 1000, "gid": 1000}}
    bundle = make_bundle(args=["ls", "/proc/self/fd"], process=process, linux=linux, hooks=hooks)
    result = runtime.run_container(bundle, check=True)
    assert result.stdout.split() == ["0", "1", "2", "3"]  # the last is the listing's own


@pytest.mark.parametrize("cwd", ["/", "/tmp"])
def test_a_profile_that_refuses_getcwd_lets_the_container_start(inside: Inside, cwd: str) -> None:
    linux = profile(rule(["getcwd"], ERRNO))
    process = {"noNewPrivileges": False, "cwd": cwd}
    assert inside("stat", "-c", "%N", "/proc/self/cwd", process=process, linux=linux).endswith(f"{cwd}'\n")


def test_a_filter_works_in_a_user_namespace(inside: Inside) -> None:
    linux = {**user_namespace(), **profile(rule(MKDIR, ERRNO))}
    assert inside(*TRY, linux=linux) == complaint(errno.EPERM)


def test_without_a_profile_nothing_is_filtered(inside: Inside) -> None:
    assert fields(inside("cat", "/proc/self/status"))["Seccomp"] == "0"


@pytest.mark.parametrize("number", [None, errno.ENOSYS, errno.EACCES, errno.ENOSPC])
def test_errno_is_the_configured_one_and_eperm_without(inside: Inside, number: int | None) -> None:
    more = {} if number is None else {"errnoRet": number}
    assert inside(*TRY, linux=profile(rule(MKDIR, ERRNO, **more))) == complaint(number or errno.EPERM)


# Action → the exit status that the shell sees of mkdir
ACTIONS = {
    "SCMP_ACT_KILL": 128 + signal.SIGSYS,
    "SCMP_ACT_KILL_THREAD": 128 + signal.SIGSYS,
    "SCMP_ACT_KILL_PROCESS": 128 + signal.SIGSYS,
    "SCMP_ACT_TRAP": 128 + signal.SIGSYS,
    "SCMP_ACT_LOG": 0,
    "SCMP_ACT_ALLOW": 0,
}


@pytest.mark.parametrize(("action", "status"), ACTIONS.items())
def test_an_action_does_what_it_says(inside: Inside, action: str, status: int) -> None:
    default = "SCMP_ACT_LOG" if action == ALLOW else ALLOW
    seen = inside(
        "sh", "-c", "mkdir /tmp/new 2>/dev/null; echo $?", linux=profile(rule(MKDIR, action), default=default)
    )
    assert seen.split()[-1] == str(status)


def test_trace_without_a_tracer_is_enosys(inside: Inside) -> None:
    assert inside(*TRY, linux=profile(rule(MKDIR, "SCMP_ACT_TRACE", errnoRet=5))) == complaint(errno.ENOSYS)


def test_killing_the_first_process_is_told_as_its_signal(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["mkdir", "/tmp/new"], linux=profile(rule(MKDIR, "SCMP_ACT_KILL_PROCESS")))
    assert runtime.run_container(bundle).code == 128 + signal.SIGSYS


# What a static busybox needs to make a directory, or to say why it could not.
NEEDED = [
    "access", "arch_prctl", "brk", "close", "dup2", "dup3", "execve", "exit", "exit_group", "faccessat",
    "fcntl", "fstat", "getcwd", "getegid", "geteuid", "getgid", "getpid", "getppid", "getrandom", "getuid",
    "ioctl", "lseek", "lstat", "mmap", "mprotect", "munmap", "newfstatat", "open", "openat", "poll", "pread64",
    "prctl", "prlimit64", "read", "readlink", "readlinkat", "rseq", "rt_sigaction", "rt_sigprocmask",
    "rt_sigreturn", "set_robust_list", "set_tid_address", "setgid", "setuid", "stat", "statx", "umask", "uname",
    "write", "writev",
]  # fmt: skip


@pytest.mark.parametrize("number", [None, errno.ENOSYS])
def test_a_list_of_what_is_allowed_refuses_the_rest(
    runtime: Runtime, make_bundle: MakeBundle, number: int | None
) -> None:
    more = {} if number is None else {"defaultErrnoRet": number}
    for allowed, code in ((NEEDED, 1), ([*NEEDED, *MKDIR], 0)):
        bundle = make_bundle(args=["mkdir", "/tmp/new"], linux=profile(rule(allowed, ALLOW), default=ERRNO, **more))
        result = runtime.run_container(bundle)
        assert (result.code, (bundle.rootfs / "tmp" / "new").exists()) == (code, not code)
        assert code == 0 or os.strerror(number or errno.EPERM) in result.stderr


def test_the_filter_need_not_allow_what_only_the_runtime_does(inside: Inside) -> None:
    """With no_new_privs the filter comes last: mounting, ids and the rest are done."""
    own = ["mount", "move_mount", "open_tree", "pivot_root", "setns", "unshare", "capset", "setresuid", "close_range"]
    assert (
        inside("echo", "ran", linux=profile(rule([*own, "fsopen", "umount2", "accept4", "recvmsg"], ERRNO))) == "ran\n"
    )


def test_unknown_system_calls_are_passed_over(inside: Inside) -> None:
    rules = [rule(["no_such_call", "mkdir", "mkdirat"], ERRNO), rule(["another_unknown"], ALLOW)]
    assert inside(*TRY, linux=profile(*rules)) == complaint(errno.EPERM)


# ---- arguments -------------------------------------------------------------------------------------------------------

# truncate -s SIZE calls ftruncate(fd, SIZE): operator, values, a size that matches, one that does not
OPERATORS: dict[str, tuple[dict[str, int], int, int]] = {
    "SCMP_CMP_EQ": ({"value": 4096}, 4096, 4097),
    "SCMP_CMP_NE": ({"value": 4096}, 4097, 4096),
    "SCMP_CMP_LT": ({"value": 4096}, 4095, 4096),
    "SCMP_CMP_LE": ({"value": 4096}, 4096, 4097),
    "SCMP_CMP_GE": ({"value": 4096}, 4096, 4095),
    "SCMP_CMP_GT": ({"value": 4096}, 4097, 4096),
    "SCMP_CMP_MASKED_EQ": ({"value": 0xF0, "valueTwo": 0x30}, 0x135, 0x145),
}


def truncation(size: int) -> str:
    """A script that says whether a file could get that size."""
    return f"truncate -s {size} /tmp/f 2>/dev/null && echo allowed || echo refused"


@pytest.mark.parametrize(("operator", "case"), OPERATORS.items(), ids=OPERATORS)
def test_an_argument_is_compared(inside: Inside, operator: str, case: tuple[dict[str, int], int, int]) -> None:
    values, matching, other = case
    linux = profile(rule(["ftruncate"], ERRNO, args=[{"index": 1, "op": operator, **values}]))
    script = "; ".join(map(truncation, (matching, other)))
    assert inside("sh", "-c", script, linux=linux).split() == ["refused", "allowed"]


def test_arguments_are_compared_in_all_their_64_bits(inside: Inside) -> None:
    large = 1 << 33
    linux = profile(rule(["ftruncate"], ERRNO, args=[{"index": 1, "value": large + 1, "op": "SCMP_CMP_EQ"}]))
    script = "; ".join(map(truncation, (large + 1, 1)))
    assert inside("sh", "-c", script, linux=linux).split() == ["refused", "allowed"]


def test_all_arguments_of_a_rule_must_match(inside: Inside) -> None:
    args = [{"index": 1, "value": 10, "op": "SCMP_CMP_GE"}, {"index": 0, "value": 1000, "op": "SCMP_CMP_GT"}]
    assert inside("sh", "-c", truncation(20), linux=profile(rule(["ftruncate"], ERRNO, args=args))) == "allowed\n"


def test_conditions_on_one_argument_are_alternatives(inside: Inside) -> None:
    """libseccomp takes an argument once a rule; profiles that engines ship name one twice, meaning either."""
    args = [{"index": 1, "value": value, "op": "SCMP_CMP_EQ"} for value in (10, 20)]
    linux = profile(rule(["ftruncate"], ERRNO, args=args))
    script = "; ".join(map(truncation, (10, 20, 30)))
    assert inside("sh", "-c", script, linux=linux).split() == ["refused", "refused", "allowed"]


# ---- flags, architectures --------------------------------------------------------------------------------------------

FLAGS = ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]


@pytest.mark.parametrize("flags", [[], *[[flag] for flag in FLAGS], FLAGS])
def test_a_flag_is_taken(inside: Inside, flags: list[str]) -> None:
    status = fields(inside("cat", "/proc/self/status", linux=profile(rule(MKDIR, ERRNO), flags=flags)))
    assert status["Seccomp"] == "2"


FOREIGN = {"x86_64": "SCMP_ARCH_X86", "aarch64": "SCMP_ARCH_ARM"}
NATIVE = {"x86_64": "SCMP_ARCH_X86_64", "aarch64": "SCMP_ARCH_AARCH64"}
MACHINE = platform.machine()


@pytest.mark.parametrize("listed", [[], ["native"], ["native", "foreign"], ["foreign"]])
def test_the_native_architecture_is_filtered_whichever_are_listed(inside: Inside, listed: list[str]) -> None:
    names = {"native": NATIVE.get(MACHINE), "foreign": FOREIGN.get(MACHINE)}
    if None in names.values():
        pytest.skip(f"no names for the architectures of {MACHINE}")
    linux = profile(rule(MKDIR, ERRNO), architectures=[names[word] for word in listed])
    assert inside(*TRY, linux=linux) == complaint(errno.EPERM)


@pytest.mark.parametrize("call", ["clone", "pipe2", "setsid", "ioctl", "prlimit64"])
def test_exec_needs_no_call_that_the_process_does_not(runtime: Runtime, make_bundle: MakeBundle, call: str) -> None:
    """Without no_new_privs the filter is in force before there is a process, unless it refuses what makes one."""
    limits = [{"type": "RLIMIT_NPROC", "soft": 2000, "hard": 3000}]
    linux = profile(rule([call], ERRNO))
    process = {"noNewPrivileges": False, "rlimits": limits if call == "prlimit64" else []}
    container = runtime.start(make_bundle(args=["sleep", "600"], linux=linux, process=process))
    flags = ["--tty"] if call in {"ioctl", "setsid"} else []
    done = [container.exec("cat", "/proc/self/status", flags=flags).stdout for _ in range(2)]
    assert [fields(text.replace("\r", ""))["Seccomp_filters"] for text in done] == ["1", "1"]


# getpid and exit by the 32-bit entry of x86
PROBE = """
    .globl _start
    _start: mov $20, %eax; int $0x80; mov $1, %eax; mov $7, %ebx; int $0x80
"""


@pytest.mark.skipif(MACHINE != "x86_64", reason="only x86-64 has a second entry that needs no other program loader")
@pytest.mark.parametrize(
    ("listed", "code"), [(["SCMP_ARCH_X86_64"], 128 + signal.SIGSYS), (["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], 7)]
)
def test_calls_of_an_architecture_that_is_not_listed_kill(
    runtime: Runtime, make_bundle: MakeBundle, listed: list[str], code: int
) -> None:
    bundle = make_bundle(args=["/probe"], linux=profile(rule(MKDIR, ERRNO), architectures=listed))
    command = ["gcc", "-nostdlib", "-static", "-x", "assembler", "-", "-o", str(bundle.rootfs / "probe")]
    subprocess.run(command, input=PROBE, text=True, check=True)
    assert runtime.run_container(bundle).code == code


def test_a_filter_does_not_need_the_right_to_administer_inside(inside: Inside) -> None:
    process = {**with_capabilities("CAP_CHOWN"), "noNewPrivileges": False}
    assert inside(*TRY, process=process, linux=profile(rule(MKDIR, ERRNO))) == complaint(errno.EPERM)
