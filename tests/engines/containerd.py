"""A containerd, with the runtime under test as its CRI plugin's only runtime, all its directories in a place."""

from __future__ import annotations

import json
from pathlib import Path

from tests.engines.engine import IMAGE
from tests.engines.place import TIMEOUT, Place, Result

PAUSE = "localhost/pause:latest"
CONFIG = """
version = 2
root = "{scratch}/root"
state = "{run}/containerd"
oom_score = 0
[grpc]
  address = "{scratch}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "ocirt"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.ocirt]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.ocirt.options]
        BinaryName = "{runtime}"
        SystemdCgroup = {systemd}
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{scratch}/cni"
"""
NETWORK = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "pods0",
            "isGateway": True,
            "ipMasq": False,
            "ipam": {
                "type": "host-local",
                "dataDir": "/run/cni",
                "ranges": [[{"subnet": "10.222.0.0/24"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ],
}


class Containerd:
    """The daemon, and ctr for it."""

    def __init__(self, place: Place, runtime: str, image: Path) -> None:
        self.place = place
        self.runtime = runtime
        self.socket = place.scratch / "containerd.sock"
        config = place.scratch / "config.toml"
        values = {"scratch": place.scratch, "run": place.run_directory, "runtime": runtime, "pause": PAUSE}
        config.write_text(CONFIG.format(systemd=str(place.manager == "systemd").lower(), **values))
        (place.scratch / "cni").mkdir()
        (place.scratch / "cni" / "10-pods.conflist").write_text(json.dumps(NETWORK))
        self.daemon = place.daemon("containerd", "--config", config)
        place.wait_up(self.daemon, "containerd", lambda: self("version"), 30)
        for namespace in ("default", "k8s.io"):
            self("--namespace", namespace, "images", "import", str(image), check=True)
        self("--namespace", "k8s.io", "images", "import", str(image.with_name("pause.tar")), check=True)

    def __call__(self, *words: str, stdin: bytes = b"", timeout: float = TIMEOUT, check: bool | None = None) -> Result:
        """`ctr WORDS…`."""
        return self.place.run("ctr", "--address", self.socket, *words, stdin=stdin, timeout=timeout, check=check)

    def run(self, name: str, *words: str, check: bool | None = None, detach: bool = False) -> Result:
        """`ctr run WORDS…`: options, "--" for the image and the name, and the command."""
        return self(*self.words("--detach" if detach else "--rm", name, words), check=check)

    def terminal(self, name: str, *words: str) -> Result:
        """The same on a terminal."""
        return self.place.terminal("ctr", "--address", self.socket, *self.words("--rm", name, ("--tty", *words)))

    def words(self, how: str, name: str, words: tuple[str, ...]) -> list[str]:
        """`run`, options, the image and the name in the place of "--", and the command."""
        at = words.index("--")
        options = ["--runc-binary", self.runtime, *self.cgroup(name)]
        return ["run", how, *options, *words[:at], IMAGE, name, *words[at + 1 :]]

    def cgroup(self, name: str) -> list[str]:
        """The flags that put the container of that name where all are."""
        if self.place.manager == "systemd":
            return ["--runc-systemd-cgroup", "--cgroup", f"{self.place.cgroup}:ctr:{name}"]
        return ["--cgroup", f"{self.place.cgroup}/{name}"]

    def close(self) -> None:
        """Remove all tasks and containers, by force."""
        for namespace in ("default", "k8s.io"):
            for name in self("--namespace", namespace, "containers", "list", "--quiet").stdout.split():
                self("--namespace", namespace, "tasks", "delete", "--force", name)
                self("--namespace", namespace, "containers", "delete", name)
