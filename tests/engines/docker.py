"""A Docker daemon with the runtime under test as its default, all its directories and its network in a place."""

from __future__ import annotations

import json
from pathlib import Path

from tests.engines.place import TIMEOUT, Place, Result
from tests.engines.podman import with_image
from tests.integration.support import wait_for


class Docker:
    """The client, and a daemon of its own."""

    def __init__(self, place: Place, runtime: str, image: Path) -> None:
        self.place = place
        self.runtime = runtime
        self.name = Path(runtime).name
        self.socket = f"unix://{place.scratch}/docker.sock"
        settings = {
            "default-runtime": self.name,
            # The daemon's own runc cannot be configured: the name is reserved.
            "runtimes": {} if self.name == "runc" else {self.name: {"path": runtime}},
            "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 1024, "Soft": 1024}},
            "cgroup-parent": place.cgroup,
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "storage-driver": "overlay2",
            "data-root": f"{place.scratch}/data",
            "exec-root": "/run/docker",
            "pidfile": f"{place.scratch}/docker.pid",
            "hosts": [self.socket],
        }
        file = place.scratch / "daemon.json"
        file.write_text(json.dumps(settings))
        self.daemon = place.daemon("dockerd", "--config-file", file)
        wait_for(self.up, "dockerd is up", 40)
        self("load", "--input", str(image), check=True)

    def up(self) -> bool:
        """Whether the daemon answers. AssertionError when it has ended."""
        assert self.daemon.poll() is None, (self.place.scratch / "dockerd.log").read_text()[-3000:]
        return self("version").code == 0

    def __call__(self, *words: str, stdin: bytes = b"", timeout: float = TIMEOUT, check: bool | None = None) -> Result:
        """`docker WORDS…`."""
        return self.place.run("docker", "--host", self.socket, *words, stdin=stdin, timeout=timeout, check=check)

    def run(self, *words: str, check: bool | None = None, stdin: bytes = b"", network: str = "none") -> Result:
        """`docker run --rm WORDS…`: options, "--" for the image, and the command."""
        return self("run", "--rm", f"--network={network}", *with_image(words), stdin=stdin, check=check)

    def start(self, name: str, *words: str, network: str = "none") -> None:
        """`docker run --detach --name NAME WORDS…`."""
        self("run", "--detach", f"--name={name}", f"--network={network}", *with_image(words), check=True)

    def inspect(self, name: str, field: str) -> str:
        """One field of `docker inspect`, by its Go template."""
        return self("inspect", "--format", f"{{{{{field}}}}}", name, check=True).stdout.strip()

    def close(self) -> None:
        """Remove all containers, by force."""
        names = self("ps", "--all", "--quiet").stdout.split()
        if names:
            self("rm", "--force", *names)
