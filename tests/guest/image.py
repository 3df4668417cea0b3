"""The guest's disk: built from Debian's packages once, and kept in the user's cache.

The guest is of the host's own Debian release, so that what was built on the host runs in it as it is. Whatever goes
into the image is part of its name; nothing changes it afterwards.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
SIZE = "4G"  # sparse; what the guest writes goes elsewhere
KEPT = 14 * 24 * 3600  # seconds for which an image that nobody started is kept
KERNELS = {"x86_64": "linux-image-cloud-amd64"}

PACKAGES = [
    # A machine with root's and a user's systemd.
    *("systemd-sysv", "dbus", "dbus-user-session", "libpam-systemd", "kmod", "uidmap"),
    *("apparmor", "selinux-policy-default"),
    *("iproute2", "procps", "util-linux"),
    # What ocirt was built against, and asks for at run time.
    *("python3", "libseccomp2", "libsystemd0", "criu"),
    # What the tests use.
    *("umoci", "busybox-static", "skopeo", "strace", "tmux", "runc", "crun", "podman", "conmon", "containerd"),
]
OPTIONS = [
    "--mode=root",
    "--variant=minbase",
    "--format=directory",
    '--aptopt=APT::Install-Recommends "false"',
    "--dpkgopt=force-unsafe-io",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
]


class Unavailable(Exception):
    """This machine lacks what a guest takes; the text says what."""


class Broken(Exception):
    """The image could not be made of what is there, or what was made does not boot; the text says how it ended."""


class Image(NamedTuple):
    """What a machine boots."""

    disk: Path
    kernel: Path
    initrd: Path


def image() -> Image:
    """The image, built now if it is not in the cache. Raises Unavailable, and Broken when the building fails."""
    sources = debian_sources()
    name = hashlib.sha256("\n".join([*packages(), *OPTIONS, SIZE, *sources, *files()]).encode()).hexdigest()[:16]
    place = cache() / name
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            build(place, sources)
        os.utime(place)
        forget_old(place)
    return Image(place / "disk.img", place / "vmlinuz", place / "initrd.img")


def cache() -> Path:
    place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ocirt-guest"
    place.mkdir(parents=True, exist_ok=True)
    return place


def packages() -> list[str]:
    """What the guest holds beside the smallest Debian."""
    kernel = KERNELS.get(platform.machine())
    if kernel is None:
        raise Unavailable(f"no guest for {platform.machine()}")
    major, minor, _ = platform.python_version_tuple()  # the launcher of the build links this interpreter
    return [kernel, f"libpython{major}.{minor}", *PACKAGES]


def files() -> list[str]:
    """The text and mode of each file that the image is made from."""
    found = [path for path in sorted((HERE / "root").rglob("*")) if path.is_file()]
    return [f"{path.relative_to(HERE)} {os.access(path, os.X_OK)}\n{path.read_text()}" for path in [*found, setup()]]


def setup() -> Path:
    return HERE / "setup.sh"


def debian_sources() -> list[str]:
    """The host's own Debian mirrors as lines of sources.list, the release's first."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(ORIGIN)"]
    try:
        codename = platform.freedesktop_os_release()["VERSION_CODENAME"]
        done = subprocess.run([*command, "Created-By: Packages"], capture_output=True, text=True, check=True)
    except (OSError, KeyError, subprocess.CalledProcessError):
        raise Unavailable("the guest is made on Debian alone") from None
    targets = {tuple(line.split()[:2]) for line in done.stdout.splitlines() if line.endswith(" Debian")}
    found = sorted((uri, suite) for uri, suite in targets if suite.split("-")[0] == codename)
    if not any(suite == codename for _, suite in found):
        raise Unavailable("apt has no list of a Debian release: apt-get update")
    return [f"deb {uri} {suite} main" for uri, suite in sorted(found, key=lambda each: (len(each[1]), each))]


def build(place: Path, sources: list[str]) -> None:
    """Make the image in `place`, which appears when it is whole."""
    for program in ("mmdebstrap", "mkfs.ext4"):
        if shutil.which(program) is None:
            raise Unavailable(f"needs {program}")
    if os.geteuid() != 0:
        raise Unavailable("root makes the guest's image")
    with tempfile.TemporaryDirectory(dir=cache(), prefix="build-") as temporary:
        root, new = Path(temporary) / "root", Path(temporary) / "image"
        new.mkdir()
        run_logged(bootstrap(root, sources))
        for name in ("vmlinuz", "initrd.img"):
            (kernel,) = (root / "boot").glob(f"{name}-*")
            kernel.rename(new / name)
        run_logged(["mkfs.ext4", "-q", "-d", str(root), "-O", "^has_journal", str(new / "disk.img"), SIZE])
        new.rename(place)


def bootstrap(root: Path, sources: list[str]) -> list[str]:
    """The command that makes the guest's root; its mounts are its own, so that none outlives it."""
    copy = f'cp -r {shlex.quote(str(HERE / "root"))}/. "$1"'  # before the kernel, whose initrd they shape
    return [
        *("unshare", "--mount", "mmdebstrap", *OPTIONS),
        f"--include={','.join(packages())}",
        f"--essential-hook={copy}",
        f'--customize-hook=sh {shlex.quote(str(setup()))} "$1"',
        *(sources[0].split()[2], str(root), *sources),
    ]


def run_logged(command: list[str]) -> None:
    """Run it; Broken, with its last words, where it fails."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        how = f"{command[0]} exited with status {done.returncode}"
        raise Broken(f"the guest's image could not be made: {how}\n{done.stdout[-2000:]}")


def forget_old(used: Path) -> None:
    """Remove images that nobody started for long: made from what is no longer so."""
    for path in cache().iterdir():
        if path.is_dir() and path != used and path.stat().st_mtime < time.time() - KEPT:
            shutil.rmtree(path)
