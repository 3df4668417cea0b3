"""What a process is to the kernel, read from /proc, and a mount namespace in which the host looks otherwise."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from ocirt import cgroup
from tests.integration.support import BASE, CAPABILITIES, Bundle, Json, Runtime, wait_for

MakeBundle = Callable[..., Bundle]
Inside = Callable[..., str]

# Type in config.json → name in /proc/PID/ns
NAMESPACE_FILES = {
    "cgroup": "cgroup",
    "ipc": "ipc",
    "mount": "mnt",
    "network": "net",
    "pid": "pid",
    "time": "time",
    "user": "user",
    "uts": "uts",
}
KINDS = sorted(NAMESPACE_FILES)

# Host ids that nobody has; 65536 of them, as engines map.
SUBORDINATE = 900_000
MAPPING = [{"containerID": 0, "hostID": SUBORDINATE, "size": 65536}]
MAPPED = {"uidMappings": MAPPING, "gidMappings": MAPPING}


def with_capabilities(*names: str) -> Json:
    """A `process` delta: exactly these capabilities."""
    return {"capabilities": {key: list(names) for key in ("bounding", "effective", "permitted")}}


# The base's and the one that mounts.
ADMIN = with_capabilities(*CAPABILITIES, "CAP_SYS_ADMIN")


def namespaces(*kinds: str) -> list[Json]:
    """New namespaces of these kinds, as linux.namespaces."""
    return [{"type": kind} for kind in kinds]


def base_mounts(*more: Json) -> list[Json]:
    """The mounts of every bundle, and more."""
    return [*BASE["mounts"], *more]


def mapping(*ranges: tuple[int, int, int]) -> list[Json]:
    """(inside, outside, size) as the config has it."""
    return [{"containerID": first, "hostID": host, "size": size} for first, host, size in ranges]


def user_namespace(**linux: Any) -> Json:
    """A `linux` delta: the base's namespaces and a new user namespace with MAPPING."""
    kinds = [entry["type"] for entry in BASE["linux"]["namespaces"]]
    return {"namespaces": namespaces(*kinds, "user"), **MAPPED, **linux}


def ns_of(pid: int | str, kinds: Iterable[str] = KINDS) -> dict[str, str]:
    """Kind → the namespace that the process is in, "pid:[4026531836]"."""
    return {kind: os.readlink(f"/proc/{pid}/ns/{NAMESPACE_FILES[kind]}") for kind in kinds}


def ns_path(pid: int, kind: str) -> str:
    """The path by which a namespace is joined."""
    return f"/proc/{pid}/ns/{NAMESPACE_FILES[kind]}"


def fields(status: str) -> dict[str, str]:
    """The lines of a /proc/PID/status: name → value."""
    return dict(re.findall(r"^(\w+):[ \t]*(.*?)[ \t]*$", status, re.MULTILINE))


def host_cgroups(pid: int | str) -> dict[str, str]:
    """Controllers ("" for v2) → path of the process's cgroup."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return {controllers: path for _, controllers, path in (line.split(":", 2) for line in lines)}


class HostView:
    """A mount namespace in which the runtime is called: what is mounted in it, the host never sees.

    Everything in it is shared at first, as on a host with systemd.
    """

    def __init__(self, runtime: Runtime, propagation: str = "shared") -> None:
        # Private first: what is shared with a host whose mounts are shared would be changed on the host too.
        script = f"mount --make-r{propagation} / && exec sleep 600"
        command = ["unshare", "--mount", "--propagation=private", "sh", "-c", script]
        self._holder = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        ours = ns_of("self", ["mount"])
        wait_for(lambda: ns_of(self._holder.pid, ["mount"]) != ours, "unshare")
        wait_for(lambda: Path(f"/proc/{self._holder.pid}/comm").read_text() == "sleep\n", "propagation set")
        self.pid = self._holder.pid
        self.prefix = ["nsenter", f"--mount=/proc/{self.pid}/ns/mnt", "--"]
        runtime.program = wrapper(runtime.scratch / "in-view", [*self.prefix, runtime.program])

    def run(self, *argv: str) -> str:
        """Run a command in it, which must succeed; its stdout."""
        return subprocess.run([*self.prefix, *argv], capture_output=True, text=True, check=True).stdout

    def show_v2(self) -> str:
        """From here on the runtime sees cgroup v2 alone; where the hierarchy is mounted outside of the view."""
        hs = cgroup.hierarchies()
        if not hs or hs[0].version != 2:
            pytest.skip("needs cgroup v2 mounted")
        if hs[0].mount != "/sys/fs/cgroup":
            self.run("mount", "--bind", hs[0].mount, "/sys/fs/cgroup")
        return hs[0].mount

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()


def wrapper(path: Path, command: list[str]) -> str:
    """A program that executes `command` with its own arguments added."""
    path.write_text("#!/bin/sh\nexec " + " ".join(f"'{word}'" for word in command) + ' "$@"\n')
    path.chmod(0o755)
    return str(path)
