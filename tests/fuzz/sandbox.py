"""Where mutated configs meet the kernel: namespaces and a cgroup of their own, the host's files read-only.

What a mutated config could do to the host (kill a cgroup, take a network device, write below "/") it does to these.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.integration.leftovers import cgroups_named

TOP = Path("/sys/fs/cgroup")
NAMESPACES = [
    "--cgroup",
    "--mount",
    "--pid",
    "--net",
    "--ipc",
    "--uts",
    "--fork",
    "--kill-child",
    "--propagation=private",
]
ENTER = """
for home in {homes}; do
	mkdir -p $home/{name}
	for file in cpuset.cpus cpuset.mems; do
		[ ! -e $home/$file ] || [ -e $home/cgroup.controllers ] || cat $home/$file >$home/{name}/$file
	done
	echo $$ >$home/{name}/cgroup.procs
done
exec "$@"
"""


def homes() -> list[Path]:
    """Where each hierarchy is mounted."""
    return [
        path for path in (TOP, *sorted(TOP.glob("*"))) if (path / "cgroup.procs").exists() and not path.is_symlink()
    ]


def run(module: str, arguments: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """`python -m module ARGUMENTS` in a sandbox, with --scratch DIRECTORY, its own and empty; to its end."""
    name = f"ocirt-fuzz-{os.getpid()}-{os.urandom(4).hex()}"
    scratch = tempfile.mkdtemp(prefix="ocirt-fuzz-")
    script = ENTER.format(homes=" ".join(map(str, homes())), name=name)
    command = [
        "sh",
        "-ec",
        script,
        "sh",
        "unshare",
        *NAMESPACES,
        sys.executable,
        "-m",
        module,
        "--scratch",
        scratch,
        *arguments,
    ]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL
        )
    finally:
        os.rmdir(scratch)
        for home in homes():
            for path in [*cgroups_named("", str(home / name), 8), home / name]:
                if os.path.isdir(path):
                    os.rmdir(path)


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def settle(scratch: Path, view: str) -> None:
    """Called by who was started in it: what is mounted becomes what a host has.

    view   "hybrid", "v1" or "v2": which cgroup hierarchies are seen
    """
    mount("-t", "proc", "proc", "/proc")
    text = Path("/proc/self/mountinfo").read_text()
    for target, fstype, options in re.findall(
        r"^\S+ \S+ \S+ \S+ (/sys/fs/cgroup\S*) .* - (cgroup2?) \S+ (\S+)$", text, re.M
    ):
        words = [word for word in options.split(",") if word not in ("rw", "ro") and "release_agent" not in word]
        named = ["none"] if any(word.startswith("name=") for word in words) else []
        subprocess.run(["umount", "--lazy", target], check=True)  # the same one twice is refused, whatever its root
        mount("-t", fstype, *(["-o", ",".join([*named, *words])] if fstype == "cgroup" else []), fstype, target)
    if view == "v1" and (TOP / "unified/cgroup.procs").exists():
        subprocess.run(["umount", str(TOP / "unified")], check=True)
    if view == "v2" and (TOP / "unified/cgroup.procs").exists():
        mount("--bind", str(TOP / "unified"), str(TOP))
    leave_the_top()
    mount("-t", "tmpfs", "-o", "mode=755,size=512m", "scratch", str(scratch))
    mount("-o", "remount,bind,ro", "/")
    mount("--make-rshared", "/")
    os.environ["TMPDIR"] = str(scratch)
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def leave_the_top() -> None:
    """Of v2, where a cgroup that has processes can give no controllers to those below it."""
    if (TOP / "cgroup.subtree_control").exists():
        home = TOP / "runner"
        home.mkdir()
        (home / "cgroup.procs").write_text("0")
        for name in (TOP / "cgroup.controllers").read_text().split():
            try:
                (TOP / "cgroup.subtree_control").write_text(f"+{name}")
            except OSError:
                continue
