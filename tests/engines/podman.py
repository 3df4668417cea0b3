"""Podman (and Buildah, which shares its storage) with the runtime under test, all its directories in a place."""

from __future__ import annotations

import os
from pathlib import Path

from tests.engines.engine import IMAGE, Engine
from tests.engines.place import Place

# The default limits ask for CAP_SYS_RESOURCE, which a container of ours may lack.
CONFIG = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "{name}"
runtime_supports_json = ["runc", "crun", "ocirt"]
runtime_supports_nocgroup = ["runc", "crun", "ocirt"]
infra_image = "{image}"
volume_path = "{scratch}/volumes"
[engine.runtimes]
{name} = ["{runtime}"]
"""


class Podman(Engine):
    """The program, configured by a file and flags of its own."""

    kind = "podman"

    def __init__(self, place: Place, runtime: str, image: Path) -> None:
        super().__init__(place, runtime)
        file = place.scratch / "containers.conf"
        file.write_text(CONFIG.format(name=Path(runtime).name, runtime=runtime, scratch=place.scratch, image=IMAGE))
        place.environment["CONTAINERS_CONF"] = str(file)
        # As flags: the monitor's call of `podman container cleanup` gets these, and few of the variables.
        scratch = place.scratch
        self.storage = [f"--root={scratch}/storage", f"--runroot={scratch}/run", "--storage-driver=overlay"]
        more = [f"--tmpdir={scratch}/tmp", f"--network-config-dir={scratch}/networks"]
        self.program = ["podman", *self.storage, *more, f"--cgroup-manager={place.manager}", "--events-backend=file"]
        self.container = [f"--cgroup-parent={place.cgroup}"]
        self("load", "--input", str(image), check=True)

    def remove(self, *names: str) -> None:
        """As everywhere; a stop would wait ten seconds for each."""
        self("rm", "--force", "--time=0", "--ignore", *names)

    def close(self) -> None:
        """Remove all containers and pods, by force."""
        self("pod", "rm", "--all", "--force")
        self("rm", "--all", "--force", "--time=0")
        if os.geteuid():  # its files belong to subordinate ids, and a process keeps its namespaces
            self("system", "reset", "--force")
