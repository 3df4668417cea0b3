"""The container's terminal, and what the image may have put in its place."""

from __future__ import annotations

import array
import errno
import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from tests.kernel import harness, plans
from tests.kernel.harness import WIRE, Init, Op, Result, op, refused
from tests.kernel.plans import begin, mount_proc, shell

pytestmark = pytest.mark.root


def console(
    root: Path, script: str, *mounts: Op, rows: int = 0, columns: int = 0, bind: int = 0, uid: int = 0
) -> tuple[Result, str]:
    """Run a script on a new terminal; the result, and what the terminal showed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with Init() as init, ours:
        terminal = op("console", WIRE["SLOT_CONSOLE"], uid, rows, columns, bind)
        init.send_plan(
            [*begin(root, mount_proc(), *mounts), op("pivot"), terminal, op("controlling_terminal"), *shell(script)],
            {WIRE["SLOT_CONSOLE"]: theirs.fileno()},
        )
        theirs.close()
        ours.settimeout(harness.DEADLINE)
        data, rights, _, _ = ours.recvmsg(64, 64)
        shown = b""
        if rights:
            assert len(data) == 1
            master = array.array("i", rights[0][2])[0]
            with suppress(OSError):  # EIO: the last one closed the terminal
                while chunk := os.read(master, 4096):
                    shown += chunk
            os.close(master)
        return init.finish(), shown.decode().replace("\r\n", "\n")


PTS = plans.mount_fs("/dev/pts", "devpts", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")


def test_the_terminal_is_stdio_and_controls_the_session(root: Path) -> None:
    script = "for i in 0 1 2; do readlink /proc/$$/fd/$i; done; stat -c '%u %g %a' /dev/pts/0; stty size; "
    script += "echo > /dev/tty && echo tty"
    os.mknod(root / "dev/tty", 0o20666, os.makedev(5, 0))
    (root / "bin/stty").symlink_to("busybox")
    (root / "bin/readlink").symlink_to("busybox")
    result, shown = console(root, script, PTS, rows=33, columns=77, uid=1000)
    result.ok()
    assert shown == "/dev/pts/0\n" * 3 + "1000 5 620\n33 77\n\ntty\n"


def test_the_terminal_can_be_dev_console(root: Path) -> None:
    result, shown = console(
        root, "stat -c '%t %T' /dev/console; ls -l /proc/self/fd | wc -l; echo on > /dev/console", PTS, bind=1
    )
    result.ok()
    assert shown.startswith("88 0\n")
    assert shown.endswith("on\n")
    assert (root / "dev/console").is_file()


def test_a_console_that_is_a_symlink_is_not_followed(root: Path, outside: Path) -> None:
    (root / "data").mkdir()
    (root / "data/victim").touch()
    for link in (str(outside / "made"), "../data/victim", "/data/new"):
        (root / "dev/console").unlink(missing_ok=True)
        (root / "dev/console").symlink_to(link)
        result, _ = console(root, "true", PTS, bind=1)
        refused(result, errno.ELOOP, "TARGET")
    assert not (outside / "made").exists()
    assert not (root / "data/new").exists()


def test_ptmx_may_be_found_by_its_symlink(root: Path) -> None:
    (root / "dev/ptmx").symlink_to("pts/ptmx")
    result, shown = console(root, "echo here", PTS)
    result.ok()
    assert shown == "here\n"


@pytest.mark.parametrize("kind", ["null", "fifo", "outside", "node"])
def test_a_ptmx_that_is_not_of_a_devpts_is_refused(root: Path, outside: Path, kind: str) -> None:
    ptmx = root / "dev/ptmx"
    make = {"null": lambda: os.mknod(ptmx, 0o20666, os.makedev(1, 3)), "fifo": lambda: os.mkfifo(ptmx)}
    make |= {
        "outside": lambda: ptmx.symlink_to(outside / "canary"),
        "node": lambda: os.mknod(ptmx, 0o20666, os.makedev(5, 2)),
    }
    make[kind]()
    result, _ = console(root, "true")
    assert result.error is not None
    assert result.error.detail == ("TARGET" if kind == "outside" else "WRONG_INODE")
