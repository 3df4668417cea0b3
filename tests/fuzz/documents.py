"""What is mutated: configs of tests/golden and of engines (corpus/, as recorded), process files, resources, states."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.oracle import records

Json = dict[str, Any]
HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
GOLDEN = HERE.parent / "golden"

RESOURCES: list[Json] = [
    {"memory": {"limit": 0, "reservation": 0, "swap": 0, "kernel": 0, "kernelTCP": 0},
     "cpu": {"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0, "cpus": "", "mems": ""},
     "blockIO": {"weight": 0}, "pids": {"limit": 0}},
    {"memory": {"limit": 314572800, "swap": 314572800, "reservation": 104857600, "checkBeforeUpdate": True},
     "cpu": {"shares": 512, "quota": 50000, "period": 100000, "burst": 0, "cpus": "0", "mems": "0", "idle": 0},
     "pids": {"limit": 10}, "devices": [{"allow": True, "access": "rwm"}]},
    {"unified": {"memory.high": "100000000", "pids.max": "7"},
     "hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}],
     "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10}},
     "network": {"classID": 1048577, "priorities": [{"name": "lo", "priority": 5}]},
     "blockIO": {"weight": 10, "leafWeight": 10, "weightDevice": [{"major": 8, "minor": 0, "weight": 500}],
                 "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}]}},
]  # fmt: skip


def configs() -> dict[str, Json]:
    """Name → config, of all that the repository has."""
    found = {path.stem: path for path in sorted(CORPUS.glob("*.json")) if not path.name.startswith("process-")}
    found |= {f"golden-{path.parent.name}": path for path in sorted(GOLDEN.glob("*/config.json"))}
    return {name: json.loads(path.read_text()) for name, path in found.items()}


def processes() -> list[Json]:
    """Process files of engines, and the processes of all configs."""
    recorded = [json.loads(path.read_text()) for path in sorted(CORPUS.glob("process-*.json"))]
    return recorded + [config["process"] for config in configs().values() if config.get("process")]


def resources() -> list[Json]:
    """Documents for `update --resources`, and what configs have for it."""
    found = [config.get("linux", {}).get("resources") for config in configs().values()]
    return RESOURCES + [document for document in found if document]


def states() -> list[bytes]:
    """Texts of state.json as create writes them."""
    found = []
    for number, (name, config) in enumerate(configs().items()):
        state = records.State(name, config["ociVersion"], f"/bundles/{name}", f"/bundles/{name}/rootfs")
        state.annotations = config.get("annotations") or {}
        state.phase = ("created", "creating")[number % 2]
        state.pid, state.start_time = (4194304 + number, 123456 + number) if number % 3 else (0, 0)
        state.python = ("", "poststop", "poststart poststop", "noprocess oldkeyring")[number % 4]
        state.cgroups = [f"/sys/fs/cgroup/{kind}/fuzz/{name}" for kind in ("memory", "pids")[: number % 3]]
        state.made, state.freezers = state.cgroups[:1], [f"{path}/freezer.state" for path in state.cgroups]
        found.append(records.encode(state))
    return found
