"""Podman (and Buildah, which shares its storage) with the runtime under test, all its directories in a place."""

from __future__ import annotations

from pathlib import Path

from tests.engines.place import TIMEOUT, Place, Result

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
IMAGE = "localhost/busybox:latest"


class Podman:
    """The program, configured by files of its own."""

    def __init__(self, place: Place, runtime: str, image: Path) -> None:
        self.place = place
        self.runtime = runtime
        self.image = IMAGE
        values = {"name": Path(runtime).name, "runtime": runtime, "scratch": place.scratch, "image": IMAGE}
        file = place.scratch / "containers.conf"
        file.write_text(CONFIG.format(**values))
        place.environment["CONTAINERS_CONF"] = str(file)
        # As flags: the monitor's call of `podman container cleanup` gets these, and few of the variables.
        directories = {"root": "storage", "runroot": "run", "tmpdir": "tmp", "network-config-dir": "networks"}
        self.flags = [f"--{flag}={place.scratch}/{name}" for flag, name in directories.items()]
        self.flags += ["--storage-driver=overlay", "--cgroup-manager=cgroupfs", "--events-backend=file"]
        self("load", "--input", str(image), check=True)

    def __call__(self, *words: str, stdin: bytes = b"", timeout: float = TIMEOUT, check: bool | None = None) -> Result:
        """`podman WORDS…`."""
        return self.place.run("podman", *self.flags, *words, stdin=stdin, timeout=timeout, check=check)

    def run(self, *words: str, check: bool | None = None, stdin: bytes = b"", network: str = "none") -> Result:
        """`podman run --rm WORDS…`: options, "--" for the image, and the command."""
        return self(
            "run", "--rm", f"--network={network}", f"--cgroup-parent={self.place.cgroup}", *with_image(words),
            stdin=stdin, check=check,
        )  # fmt: skip

    def start(self, name: str, *words: str, network: str = "none") -> None:
        """`podman run --detach --name NAME WORDS…`."""
        self(
            "run", "--detach", f"--name={name}", f"--network={network}", f"--cgroup-parent={self.place.cgroup}",
            *with_image(words), check=True,
        )  # fmt: skip

    def inspect(self, name: str, field: str) -> str:
        """One field of `podman inspect`, by its Go template."""
        return self("inspect", "--format", f"{{{{{field}}}}}", name, check=True).stdout.strip()

    def close(self) -> None:
        """Remove all containers and pods, by force."""
        self("pod", "rm", "--all", "--force")
        self("rm", "--all", "--force", "--time=0")


def with_image(words: tuple[str, ...]) -> list[str]:
    """The image in the place of "--"."""
    at = words.index("--")
    return [*words[:at], IMAGE, *words[at + 1 :]]
