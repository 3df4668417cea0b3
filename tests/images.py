"""The image that tests and measurements run: busybox, made with umoci; and archives of it that engines load."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


def busybox_layout(where: Path) -> Path:
    """Make an OCI layout with the image "busybox" in `where`, and beside it "bundle", unpacked.

    Raises CalledProcessError.
    """

    rootless = ["--rootless"] if os.geteuid() else []  # an ordinary user's file system holds its own files alone

    def umoci(verb: str, *argv: str) -> None:
        flags = rootless if verb == "unpack" else []
        subprocess.run(["umoci", "--log=error", verb, *flags, *argv], cwd=where, check=True)

    umoci("init", "--layout", "image")
    umoci("new", "--image", "image:busybox")
    umoci("unpack", "--image", "image:busybox", "empty")
    rootfs = where / "empty" / "rootfs"
    for name in ("bin", "sbin", "dev", "etc", "proc", "sys", "tmp", "root"):
        (rootfs / name).mkdir()
    (rootfs / "tmp").chmod(0o1777)
    busybox = str(shutil.which("busybox"))
    shutil.copy(busybox, rootfs / "bin" / "busybox")
    for applet in subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split():
        if applet != "busybox":
            (rootfs / "bin" / applet).symlink_to("busybox")
    (rootfs / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n")
    (rootfs / "etc" / "group").write_text("root:x:0:\nuser:x:1000:\n")
    umoci("repack", "--image", "image:busybox", "empty")
    path = "PATH=/bin:/sbin"
    umoci("config", "--image", "image:busybox", "--config.cmd", "sh", "--config.env", path)
    umoci("unpack", "--image", "image:busybox", "bundle")
    return where / "image"


def archives(layout: Path, where: Path) -> Path:
    """Write busybox.tar, which every engine loads (docker-archive), and pause.tar, of an image that only stays.

    Returns the first one's path. Raises CalledProcessError.
    """
    command = ["--config.entrypoint", "/bin/sleep", "--config.cmd", "1000000"]
    subprocess.run(["umoci", "config", "--image", f"{layout}:busybox", "--tag", "pause", *command], check=True)
    for name in ("busybox", "pause"):
        target = f"docker-archive:{where}/{name}.tar:localhost/{name}:latest"
        subprocess.run(["skopeo", "copy", "--quiet", f"oci:{layout}:{name}", target], check=True)
    return where / "busybox.tar"
