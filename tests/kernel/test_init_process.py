"""Where the process stands, what it executes, and which descriptors and limits it gets."""

from __future__ import annotations

import errno
import os
import resource
import time
from pathlib import Path

import pytest

from tests.kernel.harness import WIRE, Init, carry_out, op, refused
from tests.kernel.plans import begin, execute, inside, mount_proc, shell

pytestmark = pytest.mark.root


def test_rlimits_are_exact(root: Path) -> None:
    after = (op("rlimit", resource.RLIMIT_NOFILE, 123, 456), op("rlimit", resource.RLIMIT_CORE, 0, 0))
    output = inside(root, "cat /proc/self/limits", mount_proc(), after=after).ok()
    limits = {line[:26].strip(): line[26:].split()[:2] for line in output.splitlines()}
    assert limits["Max open files"] == ["123", "456"]
    assert limits["Max core file size"] == ["0", "0"]
    refused(carry_out([op("rlimit", 7, 2, 1)]), errno.EINVAL, "NONE")
    refused(carry_out([op("rlimit", 99, 1, 1)]), errno.EINVAL, "NONE")


def test_stdio_pipes_belong_to_the_user_and_devices_do_not_change(root: Path) -> None:
    before = os.stat("/dev/null")
    with Init() as init:
        init.send_plan([op("stdio_owner", 1234), op("sync", WIRE["SYNC_START"])])
        init.until(WIRE["SYNC_START"])
        assert os.stat(f"/proc/{init.first}/fd/1").st_uid == 1234
        assert os.stat("/dev/null").st_uid == before.st_uid


def test_chdir_stays_below_the_root(root: Path) -> None:
    (root / "work").mkdir()
    ops = [
        *begin(root),
        op("pivot"),
        op("chdir", "/work"),
        op("find_exec", "sh", ["/bin/sh"]),
        op("exec", ["sh", "-c", "pwd"], []),
    ]
    assert carry_out(ops).ok() == "/work\n"
    refused(carry_out([*begin(root), op("pivot"), op("chdir", "/none")]), errno.ENOENT, "NONE")
    refused(carry_out([*begin(root), op("pivot"), op("chdir", "/bin/sh")]), errno.ENOTDIR, "NONE")


def test_a_directory_is_entered_once(root: Path) -> None:
    """As root, who may; the user who may not stays there. What root is refused the user may still enter."""
    for owner, name in ((0, "roots"), (1000, "users")):
        (root / name).mkdir(0o700)
        os.chown(root / name, owner, owner)
    output = (op("find_exec", "sh", ["/bin/sh"]), op("exec", ["sh", "-c", "pwd"], []))
    become, start = op("ids", 1000, 1000), [*begin(root), op("pivot")]
    assert carry_out([*start, op("chdir", "/roots"), become, op("chdir", "/roots"), *output]).ok() == "/roots\n"
    refused(carry_out([*start, become, op("chdir", "/roots")]), errno.EACCES, "NONE")
    weak = [op("bounding", 0), op("caps", 1 << 7 | 1 << 6, 1 << 7 | 1 << 6, 0, 0)]  # CAP_SETUID, CAP_SETGID
    tried = op("chdir", "/users", ignore=(errno.EACCES,))
    assert carry_out([*start, *weak, tried, become, op("chdir", "/users"), *output]).ok() == "/users\n"


def test_the_callers_cpus_are_left_behind(root: Path) -> None:
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        with Init() as init:
            init.send_plan([op("affinity"), op("sync", WIRE["SYNC_START"])])
            init.until(WIRE["SYNC_START"])
            assert os.sched_getaffinity(init.first) >= cpus
    finally:
        os.sched_setaffinity(0, cpus)


def test_a_directory_outside_the_root_is_refused(root: Path) -> None:
    # A descriptor of a host directory, reached through the container's own /proc: what CVE-2024-21626 was.
    ops = [*begin(root, mount_proc()), op("pivot")]
    host = os.open("/", os.O_PATH)
    with Init() as init:
        init.send_plan([*ops, op("sync", WIRE["SYNC_CREATED"])], {40: host})
        init.until(WIRE["SYNC_CREATED"])
        links = {fd: os.readlink(f"/proc/{init.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{init.pid}/fd")}
    details = []
    for number in (fd for fd, link in links.items() if link == "/"):
        with Init() as init:
            init.send_plan(
                [*ops, op("chdir", f"/proc/self/fd/{number}"), op("find_exec", "x", ["/bin/sh"])], {40: host}
            )
            result = init.finish()
            details.append(result.error.detail if result.error else "")
    os.close(host)
    assert set(details) == {"", "OUTSIDE"}  # the container's own root; the host's and the procfs that the init holds


