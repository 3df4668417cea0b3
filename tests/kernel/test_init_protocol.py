"""The init's start, its plan and its messages: what it accepts, what it refuses, and how it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

import pytest

from tests.kernel import harness, plans
from tests.kernel.harness import MESSAGE, WIRE, Init, carry_out, encode, memfd, op
from tests.kernel.plans import execute

pytestmark = pytest.mark.root

HARMLESS = [
    op("clone", harness.NAMESPACES),
    op("session"),
    op("hostname", "fuzzed"),
    op("propagate", harness.MS_REC | harness.MS_PRIVATE),
    op("tree_fs", harness.EMPTY, "tmpfs", ["size=4096", "nr_inodes=2"], harness.ATTR_RDONLY),
    op("rlimit", 7, 64, 64),
    op("umask", 0o22, ignore=(errno.EPERM,)),
    op("find_exec", "true", ["/nonexistent", "/bin/true"], skip=1),
    op("groups", b""),
    op("exec", ["true", "x" * 40], ["A=1", "B=2"]),
]


def status_of(pid: int, name: str) -> str:
    """A field of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(name + ":"))


def test_the_process_is_executed_and_the_socket_closes() -> None:
    result = carry_out(execute("/bin/busybox", "echo", "hello"))
    assert result.ok() == "hello\n"
    assert result.messages == []


def test_a_clone_tells_the_pid_before_anything_else_is_said() -> None:
    for _ in range(10):
        with Init() as init:
            init.send_plan([op("clone", harness.CLONE_NEWUTS), op("sync", WIRE["SYNC_START"]), *execute("/bin/true")])
            result = init.finish()
            assert [m.type for m in result.messages] == [WIRE["MSG_PID"], WIRE["MSG_SYNC"]]
            assert result.stages == [0, 0]


def test_the_containers_process_is_a_child_of_the_runtime() -> None:
    with Init() as init:
        init.send_plan([op("clone", harness.CLONE_NEWPID), op("sync", WIRE["SYNC_START"]), *execute("/bin/true")])
        init.until(WIRE["SYNC_START"])
        assert status_of(init.pid, "PPid") == str(os.getpid())
        assert status_of(init.pid, "NSpid").split()[1] == "1"


def test_while_it_works_its_own_user_cannot_look_into_it() -> None:
    # The files in /proc of a process that is not dumpable are root's.
    with Init(user=65534) as init:
        init.send_plan([op("sync", WIRE["SYNC_START"])])
        init.until(WIRE["SYNC_START"])
        assert status_of(init.first, "Uid").split()[0] == "65534"
        assert os.stat(f"/proc/{init.first}/fd").st_uid == 0


def test_an_unprivileged_runtime_can_map_it_but_only_at_that_moment() -> None:
    with Init(user=65534) as init:
        clone = op("clone", harness.CLONE_NEWUSER | harness.CLONE_NEWPID)
        init.send_plan(
            [
                op("oom_score_adj", "777"),
                clone,
                op("sync", WIRE["SYNC_MAPPED"]),
                op("ids", 0, 0),
                op("sync", WIRE["SYNC_START"]),
            ]
        )
        init.until(WIRE["SYNC_MAPPED"])
        write = "echo deny > setgroups; echo 0 65534 1 > uid_map; echo 0 65534 1 > gid_map; cat oom_score_adj"
        runtime = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "sh",
            "-ec",
            f"cd /proc/{init.pid}; {write}",
        ]
        assert os.stat(f"/proc/{init.pid}/fd").st_uid == 65534
        assert subprocess.run(runtime, capture_output=True, check=True).stdout == b"777\n"
        init.go(WIRE["SYNC_MAPPED"])
        init.until(WIRE["SYNC_START"])
        assert os.stat(f"/proc/{init.pid}/fd").st_uid == 0
        assert (status_of(init.pid, "Uid").split()[0], Path(f"/proc/{init.pid}/uid_map").read_text().split()) == (
            "65534",
            ["0", "65534", "1"],
        )


def test_signals_are_reset_and_the_mask_is_empty() -> None:
    with Init() as init:  # Python ignores SIGPIPE and SIGXFSZ, and that survives exec
        init.send_plan([op("sync", WIRE["SYNC_START"])])
        init.until(WIRE["SYNC_START"])
        assert int(status_of(init.first, "SigIgn"), 16) == 0
        assert int(status_of(init.first, "SigBlk"), 16) == 0


def test_it_is_small_while_it_waits() -> None:
    with Init() as init:
        init.send_plan([op("clone", harness.NAMESPACES), op("sync", WIRE["SYNC_START"])])
        init.until(WIRE["SYNC_START"])
        assert int(status_of(init.pid, "VmRSS").split()[0]) < 300


def test_an_end_of_file_at_a_sync_ends_it() -> None:
    with Init() as init:
        init.send_plan([op("clone", harness.NAMESPACES), op("sync", WIRE["SYNC_CGROUP"]), *execute("/bin/true")])
        init.until(WIRE["SYNC_CGROUP"])
        init.ours.shutdown(socket.SHUT_RDWR)
        assert os.WEXITSTATUS(init.reap().status) == 1


