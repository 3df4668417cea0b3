"""The words of errors: the ones engines match are exact, the others truthful, and hints mislead nobody."""

from __future__ import annotations

import errno
import os

import pytest

from ocirt.plan import hints, ops, show
from ocirt.plan.hints import EXEC_HINTS, HINTS

EXIT_3, KILLED = 3 << 8, 9


@pytest.mark.parametrize(
    ("op", "number", "detail", "text", "expected"),
    [
        (ops.find_exec("", "x", []), errno.ENOENT, "none", "", 'exec: "x": executable file not found in $PATH'),
        (ops.find_exec("", "/x", []), errno.ENOENT, "none", "", 'exec: "/x": stat /x: no such file or directory'),
        (
            ops.find_exec("", "/etc", []),
            errno.EACCES,
            "none",
            "",
            f'exec: "/etc": permission denied ({hints.NOT_EXECUTABLE})',
        ),
        (
            ops.find_exec("", "sleep 5", []),
            errno.ENOENT,
            "none",
            "",
            'exec: "sleep 5": executable file not found in $PATH (each word of a command is an entry of args)',
        ),
        (
            ops.chdir("", "/x"),
            errno.ENOENT,
            "none",
            "",
            'chdir to cwd ("/x") set in config.json failed: no such file or directory',
        ),
        (
            ops.chdir("", "/x"),
            errno.ENOENT,
            "outside",
            "",
            'chdir to cwd ("/x") set in config.json failed: the directory is not below the container\'s root',
        ),
        (ops.hook("", "/h", [], [], 0, 6), EXIT_3, "exit", "no\nroom\n", 'hook "/h" exited with status 3: no room'),
        (ops.hook("", "/h", [], [], 0, 6), KILLED, "exit", "", 'hook "/h" was killed by signal 9'),
        (ops.hook("", "/h", [], [], 1500, 6), 0, "timeout", "", 'hook "/h" did not finish within 1.5 s'),
        (ops.hook("", "/h", [], [], 0, 6), errno.ENOENT, "none", "", 'hook "/h": no such file or directory'),
        (
            ops.mknod("", "/dev/null", 0o20666, 0x103, 0, 0),
            errno.EEXIST,
            "wrong_inode",
            "",
            "make device /dev/null: there is a file that is not the device c 1:3: file exists",
        ),
        (
            ops.mount_fs("", "/t", "tmpfs", "tmpfs", ["size=x"], 0, 0, 0),
            errno.EINVAL,
            "option",
            "size=x: tmpfs: Bad value for 'size'",
            'mount "tmpfs" on /t: option "size=x": invalid argument: tmpfs: Bad value for \'size\' '
            "(the filesystem does not know this option, or not this value)",
        ),
        (
            ops.mount_bind("", "/t", "/s", 9, (0, 0, 0, 0), 0, 0),
            errno.EACCES,
            "in_proc",
            "",
            'bind "/s" on /t: the target lies inside a procfs: permission denied (/proc may be covered by another '
            "procfs, and of what is in it only /proc/cpuinfo, /proc/diskstats, /proc/loadavg, /proc/meminfo, "
            "/proc/slabinfo, /proc/stat, /proc/swaps, /proc/sys/crypto/fips_enabled, /proc/sys/kernel/ns_last_pid, "
            "/proc/uptime)",
        ),
        (ops.umask("", 0o22), 0, "plan", "", "set umask 0022: the plan is malformed: unknown error"),
    ],
)
def test_a_failure_is_told_in_one_line(op: ops.Op, number: int, detail: str, text: str, expected: str) -> None:
    assert show.failure(op, number, detail, text) == expected


@pytest.mark.parametrize("symbol", sorted(EXEC_HINTS))
def test_a_program_that_is_there_but_does_not_run_says_why(symbol: str) -> None:
    number = getattr(errno, symbol)
    words = show.failure(ops.exec("", ["/bin/x"], []), number, "none", "")
    assert words == f'exec: "/bin/x": {os.strerror(number).lower()}: {EXEC_HINTS[symbol]}'


# What podman, docker and containerd look for in the whole message
MATCHED = (
    "permission denied",
    "operation not permitted",
    "no such file or directory",
    "executable file not found",
    "open executable",
    "not a directory",
    "is a directory",
    "no such process",
    "not running",
    "does not exist",
    "invalid process",
    "already finished",
)


def test_no_hint_has_words_from_which_engines_conclude_something_else() -> None:
    known = [words for *_, words in HINTS] + list(EXEC_HINTS.values()) + [hints.SYS_IN_USER_NAMESPACE]
    found = [(words, match) for words in known for match in MATCHED if match in words.lower()]
    assert found == []


def test_every_hint_belongs_to_a_known_operation_and_errno() -> None:
    for operation, symbol, _, _ in HINTS:
        assert not operation or hasattr(ops, operation)
        assert hasattr(errno, symbol)


def test_a_reason_is_the_errnos_own_text() -> None:
    words = show.failure(ops.hostname("", "a"), errno.EPERM, "none", "")
    assert words == 'set hostname "a": operation not permitted'


def test_descriptions_say_what_may_go_wrong() -> None:
    op = ops.fallback(ops.mknod("", "/dev/null", 0o20666, 0x103, 0, 0), (errno.EPERM,), [ops.umask("", 0)])[0]
    assert show.describe(op) == "make device /dev/null, c 1:3, mode 0666; on EPERM the next one instead"
    op = ops.mount_fs("", "/dev", "tmpfs", "tmpfs", ["mode=755"], 2, 0, 0)
    assert show.describe(op) == "mount tmpfs on /dev (nosuid, mode=755)"


def test_system_calls_are_told_with_their_arguments() -> None:
    op = ops.mount_fs("", "/dev", "tmpfs", "tmpfs", ["mode=755"], 2, 0, 0)
    assert show.syscalls(op) == (
        'openat2(root, "/dev", O_PATH, RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS), fsopen("tmpfs"), '
        'fsconfig("source", "tmpfs"), fsconfig("mode", "755"), fsconfig(FSCONFIG_CMD_CREATE), '
        "fsmount(MOUNT_ATTR_NOSUID), move_mount(fd, target)"
    )
    assert show.syscalls(ops.clone("", 0x20020000)) == "clone3(CLONE_NEWNS|CLONE_NEWPID|CLONE_PARENT)"
    assert show.syscalls(ops.clone("", 0)) == "clone3(CLONE_PARENT)"
