"""Operations on namespaces: made, joined, and set up."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel import harness, plans
from tests.kernel.harness import NAMESPACES, NONE, PROC, WIRE, Init, carry_out, op, refused
from tests.kernel.plans import begin, execute, inside, mount_proc, shell

pytestmark = pytest.mark.root

KINDS = {
    "mnt": harness.CLONE_NEWNS,
    "uts": harness.CLONE_NEWUTS,
    "ipc": harness.CLONE_NEWIPC,
    "pid": harness.CLONE_NEWPID,
}
KINDS |= {
    "net": harness.CLONE_NEWNET,
    "user": harness.CLONE_NEWUSER,
    "cgroup": harness.CLONE_NEWCGROUP,
    "time": harness.CLONE_NEWTIME,
}


def namespace(pid: int | str, kind: str) -> str:
    """The identity of a namespace."""
    return os.readlink(f"/proc/{pid}/ns/{kind}")


@pytest.fixture
def other(root: Path) -> Iterator[int]:
    """A process in namespaces of its own; its pid."""
    with Init() as init:
        init.send_plan(
            [*begin(root, mount_proc()), op("pivot"), op("hostname", "other"), op("sync", WIRE["SYNC_START"])]
        )
        init.until(WIRE["SYNC_START"])
        yield init.pid


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("user", "time")])
def test_clone_makes_the_namespaces_of_its_flags_and_no_others(kind: str) -> None:
    with Init() as init:
        init.send_plan([op("clone", KINDS[kind]), op("sync", WIRE["SYNC_START"])])
        init.until(WIRE["SYNC_START"])
        seen = {name: namespace(init.pid, name) != namespace("self", name) for name in KINDS}
        assert seen == {name: name == kind for name in KINDS}


def test_unshare_makes_a_cgroup_namespace() -> None:
    with Init() as init:
        init.send_plan([op("unshare", KINDS["cgroup"]), op("sync", WIRE["SYNC_START"])])
        init.until(WIRE["SYNC_START"])
        assert namespace(init.first, "cgroup") != namespace("self", "cgroup")


def test_namespaces_are_joined_by_path(other: int) -> None:
    joined = ["ipc", "uts", "net", "pid", "mnt"]
    ops = [op("open_namespace", 20 + i, f"/proc/{other}/ns/{kind}", KINDS[kind]) for i, kind in enumerate(joined)]
    ops += [op("join", 20 + i, KINDS[kind]) for i, kind in enumerate(joined)]
    with Init() as init:
        init.send_plan([*ops, op("clone", 0), op("sync", WIRE["SYNC_START"]), *execute("/bin/busybox", "hostname")])
        init.until(WIRE["SYNC_START"])
        assert [namespace(init.pid, kind) for kind in joined] == [namespace(other, kind) for kind in joined]
        init.go(WIRE["SYNC_START"])
        assert init.finish().ok() == "other\n"


def test_an_entering_init_shows_the_container_nothing_of_the_host(other: int) -> None:
    ops = [op("open_namespace", 20, f"/proc/{other}/ns/pid", KINDS["pid"]), op("join", 20, KINDS["pid"])]
    with Init() as init:
        init.send_plan([*ops, op("clone", 0), op("sync", WIRE["SYNC_START"])])
        init.until(WIRE["SYNC_START"])
        caps = Path(f"/proc/{init.pid}/status").read_text()
        assert "NSpid" in caps
        # Without CAP_SYS_PTRACE, which a container's root lacks by default, its links cannot be read.
        look = [
            "setpriv",
            "--bounding-set",
            "-sys_ptrace",
            "--inh-caps",
            "-sys_ptrace",
            "readlink",
            f"/proc/{init.pid}/exe",
        ]
        assert subprocess.run(look, capture_output=True, check=False).stdout == b""


def test_what_is_no_namespace_of_that_type_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").touch()
    wrong = [str(tmp_path / "fifo"), str(tmp_path / "file"), "/proc/self/ns/net", "/dev/null"]
    for path in wrong:
        refused(carry_out([op("open_namespace", 20, path, KINDS["uts"])]), errno.EINVAL, "WRONG_INODE")
    refused(carry_out([op("open_namespace", 20, "/nonexistent", KINDS["uts"])]), errno.ENOENT, "SOURCE")
    refused(carry_out([op("join", 20, KINDS["uts"])]), errno.EBADF, "NONE")


def mapped(*ops: harness.Op, flags: int = 0) -> Init:
    """An init in a new user namespace that the runtime has mapped."""
    init = Init()
    init.send_plan([op("clone", harness.CLONE_NEWUSER | NAMESPACES | flags), op("sync", WIRE["SYNC_MAPPED"]), *ops])
    init.until(WIRE["SYNC_MAPPED"])
    Path(f"/proc/{init.pid}/uid_map").write_text("0 100000 65536\n")
    Path(f"/proc/{init.pid}/gid_map").write_text("0 200000 65536\n")
    init.go(WIRE["SYNC_MAPPED"])
    return init


def test_a_user_namespace_is_mapped_by_the_runtime() -> None:
    with mapped(op("groups", b""), op("ids", 0, 0), op("sync", WIRE["SYNC_START"])) as init:
        init.until(WIRE["SYNC_START"])
        status = Path(f"/proc/{init.pid}/status").read_text()
        assert "Uid:\t100000\t100000\t100000\t100000" in status
        assert "Gid:\t200000\t200000\t200000\t200000" in status
        assert "Groups:\t \n" in status


def in_user_namespace(root: Path, script: str, slot: int) -> harness.Result:
    """Run a script in a container with a user namespace; slot: of a tree of its root that is opened before, or NONE."""
    subprocess.run(["chown", "-R", "100000:200000", root], check=True)
    before = [op("open_tree", slot, str(root), 1)] if slot != NONE else []
    ops = [
        op("groups", b""),
        op("ids", 0, 0),
        op("session"),
        op("open_proc", PROC, 0),
        op("propagate", harness.MS_REC | harness.MS_SLAVE),
    ]
    ops += [
        op("rootfs", str(root), slot, 1),
        mount_proc(),
        plans.mount_fs("/tmp", "tmpfs"),
        op("pivot"),
        *shell(script),
    ]
    with Init() as init:
        clone = op("clone", harness.CLONE_NEWUSER | NAMESPACES)
        init.send_plan([*before, op("sync", WIRE["SYNC_CGROUP"]), clone, op("sync", WIRE["SYNC_MAPPED"]), *ops])
        init.until(WIRE["SYNC_MAPPED"])
        Path(f"/proc/{init.pid}/uid_map").write_text("0 100000 65536\n")
        Path(f"/proc/{init.pid}/gid_map").write_text("0 200000 65536\n")
        init.go(WIRE["SYNC_MAPPED"])
        return init.finish()


@pytest.fixture
def open_root() -> Iterator[Path]:
    """A root filesystem that everybody can reach."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        yield harness.new_root(Path(directory) / "root")