def test_an_end_of_file_before_the_plan_ends_it() -> None:
    with Init() as init:
        init.ours.shutdown(socket.SHUT_RDWR)
        assert os.WEXITSTATUS(init.reap().status) == 1


def test_a_go_for_another_point_is_refused() -> None:
    with Init() as init:
        init.send_plan([op("sync", WIRE["SYNC_CGROUP"])])
        init.until(WIRE["SYNC_CGROUP"])
        init.go(WIRE["SYNC_START"])
        result = init.finish()
        assert result.error is not None
        assert (result.error.error, result.error.detail, result.error.value) == (errno.EBADMSG, "PLAN", 0)


def test_descriptors_of_a_go_land_in_their_slots() -> None:
    with Init() as init:
        init.send_plan(
            [
                op("sync", WIRE["SYNC_CGROUP"]),
                plans.hook("/bin/cat", ["cat"], state=20),
                op("sync", WIRE["SYNC_START"]),
            ]
        )
        init.until(WIRE["SYNC_CGROUP"])
        state = memfd(b"x", 0)
        init.go(WIRE["SYNC_CGROUP"], {20: state})
        os.close(state)
        init.until(WIRE["SYNC_START"])
        links = [os.readlink(f"/proc/{init.first}/fd/{fd}") for fd in os.listdir(f"/proc/{init.first}/fd")]
        assert sum("memfd:plan" in link for link in links) == 1  # the state; the plan itself was closed


def test_a_go_with_a_slot_out_of_range_is_refused() -> None:
    with Init() as init:
        null = os.open("/dev/null", os.O_RDONLY)
        init.go(WIRE["SYNC_PLAN"], {WIRE["SLOT_COUNT"]: null})
        os.close(null)
        result = init.finish()
        assert result.error is not None
        assert result.error.detail == "PLAN"


def test_a_go_without_a_plan_is_refused() -> None:
    with Init() as init:
        init.go(WIRE["SYNC_PLAN"])
        result = init.finish()
        assert result.error is not None
        assert (result.error.error, result.error.detail, result.error.value) == (errno.EBADF, "PLAN", WIRE["NO_OP"])


@pytest.mark.parametrize("missing", [fcntl.F_SEAL_WRITE, fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_GROW])
def test_a_plan_that_can_still_change_is_refused(missing: int) -> None:
    result = carry_out(execute("/bin/true"), seals=harness.SEALS & ~missing)
    assert result.error is not None
    assert (result.error.error, result.error.detail) == (errno.EBADMSG, "PLAN")


def test_a_plan_in_a_file_that_cannot_be_sealed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan").write_bytes(encode(execute("/bin/true")))
    with Init() as init:
        fd = os.open(tmp_path / "plan", os.O_RDONLY)
        init.go(WIRE["SYNC_PLAN"], {WIRE["SLOT_PLAN"]: fd})
        os.close(fd)
        result = init.finish()
        assert result.error is not None
        assert result.error.detail == "PLAN"


def changed(at: int, value: bytes) -> bytes:
    """A plan of one hostname operation with some bytes replaced."""
    plan = bytearray(encode([op("hostname", "name"), op("exec", ["a"], [])]))
    plan[at : at + len(value)] = value
    return bytes(plan)


