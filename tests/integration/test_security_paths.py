"""A root filesystem full of traps: no symlink leads a mount, a device, a terminal or a directory out of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE

import pytest

from tests.integration.hostile import (
    LIMIT,
    SECRET,
    STYLES,
    Outside,
    attack,
    bind,
    clean_words,
    refused,
    shell,
    snapshot,
    tmpfs,
    untouched,
    without,
)
from tests.integration.support import Bundle, ConsoleSocket, Json, Runtime
from tests.integration.views import MakeBundle

styles = pytest.mark.parametrize("style", STYLES)

CHANGES: dict[str, Callable[[Path], object]] = {
    "mode": lambda path: (path / "hostfile").chmod(0o600),
    "owner": lambda path: os.chown(path / "hostfile", 1000, -1),
    "content": lambda path: (path / "hostfile").write_text("x"),
    "addition": lambda path: (path / "new").mkdir(),
    "removal": lambda path: (path / "fifo").unlink(),
    "link": lambda path: os.link(path / "ptmx", path / "dir" / "link"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_canary_notices_every_kind_of_change(change: str, make_bundle: MakeBundle) -> None:
    outside = Outside(make_bundle())
    outside.check()
    CHANGES[change](outside.path)
    with pytest.raises(AssertionError):
        outside.check()


# ---- /dev ------------------------------------------------------------------------------------------------------------


@styles
def test_dev_symlink(style: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    """No mount on /dev, which is a symlink to the host: its devices and symlinks are not made there."""
    bundle = make_bundle(lambda config: without(config, "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"))
    with untouched(bundle) as outside:
        outside.plant("/dev", outside.link(style))
        attack(runtime, bundle)


@styles
def test_dev_symlink_below_a_mount(style: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    """With a tmpfs on that /dev the devices are in the tmpfs, wherever it is inside."""
    bundle = make_bundle(args=["test", "-c", "/dev/null"])
    with untouched(bundle) as outside:
        outside.plant("/dev", outside.link(style))
        attack(runtime, bundle)


@styles
@pytest.mark.parametrize("kind", ["c", "b", "p"])
def test_device_path_symlink_parent(kind: str, style: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    device: Json = {"path": "/lnk/made", "type": kind, "major": 1, "minor": 3, "fileMode": 0o666}
    bundle = make_bundle(linux={"devices": [device]})
    with untouched(bundle) as outside:
        outside.plant("/lnk", outside.link(style))
        attack(runtime, bundle)


def create_with_terminal(runtime: Runtime, bundle: Bundle, console: ConsoleSocket) -> tuple[str, str]:
    """The mounts of the created container, or "", and the words of the error, or ""; it is deleted then."""
    name, mountinfo = runtime.new_id(), ""
    bundle.config["process"]["terminal"] = True
    bundle.write()
    result = runtime.run("create", "-b", str(bundle.path), "--console-socket", str(console.path), name)
    clean_words(result)
    if result.code == 0:
        pid = runtime.run("state", name, check=True).json()["pid"]
        mountinfo = Path(f"/proc/{pid}/mountinfo").read_text()
    runtime.run("delete", "--force", name, check=True)
    return mountinfo, result.stderr


@pytest.mark.parametrize("dev", ["of-the-image", "bound"])
@pytest.mark.parametrize("name", ["made", "console"])
@pytest.mark.parametrize("style", ["absolute", "relative"])
def test_console_symlink(
    style: str, name: str, dev: str, runtime: Runtime, make_bundle: MakeBundle, console_socket: ConsoleSocket
) -> None:
    """/dev/console of the image points to the host: no file is made there, nothing is mounted there."""
    bundle = make_bundle(lambda config: without(config, "/dev"))
    with untouched(bundle) as outside:
        outside.plant("/dev/console", outside.link(style, 2) + "/" + name)
        if dev == "bound":
            bundle.config["mounts"].insert(1, bind(bundle.rootfs / "dev", "/dev"))
        mountinfo, words = create_with_terminal(runtime, bundle, console_socket)
    assert mountinfo == ""
    assert "/process/terminal" in words


def test_console_symlink_ro_rootfs(runtime: Runtime, make_bundle: MakeBundle, console_socket: ConsoleSocket) -> None:
    """On a read-only root a symlink /dev/console leads no mount onto a volume's file."""
    bundle = make_bundle(lambda config: without(config, "/dev"), root={"path": "rootfs", "readonly": True})
    with untouched(bundle) as outside:
        outside.plant("/dev/console", "/data/hostfile")
        bundle.config["mounts"].append(bind(outside.path, "/data"))
        mountinfo, _ = create_with_terminal(runtime, bundle, console_socket)
    assert " /data/hostfile " not in mountinfo


