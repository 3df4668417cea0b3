"""The calls of Kubernetes' container runtime interface, as the kubelet makes them, over the engine's socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
from cri_api.v1 import api_pb2 as pb
from cri_api.v1.api_pb2_grpc import RuntimeServiceStub

from tests.engines.engine import IMAGE
from tests.engines.place import Place

TIMEOUT = 60.0


class Cri:
    """A client. Requests are given as dictionaries: what is in them is the interface's."""

    def __init__(self, socket: Path, place: Place) -> None:
        self.place = place
        self.channel = grpc.insecure_channel(f"unix://{socket}")
        self.stub = RuntimeServiceStub(self.channel)
        self.pods: dict[str, Any] = {}

    def __call__(self, method: str, **request: Any) -> Any:
        """One call: the request's fields, as the message of that name takes them. Raises grpc.RpcError."""
        return getattr(self.stub, method)(getattr(pb, f"{method}Request")(**request), timeout=TIMEOUT)

    def pod(self, name: str, host_network: bool = False, **linux: Any) -> str:
        """Run a pod, by the runtime handler "ocirt" (Kubernetes: RuntimeClass); its id."""
        logs = self.place.scratch / "logs" / name
        logs.mkdir(parents=True, exist_ok=True)
        options = {"network": pb.NODE if host_network else pb.POD, "pid": pb.CONTAINER}
        config = {
            "metadata": {"name": name, "uid": f"uid-{name}", "namespace": "tests", "attempt": 0},
            "hostname": "" if host_network else name,
            "log_directory": str(logs),
            "linux": {
                "cgroup_parent": self.place.cgroup,
                "security_context": {"namespace_options": options},
                **linux,
            },
        }
        found = self("RunPodSandbox", config=config, runtime_handler="ocirt").pod_sandbox_id
        self.pods[found] = config
        return str(found)

    def container(self, pod: str, name: str, *command: str, **config: Any) -> str:
        """Create a container in a pod; its id. config: the message's fields, and `security`, `resources` of linux."""
        security = {"namespace_options": {"pid": pb.CONTAINER}, **config.pop("security", {})}
        linux = {"security_context": security, "resources": config.pop("resources", {})}
        document = {
            "metadata": {"name": name, "attempt": 0},
            "image": {"image": IMAGE},
            "command": command,
            "log_path": f"{name}.log",
            "linux": linux,
            **config,
        }
        request = {"pod_sandbox_id": pod, "config": document, "sandbox_config": self.pods[pod]}
        return str(self("CreateContainer", **request).container_id)

    def started(self, pod: str, name: str, *command: str, **config: Any) -> str:
        """Create and start one."""
        found = self.container(pod, name, *command, **config)
        self("StartContainer", container_id=found)
        return found

    def exec(self, container: str, *command: str) -> tuple[int, str, str]:
        """ExecSync: exit code, stdout, stderr."""
        done = self("ExecSync", container_id=container, cmd=command, timeout=20)
        return done.exit_code, done.stdout.decode(), done.stderr.decode()

    def status(self, container: str) -> Any:
        """ContainerStatus."""
        return self("ContainerStatus", container_id=container).status

    def log(self, pod: str, name: str) -> list[str]:
        """The lines of the container's log: stream and text."""
        file = Path(self.pods[pod]["log_directory"], f"{name}.log")
        return [" ".join(line.split(" ")[1:2] + line.split(" ")[3:]) for line in file.read_text().splitlines()]

    def close(self) -> None:
        """Stop and remove every pod."""
        for pod in self("ListPodSandbox").items:
            self("StopPodSandbox", pod_sandbox_id=pod.id)
            self("RemovePodSandbox", pod_sandbox_id=pod.id)
        self.channel.close()