def test_find_exec_takes_the_first_that_can_run(root: Path) -> None:
    (root / "tmp/tool").write_text("not executable")
    (root / "etc/tool").mkdir()
    (root / "bin/tool").symlink_to("busybox")
    ops = [*begin(root), op("pivot"), op("chdir", "/")]
    candidates = ["/none/tool", "/bin/busybox/tool", "/etc/tool", "/tmp/tool", "/bin/tool"]
    end = [op("find_exec", "tool", candidates), op("exec", ["echo", "found"], [])]
    assert carry_out([*ops, *end]).ok() == "found\n"
    for names, error in (
        (candidates[:2], errno.ENOENT),
        (candidates[:3], errno.EACCES),
        (candidates[:4], errno.EACCES),
        ([], errno.ENOENT),
    ):
        refused(carry_out([*ops, op("find_exec", "tool", names)]), error, "NONE")


def test_find_exec_asks_with_the_users_rights(root: Path) -> None:
    (root / "bin/private").mkdir(mode=0o700)
    (root / "bin/private/tool").symlink_to("/bin/busybox")
    ops = [
        *begin(root),
        op("pivot"),
        op("ids", 1000, 1000),
        op("caps", 0, 0, 0, 0),
        op("find_exec", "tool", ["/bin/private/tool"]),
    ]
    refused(carry_out(ops), errno.EACCES, "NONE")


def test_find_exec_asks_with_the_capabilities_in_effect(root: Path) -> None:
    (root / "bin/tool").write_text("#!/bin/sh\n")
    (root / "bin/tool").chmod(0o700)
    os.chown(root / "bin/tool", 1000, 1000)
    ops = [*begin(root), op("pivot"), op("caps", 0, 3, 0, 0), op("find_exec", "tool", ["/bin/tool"])]
    refused(carry_out(ops), errno.EACCES, "NONE")


def test_exec_reports_why_it_failed(root: Path) -> None:
    for name, text, error in (("format", "\x01\x02", errno.ENOEXEC), ("interpreter", "#!/none\n", errno.ENOENT)):
        (root / "bin" / name).write_text(text)
        (root / "bin" / name).chmod(0o755)
        result = carry_out([*begin(root), op("pivot"), *execute(f"/bin/{name}")])
        assert refused(result, error, "NONE") == ""
        assert result.error is not None
        assert result.error.value == len(begin(root)) + 4


PASSWD = "root:x:0:0:root:/root:/bin/sh\nbad\n:::::\nx:y:12x:0:g:/no:\nuser:x:1000:1000:,,:/home/user:/bin/sh\n"
PASSWD += "again:x:1000:1:x:/other:/\nend:x:7:7::/end"
HOMES = [(0, "/root"), (1000, "/home/user"), (7, "/end"), (12, "/"), (99, "/")]


@pytest.mark.parametrize(("uid", "home"), HOMES)
def test_home_comes_from_the_containers_passwd(root: Path, uid: int, home: str) -> None:
    (root / "etc/passwd").write_text(PASSWD)
    ops = [*begin(root), op("pivot"), op("home", uid), *shell("echo $HOME $A", env=("A=b",))]
    assert carry_out(ops).ok() == f"{home} b\n"


