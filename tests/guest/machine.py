"""One boot of the guest: a job goes in with the checkout, its output comes out, and nothing of it stays."""

from __future__ import annotations

import os
import selectors
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.guest.image import Broken, Image, Unavailable, image

PROJECT = Path(__file__).parent.parent.parent
BOOT_SECONDS = 180.0  # about 20 on an idle machine

# Of the checkout and its .venv, what no test in the guest uses.
LEFT_OUT = (
    *("*.git", "build", "dist", ".cache", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".guest"),
    *("mypy", "mypyc", "*__mypyc.*.so", "pip", "ruff", "grimp", "rich"),
)
QEMU = "qemu-system-x86_64"
MACHINE = (
    # No KVM: the guest's kernel is the same everywhere, and some hosts' KVM cannot be used.
    "-machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m 2048 "
    "-nodefaults -no-user-config -no-reboot -display none -nic none -device virtio-rng -device virtio-serial"
)
# What the kernel and systemd 252 are told: how to mount the cgroups (v2, or what is named), or another security module.
BOOTS = {
    "v2": "",
    "hybrid": " systemd.unified_cgroup_hierarchy=0",
    "v1": " systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1",
    "selinux": " security=selinux selinux=1",
}
CMDLINE = "root=/dev/vda rw console=ttyS0 quiet panic=-1 mitigations=off fsck.mode=skip"


class Late(Exception):
    """The guest, or the job in it, took too long or died; the text says which, and where the log is."""


def run(job: str, output: Callable[[bytes], object], seconds: float = 600.0, boot: str = "v2") -> int:
    """Run a shell script as root in a fresh guest, in the checkout; its exit status.

    output    is given what the job writes, as it comes
    seconds   what the job may take, the boot not counted
    boot      one of BOOTS
    Raises Unavailable where this machine can have no guest, Broken where it is made but does not boot, and Late.
    """
    if shutil.which(QEMU) is None:
        raise Unavailable(f"needs {QEMU}")
    booted = image()
    with tempfile.TemporaryDirectory(prefix="ocirt-guest-") as temporary:
        scratch = Path(temporary)
        job_disk(scratch, job)
        return converse(command(booted, scratch, BOOTS[boot]), scratch, output, seconds)


def job_disk(scratch: Path, job: str) -> None:
    """The second disk: the checkout as it is now, built, and the job."""
    tree = scratch / "tree"
    shutil.copytree(PROJECT, tree, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    (tree / ".guest").mkdir()
    (tree / ".guest" / "job").write_text(job)
    (tree / ".guest" / "home").write_text(str(PROJECT))
    command = ["mkfs.ext4", "-q", "-d", str(tree), "-E", "root_owner=0:0", "-O", "^has_journal", "job.img", "1G"]
    subprocess.run(command, cwd=scratch, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    shutil.rmtree(tree)


def converse(emulator: list[str], scratch: Path, output: Callable[[bytes], object], seconds: float) -> int:
    """Start the machine and listen to its two ports until it is off."""
    ports = {name: socket.socketpair() for name in ("output", "status")}
    words = [*emulator, *(word for name, pair in ports.items() for word in port(name, pair[1].fileno()))]
    fds = [pair[1].fileno() for pair in ports.values()]
    log = scratch / "console.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(words, pass_fds=fds, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
    for pair in ports.values():
        pair[1].close()
    status = b""

    def hear_status(data: bytes) -> None:
        nonlocal status
        status += data

    try:
        with selectors.DefaultSelector() as selector:
            selector.register(ports["output"][0], selectors.EVENT_READ, output)
            selector.register(ports["status"][0], selectors.EVENT_READ, hear_status)
            listen(selector, lambda: b"up" in status, time.monotonic() + BOOT_SECONDS)
            if b"up" not in status:
                raise Broken(f"the guest did not boot: {kept(log)}")
            listen(selector, lambda: False, time.monotonic() + seconds)
        words = status.split()
        if len(words) != 2:
            raise Late(f"the guest's job did not end within {seconds:.0f} s: {kept(log)}")
        return int(words[1])
    finally:
        process.kill()
        process.wait()
        for pair in ports.values():
            pair[0].close()


def port(name: str, fd: int) -> list[str]:
    """The emulator's words for a serial port of the guest that is a socket of ours."""
    return ["-chardev", f"socket,id={name},fd={fd}", "-device", f"virtserialport,chardev={name},name=ocirt.{name}"]


def command(booted: Image, scratch: Path, more: str) -> list[str]:
    """The emulator's: it dies with us, and writes nothing into the image."""
    disks = [f"file={disk},format=raw,if=virtio,snapshot=on" for disk in (booted.disk, scratch / "job.img")]
    words = ["setpriv", "--pdeathsig", "KILL", QEMU, *MACHINE.split()]
    words += ["-kernel", str(booted.kernel), "-initrd", str(booted.initrd), "-append", CMDLINE + more]
    words += ["-serial", "chardev:console", "-chardev", f"file,id=console,append=on,path={scratch / 'console.log'}"]
    for disk in disks:
        words += ["-drive", disk]
    return words


def listen(selector: selectors.BaseSelector, enough: Callable[[], bool], deadline: float) -> None:
    """Hand over what the ports say, until it is enough, they are closed, or it is late."""
    while not enough() and selector.get_map() and (left := deadline - time.monotonic()) > 0:
        for key, _ in selector.select(left):
            data = os.read(key.fd, 65536)
            if data:
                key.data(data)
            else:
                selector.unregister(key.fileobj)


def kept(log: Path) -> str:
    """Where the console's log is now, and how it ends."""
    fd, name = tempfile.mkstemp(prefix="ocirt-guest-", suffix=".log")
    os.close(fd)
    shutil.copyfile(log, name)
    lines = log.read_text(errors="replace").split("\n")
    return "\n".join([name, *lines[-15:]])
