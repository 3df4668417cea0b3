"""mounts: every option in mountinfo, what tmpfs and bind mounts hold, targets that are made, order."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.support import BASE, Bundle, Json, Mount, Runtime, mounts
from tests.integration.views import HostView, Inside, MakeBundle, base_mounts

Seen = Callable[..., Mount]
TMPFS = {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"}


def bind(source: Path | str, *options: str, to: str = "/mnt", **more: object) -> Json:
    """An entry of `mounts`."""
    return {"destination": to, "type": "bind", "source": str(source), "options": list(options or ["bind"]), **more}


@pytest.fixture
def seen(inside: Inside) -> Seen:
    """A function: the line of mountinfo for the entry's destination."""

    def look(entry: Json) -> Mount:
        found = mounts(inside("cat", "/proc/self/mountinfo", mounts=base_mounts(entry)))
        return [mount for mount in found if mount.target == entry["destination"]][-1]

    return look


# ---- options of a mount ----------------------------------------------------------------------------------------------

# option → what mountinfo has, what it has not
OPTIONS = {
    "ro": ("ro", "rw"),
    "rw": ("rw", "ro"),
    "nosuid": ("nosuid", ""),
    "suid": ("", "nosuid"),
    "nodev": ("nodev", ""),
    "dev": ("", "nodev"),
    "noexec": ("noexec", ""),
    "exec": ("", "noexec"),
    "noatime": ("noatime", "relatime"),
    "relatime": ("relatime", "noatime"),
    "strictatime": ("", "relatime"),
    "nostrictatime": ("relatime", ""),
    "norelatime": ("relatime", ""),
    "nodiratime": ("nodiratime", ""),
    "diratime": ("", "nodiratime"),
    "nosymfollow": ("nosymfollow", ""),
    "symfollow": ("", "nosymfollow"),
    "sync": ("sync", "async"),
    "dirsync": ("dirsync", ""),
    "lazytime": ("lazytime", ""),
    "async": ("", "sync"),
    "nolazytime": ("", "lazytime"),
    "iversion": ("rw", "ro"),  # is not shown of a tmpfs
    "noiversion": ("rw", "ro"),
    "atime": ("relatime", "noatime"),
    "loud": ("rw", "ro"),
    "silent": ("rw", "ro"),
    "size=64k": ("size=64k", ""),
    "nr_inodes=7": ("nr_inodes=7", ""),
    "mode=1711": ("mode=1711", ""),
    "uid=12,gid=34": ("uid=12", ""),
    "rro": ("ro", "rw"),
    "rnoexec": ("noexec", ""),
    "": ("rw", "ro"),
    "defaults": ("rw", "ro"),
    "nofail": ("rw", "ro"),
}


@pytest.mark.parametrize(("option", "expected"), OPTIONS.items(), ids=OPTIONS)
def test_an_option_of_a_tmpfs_is_in_mountinfo(seen: Seen, option: str, expected: tuple[str, str]) -> None:
    mount = seen({**TMPFS, "options": ["nosuid", "nodev", option] if option in ("suid", "dev") else [option]})
    there, absent = expected
    found = mount.options | mount.superblock - {"rw"}
    assert not there or there in found
    assert absent not in found - ({"rw"} if option == "rro" else set())


ATTRIBUTES = ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"]


@pytest.mark.parametrize("option", ATTRIBUTES)
def test_an_option_of_a_bind_mount_holds_for_it_alone(
    runtime: Runtime, make_bundle: MakeBundle, tree: Path, option: str
) -> None:
    top, below = bound(runtime, make_bundle, bind(tree, "rbind", option))
    assert option in top.options
    assert option not in below.options


@pytest.mark.parametrize("option", [f"r{option}" for option in ATTRIBUTES])
def test_a_recursive_option_holds_for_the_mounts_below_too(
    runtime: Runtime, make_bundle: MakeBundle, tree: Path, option: str
) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    top, below = bound(runtime, make_bundle, bind(tree, "rbind", option))
    assert option[1:] in top.options
    assert option[1:] in below.options
    assert Path("/proc/self/mountinfo").read_text() == before, "the source changed"


CLEARED = ["rw", "suid", "dev", "exec", "atime", "relatime", "strictatime", "diratime", "symfollow"]


