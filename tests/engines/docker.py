"""A Docker daemon with the runtime under test as its default, all its directories and its network in a place."""

from __future__ import annotations

import json
from pathlib import Path

from tests.engines.engine import Engine
from tests.engines.place import Place


class Docker(Engine):
    """The client, and a daemon of its own."""

    kind = "docker"

    def __init__(self, place: Place, runtime: str, image: Path, more: dict[str, str] | None = None) -> None:
        super().__init__(place, runtime)
        self.name = Path(runtime).name
        socket = f"unix://{place.scratch}/docker.sock"
        self.program = ["docker", "--host", socket]
        runtimes = {self.name: runtime, **(more or {})}
        runtimes.pop("runc", None)  # the daemon's own, whose name is reserved
        settings = {
            "default-runtime": self.name,
            "runtimes": {name: {"path": path} for name, path in runtimes.items()},
            "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 1024, "Soft": 1024}},
            "cgroup-parent": place.cgroup,
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "storage-driver": "overlay2",
            "data-root": f"{place.scratch}/data",
            "exec-root": "/run/docker",
            "pidfile": f"{place.scratch}/docker.pid",
            "hosts": [socket],
        }
        file = place.scratch / "daemon.json"
        file.write_text(json.dumps(settings))
        self.daemon = place.daemon("dockerd", "--config-file", file)
        place.wait_up(self.daemon, "dockerd", lambda: self("version"), 40)
        self("load", "--input", str(image), check=True)

    def close(self) -> None:
        """Remove all containers, by force."""
        names = self("ps", "--all", "--quiet").stdout.split()
        if names:
            self("rm", "--force", *names)