MALFORMED = {
    "empty": b"",
    "header cut": encode([])[:12],
    "magic": changed(0, b"x"),
    "size too large": changed(8, struct.pack("<I", 4096)),
    "count too large": changed(12, struct.pack("<I", 1 << 31)),
    "code": changed(16, struct.pack("<H", 0xFFFF)),
    "skip past the end": changed(22, struct.pack("<H", 2)),
    "string offset": changed(24, struct.pack("<Q", 1 << 31 | 4 << 32)),
    "string length": changed(24, struct.pack("<II", 56, 0xFFFFFFFF)),
    "string in the operations": changed(24, struct.pack("<II", 17, 0)),
    "string without its end": changed(24, struct.pack("<II", 56, 3)),
    "string with a NUL": changed(24, struct.pack("<II", 56, 7)),
    "vector not aligned": changed(40, struct.pack("<II", 57, 0)),
    "vector without end": changed(40, struct.pack("<II", 56, 0)),
    "vector without room for one more": encode([op("exec", ["a"], [])])[:-8] + struct.pack("<Q", 1),
    "vector too long": changed(40, struct.pack("<II", 56, 0xFFFFFFFF)),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_plan_is_refused_before_anything_is_done(name: str) -> None:
    result = carry_out(MALFORMED[name])
    assert result.error is not None
    assert (result.error.error, result.error.detail) == (errno.EBADMSG, "PLAN")
    assert os.WEXITSTATUS(result.status) == 1


def test_a_slot_out_of_range_in_the_plan_is_refused() -> None:
    result = carry_out([op("close", 256)])
    assert result.error is not None
    assert result.error.detail == "PLAN"


def test_an_error_names_the_operation_and_the_errno() -> None:
    result = carry_out([op("session", ignore=(errno.EPERM,)), op("umask", 0o22), op("hostname", "x" * 65)])
    assert result.error is not None
    assert (result.error.value, result.error.error) == (2, errno.EINVAL)
    assert os.WEXITSTATUS(result.status) == 1


def test_an_ignored_errno_is_no_failure_and_takes_the_fallback() -> None:
    ops = [
        op("open_tree", 20, "/nonexistent", 0, ignore=(errno.EPERM, errno.ENOENT), skip=1),
        *execute("/bin/true")[1:],
    ]
    ops.insert(1, op("find_exec", "echo", ["/bin/echo"]))
    ops[2:] = [op("exec", ["echo", "fallback"], [])]
    assert carry_out(ops).ok() == "fallback\n"


def test_success_passes_over_the_fallback() -> None:
    ops = [op("umask", 0o22, skip=2), op("hostname", "x" * 65), op("hostname", "x" * 65), *execute("/bin/echo", "on")]
    assert carry_out(ops).ok() == "on\n"


def test_a_plan_that_ends_without_exec_ends_the_init() -> None:
    assert carry_out([op("umask", 0)]).ok() == ""


def test_a_wrong_command_line_is_refused() -> None:
    for arguments in ([], ["x"], ["2"], ["-1"], ["99999999999"], ["77"]):
        done = subprocess.run([harness.init_program(), *arguments], check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == 2


def test_closed_stdio_is_repaired() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), 9), *((os.POSIX_SPAWN_CLOSE, fd) for fd in (0, 1, 2))]
    pid = os.posix_spawn(harness.init_program(), ["ocirt-init", "9"], {}, file_actions=actions)
    theirs.close()
    plan = memfd(encode([op("sync", WIRE["SYNC_START"])]))
    ours.sendmsg(
        [MESSAGE.pack(WIRE["MSG_GO"], 0, 0, 1) + struct.pack("<I", 255)],
        [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", plan))],
    )
    os.close(plan)
    assert ours.recv(4096)
    assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)] == ["/dev/null"] * 3
    ours.close()
    assert os.WEXITSTATUS(harness.wait(pid)) == 1


def mutations(count: int) -> list[bytes]:
    """The harmless plan with random bytes changed: words replaced, bits flipped, ends cut off."""
    rng = random.Random(20260102)
    plan = encode(HARMLESS)
    found = []
    for _ in range(count):
        new = bytearray(plan)
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.randrange(16, len(new) - 8)
            kind = rng.randrange(4)
            if kind == 0:
                new[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                new[at] = rng.randrange(256)
            elif kind == 2:
                new[at & ~7 : (at & ~7) + 8] = struct.pack(
                    "<Q", rng.choice((0, 1, 1 << 32, 2**64 - 1, rng.getrandbits(64)))
                )
            else:
                new[at & ~7 : (at & ~7) + 4] = struct.pack("<I", rng.randrange(len(new)))
        found.append(bytes(new))
    return found


def safe(plan: bytes) -> bool:
    """Whether all that follows still happens in namespaces of its own: the first operation is as it was."""
    code = struct.unpack_from("<H", plan, 16)[0]
    flags = struct.unpack_from("<Q", plan, 24)[0]
    kept = code == harness.OPERATIONS["clone"][0] and flags == harness.NAMESPACES
    return bool(kept and struct.unpack_from("<HH", plan, 18) == (0, 0))


def test_two_thousand_mutated_plans_end_in_an_error_or_run_harmlessly() -> None:
    started = time.monotonic()
    plans = [plan for plan in mutations(2600) if safe(plan)][:2000]
    assert len(plans) == 2000
    ends = {"refused": 0, "failed": 0, "ran": 0}
    for plan in plans:
        result = carry_out(plan)
        assert not any(os.WIFSIGNALED(status) and os.WTERMSIG(status) != signal.SIGSYS for status in result.stages), (
            plan.hex()
        )
        if result.error is None:
            ends["ran"] += 1
        else:
            ends["refused" if result.error.detail == "PLAN" else "failed"] += 1
    assert all(ends.values()), ends
    assert time.monotonic() - started < 60


def test_a_process_is_made_under_a_filter_that_knows_no_clone3() -> None:
    """As most profiles of engines are, which allow clone without namespaces."""
    number = 435  # on every architecture
    program = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | errno.ENOSYS), (0x06, 0, 0, 0x7FFF0000)]
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    result = harness.carry_out([op("seccomp", code, 0), op("clone", 0), *execute("/bin/busybox", "echo", "made")])
    assert result.ok() == "made\n"
    refused = harness.carry_out([op("seccomp", code, 0), op("clone", harness.CLONE_NEWUTS)])
    assert refused.error is not None