@pytest.mark.parametrize("option", [*CLEARED, *(f"r{option}" for option in CLEARED)])
def test_what_the_source_forbids_an_option_allows_again(
    runtime: Runtime, make_bundle: MakeBundle, tree: Path, option: str
) -> None:
    for target in (tree, tree / "sub"):
        subprocess.run(["mount", "-o", f"remount,bind,{','.join(ATTRIBUTES)}", target], check=True)
    top, below = bound(runtime, make_bundle, bind(tree, "rbind", option))
    name = option if option in CLEARED else option[1:]
    word = {"rw": "ro", "relatime": "noatime", "strictatime": "noatime"}.get(name, f"no{name}")
    assert word not in top.options
    assert (word in below.options) is (option in CLEARED)


# options → what of ro, nosuid, nodev and noexec, all of which the source has, is left
REPLACED = {
    "rprivate": "ro nosuid nodev noexec nosymfollow",
    "rnosymfollow": "ro nosuid nodev noexec nosymfollow",
    "nosuid": "nosuid",
    "rw nosuid": "nosuid",
    "nodev noexec rprivate": "nodev noexec",
    "relatime": "",
    "silent": "",
    "sync": "",
    "exec nosuid rro": "ro nosuid nodev nosymfollow",
    "ro": "ro nosuid nodev noexec nosymfollow",
    "ro exec": "ro nosuid nodev nosymfollow",
}


@pytest.mark.parametrize(("words", "left"), REPLACED.items())
def test_a_flag_that_is_given_replaces_those_of_the_source(
    runtime: Runtime, make_bundle: MakeBundle, tree: Path, words: str, left: str
) -> None:
    flags = {"ro", "nosuid", "nodev", "noexec", "nosymfollow"}
    for target in (tree, tree / "sub"):
        subprocess.run(["mount", "-o", f"remount,bind,{','.join(flags)}", target], check=True)
    top, below = bound(runtime, make_bundle, bind(tree, "rbind", *words.split()))
    assert top.options & flags == set(left.split())
    assert below.options & flags == flags


@pytest.mark.parametrize("words", [["rbind", "rprivate", "ro", "bind"], ["bind", "ro", "rbind"]])
def test_rbind_is_recursive_wherever_bind_stands(
    runtime: Runtime, make_bundle: MakeBundle, tree: Path, words: list[str]
) -> None:
    """As CRI-O writes it for volumes."""
    top, below = bound(runtime, make_bundle, bind(tree, *words))
    assert "ro" in top.options
    assert below.fstype == "tmpfs"


@pytest.fixture
def tree(scratch: Path, runtime: Runtime) -> Iterator[Path]:
    """A tmpfs with another below it at "sub"."""
    top = scratch / "tree"
    for path in (top, top / "sub"):
        path.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tree", path], check=True)
    (top / "sub" / "file").write_text("deep\n")
    yield top
    subprocess.run(["umount", "--recursive", top], check=True)


def bound(runtime: Runtime, make_bundle: MakeBundle, entry: Json) -> tuple[Mount, Mount]:
    """The mount on /mnt and the one below it, of a container with this entry."""
    bundle = make_bundle(args=["cat", "/proc/self/mountinfo"], mounts=base_mounts(entry))
    found = {mount.target: mount for mount in mounts(runtime.run_container(bundle, check=True).stdout)}
    return found["/mnt"], found["/mnt/sub"]


def test_bind_leaves_the_mounts_below_the_source_out(runtime: Runtime, make_bundle: MakeBundle, tree: Path) -> None:
    bundle = make_bundle(args=["ls", "-A", "/mnt/sub"], mounts=base_mounts(bind(tree)))
    assert runtime.run_container(bundle, check=True).stdout == ""


PROPAGATION = {
    "shared": {"shared", "master"},  # the container's mounts are slaves of the host's to begin with
    "rshared": {"shared", "master"},
    "slave": {"master"},
    "rslave": {"master"},
    "private": set(),
    "rprivate": set(),
    "unbindable": {"unbindable"},
    "runbindable": {"unbindable"},
    "rprivate private": set(),
    "rslave shared": {"shared", "master"},
    "rshared rslave": {"master"},
    "shared private": set(),
}


@pytest.mark.parametrize(("option", "expected"), PROPAGATION.items())
def test_a_bind_mount_has_the_propagation_of_its_option(
    runtime: Runtime, make_bundle: MakeBundle, host_view: HostView, option: str, expected: set[str]
) -> None:
    volume = runtime.scratch / "volume"
    volume.mkdir()
    host_view.run("mount", "-t", "tmpfs", "volume", str(volume))
    bundle = make_bundle(args=["sleep", "600"], mounts=base_mounts(bind(volume, "rbind", *option.split())))
    container = runtime.start(bundle)
    mount = next(mount for mount in container.mounts() if mount.target == "/mnt")
    assert mount.propagation == expected


