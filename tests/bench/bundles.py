"""Bundles to measure with: no two are alike, so that nothing gains from a config that it has seen before.

Each has another path, hostname, environment, arguments, cgroupsPath and source of a bind mount. `plain` is what
`ocirt spec` writes; the others are what engines wrote, seccomp profile included (tests/fuzz/corpus).
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
from pathlib import Path
from typing import Any

from ocirt.config import default

CORPUS = Path(__file__).parent.parent / "fuzz/corpus"
ENGINES = {"podman": "podman-volumes.json", "docker": "docker.json"}
APPLETS = ("true", "sleep", "sh")
DIRECTORIES = ("bin", "proc", "dev", "sys", "etc", "tmp", "run", "h", "t", "var/tmp", "data")


class Bundles:
    """Makes them below `work`, which is removed by the caller.

    v2    for a view of cgroup v2: no limits, for it has few controllers, and no device rules, which Debian 12's crun
          loads with CAP_SYS_RESOURCE only
    """

    def __init__(self, work: Path, v2: bool) -> None:
        self.work = work
        self.v2 = v2
        self.numbers = itertools.count(1)
        self.busybox = work / "busybox"
        shutil.copy("/bin/busybox", self.busybox)
        self.configs: dict[str, Any] = {"plain": plain()}
        self.configs |= {name: engine(json.loads((CORPUS / file).read_text())) for name, file in ENGINES.items()}

    def make(self, kind: str, *arguments: str) -> Path:
        """A bundle of this kind whose process is `arguments`."""
        number = next(self.numbers)
        unique = f"{os.getpid()}-{number}"
        bundle = self.work / f"bundle-{unique}"
        rootfs = bundle / "rootfs"
        for name in DIRECTORIES:
            (rootfs / name).mkdir(parents=True)
        os.link(self.busybox, rootfs / "bin/busybox")
        for name in APPLETS:
            (rootfs / "bin" / name).symlink_to("busybox")
        config = json.loads(json.dumps(self.configs[kind]))
        config["process"]["args"] = list(arguments)
        config["process"]["env"] = [*config["process"]["env"], f"NUMBER={unique}"]
        config["hostname"] = f"box-{unique}"
        config["linux"]["cgroupsPath"] = f"/{self.work.name}/box-{unique}"
        for mount in config["mounts"]:
            if "/source/" in mount.get("source", ""):
                mount["source"] = self.source(bundle, mount["source"])
        if self.v2:
            config["linux"].pop("resources", None)
        (bundle / "config.json").write_text(json.dumps(config))
        return bundle

    def source(self, bundle: Path, path: str) -> str:
        """Something to bind: a directory, or a file where the name is one."""
        place = bundle / "sources" / path.removeprefix("/source/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if "etc/" in path:
            place.write_text("text\n")
        else:
            place.mkdir()
        return str(place)


def plain() -> Any:
    """A bundle made by hand, with one bind mount.

    Debian 12's peers know neither newer versions nor a cgroup namespace on v1; all get the same.
    """
    config: Any = default.document(rootless=False)
    config["ociVersion"] = "1.0.2"
    config["process"]["terminal"] = False
    config["linux"]["namespaces"] = [entry for entry in config["linux"]["namespaces"] if entry["type"] != "cgroup"]
    config["mounts"] = [mount for mount in config["mounts"] if mount["type"] != "cgroup"]
    config["mounts"].append({"destination": "/data", "type": "bind", "source": "/source/data", "options": ["rbind"]})
    return config


def engine(config: Any) -> Any:
    """An engine's, without its own hook, which sets a network up."""
    config.pop("hooks", None)
    for name in ("apparmorProfile", "selinuxLabel"):
        config["process"].pop(name, None)
    return config
