"""The container's root and its hostile contents: nothing leads out of it, nothing is mounted where it must not be."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kernel import harness
from tests.kernel.harness import EMPTY, NONE, NULL, WIRE, Op, carry_out, op, refused
from tests.kernel.mountinfo import INFO, entry
from tests.kernel.plans import MASKS, begin, inside, mount_bind, mount_fs, mount_proc, shell

pytestmark = pytest.mark.root

REAL = WIRE["MOUNT_NO_SYMLINKS"]


def unchanged(outside: Path) -> bool:
    """Whether the directory outside is as its fixture made it."""
    return [path.name for path in outside.iterdir()] == ["canary"] and (outside / "canary").read_text() == "untouched"


def test_after_pivot_nothing_of_the_host_is_mounted_or_open(root: Path) -> None:
    output = inside(root, INFO + "; ls -l /proc/self/fd /proc/1/fd; ls -a /..", mount_proc()).ok()
    assert [line.split()[4] for line in output.splitlines() if " - " in line] == ["/", "/proc"]
    assert str(root.parent) not in output.replace(f" {root} / ", " ")
    assert "socket" not in output


def test_mounts_do_not_reach_the_host_even_when_it_shares_them(root: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "shared", root / "tmp"], check=True)
    try:
        subprocess.run(["mount", "--make-shared", root / "tmp"], check=True)
        shutil.copytree(root / "bin", root / "tmp/root/bin", symlinks=True)
        (root / "tmp/root/proc").mkdir()
        inside(root / "tmp/root", "true", mount_proc(), mount_fs("/new", "tmpfs")).ok()
        assert Path("/proc/self/mountinfo").read_text().count(str(root / "tmp")) == 1
    finally:
        subprocess.run(["umount", root / "tmp"], check=True)


def test_a_shared_tree_can_still_be_pivoted_to(root: Path) -> None:
    ops = [
        op("clone", harness.NAMESPACES),
        op("open_proc", harness.PROC, 0),
        op("propagate", harness.MS_REC | harness.MS_PRIVATE),
    ]
    ops += [
        op("propagate", harness.MS_REC | harness.MS_SHARED),
        op("rootfs", str(root), NONE, 1),
        mount_proc(),
        op("pivot"),
    ]
    output = carry_out([*ops, op("root_attr", 0, 0, harness.MS_SHARED, 0), *shell(INFO)]).ok()
    assert "shared:" in entry(output, "/")["optional"]


def test_rootfs_takes_the_tree_of_a_slot(root: Path) -> None:
    ops = [
        op("clone", harness.NAMESPACES),
        op("propagate", harness.MS_REC | harness.MS_SLAVE),
        op("open_tree", 30, str(root), 1),
    ]
    assert carry_out([*ops, op("rootfs", str(root), 30, 1), op("pivot"), *shell("echo in")]).ok() == "in\n"


def test_move_root_hides_every_full_procfs_of_the_host(root: Path) -> None:
    ops = [*begin(root, mount_proc()), op("move_root"), *shell(INFO + "; ls /; mount -t proc p /tmp && echo mounted")]
    output = carry_out(ops).ok()
    kinds = [line.partition(" - ")[2].split()[0] for line in output.splitlines() if " - " in line]
    assert kinds.count("proc") == 1
    assert "sysfs" not in kinds
    assert "bin\n" in output


def test_chroot_serves_a_container_without_a_mount_namespace(root: Path) -> None:
    ops = [op("clone", harness.CLONE_NEWPID), op("root_dir", str(root)), op("chroot"), *shell("ls /; ls /../..")]
    assert carry_out(ops).ok().split("\n")[0] == "bin"


def test_a_missing_rootfs_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, error in (("none", errno.ENOENT), ("file", errno.ENOTDIR)):
        for ops in (begin(tmp_path / name), [op("root_dir", str(tmp_path / name))]):
            refused(carry_out(ops), error, "SOURCE")


def test_the_root_can_be_read_only_without_a_procfs(root: Path) -> None:
    for name in ("self", "thread-self"):
        (root / "proc" / name / "fd").mkdir(parents=True)
        for fd in range(32):
            (root / "proc" / name / "fd" / str(fd)).symlink_to("/tmp")
    read_only = op("root_attr", harness.ATTR_RDONLY, 0, 0, 0)
    assert "Read-only file system" in inside(root, "echo x > /X; echo", after=(read_only,)).ok()


def test_readonly_paths_are_read_only_with_all_below(root: Path) -> None:
    mounts = (mount_fs("/tmp", "tmpfs"), mount_fs("/tmp/sub", "tmpfs"))
    output = inside(
        root,
        "echo x > /tmp/x; echo x > /tmp/sub/x; echo x > /etc/x",
        mount_proc(),
        *mounts,
        after=(op("readonly", "/tmp", 0),),
    ).ok()
    assert output.count("Read-only file system") == 2
    assert (root / "etc/x").exists()


def test_a_directory_gets_a_label(root: Path) -> None:
    """The kernel keeps it with the file, whether or not a policy is loaded."""
    label = "system_u:object_r:tmp_t:s0:c1,c2"
    try:
        inside(root, "true", op("label", "/etc", label)).ok()
        assert os.getxattr(root / "etc", "security.selinux") == label.encode() + b"\0"
    finally:
        os.removexattr(root / "etc", "security.selinux")


def test_only_an_existing_directory_gets_a_label(root: Path) -> None:
    refused(inside(root, "true", op("label", "/none", "a:b:c:d")), errno.ENOENT, "TARGET")
    refused(inside(root, "true", op("label", "/bin/busybox", "a:b:c:d")), errno.ENOTDIR, "TARGET")


def test_masks_hide_files_and_directories(root: Path) -> None:
    (root / "etc/secret").write_text("SECRET")
    (root / "data").mkdir()
    (root / "data/secret").write_text("SECRET")
    masks = tuple(
        op("mask", path, NULL, EMPTY) for path in ("/etc/secret", "/data", "/data", "/etc/secret", "/proc/timer_list")
    )
    script = "cat /etc/secret /data/* /proc/timer_list; ls -a /data; echo x > /data/y; echo OTHER > /etc/secret; "
    script += "stat -c '%F %t %T' /etc/secret"
    output = carry_out([*begin(root, mount_proc(), *MASKS), op("pivot"), *masks, *shell(script)]).ok()
    assert "SECRET" not in output
    assert "Read-only file system" in output
    assert output.endswith("character special file 1 3\n")
    assert (root / "etc/secret").read_text() == "SECRET"


def test_a_missing_mask_is_an_error_that_the_plan_may_ignore(root: Path) -> None:
    ops = [*begin(root, *MASKS), op("pivot")]
    refused(carry_out([*ops, op("mask", "/none", NULL, EMPTY)]), errno.ENOENT, "TARGET")
    carry_out([*ops, op("mask", "/none", NULL, EMPTY, ignore=(errno.ENOENT,)), *shell("true")]).ok()


def test_a_masked_symlink_hides_what_it_points_at(root: Path) -> None:
    (root / "etc/secret").write_text("SECRET")
    (root / "etc/link").symlink_to("/etc/secret")
    output = carry_out(
        [*begin(root, *MASKS), op("pivot"), op("mask", "/etc/link", NULL, EMPTY), *shell("cat /etc/link /etc/secret")]
    ).ok()
    assert output == ""


def test_masks_and_readonly_paths_do_not_go_through_magic_links(root: Path) -> None:
    (root / "etc/link").symlink_to("/proc/self/root/etc")
    for last in (
        op("mask", "/etc/link", NULL, EMPTY),
        op("readonly", "/etc/link", 0),
        op("mask", "/proc/self/exe", NULL, EMPTY),
    ):
        refused(carry_out([*begin(root, mount_proc(), *MASKS), op("pivot"), last]), errno.ELOOP, "TARGET")


@pytest.mark.parametrize("kind", ["zero", "regular", "fifo", "directory", "symlink"])
def test_a_null_device_that_is_none_masks_nothing(root: Path, kind: str) -> None:
    (root / "etc/secret").write_text("SECRET")
    null = root / "dev/null"
    make = {
        "zero": lambda: os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 5)),
        "regular": null.touch,
        "fifo": lambda: os.mkfifo(null),
    }
    make |= {"directory": null.mkdir, "symlink": lambda: null.symlink_to("/etc/other")}
    make[kind]()
    (root / "etc/other").touch()
    wrong = op("open_tree", NULL, str(null), 0)
    result = carry_out([*begin(root, MASKS[1]), wrong, op("pivot"), op("mask", "/etc/secret", NULL, EMPTY)])
    assert result.error is not None
    assert result.error.detail in ("WRONG_INODE", "SOURCE")


@pytest.mark.parametrize(
    "link", ["/outside", "../outside", "/proc/self/root", "loop", "../../../../../../../../outside"]
)
@pytest.mark.parametrize("target", ["/proc", "/sys"])
def test_proc_and_sys_are_mounted_on_real_directories_only(root: Path, outside: Path, link: str, target: str) -> None:
    path = root / target[1:]
    path.rmdir()
    path.symlink_to(link.replace("/outside", str(outside)) if link[0] == "/" and "outside" in link else link)
    refused(inside(root, "true", mount_fs(target, "proc", flags=REAL)), errno.ELOOP, "NOT_DIR")
    assert unchanged(outside)


def test_proc_is_not_mounted_on_a_file(root: Path) -> None:
    (root / "proc").rmdir()
    (root / "proc").touch()
    refused(inside(root, "true", mount_fs("/proc", "proc", flags=REAL)), errno.ENOTDIR, "NOT_DIR")


INSIDE_PROC = [
    "/proc/self/attr",
    "/proc/sys/kernel",
    "/proc/1/attr/exec",
    "/proc/../proc/self",
    "/lnk",
    "/proc/cpuinfo",
    "/proc",
]


@pytest.mark.parametrize("target", INSIDE_PROC)
def test_nothing_is_mounted_inside_proc(root: Path, outside: Path, target: str) -> None:
    (root / "lnk").symlink_to("/proc/self/attr")
    tmpfs = mount_fs(target, "tmpfs") if target != "/proc/cpuinfo" else mount_bind(target, outside / "canary")
    if target == "/proc/1/attr/exec":
        tmpfs = mount_bind(target, outside / "canary")
    refused(inside(root, "true", mount_proc(), tmpfs), errno.EACCES, "IN_PROC")


def test_a_procfs_may_be_mounted_on_another_and_files_that_the_plan_allows(root: Path, outside: Path) -> None:
    mounts = (mount_proc(), mount_proc(), mount_bind("/proc/cpuinfo", outside / "canary", flags=WIRE["MOUNT_PROC_OK"]))
    assert inside(root, "cat /proc/cpuinfo", *mounts).ok() == "untouched"


def everything(target: str, outside: Path) -> list[Op]:
    """One of each operation that makes something at a path."""
    return [
        mount_fs(target + "/tmpfs", "tmpfs"),
        mount_bind(target + "/bind", outside / "canary"),
        op("mkdir", target + "/mkdir", 0o755),
        op("mknod", target + "/null", stat.S_IFCHR | 0o666, os.makedev(1, 3), 0, 0),
        op("symlink", "x", target + "/symlink"),
    ]


LINKS = [
    "OUT",
    "../outside",
    "../../../../../../../../../../OUT",
    "/proc/1/root/OUT",
    "/proc/self/cwd/OUT",
    "a/../../../outside",
    "/OUT/.",
]


@pytest.mark.parametrize("link", LINKS)
def test_nothing_is_made_outside_through_a_symlink(root: Path, outside: Path, link: str) -> None:
    (root / "lnk").symlink_to(link.replace("/OUT", str(outside)).replace("OUT", str(outside)))
    for one in everything("/lnk", outside):
        inside(root, "true", mount_proc(), one)
        assert unchanged(outside)


@pytest.mark.parametrize(
    "target", ["/../outside", "/../../../../../../tmp/ocirt-made", "/a/../../outside/x", "/dev/../../outside/x"]
)
def test_dots_stay_below_the_root(root: Path, outside: Path, target: str) -> None:
    for one in everything(target, outside):
        inside(root, "true", one)
        assert unchanged(outside)
    assert not Path("/tmp/ocirt-made").exists()


def test_a_dangling_symlink_is_made_below_the_root(root: Path, outside: Path) -> None:
    (root / "etc/resolv.conf").symlink_to("/run/systemd/../resolve/resolv.conf")
    (root / "etc/abs").symlink_to(outside / "new/deep")
    (root / "etc/rel").symlink_to("../../../new-rel")
    mounts = (
        mount_bind("/etc/resolv.conf", outside / "canary"),
        mount_fs("/etc/abs", "tmpfs"),
        mount_fs("/etc/rel", "tmpfs"),
    )
    assert inside(root, "cat /etc/resolv.conf", *mounts).ok() == "untouched"
    assert (root / "run/resolve/resolv.conf").is_file()
    assert (root / "run/systemd").is_dir()
    assert (root / str(outside)[1:] / "new/deep").is_dir()
    assert (root / "new-rel").is_dir()
    assert unchanged(outside)


def test_a_chain_of_dangling_symlinks_ends(root: Path) -> None:
    for i in range(60):
        (root / f"l{i}").symlink_to(f"l{i + 1}")
    refused(inside(root, "true", mount_fs("/l0", "tmpfs")), errno.ELOOP, "TARGET")
    # Half the limit: the kernel counts links twice when it must walk anew.
    inside(root, "true", mount_fs("/l45", "tmpfs")).ok()


def test_names_and_paths_that_are_too_long_are_refused(root: Path) -> None:
    refused(inside(root, "true", op("mkdir", "/" + "x" * 256, 0o755)), errno.ENAMETOOLONG, "TARGET")
    refused(inside(root, "true", op("mkdir", "/d" * 2100, 0o755)), errno.ENAMETOOLONG, "TARGET")
    (root / "deep").symlink_to("x/" * 2000)
    result = inside(root, "true", op("mkdir", "/deep/" + "y/" * 1000, 0o755))
    refused(result, errno.ENAMETOOLONG, "TARGET")


@pytest.mark.parametrize("link", ["OUT", "../outside"])
def test_a_dev_that_is_a_symlink_leads_nowhere(root: Path, outside: Path, link: str) -> None:
    (root / "dev").rmdir()
    (root / "dev").symlink_to(link.replace("OUT", str(outside)))
    for one in (
        op("symlink", "pts/ptmx", "/dev/ptmx"),
        op("mknod", "/dev/null", stat.S_IFCHR, os.makedev(1, 3), 0, 0),
        mount_fs("/dev/pts", "devpts"),
    ):
        inside(root, "true", one)
        assert unchanged(outside)


@contextmanager
def flipping(one: Path, other: Path) -> Iterator[None]:
    """Two names that exchange their inodes all the time."""
    script = "import ctypes,sys\nc=ctypes.CDLL(None)\na,b=[x.encode() for x in sys.argv[1:]]\n"
    script += "while True: c.renameat2(-100,a,-100,b,2)"
    process = subprocess.Popen(["/usr/bin/python3", "-IS", "-c", script, one, other])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_a_component_that_is_swapped_all_the_time_leads_nowhere(root: Path, outside: Path) -> None:
    (root / "race").mkdir()
    (root / "swap").symlink_to(outside)
    with flipping(root / "race", root / "swap"):
        for i in range(40):
            mounts = (mount_fs(f"/race/a{i}", "tmpfs"), mount_bind(f"/race/b{i}/c", outside / "canary"))
            inside(root, "true", *mounts)
            assert unchanged(outside)