SEEN = "id -u; stat -c %u /bin; cat /proc/self/uid_map; touch /tmp/x && echo made; ls /"


def test_a_container_in_a_user_namespace_has_its_mounts(open_root: Path) -> None:
    assert in_user_namespace(open_root, SEEN, NONE).ok().split()[:7] == [
        "0",
        "0",
        "0",
        "100000",
        "65536",
        "made",
        "bin",
    ]


def test_a_root_in_directories_that_are_closed_to_the_user_namespace_comes_by_a_slot(root: Path) -> None:
    root.parent.chmod(0o700)
    refused(in_user_namespace(root, SEEN, NONE), errno.EACCES, "SOURCE")
    assert in_user_namespace(root, SEEN, 30).ok().split()[:7] == ["0", "0", "0", "100000", "65536", "made", "bin"]


@pytest.mark.parametrize("enter", ["pivot", "move_root"])
def test_a_masked_procfs_cannot_be_had_unmasked_through_the_hosts(root: Path, enter: str) -> None:
    # The kernel lets a user namespace mount a procfs only where a full one is in sight, a hidden old tree included.
    cover = plans.mount_fs("/proc/tty", "tmpfs", flags=WIRE["MOUNT_PROC_OK"])
    nested = [op("unshare", harness.CLONE_NEWUSER | harness.CLONE_NEWNS), op("write_proc", "self/uid_map", "0 0 1\n")]
    script = "/bin/busybox unshare -pf /bin/mount -t proc p /tmp 2> /tmp/x && echo unmasked; "
    script += "mount -t tmpfs t /tmp && echo alive"
    for masked, seen in (((cover,), "alive\n"), ((), "unmasked\nalive\n")):
        result = carry_out([*begin(root, mount_proc(), *masked), op(enter), *nested, *shell(script)])
        assert result.ok() == seen


def test_hostname_and_domainname_are_set(root: Path) -> None:
    after = (op("hostname", "h" * 64), op("domainname", "d.example"))
    output = inside(root, "/bin/busybox hostname; cat /proc/sys/kernel/domainname", mount_proc(), after=after).ok()
    assert output == "h" * 64 + "\nd.example\n"


def test_the_loopback_comes_up(root: Path) -> None:
    script = "/bin/busybox ip link show lo; /bin/busybox ping -c1 -W1 127.0.0.1 > /tmp/x && echo alive"
    output = inside(root, script, mount_proc(), after=(op("link_up", "lo"),)).ok()
    assert "LOOPBACK,UP" in output
    assert "alive" in output
    refused(inside(root, "true", after=(op("link_up", "none"),)), errno.ENODEV, "NONE")
    refused(inside(root, "true", after=(op("link_up", "x" * 16),)), errno.ENAMETOOLONG, "NONE")


def test_the_session_is_new() -> None:
    with Init() as init:
        init.send_plan([op("clone", harness.CLONE_NEWUTS), op("session"), op("sync", WIRE["SYNC_START"])])
        init.until(WIRE["SYNC_START"])
        assert os.getsid(init.pid) == init.pid


