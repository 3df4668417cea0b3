"""root, rootfsPropagation, maskedPaths and readonlyPaths as seen from inside, and from the host."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.support import PROC, Container, Mount, Runtime, mounts, wait_for
from tests.integration.views import ADMIN, HostView, Inside, MakeBundle, base_mounts, namespaces


def root_of(container: Container) -> Mount:
    """The container's root mount."""
    return next(mount for mount in container.mounts() if mount.target == "/")


def path_in_its_filesystem(path: Path) -> str:
    """The path as mountinfo's fourth field has it: below the root of the filesystem, which /tmp may be one of."""
    point = path
    while not point.is_mount():
        point = point.parent
    here = mounts(Path("/proc/self/mountinfo").read_text())
    within = next(mount.root for mount in reversed(here) if mount.target == str(point))
    return f"{within.rstrip('/')}/{path.relative_to(point)}"


# ---- the root --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [(), ("--no-pivot",)], ids=["pivot_root", "no-pivot"])
def test_the_container_sees_its_own_mounts_and_none_of_the_hosts(
    runtime: Runtime, make_bundle: MakeBundle, flags: tuple[str, ...]
) -> None:
    bundle = make_bundle(args=["sleep", "600"])
    container = runtime.start(bundle, *flags)
    targets = [mount.target for mount in container.mounts()]
    configured = {mount["destination"] for mount in bundle.config["mounts"]}
    assert targets.count("/") == 1
    assert configured <= set(targets)
    assert all(target == "/" or target.startswith(("/proc", "/dev", "/sys")) for target in targets)
    assert root_of(container).root == path_in_its_filesystem(bundle.rootfs)


@pytest.mark.parametrize("propagation", [None, "shared", "rshared", "slave", "private", "unbindable"])
@pytest.mark.parametrize("flags", [(), ("--no-pivot",)], ids=["pivot_root", "no-pivot"])
def test_leaving_the_hosts_tree_changes_none_of_the_hosts_mounts(
    runtime: Runtime, make_bundle: MakeBundle, host_view: HostView, flags: tuple[str, ...], propagation: str | None
) -> None:
    """Where everything is shared, an unmount inside is one outside as soon as the mount above it is a peer's."""
    host_view.run("mount", "-t", "proc", "second", "/proc")  # a mount that is covered cannot be reached by its path
    before = host_view.run("cat", "/proc/self/mountinfo")
    container = runtime.start(make_bundle(args=["sleep", "600"], linux={"rootfsPropagation": propagation}), *flags)
    assert host_view.run("cat", "/proc/self/mountinfo") == before
    container.delete("--force")
    assert host_view.run("cat", "/proc/self/mountinfo") == before


def test_no_pivot_works_on_a_ramfs_root(runtime: Runtime, make_bundle: MakeBundle, scratch: Path) -> None:
    bundle = make_bundle(args=["sh", "-c", "ls /bin/busybox; cd ..; cd ..; ls -d bin"])
    ram = scratch / "ram"
    ram.mkdir()
    subprocess.run(["mount", "-t", "ramfs", "ram", ram], check=True)
    try:
        subprocess.run(["cp", "-a", bundle.rootfs, ram], check=True)
        bundle.config["root"]["path"] = f"{ram}/rootfs"
        result = runtime.run_container(bundle.write(), "--no-pivot", check=True)
        assert result.stdout.split() == ["/bin/busybox", "bin"]
    finally:
        subprocess.run(["umount", ram], check=True)


