"""A host plan comes to the same whether C carries it out or Python does: state, files, cgroups, limits, maps."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import Bundle, Runtime
from tests.integration.views import HostView, MakeBundle

PROJECT = Path(__file__).parents[2]
KINDS = ("pid", "mount", "ipc", "uts", "network", "cgroup")
NAMESPACES = [{"type": kind} for kind in KINDS]
IDS = {"uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}]}
IDS["gidMappings"] = IDS["uidMappings"]
LIMITS = {
    "memory": {"limit": 64 << 20},
    "pids": {"limit": 64},
    "cpu": {"quota": 20000, "period": 50000, "shares": 512},
    "devices": [{"allow": False}, {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "rw"}],
}
LISTED = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["chroot"], "action": "SCMP_ACT_ERRNO"}]}
CONFIGS: dict[str, dict[str, Any]] = {
    "plain": {"linux": {"namespaces": NAMESPACES}},
    "limits": {"linux": {"namespaces": NAMESPACES, "resources": LIMITS}, "annotations": {'a "b"': "\n\x7fü"}},
    "user namespace": {"linux": {"namespaces": [*NAMESPACES, {"type": "user"}], **IDS}},
    "filter": {"linux": {"namespaces": NAMESPACES, "seccomp": LISTED}},
    "hooks": {"hooks": {"createRuntime": [{"path": "/bin/true"}], "poststop": [{"path": "/bin/true"}]}},
    "niced": {
        "process": {"scheduler": {"policy": "SCHED_BATCH", "nice": 3}, "ioPriority": {"class": "IOPRIO_CLASS_BE"}}
    },
}
# What two containers never have in common
OWN = re.compile(r'"(pid|startTime|created)": [^,\n]+')
FILES = ("memory.limit_in_bytes", "memory.max", "pids.max", "cpu.cfs_quota_us", "cpu.max", "cpu.shares", "devices.list")


def created(by: str, view: HostView, runtime: Runtime, container_id: str, bundle: Bundle) -> dict[str, Any]:
    """What there is of a container that was made so; it is deleted again."""
    words = [by, str(runtime.root), container_id, str(bundle.path)]
    command = [*view.prefix, sys.executable, "-m", "tests.integration.performed_by", *words]
    log = runtime.scratch / "performed.log"
    with log.open("w") as output:  # no pipe: the container's process has it too
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        done = subprocess.run(command, env=environment, stdout=output, stderr=output, timeout=60, check=False)
    assert not (text := log.read_text()), text
    assert done.returncode == 0
    try:
        return seen(runtime.root / container_id)
    finally:
        runtime.run("delete", "--force", container_id, check=True)


def seen(directory: Path) -> dict[str, Any]:
    state = (directory / "state.json").read_text()
    doc = json.loads(state)
    process = Path(f"/proc/{doc['pid']}")
    found: dict[str, Any] = {"state": OWN.sub("", state), "mode": directory.stat().st_mode}
    for kept in sorted(directory.iterdir()):
        own = kept.is_file() and kept.suffix != ".json"
        found[kept.name] = kept.stat().st_mode, kept.read_bytes() if own else b""
    for name in ("cgroup", "uid_map", "gid_map", "sched", "oom_score_adj"):
        text = (process / name).read_text()
        found[name] = re.findall(r"^(?:policy|prio) .*", text, re.MULTILINE) if name == "sched" else text
    for path in doc["ocirt"]["cgroups"]:
        cgroup = path if os.path.exists(path) else path.replace("cgroup/", "cgroup/unified/", 1)  # as the view has it
        for name in FILES:
            file = Path(cgroup, name)
            found[str(file)] = file.read_text() if file.exists() else None
        found[cgroup] = Path(cgroup, "cgroup.procs").read_text() == f"{doc['pid']}\n"
    return found


@pytest.mark.parametrize("view", ["here", "v2"])
@pytest.mark.parametrize("name", CONFIGS)
def test_what_comes_of_it_is_the_same(
    name: str, view: str, host_view: HostView, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    config = json.loads(json.dumps(CONFIGS[name]))
    if view == "v2":
        host_view.show_v2()
        for controller in ("memory", "pids", "cpu"):  # of this view there is hugetlb alone
            config.get("linux", {}).get("resources", {}).pop(controller, None)
    bundle = make_bundle(args=["sleep", "600"], **config)
    container_id = runtime.new_id()
    bundle.config["linux"]["cgroupsPath"] = f"/{container_id}-above/box"  # nobody else makes or removes what is above
    bundle.write()
    by_c = created("c", host_view, runtime, container_id, bundle)
    assert by_c == created("oracle", host_view, runtime, container_id, bundle)
    assert all(by_c[cgroup] for cgroup in by_c if cgroup.startswith("/sys") and not Path(cgroup).suffix)
