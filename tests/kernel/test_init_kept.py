"""Mounts that stay open: what is resolved below one stays in it, wherever its directory has been renamed to."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from tests.kernel import harness
from tests.kernel.harness import EMPTY, NULL, WIRE, Init, Op, Result, carry_out, op, refused
from tests.kernel.mountinfo import INFO, targets
from tests.kernel.plans import MASKS, begin, mount_bind, mount_fs, mount_proc, shell

pytestmark = pytest.mark.root

KEEP = WIRE["MOUNT_KEEP"]


def swapped(root: Path, *ops: Op) -> Result:
    """Carry out a plan; at SYNC_CGROUP the directories data and decoy of the root change places."""
    (root / "decoy").mkdir(exist_ok=True)
    (root / "data").mkdir(exist_ok=True)
    with Init() as init:
        init.send_plan(list(ops))
        init.until(WIRE["SYNC_CGROUP"])
        (root / "data").rename(root / "between")
        (root / "decoy").rename(root / "data")
        (root / "between").rename(root / "decoy")
        init.go(WIRE["SYNC_CGROUP"])
        return init.finish()


def test_what_is_made_below_a_kept_mount_is_made_in_it(root: Path) -> None:
    made = [
        op("mkdir", "/data/deep/directory", 0o755),
        op("symlink", ".", "/data/link"),
        op("mknod", "/data/null", stat.S_IFCHR | 0o666, os.makedev(1, 3), 0, 0),
        mount_fs("/data/new/tmpfs", "tmpfs"),
        mount_bind("/data/file", "/etc/hostname"),
        op("mount_attr", "/data", harness.ATTR_RDONLY, 0, 0, 0),
        op("close_mounts"),
        op("pivot"),
    ]
    script = "ls -d /decoy/deep/directory /decoy/link /decoy/null /decoy/file; ls /data; echo > /decoy/x; " + INFO
    ops = [
        *begin(root, mount_proc(), mount_fs("/data", "tmpfs", flags=KEEP)),
        op("sync", WIRE["SYNC_CGROUP"]),
        *made,
        *shell(script),
    ]
    output = swapped(root, *ops).ok()
    assert output.startswith("/decoy/deep/directory\n/decoy/file\n/decoy/link\n/decoy/null\n")
    assert "Read-only file system" in output
    assert {"/decoy/new/tmpfs", "/decoy/file"} <= targets(output)
    assert list((root / "data").iterdir()) == list((root / "decoy").iterdir()) == []


@pytest.mark.parametrize("legacy", [False, True])
def test_masks_and_readonly_paths_are_below_the_kept_mount(root: Path, legacy: bool) -> None:
    for top in ("data", "decoy"):
        (root / top / "sub").mkdir(parents=True)
        (root / top / "secret").write_text(f"SECRET of {top}\n")
    mount = (
        op("mount_legacy", "/data", "tmpfs", "tmpfs", "", 0, 0, KEEP)
        if legacy
        else mount_bind("/data", root / "data", flags=KEEP)
    )
    last = [
        op("readonly", "/data", KEEP),
        op("mask", "/data/secret", NULL, EMPTY, ignore=(errno.ENOENT,)),
        op("mask", "/data/sub", NULL, EMPTY, ignore=(errno.ENOENT,)),
    ]
    script = "echo > /decoy/sub/x; echo > /decoy/y; cat /decoy/secret; cat /data/secret"
    ops = [*begin(root, mount, *MASKS), op("sync", WIRE["SYNC_CGROUP"]), op("pivot"), *last, *shell(script)]
    output = swapped(root, *ops).ok()
    assert "SECRET of data" not in output
    assert "SECRET of decoy" in output
    assert output.count("Read-only file system") == (1 if legacy else 2)


def test_a_mask_may_not_leave_a_kept_mount_by_a_symlink_but_a_target_may(root: Path) -> None:
    (root / "data").mkdir()
    (root / "elsewhere").mkdir()
    (root / "data/absolute").symlink_to("/elsewhere")
    (root / "data/relative").symlink_to("../elsewhere")
    kept = mount_bind("/data", root / "data", flags=KEEP)
    for name in ("absolute", "relative"):
        for last in (op("mask", f"/data/{name}", NULL, EMPTY), op("readonly", f"/data/{name}", 0)):
            refused(carry_out([*begin(root, kept, *MASKS), op("pivot"), last]), errno.EXDEV, "TARGET")
        made = (mount_fs(f"/data/{name}/tmpfs", "tmpfs"), op("mkdir", f"/data/{name}/made", 0o755))
        output = carry_out(
            [*begin(root, mount_proc(), kept, *made), op("pivot"), *shell("ls /elsewhere; " + INFO)]
        ).ok()
        assert output.startswith("made\ntmpfs\n")
        assert "/elsewhere/tmpfs" in targets(output)


def test_a_symlink_that_leads_to_a_kept_mount_leads_into_it(root: Path) -> None:
    (root / "volume").mkdir()
    (root / "volume/link").symlink_to("/data")
    mounts = (mount_fs("/data", "tmpfs", flags=KEEP), mount_bind("/volume", root / "volume", flags=KEEP))
    ops = [*begin(root, *mounts), op("sync", WIRE["SYNC_CGROUP"]), op("mkdir", "/volume/link/made", 0o755)]
    assert swapped(root, *ops, op("pivot"), *shell("ls /decoy")).ok() == "made\n"


def test_a_mount_that_another_hides_by_another_name_is_not_taken_for_what_is_seen(root: Path) -> None:
    """A mask on what is hidden would leave unmasked what is seen."""
    (root / "data").mkdir()
    (root / "data/secret").touch()
    (root / "alias").symlink_to("data")
    hides = (mount_bind("/data", root / "data", flags=KEEP), mount_bind("/alias", root / "data"))
    last = op("mask", "/data/secret", NULL, EMPTY)
    refused(carry_out([*begin(root, *hides, *MASKS), op("pivot"), last]), errno.ESTALE, "HIDDEN")
    beside = (mount_bind("/data", root / "data", flags=KEEP), mount_bind("/alias/new", root / "data"))
    carry_out([*begin(root, *beside, *MASKS), op("pivot"), last, *shell("true")]).ok()


def test_a_mount_over_a_kept_one_takes_its_place(root: Path) -> None:
    for over in (0, KEEP):
        mounts = (
            mount_fs("/tmp", "tmpfs", flags=KEEP),
            mount_fs("/tmp/sub", "tmpfs", flags=KEEP),
            mount_fs("/tmp", "tmpfs", flags=over),
        )
        ops = [*begin(root, *mounts, op("mkdir", "/tmp/sub/made", 0o755)), op("pivot")]
        assert carry_out([*ops, *shell("ls /tmp /tmp/sub")]).ok() == "/tmp:\nsub\n\n/tmp/sub:\nmade\n"


def test_no_more_mounts_are_kept_than_there_is_room_for(root: Path) -> None:
    mounts = [mount_fs(f"/tmp/{number}", "tmpfs", flags=KEEP) for number in range(WIRE["KEPT_MAX"])]
    ops = begin(root, mount_fs("/tmp", "tmpfs"), *mounts)
    one_more = mount_fs("/tmp/more", "tmpfs", flags=KEEP)
    refused(carry_out([*ops, one_more]), errno.EMFILE, "TARGET")
    carry_out([*ops, op("close_mounts"), one_more, op("pivot"), *shell("true")]).ok()
