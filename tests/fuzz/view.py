"""What a process is to the kernel, as /proc of its host shows it: all that weaker.py compares."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

NAMESPACE_FILES = {
    "cgroup": "cgroup", "ipc": "ipc", "mount": "mnt", "network": "net", "pid": "pid", "time": "time", "user": "user",
    "uts": "uts",
}  # fmt: skip


class Mount(NamedTuple):
    """A line of mountinfo (proc_pid_mountinfo(5)), names unescaped; `above` is the number of the mount it lies on."""

    number: int
    above: int
    target: str
    options: frozenset[str]
    optional: tuple[str, ...]
    fstype: str
    superblock: frozenset[str]


class View:
    """One process at one moment. OSError where there is no such process any more.

    status       the lines of /proc/PID/status
    namespaces   kind → inode
    mounts       in the order of mountinfo, which is not that of a stack (since Linux 6.8)
    cgroups      (controllers, path) of each hierarchy
    limits       name as in /proc/PID/limits → (soft, hard)
    uid_map, gid_map   (inside, outside, count), outside as the reader sees it
    """

    def __init__(self, pid: int | str) -> None:
        proc = Path(f"/proc/{pid}")
        self.root = f"/proc/{pid}/root"
        self.pid = int(os.readlink("/proc/self")) if pid == "self" else int(pid)
        text = (proc / "status").read_text()
        self.status = dict(re.findall(r"^(\w+):[ \t]*(.*?)[ \t]*$", text, re.MULTILINE))
        self.namespaces = {kind: os.stat(proc / "ns" / file).st_ino for kind, file in NAMESPACE_FILES.items()}
        self.mounts = [mount_of(line) for line in (proc / "mountinfo").read_text().splitlines()]
        lines = [line.split(":", 2) for line in (proc / "cgroup").read_text().splitlines()]
        self.cgroups = [(controllers, path) for _, controllers, path in lines]
        self.limits = {
            line[:26].strip(): (number(line[26:47]), number(line[47:68]))
            for line in (proc / "limits").read_text().splitlines()[1:]
        }
        self.oom_score_adj = int((proc / "oom_score_adj").read_text())
        self.descriptors = sorted(int(name) for name in os.listdir(proc / "fd"))
        self.environment = [entry for entry in (proc / "environ").read_text(errors="replace").split("\0") if entry]
        self.session = int((proc / "stat").read_text().rpartition(")")[2].split()[3])
        self.uid_map = map_of((proc / "uid_map").read_text())
        self.gid_map = map_of((proc / "gid_map").read_text())
        self.executable = os.readlink(proc / "exe")

    def number(self, name: str, base: int = 16) -> int:
        """A line of the status that is one number."""
        return int(self.status[name], base)


def mount_of(line: str) -> Mount:
    head, _, tail = line.partition(" - ")
    fields, rest = head.split(" "), tail.split(" ")
    target = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4])
    return Mount(
        int(fields[0]),
        int(fields[1]),
        target,
        frozenset(fields[5].split(",")),
        tuple(fields[6:]),
        rest[0],
        frozenset(rest[-1].split(",")),
    )


def map_of(text: str) -> list[tuple[int, int, int]]:
    return [(int(inside), int(outside), int(count)) for inside, outside, count in map(str.split, text.splitlines())]


def number(text: str) -> int:
    return 2**64 - 1 if text.strip() == "unlimited" else int(text)
