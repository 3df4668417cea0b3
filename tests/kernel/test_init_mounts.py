"""Mount operations: what the container sees of them, their errors in the kernel's words, and their fallbacks."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from tests.kernel import harness
from tests.kernel.harness import NONE, WIRE, Op, carry_out, op, refused
from tests.kernel.mountinfo import INFO, entry
from tests.kernel.plans import begin, inside, mount_bind, mount_fs, mount_proc, shell

pytestmark = pytest.mark.root


def slot(path: str | Path, flags: int = os.O_PATH) -> int:
    """A descriptor for a slot."""
    return os.open(path, flags | os.O_CLOEXEC)


def test_mount_fs_has_its_attributes_and_options(root: Path) -> None:
    mount = mount_fs("/tmp", "tmpfs", "size=64k", "mode=0711", attributes=14)
    output = inside(root, INFO + "; stat -c %a /tmp", mount_proc(), mount).ok()
    tmp = entry(output, "/tmp")
    assert tmp["type"] == "tmpfs"
    assert {"nosuid", "nodev", "noexec"} <= set(tmp["options"].split(","))
    assert "size=64k" in tmp["super"]
    assert output.splitlines()[-1] == "711"


def test_a_missing_target_is_made_with_its_parents(root: Path) -> None:
    inside(root, "true", mount_fs("/a/b/c", "tmpfs")).ok()
    assert stat.S_IMODE((root / "a/b/c").stat().st_mode) == 0o755


def test_a_refused_option_is_named_with_the_kernels_words(root: Path) -> None:
    text = refused(inside(root, "true", mount_fs("/tmp", "tmpfs", "mode=755", "size=banana")), errno.EINVAL, "OPTION")
    assert text == "size=banana: tmpfs: Bad value for 'size'"


def test_an_unknown_option_is_named(root: Path) -> None:
    text = refused(inside(root, "true", mount_fs("/tmp", "tmpfs", "nonsense")), errno.EINVAL, "OPTION")
    assert text.startswith("nonsense: tmpfs: Unknown parameter")


def test_an_unknown_filesystem_is_refused(root: Path) -> None:
    refused(inside(root, "true", mount_fs("/tmp", "nosuchfs")), errno.ENODEV, "CREATE")


def test_a_filesystem_on_a_file_is_refused(root: Path) -> None:
    (root / "file").touch()
    refused(inside(root, "true", mount_fs("/file", "tmpfs")), errno.ENOTDIR, "ATTACH")


def test_propagation_is_set_after_the_mount_was_attached(root: Path) -> None:
    mounts = (
        mount_fs("/tmp", "tmpfs", propagation=harness.MS_SHARED),
        mount_fs("/dev", "tmpfs", propagation=harness.MS_UNBINDABLE),
    )
    output = inside(root, INFO, mount_proc(), *mounts).ok()
    assert entry(output, "/tmp")["optional"].startswith("shared:")
    assert entry(output, "/dev")["optional"] == "unbindable"


def test_a_tmpfs_inherits_the_mode_of_the_directory_that_it_covers(root: Path) -> None:
    (root / "tmp").chmod(0o1770)
    mounts = [mount_fs(path, "tmpfs", flags=WIRE["MOUNT_INHERIT_MODE"]) for path in ("/tmp", "/new")]
    assert inside(root, "stat -c %a /tmp /new", *mounts).ok() == "1770\n1777\n"


def test_an_explicit_mode_wins_over_the_inherited_one(root: Path) -> None:
    mount = mount_fs("/tmp", "tmpfs", "mode=700", flags=WIRE["MOUNT_INHERIT_MODE"])
    assert inside(root, "stat -c %a /tmp", mount).ok() == "700\n"


def test_copy_up_fills_a_tmpfs_with_what_the_directory_held(root: Path) -> None:
    data = root / "data"
    (data / "sub/deep").mkdir(parents=True)
    (data / "file").write_bytes(b"content" * 20000)
    (data / "sub/deep/x").write_text("x")
    (data / "link").symlink_to("../outside")
    os.mkfifo(data / "fifo")
    os.mknod(data / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.chown(data / "file", 12, 34)
    (data / "file").chmod(0o4750)
    os.chown(data / "link", 5, 6, follow_symlinks=False)
    os.utime(data / "file", (1, 1000000000))
    os.utime(data / "sub", (1, 1100000000))
    mount = mount_fs("/data", "tmpfs", attributes=harness.ATTR_RDONLY, flags=WIRE["MOUNT_COPY_UP"])
    script = "cd data; stat -c '%n %F %a %u %g' *; stat -c '%n %Y %s' file sub; cat sub/deep/x; echo; "
    script += "echo y > sub/y || echo ro; mount | grep data"
    output = inside(root, script, mount_proc(), mount).ok()
    assert "file regular file 4750 12 34\n" in output
    assert "fifo fifo 644 0 0\n" in output
    assert "link symbolic link 777 5 6\n" in output
    assert "null character special file 644 0 0\n" in output or "null character special file 666 0 0\n" in output
    assert "file 1000000000 140000\n" in output
    assert "sub 1100000000" in output
    assert "\nx\n" in output
    assert "Read-only file system" in output
    assert "tmpfs" in output
    assert not (data / "sub/y").exists()


def test_copy_up_says_which_file_did_not_fit(root: Path) -> None:
    (root / "tmp/big").write_bytes(b"x" * 100000)
    text = refused(
        inside(root, "true", mount_fs("/tmp", "tmpfs", "size=16k", flags=WIRE["MOUNT_COPY_UP"])), errno.ENOSPC, "SOURCE"
    )
    assert text == "big"


def test_copy_up_stops_at_a_depth_that_no_image_has(root: Path) -> None:
    (root / ("tmp" + "/d" * 80)).mkdir(parents=True)
    refused(inside(root, "true", mount_fs("/tmp", "tmpfs", flags=WIRE["MOUNT_COPY_UP"])), errno.EOVERFLOW, "SOURCE")


def legacy(target: str, data: str = "", propagation: int = 0, flags: int = 0) -> Op:
    """A tmpfs by mount(2), nosuid."""
    return op("mount_legacy", target, "tmpfs", "src", data, 2, propagation, flags)


def test_mount_legacy_takes_values_of_any_length(root: Path, tmp_path: Path) -> None:
    lower = [tmp_path / f"lower-{'x' * 100}-{i}" for i in range(4)]
    for i, path in enumerate(lower):
        path.mkdir()
        (path / f"f{i}").touch()
    data = "lowerdir=" + ":".join(map(str, lower))
    mount = op("mount_legacy", "/tmp", "overlay", "overlay", data, harness.MS_RDONLY, 0, 0)
    assert inside(root, "ls /tmp", mount).ok() == "f0\nf1\nf2\nf3\n"


def test_mount_legacy_sets_the_propagation_of_what_it_mounted(root: Path) -> None:
    output = inside(root, INFO, mount_proc(), legacy("/tmp", propagation=harness.MS_SHARED)).ok()
    assert entry(output, "/tmp")["optional"].startswith("shared:")
    assert "nosuid" in entry(output, "/tmp")["options"]
    assert entry(output, "/")["optional"] == ""


def test_mount_legacy_refuses_a_target_inside_proc(root: Path) -> None:
    refused(inside(root, "true", mount_proc(), legacy("/proc/sys")), errno.EACCES, "IN_PROC")


def test_a_bind_is_read_only_from_its_first_moment(root: Path, outside: Path) -> None:
    output = inside(
        root,
        INFO + "; cat /data/canary; echo x > /data/canary",
        mount_proc(),
        mount_bind("/data", outside, attributes=15),
    )
    assert output.error is None
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(
        entry(output.output.split("untouched")[0], "/data")["options"].split(",")
    )
    assert (outside / "canary").read_text() == "untouched"


def test_a_bind_of_a_file_makes_a_file_and_of_a_directory_a_directory(root: Path, outside: Path) -> None:
    output = inside(
        root,
        "cat /etc/x/file; ls /etc/dir",
        mount_bind("/etc/x/file", outside / "canary"),
        mount_bind("/etc/dir", outside),
    ).ok()
    assert output == "untouchedcanary\n"
    assert stat.S_IMODE((root / "etc/x/file").stat().st_mode) == 0o644
    assert (root / "etc/dir").is_dir()


@pytest.mark.parametrize(("target", "source"), [("/file", "."), ("/tmp", "canary")])
def test_a_bind_of_the_wrong_kind_is_refused(root: Path, outside: Path, target: str, source: str) -> None:
    (root / "file").touch()
    refused(inside(root, "true", mount_bind(target, outside / source)), errno.ENOTDIR, "ATTACH")


def test_a_missing_source_is_refused(root: Path) -> None:
    refused(inside(root, "true", mount_bind("/data", "/nonexistent")), errno.ENOENT, "SOURCE")
    assert not (root / "data").exists()


def submounts(outside: Path) -> tuple[Op, ...]:
    """A mount below the source, made in the new mount namespace."""
    (outside / "sub").mkdir()
    return (op("root_dir", str(outside)), mount_fs("/sub", "tmpfs"))


@pytest.mark.parametrize(("flags", "found"), [(0, 0), (WIRE["MOUNT_RECURSIVE"], 1)])
def test_rbind_takes_the_mounts_below_and_bind_does_not(root: Path, outside: Path, flags: int, found: int) -> None:
    ops = begin(root, mount_proc(), mount_bind("/data", outside, flags=flags), before=submounts(outside))
    output = carry_out([*ops, op("pivot"), *shell(INFO)]).ok()
    assert output.count(" /data/sub ") == found


def test_recursive_attributes_reach_the_mounts_below(root: Path, outside: Path) -> None:
    bind = op("mount_bind", "/data", str(outside), NONE, 0, 0, harness.ATTR_RDONLY, 0, 0, WIRE["MOUNT_RECURSIVE"])
    output = carry_out([*begin(root, mount_proc(), bind, before=submounts(outside)), op("pivot"), *shell(INFO)]).ok()
    assert entry(output, "/data/sub")["options"].startswith("ro")


def test_a_bind_of_a_slot_uses_the_tree_that_the_runtime_opened(root: Path, outside: Path) -> None:
    ops = begin(root, mount_proc(), mount_bind("/data", "", 20), before=(op("open_tree", 20, str(outside), 0),))
    assert carry_out([*ops, op("pivot"), *shell("cat /data/canary")]).ok() == "untouched"


def test_a_symlink_can_be_made_again_in_place_of_being_followed(root: Path, outside: Path) -> None:
    (outside / "link").symlink_to("somewhere/else")
    inside(root, "true", mount_bind("/etc/link", outside / "link", flags=WIRE["MOUNT_COPY_SYMLINK"])).ok()
    assert os.readlink(root / "etc/link") == "somewhere/else"


def test_a_device_bind_refuses_what_is_no_device(root: Path, outside: Path) -> None:
    refused(
        inside(root, "true", mount_bind("/dev/x", outside / "canary", flags=WIRE["MOUNT_DEVICE"])),
        errno.ENODEV,
        "WRONG_INODE",
    )
    inside(root, "echo x > /dev/null", mount_bind("/dev/null", "/dev/null", flags=WIRE["MOUNT_DEVICE"])).ok()


def test_a_mount_on_the_root_becomes_the_root(root: Path, tmp_path: Path) -> None:
    other = harness.new_root(tmp_path / "other")
    (other / "marker").touch()
    output = inside(root, "ls -d /marker /tmp/there", mount_bind("/", other), op("mkdir", "/tmp/there", 0o755)).ok()
    assert output == "/marker\n/tmp/there\n"
    assert (other / "tmp/there").is_dir()


def test_mount_attr_changes_a_mount_whose_targets_are_made(root: Path) -> None:
    mounts = (
        mount_fs("/dev", "tmpfs"),
        op("mkdir", "/dev/pts", 0o755),
        op("mount_attr", "/dev", harness.ATTR_RDONLY, 0, 0, 0),
    )
    assert entry(inside(root, INFO, mount_proc(), *mounts).ok(), "/dev")["options"].startswith("ro")
    refused(inside(root, "true", op("mount_attr", "/none", 1, 0, 0, 0)), errno.ENOENT, "TARGET")
    refused(inside(root, "true", op("mount_attr", "/tmp", 1, 0, 0, 0)), errno.EINVAL, "ATTRIBUTE")


def test_devices_have_exactly_their_mode_owner_and_number(root: Path) -> None:
    made = [
        op("mknod", "/dev/sub/null", stat.S_IFCHR | 0o666, os.makedev(1, 3), 5, 6),
        op("mknod", "/dev/fifo", stat.S_IFIFO | 0o622, 0, 0, 0),
    ]
    made += [op("mknod", "/dev/high", stat.S_IFBLK | 0o600, os.makedev(259, 300), 0, 0)]
    output = inside(root, "stat -c '%F %a %u %g %t %T' /dev/sub/null /dev/fifo /dev/high", *made).ok()
    assert output == "character special file 666 5 6 1 3\nfifo 622 0 0 0 0\nblock special file 600 0 0 103 12c\n"


def test_a_device_that_is_there_already_is_fine_and_another_inode_is_not(root: Path) -> None:
    os.mknod(root / "dev/null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mknod(root / "dev/zero", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    (root / "dev/full").touch()
    (root / "dev/tty").symlink_to("null")
    inside(root, "true", op("mknod", "/dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3), 0, 0)).ok()
    for name in ("zero", "full", "tty"):
        device = op("mknod", f"/dev/{name}", stat.S_IFCHR | 0o666, os.makedev(1, 5), 0, 0)
        refused(inside(root, "true", device), errno.EEXIST, "WRONG_INODE")


def test_symlinks_and_directories_are_made_once(root: Path) -> None:
    ops = [
        op("symlink", "/proc/self/fd", "/dev/fd"),
        op("symlink", "other", "/dev/fd"),
        op("mkdir", "/a/b", 0o700),
        op("mkdir", "/a/b", 0o755),
    ]
    inside(root, "true", *ops).ok()
    assert os.readlink(root / "dev/fd") == "/proc/self/fd"
    assert [stat.S_IMODE((root / name).stat().st_mode) for name in ("a", "a/b")] == [0o755, 0o700]
    (root / "file").touch()
    refused(inside(root, "true", op("mkdir", "/file", 0o755)), errno.ENOTDIR, "TARGET")
    refused(inside(root, "true", op("mkdir", "/file/below", 0o755)), errno.ENOTDIR, "TARGET")
    for path in ("/", "/dev/..", "/dev/.", ""):
        refused(inside(root, "true", op("symlink", "x", path)), errno.EINVAL, "TARGET")