ODD = {
    "missing": lambda path: None,
    "fifo": os.mkfifo,
    "directory": os.mkdir,
    "device": lambda path: os.symlink("/dev/zero", path),
    "outside": lambda path: os.symlink("../../../../../../etc/passwd", path),
    "huge": lambda path: (path.touch(), os.truncate(path, 1 << 32)),
    "relative": lambda path: path.write_text("u:x:1000:1000::home:/"),
    "empty": lambda path: path.write_text("u:x:1000:1000:::/"),
    "long": lambda path: path.write_text("u:x:1000:1000::/" + "x" * 5000 + ":/"),
    "overflow": lambda path: path.write_text(
        f"u:x:{(1 << 64) + 1000}:1000::/wrong:/\nu:x:{(1 << 32) + 1000}:0::/wrong:/"
    ),
    "sign": lambda path: path.write_text("u:x:-1000:1000::/wrong:/\nu:x:+1000:0::/wrong:/\nu:x: 1000:0::/wrong:/"),
    "nul": lambda path: path.write_text("u:x:1000:1000::/a\0b:/"),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_passwd_makes_home_the_root_and_nothing_hangs(root: Path, name: str) -> None:
    os.mknod(root / "dev/zero", 0o20666, os.makedev(1, 5))
    ODD[name](root / "etc/passwd")
    started = time.monotonic()
    assert carry_out([*begin(root), op("pivot"), op("home", 1000), *shell("echo $HOME")]).ok() == "/\n"
    assert time.monotonic() - started < 5


def test_home_is_added_to_an_environment_that_is_empty(root: Path) -> None:
    ops = [
        *begin(root),
        op("pivot"),
        op("home", 1000),
        op("find_exec", "x", ["/bin/busybox"]),
        op("exec", ["busybox", "env"], []),
    ]
    assert carry_out(ops).ok() == "HOME=/\n"


def test_only_stdio_and_the_kept_descriptors_reach_the_process(root: Path) -> None:
    kept = os.open("/dev/zero", os.O_RDONLY)
    other = os.open("/", os.O_RDONLY)
    script = "cd /proc/self/fd; echo *; for i in 3 4 5 6; do readlink $i; done; true"
    with Init(preserve=(kept, kept)) as init:
        ops = [*begin(root, mount_proc()), op("pivot"), op("find_exec", "sh", ["/bin/sh"]), op("close_fds", 2)]
        init.send_plan(
            [
                *ops,
                op(
                    "exec",
                    ["sh", "-c", script],
                    ["PATH=/bin"],
                ),
            ],
            {50: other},
        )
        result = init.finish()
    os.close(kept)
    os.close(other)
    listed, *links = result.output.splitlines()
    assert set(listed.split()) <= {"0", "1", "2", "3", "4", "5"}  # 5: the shell's own look at the directory
    assert links[:2] == ["/dev/zero", "/dev/zero"]
    assert all(link.startswith("/proc/") for link in links[2:])


def test_after_close_fds_only_the_report_channel_is_left(root: Path) -> None:
    with Init() as init:
        init.send_plan([*begin(root, mount_proc()), op("pivot"), op("close_fds", 0), op("sync", WIRE["SYNC_START"])])
        init.until(WIRE["SYNC_START"])
        links = [os.readlink(f"/proc/{init.pid}/fd/{fd}").split(":")[0] for fd in os.listdir(f"/proc/{init.pid}/fd")]
        assert sorted(links) == ["/dev/null", "pipe", "pipe", "socket"]


def test_more_descriptors_to_keep_than_the_init_was_started_with_are_refused() -> None:
    refused(carry_out([op("close_fds", 2)]), errno.EINVAL, "NONE")
    refused(carry_out([op("close_fds", 1 << 32)]), errno.EINVAL, "NONE")


def test_the_execution_domain_outlives_execve(root: Path) -> None:
    assert inside(root, "cat /proc/self/personality", mount_proc(), after=(op("personality", 8),)).ok() == "00000008\n"


def test_the_memory_policy_is_set_with_and_without_nodes(root: Path) -> None:
    script = "cut -d' ' -f2 /proc/self/numa_maps | sort -u"
    (root / "bin/cut").symlink_to("busybox")
    (root / "bin/sort").symlink_to("busybox")
    if not Path("/proc/self/numa_maps").exists():
        pytest.skip("the kernel is built without NUMA")
    one = op("memory_policy", 2, bytes([1, *bytes(7)]))
    assert inside(root, script, mount_proc(), after=(one,)).ok() == "bind:0\n"
    assert inside(root, script, mount_proc(), after=(one, op("memory_policy", 4, b""))).ok() == "local\n"
    refused(inside(root, "true", after=(op("memory_policy", 99, b""),)), errno.EINVAL, "NONE")
