"""Who the process is and what it may do: ids, capabilities, filters, keys."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

import pytest

from tests.kernel import harness, plans
from tests.kernel.harness import Op, carry_out, op, refused
from tests.kernel.plans import inside, mount_proc

pytestmark = pytest.mark.root

STATUS = "cat /proc/self/status"
LAST_CAP = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
ALL = (1 << LAST_CAP + 1) - 1
OWN = int(
    next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapPrm")),
    16,
)


def fields(output: str) -> dict[str, str]:
    """/proc/self/status as a dictionary."""
    return {
        line.partition(":")[0]: " ".join(line.partition(":")[2].split()) for line in output.splitlines() if ":" in line
    }


def status(root: Path, *after: Op) -> dict[str, str]:
    """What the process sees of itself."""
    return fields(inside(root, STATUS, mount_proc(), after=after).ok())


def gids(*ids: int) -> bytes:
    """An array of gid_t."""
    return struct.pack(f"{len(ids)}I", *ids)


def test_ids_are_set_everywhere(root: Path) -> None:
    seen = status(root, op("groups", gids(7, 8, 4294967294)), op("ids", 1000, 1001))
    assert (seen["Uid"], seen["Gid"], seen["Groups"]) == (
        "1000 1000 1000 1000",
        "1001 1001 1001 1001",
        "7 8 4294967294",
    )


def test_no_groups_of_the_caller_leak(root: Path) -> None:
    assert status(root, op("groups", b""))["Groups"] == ""


@pytest.mark.parametrize("ids", [(4294967295, 0), (0, 4294967295), (4294967296, 0), (0, 1 << 40)])
def test_an_id_that_the_kernel_would_not_set_is_refused(ids: tuple[int, int]) -> None:
    refused(carry_out([op("ids", *ids)]), errno.EINVAL, "NONE")


def test_the_group_that_the_kernel_would_not_set_is_refused() -> None:
    refused(carry_out([op("groups", gids(1, 4294967295))]), errno.EINVAL, "NONE")
    refused(carry_out([op("groups", b"123")]), errno.EINVAL, "PLAN")


def test_capabilities_are_exactly_those_of_the_plan(root: Path) -> None:
    keep, effective = 1 << 10 | 1 << 5 | 1, 1 << 10 | 1
    seen = status(root, op("bounding", keep), op("ids", 1000, 1000), op("caps", effective, keep, 1 << 5, 1 << 5))
    # execve: permitted and effective become the ambient set for a user other than root.
    assert [int(seen[name], 16) for name in ("CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb")] == [
        keep,
        32,
        32,
        32,
        32,
    ]


def test_root_without_capabilities_has_none(root: Path) -> None:
    seen = status(root, op("bounding", 0), op("ids", 0, 0), op("caps", 0, 0, 0, 0))
    assert [int(seen[name], 16) for name in ("CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb")] == [0] * 5


def test_capabilities_survive_the_change_of_user_only_as_far_as_the_plan_says(root: Path) -> None:
    seen = status(root, op("bounding", ALL), op("ids", 1000, 1000), op("caps", OWN, OWN, 0, 0))
    assert [int(seen[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")] == [0] * 4
    assert int(seen["CapBnd"], 16) == OWN


def test_ambient_capabilities_that_are_not_inheritable_are_an_error() -> None:
    refused(carry_out([op("caps", 1, 1, 0, 1)]), errno.EPERM, "NONE")


def test_no_new_privs_is_set(root: Path) -> None:
    assert status(root)["NoNewPrivs"] == "0"
    assert status(root, op("no_new_privs"))["NoNewPrivs"] == "1"


def filter_of(number: int, action: int) -> bytes:
    """A filter: this system call gets this action, the others run."""
    return b"".join(
        struct.pack("<HBBI", *one)
        for one in ((0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, action), (0x06, 0, 0, 0x7FFF0000))
    )


def test_a_seccomp_filter_is_loaded(root: Path) -> None:
    uname = {"x86_64": 63, "aarch64": 160}[os.uname().machine]
    program = filter_of(uname, 0x00050000 | errno.EXDEV)
    output = inside(root, "/bin/busybox uname -s; " + STATUS, mount_proc(), after=(op("seccomp", program, 0),)).ok()
    assert fields(output)["Seccomp"] == "2"
    assert "Linux" not in output


def test_a_seccomp_filter_of_the_wrong_size_is_refused() -> None:
    for program in (b"", b"1234567", bytes(8 * 4097)):
        refused(carry_out([op("seccomp", program, 0)]), errno.EINVAL, "PLAN")
    refused(carry_out([op("no_new_privs"), op("seccomp", bytes(8), 0)]), errno.EINVAL, "NONE")


EXIT_GROUP = {"x86_64": 231, "aarch64": 94}[os.uname().machine]
SENDTO = {"x86_64": 44, "aarch64": 206}[os.uname().machine]


@pytest.mark.parametrize("number", [EXIT_GROUP, SENDTO])
def test_a_failure_behind_a_filter_ends_the_init_and_is_in_the_report_file(number: int) -> None:
    report = os.memfd_create("report")
    os.ftruncate(report, harness.WIRE["REPORT_SIZE"])
    filtered = [op("no_new_privs"), op("seccomp", filter_of(number, 0x00050000 | errno.EPERM), 0)]
    try:
        plan = [op("report_file", 20), *filtered, op("chdir", "/no/such/directory")]
        result = carry_out(plan, {20: report})
        message = harness.parse(os.pread(report, 2048, 0).rstrip(b"\0").ljust(16, b"\0"))
    finally:
        os.close(report)
    assert (message.type, message.value, message.error) == (harness.WIRE["MSG_ERROR"], 3, errno.ENOENT)
    assert (result.error is None) == (number == SENDTO)


def test_a_filter_that_refuses_every_way_to_exit_does_not_keep_the_first_process_of_a_pid_namespace() -> None:
    exit_ = {"x86_64": 60, "aarch64": 93}[os.uname().machine]
    filters = [op("seccomp", filter_of(number, 0x00050000 | errno.EPERM), 0) for number in (EXIT_GROUP, exit_)]
    namespace = op("clone", harness.CLONE_NEWPID)
    result = carry_out([namespace, op("no_new_privs"), *filters, op("chdir", "/no/such/directory")])
    assert result.error is not None
    assert result.error.error == errno.ENOENT
    assert any(os.WIFSIGNALED(status) for status in result.stages)


def test_a_filter_of_a_hook_confines_the_hook_alone(root: Path) -> None:
    uname = {"x86_64": 63, "aarch64": 160}[os.uname().machine]
    program = filter_of(uname, 0x00050000 | errno.EXDEV)
    script = 'test "$(uname -s)" != Linux'
    confined = plans.hook("/bin/busybox", ["sh", "-c", script], ["PATH=/bin"], program=program)
    output = inside(root, "uname -s; " + STATUS, mount_proc(), after=(op("no_new_privs"), confined)).ok()
    assert output.startswith("Linux\n")
    assert fields(output)["Seccomp"] == "0"


def test_a_session_keyring_is_made_with_permissions_added(root: Path) -> None:
    after = (op("keyring", "_ses.test", 0x80000),)
    output = inside(root, "cat /proc/keys", mount_proc(), after=after).ok()
    line = next(line for line in output.splitlines() if "_ses.test" in line)
    assert int(line.split()[4], 16) & 0x80000


def test_the_umask_is_the_plans(root: Path) -> None:
    assert status(root, op("umask", 0o027))["Umask"] == "0027"