def test_a_root_that_is_a_mount_point_is_taken_with_what_is_mounted_below(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    bundle = make_bundle(args=["cat", "/tmp/below/file"])
    below = bundle.rootfs / "tmp" / "below"
    below.mkdir()
    for target in (bundle.rootfs, below):
        kind = ["--bind", target] if target == bundle.rootfs else ["-t", "tmpfs", "below"]
        subprocess.run(["mount", *kind, target], check=True)
    (below / "file").write_text("seen\n")
    try:
        assert runtime.run_container(bundle, check=True).stdout == "seen\n"
    finally:
        subprocess.run(["umount", "--recursive", bundle.rootfs], check=True)


def test_root_path_may_be_absolute(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["cat", "/here"])
    moved = bundle.path / "elsewhere"
    bundle.rootfs.rename(moved)
    (moved / "here").write_text("absolute\n")
    bundle.config["root"]["path"] = str(moved)
    assert runtime.run_container(bundle.write(), check=True).stdout == "absolute\n"


def test_a_read_only_root_refuses_writes_but_its_tmpfs_does_not(inside: Inside) -> None:
    script = "touch /new 2>&1; touch /dev/shm/new && echo written; mkdir /tmp/x 2>&1; true"
    lines = inside("sh", "-c", script, root={"readonly": True}).splitlines()
    assert [("Read-only" in line) for line in lines] == [True, False, True]
    assert lines[1] == "written"


def test_mount_targets_are_made_even_in_a_read_only_root(runtime: Runtime, make_bundle: MakeBundle) -> None:
    target = {"destination": "/made/for/this", "type": "tmpfs", "source": "tmpfs"}
    bundle = make_bundle(
        args=["grep", " /made/for/this ", "/proc/mounts"], root={"readonly": True}, mounts=base_mounts(target)
    )
    runtime.run_container(bundle, check=True)
    assert (bundle.rootfs / "made" / "for" / "this").is_dir()


def test_without_a_mount_namespace_the_process_is_confined_by_chroot(runtime: Runtime, make_bundle: MakeBundle) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    linux = {"namespaces": namespaces("pid", "uts"), "maskedPaths": None, "readonlyPaths": None}
    bundle = make_bundle(args=["sh", "-c", "cd ../..; echo *"], mounts=None, linux=linux)
    result = runtime.run_container(bundle, check=True)
    assert result.stdout.split() == sorted(path.name for path in bundle.rootfs.iterdir())
    assert Path("/proc/self/mountinfo").read_text() == before


# ---- propagation -----------------------------------------------------------------------------------------------------

# rootfsPropagation → what mountinfo says of "/", where the host shares its mounts
PROPAGATION = {
    None: {"master"},
    "slave": {"master"},
    "rslave": {"master"},
    "private": set(),
    "rprivate": set(),
    "shared": {"shared", "master"},  # a peer group of its own, which still hears of the host's
    "rshared": {"shared", "master"},
    "unbindable": {"unbindable"},
    "runbindable": {"unbindable"},
}


@pytest.mark.parametrize(("wanted", "seen"), PROPAGATION.items())
def test_the_root_has_the_propagation_that_is_asked_for(
    runtime: Runtime, make_bundle: MakeBundle, host_view: HostView, wanted: str | None, seen: set[str]
) -> None:
    before = host_view.run("cat", "/proc/self/mountinfo")
    container = runtime.start(make_bundle(args=["sleep", "600"], linux={"rootfsPropagation": wanted}))
    assert root_of(container).propagation == seen
    assert host_view.run("cat", "/proc/self/mountinfo") == before, "the host's mounts changed"


@pytest.mark.parametrize(
    ("wanted", "arrives"), [(None, True), ("rslave", True), ("rprivate", False), ("rshared", True)]
)
def test_mounts_of_the_host_arrive_as_far_as_the_propagation_says(
    runtime: Runtime, make_bundle: MakeBundle, host_view: HostView, wanted: str | None, arrives: bool
) -> None:
    volume = runtime.scratch / "volume"
    (volume / "sub").mkdir(parents=True)
    host_view.run("mount", "-t", "tmpfs", "volume", str(volume))
    host_view.run("mkdir", f"{volume}/sub")
    mount = {"destination": "/volume", "type": "bind", "source": str(volume), "options": ["rbind"]}
    bundle = make_bundle(args=["sleep", "600"], mounts=base_mounts(mount), linux={"rootfsPropagation": wanted})
    container = runtime.start(bundle)
    host_view.run("mount", "-t", "tmpfs", "late", f"{volume}/sub")
    assert any(mount.target == "/volume/sub" for mount in container.mounts()) is arrives


@pytest.mark.parametrize(("option", "arrives"), [("rshared", True), ("rslave", False), ("rprivate", False)])
def test_mounts_of_the_container_reach_the_host_only_by_a_shared_bind(
    runtime: Runtime, make_bundle: MakeBundle, host_view: HostView, option: str, arrives: bool
) -> None:
    volume = runtime.scratch / "volume"
    volume.mkdir()
    host_view.run("mount", "-t", "tmpfs", "volume", str(volume))
    mount = {"destination": "/volume", "type": "bind", "source": str(volume), "options": ["rbind", option]}
    bundle = make_bundle(
        args=["sh", "-c", "mkdir /volume/sub && mount -t tmpfs inner /volume/sub && echo done && sleep 600"],
        mounts=base_mounts(mount),
        process=ADMIN,
        linux={"rootfsPropagation": "rshared"},
    )
    container = runtime.start(bundle)
    wait_for(lambda: container.stdout == "done\n", "the mount inside")
    seen = [mount.target for mount in mounts(host_view.run("cat", "/proc/self/mountinfo"))]
    assert (f"{volume}/sub" in seen) is arrives


# ---- masked and read-only paths --------------------------------------------------------------------------------------

# maskedPaths entry → script in the container, what it prints
MASKS = {
    "file": ("/etc/secret", "cat /etc/secret; echo end", "end"),
    "directory": ("/etc/secrets", "ls -A /etc/secrets; echo end", "end"),
    "directory is read-only": ("/etc/secrets", "touch /etc/secrets/x 2>&1 | grep -o Read-only", "Read-only"),
    "missing": ("/nowhere/at/all", "ls -d /nowhere 2>&1 | grep -o 'No such'", "No such"),
    "below a file": ("/etc/secret/x", "cat /etc/secret", "hidden"),
    "of procfs": ("/proc/cpuinfo", "cat /proc/cpuinfo; echo end", "end"),
}


@pytest.mark.parametrize(("path", "script", "seen"), MASKS.values(), ids=MASKS)
def test_a_masked_path_hides_what_is_there(
    runtime: Runtime, make_bundle: MakeBundle, path: str, script: str, seen: str
) -> None:
    bundle = make_bundle(args=["sh", "-c", script], linux={"maskedPaths": [path, path]})
    bundle.add_file("/etc/secret", "hidden\n")
    bundle.add_file("/etc/secrets/inner", "hidden\n")
    assert runtime.run_container(bundle, check=True).stdout.strip() == seen


def test_a_mask_cannot_be_taken_off_without_privileges(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(
        args=["sh", "-c", "umount /etc/secret 2>/dev/null || cat /etc/secret; echo end"],
        linux={"maskedPaths": ["/etc/secret"]},
    )
    bundle.add_file("/etc/secret", "hidden\n")
    assert runtime.run_container(bundle, check=True).stdout == "end\n"


def test_read_only_paths_refuse_writes_and_the_rest_does_not(runtime: Runtime, make_bundle: MakeBundle) -> None:
    script = """
        echo x >/data/file && echo 1; touch /data/dir/new && echo 2; touch /data/dir/deep/new && echo 3
        touch /data/other && echo 4; echo x >/proc/sys/kernel/domainname && echo 5; true
    """
    paths = ["/data/file", "/data/dir", "/proc/sys", "/not/there"]
    bundle = make_bundle(args=["sh", "-c", script], process=ADMIN, linux={"readonlyPaths": paths})
    bundle.add_file("/data/file")
    bundle.add_file("/data/dir/deep/file")
    result = runtime.run_container(bundle, check=True)
    assert result.stdout == "4\n"
    assert result.stderr.count("Read-only file system") == 4


def test_a_mask_inside_a_read_only_path_holds(runtime: Runtime, make_bundle: MakeBundle) -> None:
    linux = {"maskedPaths": ["/data/secret"], "readonlyPaths": ["/data"]}
    bundle = make_bundle(args=["sh", "-c", "cat /data/secret; touch /data/x"], linux=linux)
    bundle.add_file("/data/secret", "hidden\n")
    result = runtime.run_container(bundle, check=False)
    assert result.stdout == ""
    assert "Read-only" in result.stderr


def test_proc_and_sys_protect_the_host_by_the_usual_paths(inside: Inside) -> None:
    script = """
        cat /proc/kcore /proc/keys /proc/timer_list; ls -A /sys/firmware
        for path in /proc/sysrq-trigger /proc/sys/kernel/domainname /sys/kernel/uevent_seqnum
        do echo >$path && echo "$path written"; done 2>/dev/null; true
    """
    assert inside("sh", "-c", script, process=ADMIN) == ""


def test_the_default_filesystems_are_what_they_are_called(inside: Inside) -> None:
    seen = {mount.target: mount.fstype for mount in mounts(inside("cat", "/proc/self/mountinfo"))}
    expected = {"/proc": "proc", "/sys": "sysfs", "/dev/pts": "devpts", "/dev/shm": "tmpfs", "/dev/mqueue": "mqueue"}
    assert {target: seen[target] for target in expected} == expected


def test_a_container_with_proc_alone_runs(inside: Inside) -> None:
    seen = mounts(inside("cat", "/proc/self/mountinfo", mounts=[PROC]))
    assert {"/", "/proc"} <= {mount.target for mount in seen}
    assert "/sys" not in {mount.target for mount in seen}