def test_sysctls_are_written_through_a_procfs_of_its_own(root: Path) -> None:
    # The container's /proc is the image's: a directory with a file of that name, which must not be written.
    (root / "proc/sys/kernel").mkdir(parents=True)
    (root / "proc/sys/kernel/shm_rmid_forced").write_text("fake")
    after = (op("write_proc", "sys/kernel/shm_rmid_forced", "1"), op("write_proc", "sys/net/ipv4/ip_forward", "1"))
    script = "mount -t proc p /proc; cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_forward"
    assert inside(root, script, after=after).ok() == "1\n1\n"
    assert (root / "proc/sys/kernel/shm_rmid_forced").read_text() == "fake"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("sys/none", errno.ENOENT),
        ("../etc/passwd", errno.EXDEV),
        ("self/root/etc/x", errno.ELOOP),
        ("/etc/passwd", errno.EXDEV),
    ],
)
def test_nothing_but_the_procfs_is_written(root: Path, path: str, error: int) -> None:
    refused(inside(root, "true", after=(op("write_proc", path, "x"),)), error, "NONE")


def test_a_refused_value_is_an_error(root: Path) -> None:
    refused(
        inside(root, "true", after=(op("write_proc", "sys/kernel/shm_rmid_forced", "banana"),)), errno.EINVAL, "NONE"
    )


def test_a_procfs_can_show_processes_only(root: Path) -> None:
    ops = [op("clone", NAMESPACES), op("open_proc", PROC, 1), op("write_proc", "sys/kernel/shm_rmid_forced", "1")]
    refused(carry_out(ops), errno.ENOENT, "NONE")


def test_a_masked_proc_of_the_host_serves_where_a_new_one_is_forbidden() -> None:
    # In a user namespace whose /proc is covered somewhere, the kernel lets nobody mount a full procfs.
    cover = [
        op("clone", harness.CLONE_NEWNS),
        op("propagate", harness.MS_REC | harness.MS_PRIVATE),
        op("root_dir", "/"),
    ]
    cover += [
        plans.mount_fs("/proc/tty", "tmpfs", flags=WIRE["MOUNT_PROC_OK"]),
        op("unshare", harness.CLONE_NEWUSER | harness.CLONE_NEWNS),
    ]
    result = carry_out([*cover, op("open_proc", PROC, 0), *execute("/bin/busybox", "echo", "opened")])
    assert result.ok() == "opened\n"


def test_the_hosts_procfs_serves_before_another_is_entered() -> None:
    """By its own descriptor, whatever is on /proc from then on; the files are those of the process that writes."""
    ops = [op("open_proc", PROC, WIRE["PROC_HOST"]), op("clone", harness.CLONE_NEWNS | harness.CLONE_NEWPID)]
    ops += [op("propagate", harness.MS_REC | harness.MS_PRIVATE), op("root_dir", "/")]
    ops += [
        plans.mount_fs("/proc", "tmpfs", flags=WIRE["MOUNT_PROC_OK"]),
        op("write_proc", "thread-self/comm", "renamed"),
    ]
    with Init() as init:
        init.send_plan([*ops, op("sync", WIRE["SYNC_START"])])
        init.until(WIRE["SYNC_START"])
        assert Path(f"/proc/{init.pid}/comm").read_text() == "renamed\n"


def test_what_is_no_procfs_does_not_serve() -> None:
    cover = [op("clone", harness.CLONE_NEWNS), op("propagate", harness.MS_REC | harness.MS_PRIVATE)]
    cover += [op("root_dir", "/"), plans.mount_fs("/proc", "tmpfs", flags=WIRE["MOUNT_PROC_OK"])]
    refused(carry_out([*cover, op("open_proc", PROC, WIRE["PROC_HOST"])]), errno.EXDEV, "NONE")


def test_clock_offsets_are_set_in_a_time_namespace(root: Path) -> None:
    ops = [op("clone", NAMESPACES), op("session"), op("open_proc", PROC, 0), op("unshare", harness.CLONE_NEWTIME)]
    ops += [
        op("write_proc", "self/timens_offsets", "boottime 86400 0\n"),
        op("setns_proc", "self/ns/time_for_children", harness.CLONE_NEWTIME),
    ]
    with Init() as init:
        init.send_plan([*ops, op("sync", WIRE["SYNC_START"]), *execute("/bin/cat", "/proc/uptime")])
        init.until(WIRE["SYNC_START"])
        assert namespace(init.pid, "time") != namespace("self", "time")
        init.go(WIRE["SYNC_START"])
        shown = float(init.finish().ok().split()[0])
    assert shown > 86400


def test_oom_score_adj_is_written() -> None:
    assert carry_out([op("oom_score_adj", "123"), *execute("/bin/cat", "/proc/self/oom_score_adj")]).ok() == "123\n"
    refused(carry_out([op("oom_score_adj", "2000")]), errno.EINVAL, "NONE")
