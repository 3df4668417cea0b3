"""Documents made fit for a sandbox: sources that are there, hooks that do nothing, a program that only stays."""

from __future__ import annotations

import json
import os
import posixpath
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.fuzz.view import NAMESPACE_FILES
from tests.integration.support import static_program

Json = dict[str, Any]
FILES = {"resolv.conf", "hostname", "hosts", ".containerenv", "termination-log", "file", "passwd"}
USER = 1000  # who calls the runtime, where that is not root
LIMITED = ("NOFILE", "NPROC")
APPLETS = ("sh", "true", "sleep", "cat", "ls", "echo")


class Ground:
    """What all bundles of a sandbox share, below `scratch`: a rootfs to copy, sources of binds, namespaces to join."""

    def __init__(self, scratch: Path, ordinary: bool = False) -> None:
        self.scratch = scratch
        self.ordinary = ordinary
        self.template = scratch / "template"
        for name in ("bin", "dev", "etc", "proc", "sys", "tmp", "root"):
            (self.template / name).mkdir(parents=True, mode=0o755)
        shutil.copy(str(shutil.which("busybox")), self.template / "bin/busybox")
        for name in APPLETS:
            (self.template / "bin" / name).symlink_to("busybox")
        (self.template / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        static_program("pause.c", self.template / "pause", "-nostdlib")
        for path in (self.template, *self.template.rglob("*/")):
            path.chmod(0o777)  # whatever the root of a user namespace is outside, it may make what is missing
        (scratch / "source").mkdir()
        kinds = ["--ipc", "--uts", "--net", "--pid", "--fork", "--cgroup", "--time", "--mount"]
        self.holders = [
            subprocess.Popen(["unshare", *more, *kinds, str(self.template / "pause")])
            for more in ([], ["--user", "--map-root-user"])
        ]

    def namespace(self, kind: str, owned: bool) -> str:
        """The path of one that can be joined; the pid namespace's first process is the holder's child.

        owned    whether it shall belong to the user namespace that can be joined
        """
        file = "pid_for_children" if kind == "pid" else NAMESPACE_FILES.get(kind, kind)
        return f"/proc/{self.holders[owned].pid}/ns/{file}"

    def source(self, path: str) -> str:
        """A file or a directory to bind, by the last of its name."""
        place = self.scratch / "source" / path.strip("/").replace("/", "-")
        if not place.exists():
            if posixpath.basename(path) in FILES:
                place.write_text("text\n")
            else:  # with a mount below it, for binds that are recursive
                (place / "below").mkdir(parents=True)
                subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "below", str(place / "below")], check=True)
        return str(place)

    def fitted(self, config: Json) -> Json:
        """A config whose paths lead to what is there; before it is mutated."""
        found: Json = json.loads(json.dumps(config))
        for entry in found.get("mounts") or ():
            binds = {"bind", "rbind"} & {entry.get("type"), *(entry.get("options") or ())}
            if entry.get("source") and (binds or entry["source"][0] == "/") and entry["source"] != "/sys":
                entry["source"] = self.source(entry["source"].removeprefix("/source"))
        for hooks in (found.get("hooks") or {}).values():
            for hook in hooks:
                hook["path"] = "/bin/true"
        listed = (found.get("linux") or {}).get("namespaces") or ()
        owned = any(entry["type"] == "user" and entry.get("path") for entry in listed)
        for entry in listed:
            if entry.get("path"):
                entry["path"] = self.namespace(entry["type"], owned)
        for limit in (found.get("process") or {}).get("rlimits") or ():
            if limit["type"][7:] in LIMITED:  # raising one takes a privilege that the host may lack
                limit.update({"soft": min(limit["soft"], 1000), "hard": min(limit["hard"], 1000)})
        for holder, name in (("process", "apparmorProfile"), ("process", "selinuxLabel"), ("linux", "mountLabel")):
            (found.get(holder) or {}).pop(name, None)
        if self.ordinary:
            rootless(found)
        return found

    def tamed(self, config: Any, rng: random.Random) -> Any:
        """A mutated config that leaves what is outside the sandbox's own alone, and mostly can be looked at."""
        if not isinstance(config, dict):
            return config
        root, process = config.get("root"), config.get("process")
        if isinstance(root, dict) and isinstance(root.get("path"), str) and rng.random() < 0.9:
            root["path"] = "rootfs"
        elif isinstance(root, dict) and str(root.get("path"))[:1] in ("/", "."):
            root["path"] = "rootfs"  # the sandbox's own root, and what is beside the bundle
        if isinstance(process, dict) and rng.random() < 0.95:
            process["args"] = ["/pause"]
            if process.get("terminal") is True and rng.random() < 0.9:
                process["terminal"] = False
        return config

    def bundle(self, name: str, text: bytes) -> Path:
        """A bundle of its own with this config.json."""
        path = self.scratch / name
        path.mkdir()
        subprocess.run(["cp", "-a", str(self.template), str(path / "rootfs")], check=True)
        (path / "config.json").write_bytes(text)
        if self.ordinary:
            subprocess.run(["chown", "-R", f"{USER}:{USER}", str(path)], check=True)
        return path

    def close(self) -> None:
        for holder in self.holders:
            holder.kill()
            holder.wait()


def rootless(config: Json) -> None:
    """Make of a config what an ordinary user's engine writes: a user namespace with its own id alone, no limits."""
    linux = config.setdefault("linux", {})
    kept = [entry for entry in linux.get("namespaces") or () if entry["type"] != "user" and not entry.get("path")]
    linux["namespaces"] = [*kept, {"type": "user"}]
    linux["uidMappings"] = linux["gidMappings"] = [{"containerID": 0, "hostID": USER, "size": 1}]
    for entry in config.get("mounts") or ():
        entry["options"] = [word for word in entry.get("options") or () if word != "gid=5"]  # which is not mapped
    for name in ("resources", "cgroupsPath", "netDevices", "intelRdt", "sysctl"):
        linux.pop(name, None)
    for name in ("scheduler", "ioPriority", "oomScoreAdj"):
        (config.get("process") or {}).pop(name, None)
    if config.get("process"):
        config["process"]["user"] = {"uid": 0, "gid": 0}


def parsed(text: bytes) -> Json | None:
    """A config as its text says, None where it is no JSON object. Of members that are there twice the last counts."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def executable(pid: int) -> str:
    """What a process runs, "" where there is none."""
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""