# ---- /dev/null -------------------------------------------------------------------------------------------------------


def null_at(bundle: Bundle, target: Path) -> None:
    """/dev/null of the image, with nothing mounted on /dev, is a symlink to a file of a volume."""
    without(bundle.config, "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue")
    (bundle.rootfs / "dev" / "null").symlink_to(target)


def test_devnull_symlink_stdio(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """Stdio is neither exchanged for a host file behind /dev/null nor is that file given away."""
    bundle = make_bundle(process={"user": {"uid": 1000, "gid": 1000}}, args=["sh", "-c", "echo printed; cat"])
    with untouched(bundle) as outside:
        null_at(bundle, Path("/data/hostfile"))
        bundle.config["mounts"].append(bind(outside.path, "/data"))
        bundle.write()
        process = runtime.popen("run", "-b", str(bundle.path), runtime.new_id(), stdin=PIPE, stdout=PIPE, stderr=PIPE)
        out, _ = process.communicate(b"typed\n", timeout=LIMIT)
    assert out in (b"", b"printed\ntyped\n")


def test_devnull_symlink_mask(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """A mask is the host's null device, never what the image has at /dev/null."""
    bundle = make_bundle(linux={"maskedPaths": ["/data/sec"]})
    with untouched(bundle) as outside:
        (outside.path / "sec").write_text(SECRET)
        (outside.path / "other").write_text("OTHER")
        outside.before = snapshot(outside.path)
        null_at(bundle, Path("/data/other"))
        bundle.config["mounts"].append(bind(outside.path, "/data"))
        shell(bundle.config, "cat /data/sec; echo written > /data/sec; cat /data/sec")
        result = attack(runtime, bundle)
        assert SECRET not in result.stdout
        assert "OTHER" not in result.stdout


WRONG_NULLS: dict[str, Callable[[Path], object]] = {
    "zero": lambda path: os.mknod(path, 0o020666, os.makedev(1, 5)),
    "regular": lambda path: path.write_text("OTHER"),
    "fifo": os.mkfifo,
    "directory": Path.mkdir,
}


@pytest.mark.parametrize("what", WRONG_NULLS)
def test_devnull_is_something_else(what: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    """The masked file reads empty, or the error names the device; it never hangs."""
    bundle = make_bundle(
        lambda config: without(config, "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"),
        linux={"maskedPaths": ["/etc/sec"]},
        args=["sh", "-c", "head -c 9 /etc/sec; echo end"],
    )
    bundle.add_file("/etc/sec", SECRET)
    WRONG_NULLS[what](bundle.rootfs / "dev" / "null")
    result = attack(runtime, bundle)
    assert result.stdout in ("end\n", "")
    assert result.stdout or "/dev/null" in result.stderr


# ---- /proc and /sys --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["/proc", "/sys"])
@pytest.mark.parametrize("text", ["/data", "../outside", "/proc/self/root", "{outside}"])
def test_proc_symlink_and_sys_symlink(where: str, text: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    with untouched(bundle) as outside:
        outside.plant(where, text.format(outside=outside.path))
        (bundle.rootfs / "data").mkdir()
        words = refused(runtime, bundle)
    assert where in words
    assert "symlink" in words


@pytest.mark.parametrize("where", ["/proc", "/sys"])
def test_proc_not_dir(where: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    (bundle.rootfs / where[1:]).rmdir()
    bundle.add_file(where, "not a directory")
    assert f"on {where}: " in refused(runtime, bundle)


INSIDE_PROC = [
    "/proc/self/attr", "/proc/sys/kernel", "/proc/1/attr", "/proc/../proc/self", "/lnk", "/lnk2/self", "/proc/sys",
    "/proc/fs", "/proc//./self/../1/fd", "/proc",
]  # fmt: skip


@pytest.mark.parametrize("target", INSIDE_PROC)
def test_mount_inside_proc(target: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    """A mount over /proc's files would catch the writes of labels and sysctls; also through a link."""
    bundle = make_bundle(lambda config: config["mounts"].append(tmpfs(target)))
    (bundle.rootfs / "lnk").symlink_to("/proc/self/attr")
    (bundle.rootfs / "lnk2").symlink_to("/proc")
    assert "proc" in refused(runtime, bundle)


def test_mount_inside_proc_of_a_file(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    with untouched(bundle) as outside:
        bundle.config["mounts"].append(bind(outside.path / "hostfile", "/proc/self/attr/exec"))
        assert "/mounts/6/destination" in refused(runtime, bundle)


def test_a_procfs_on_proc_again_is_no_attack(inside: Callable[..., str], make_bundle: MakeBundle) -> None:
    source = {"destination": "/proc", "type": "proc", "source": "proc"}
    mounts = make_bundle().config["mounts"]
    assert inside("cat", "/proc/1/comm", mounts=[*mounts, source]) == "cat\n"


@pytest.mark.parametrize("name", ["cpuinfo", "stat", "uptime", "loadavg", "swaps"])
def test_mount_lxcfs_allowed(name: str, runtime: Runtime, make_bundle: MakeBundle, scratch: Path) -> None:
    (scratch / "fake").write_text("of lxcfs\n")
    bundle = make_bundle(
        lambda config: config["mounts"].append(bind(scratch / "fake", f"/proc/{name}")), args=["cat", f"/proc/{name}"]
    )
    assert attack(runtime, bundle).stdout == "of lxcfs\n"


def test_ro_rootfs_fake_proc_fd(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """Read-only is set on the mount's descriptor, never through a /proc that the image can fake."""
    bundle = make_bundle(
        lambda config: without(config, "/proc"),
        root={"path": "rootfs", "readonly": True},
        linux={"maskedPaths": None, "readonlyPaths": None},
        args=["sh", "-c", "touch /X"],
    )
    (bundle.rootfs / "data").mkdir()
    for directory in ("self", "thread-self", "1"):
        fds = bundle.rootfs / "proc" / directory / "fd"
        fds.mkdir(parents=True)
        for number in range(64):
            (fds / str(number)).symlink_to("/data")
    result = attack(runtime, bundle)
    assert "Read-only file system" in result.stderr
    assert not (bundle.rootfs / "X").exists()


# ---- other mounts, and the working directory -------------------------------------------------------------------------


@styles
@pytest.mark.parametrize("below", ["", "/new/deep", "/dir"])
def test_mount_dest_symlink(style: str, below: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["sh", "-c", f"ls /lnk{below}"])
    with untouched(bundle) as outside:
        outside.plant("/lnk", outside.link(style))
        bundle.config["mounts"].append(tmpfs(f"/lnk{below}"))
        result = attack(runtime, bundle)
    assert (result.code, result.stdout) == (0, ""), "mounted inside, on an empty directory of the same name"


@styles
@pytest.mark.parametrize("name", ["new", "hostfile", "no/such/dir"])
def test_mount_dest_dangling_final(style: str, name: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    """The last component is a symlink to a file of the host, or to one that is not there."""
    bundle = make_bundle(args=["cat", "/etc/resolv.conf"])
    with untouched(bundle) as outside:
        outside.plant("/etc/resolv.conf", outside.link(style, 2) + f"/{name}")
        source = bundle.path / "resolv.conf"
        source.write_text("nameserver 127.0.0.1\n")
        bundle.config["mounts"].append(bind(source, "/etc/resolv.conf"))
        result = attack(runtime, bundle)
    assert result.stdout == "nameserver 127.0.0.1\n"


@pytest.mark.parametrize("target", ["/../outside/made", "/etc/../../outside/made", "/../../../../../../../tmp/{id}"])
def test_mount_dest_dotdot(target: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    above = Path("/tmp") / bundle.path.parent.name / "made"
    with untouched(bundle):
        bundle.config["mounts"].append(tmpfs(target.format(id=f"{bundle.path.parent.name}/made")))
        attack(runtime, bundle)
    assert not above.exists()


@styles
def test_mount_source_symlink_of_the_image_is_not_a_host_path(
    style: str, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    """tmpcopyup copies what the target shows inside, not what its symlinks mean on the host."""
    bundle = make_bundle(args=["ls", "-A", "/lnk"])
    with untouched(bundle) as outside:
        outside.plant("/lnk", outside.link(style))
        bundle.config["mounts"].append(tmpfs("/lnk", "tmpcopyup"))
        assert attack(runtime, bundle).stdout == ""


@styles
@pytest.mark.parametrize("deep", ["newdir", "dir/new/dir"])
def test_cwd_symlink_outside(style: str, deep: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(process={"cwd": f"/lnk/{deep}"}, args=["pwd"])
    with untouched(bundle) as outside:
        outside.plant("/lnk", outside.link(style))
        attack(runtime, bundle)


@styles
def test_masks_and_read_only_paths_are_not_followed_out(style: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(linux={"maskedPaths": ["/lnk/hostfile", "/lnk"], "readonlyPaths": ["/lnk/dir", "/lnk"]})
    with untouched(bundle) as outside:
        outside.plant("/lnk", outside.link(style))
        attack(runtime, bundle)