@pytest.mark.parametrize("entry", BASE["mounts"], ids=lambda entry: entry["destination"])
def test_propagation_options_go_with_every_type(seen: Seen, entry: Json) -> None:
    changed = {**entry, "options": ["shared", *entry.get("options", ())]}
    if entry["destination"] in ("/proc", "/dev"):
        assert seen(changed).propagation == {"shared"}
    else:
        assert "shared" in seen(changed).propagation


# ---- what a mount holds ----------------------------------------------------------------------------------------------


def holding(make_bundle: MakeBundle, script: str, *entries: Json) -> Bundle:
    """A bundle whose process is a script, with something in /data."""
    bundle = make_bundle(args=["sh", "-c", script], mounts=base_mounts(*entries))
    bundle.add_file("/data/file", "content\n", 0o640)
    bundle.add_file("/data/sub/run", "", 0o755)
    (bundle.rootfs / "data" / "link").symlink_to("file")
    os.chown(bundle.rootfs / "data" / "file", 12, 34)
    (bundle.rootfs / "data" / "sub").chmod(0o1770)
    return bundle


def test_a_tmpfs_hides_what_it_covers(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = holding(make_bundle, "ls -A /data", {**TMPFS, "destination": "/data"})
    assert runtime.run_container(bundle, check=True).stdout == ""


@pytest.mark.parametrize("extra", [[], ["ro"]], ids=["writable", "read-only"])
def test_tmpcopyup_copies_what_the_tmpfs_covers(runtime: Runtime, make_bundle: MakeBundle, extra: list[str]) -> None:
    script = (
        "cd /data; stat -c '%n %a %u:%g' file sub sub/run; cat link; readlink link; touch new 2>/dev/null && echo new"
    )
    entry = {**TMPFS, "destination": "/data", "options": ["tmpcopyup", "mode=755", *extra]}
    bundle = holding(make_bundle, script + "; true", entry)
    lines = runtime.run_container(bundle, check=True).stdout.splitlines()
    assert lines[:3] == ["file 640 12:34", "sub 1770 0:0", "sub/run 755 0:0"]
    assert lines[3:5] == ["content", "file"]
    assert lines[5:] == ([] if extra else ["new"])
    assert not (bundle.rootfs / "data" / "new").exists()


def test_a_tmpfs_without_a_mode_has_that_of_its_target(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["stat", "-c", "%a", "/mnt"], mounts=base_mounts({**TMPFS, "options": ["nosuid"]}))
    bundle.rootfs.joinpath("mnt").mkdir()
    bundle.rootfs.joinpath("mnt").chmod(0o2751)
    assert runtime.run_container(bundle, check=True).stdout == "2751\n"


def test_a_file_is_bound_and_its_target_made(runtime: Runtime, make_bundle: MakeBundle, scratch: Path) -> None:
    source = scratch / "resolv.conf"
    source.write_text("nameserver 192.0.2.1\n")
    bundle = make_bundle(
        args=["cat", "/etc/new/resolv.conf"], mounts=base_mounts(bind(source, to="/etc/new/resolv.conf"))
    )
    assert runtime.run_container(bundle, check=True).stdout == "nameserver 192.0.2.1\n"
    made = bundle.rootfs / "etc" / "new" / "resolv.conf"
    assert stat.S_ISREG(made.stat().st_mode)
    assert made.read_text() == ""


@pytest.mark.parametrize(
    "shape", [{"type": "none"}, {"type": "bind", "options": []}, {"type": None, "options": ["rbind"]}]
)
def test_a_bind_mount_is_known_by_its_type_or_its_options(
    runtime: Runtime, make_bundle: MakeBundle, shape: Json
) -> None:
    entry = {key: value for key, value in {**bind("shared"), **shape}.items() if value is not None}
    bundle = make_bundle(args=["cat", "/mnt/file"], mounts=base_mounts(entry))
    (bundle.path / "shared").mkdir()
    (bundle.path / "shared" / "file").write_text("relative to the bundle\n")
    assert runtime.run_container(bundle, check=True).stdout == "relative to the bundle\n"


def test_a_writable_bind_writes_to_its_source(runtime: Runtime, make_bundle: MakeBundle, scratch: Path) -> None:
    (scratch / "volume").mkdir()
    bundle = make_bundle(
        args=["sh", "-c", "echo x >/mnt/f"], mounts=base_mounts(bind(scratch / "volume", "rbind", "rw"))
    )
    runtime.run_container(bundle, check=True)
    assert (scratch / "volume" / "f").read_text() == "x\n"


def test_copy_symlink_makes_the_link_again_instead_of_following_it(
    runtime: Runtime, make_bundle: MakeBundle, scratch: Path
) -> None:
    (scratch / "link").symlink_to("/etc/passwd")
    bundle = make_bundle(
        args=["readlink", "/mnt/link"],
        mounts=base_mounts(bind(scratch / "link", "bind", "copy-symlink", to="/mnt/link")),
    )
    assert runtime.run_container(bundle, check=True).stdout == "/etc/passwd\n"


def test_remount_changes_what_is_there(seen: Seen) -> None:
    change = {"destination": "/dev/shm", "options": ["remount", "ro", "nosuid"]}
    assert {"ro", "nosuid"} <= seen(change).options


def test_mounts_are_made_in_the_order_of_the_config(runtime: Runtime, make_bundle: MakeBundle, scratch: Path) -> None:
    (scratch / "volume").mkdir()
    (scratch / "volume" / "file").write_text("on top\n")
    entries = [TMPFS, bind(scratch / "volume", to="/mnt/inner"), {**TMPFS, "destination": "/mnt/inner/x/y"}]
    bundle = make_bundle(
        args=["sh", "-c", "cat /mnt/inner/file; grep -c ' /mnt' /proc/mounts"], mounts=base_mounts(*entries)
    )
    assert runtime.run_container(bundle, check=True).stdout == "on top\n3\n"
    assert not (bundle.rootfs / "mnt" / "inner").exists(), "the target belongs into the tmpfs"


def test_of_two_mounts_on_one_place_the_later_is_seen(runtime: Runtime, make_bundle: MakeBundle, scratch: Path) -> None:
    for name in ("first", "second"):
        (scratch / name).mkdir()
        (scratch / name / name).touch()
    bundle = make_bundle(args=["ls", "/mnt"], mounts=base_mounts(bind(scratch / "first"), bind(scratch / "second")))
    assert runtime.run_container(bundle, check=True).stdout == "second\n"


def test_an_overlay_is_mounted_even_with_many_layers(runtime: Runtime, make_bundle: MakeBundle, scratch: Path) -> None:
    layers = [scratch / f"layer-with-a-long-name-{number}" for number in range(12)]
    for number, layer in enumerate(layers):
        layer.mkdir()
        (layer / f"from-{number}").touch()
    for name in ("upper", "work"):
        (scratch / name).mkdir()
    data = [f"lowerdir={':'.join(map(str, layers))}", f"upperdir={scratch}/upper", f"workdir={scratch}/work"]
    overlay = {"destination": "/mnt", "type": "overlay", "source": "overlay", "options": data}
    bundle = make_bundle(args=["sh", "-c", "ls /mnt | wc -l; touch /mnt/new"], mounts=base_mounts(overlay))
    assert runtime.run_container(bundle, check=True).stdout == "12\n"
    assert (scratch / "upper" / "new").exists()


def test_options_of_proc_and_devpts_reach_the_filesystem(inside: Inside) -> None:
    proc = {"destination": "/proc", "type": "proc", "source": "proc", "options": ["hidepid=2", "nosuid"]}
    pts = {
        "destination": "/dev/pts",
        "type": "devpts",
        "source": "devpts",
        "options": ["newinstance", "gid=5", "mode=0620"],
    }
    found = {
        mount.target: mount
        for mount in mounts(inside("cat", "/proc/self/mountinfo", mounts=[proc, BASE["mounts"][1], pts]))
    }
    assert found["/proc"].superblock & {"hidepid=2", "hidepid=invisible"}
    assert {"gid=5", "mode=620"} <= found["/dev/pts"].superblock


def test_a_symlink_on_the_way_to_a_target_stays_inside(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(
        args=["grep", "-o", "/real/deep", "/proc/mounts"], mounts=base_mounts({**TMPFS, "destination": "/link/deep"})
    )
    (bundle.rootfs / "real").mkdir()
    (bundle.rootfs / "link").symlink_to("/real")
    assert runtime.run_container(bundle, check=True).stdout == "/real/deep\n"


def test_special_files_of_procfs_can_be_replaced(runtime: Runtime, make_bundle: MakeBundle, scratch: Path) -> None:
    (scratch / "uptime").write_text("1.00 1.00\n")
    bundle = make_bundle(args=["cat", "/proc/uptime"], mounts=base_mounts(bind(scratch / "uptime", to="/proc/uptime")))
    assert runtime.run_container(bundle, check=True).stdout == "1.00 1.00\n"
