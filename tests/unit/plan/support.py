"""Hosts and launches as values, for tests of the compiler; and golden plans as text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ocirt.cgroup import devices, host_steps, limits, properties, units
from ocirt.cgroup.limits_v1 import Unmet
from ocirt.plan import exec as plan_exec
from ocirt.plan import host as plan_host
from ocirt.plan import ops, show
from ocirt.plan.compile import Compilation, Plan
from ocirt.plan.context import Context, Launch
from ocirt.plan.describe import host as describe_host

RANGE = [{"containerID": 0, "hostID": 100000, "size": 65536}]
GOLDEN = Path(__file__).parents[2] / "golden"
DOCS = Path(__file__).parents[3] / "docs"
DEFINITIONS = Path(__file__).parents[3] / "ocirt" / "spawn" / "init"
PERFORM = Path(__file__).parents[3] / "ocirt" / "perform"

NONE = 0xFFFFFFFF  # SLOT_NONE
ALL_CAPABILITIES = (1 << 41) - 1
V2 = [["", "/sys/fs/cgroup", 2]]
CONTROLLERS = {"memory", "cpu", "cpuset", "devices", "pids", "blkio", "io", "hugetlb", "net_cls", "net_prio", "rdma"}


class Hierarchy:
    """A cgroup hierarchy as facts hand it over."""

    def __init__(self, controllers: str, mount: str, version: int) -> None:
        self.controllers, self.mount, self.version = controllers, mount, version
        self.own = "/"


class Host:
    """Facts without a host."""

    def __init__(self, **given: Any) -> None:
        self.euid = given.get("euid", 0)
        self.setgroups = given.get("setgroups", True)
        self.last_cap = given.get("last_cap", 40)
        self.capabilities = given.get("capabilities", ALL_CAPABILITIES)
        self.lsm = frozenset(given.get("lsm", ()))
        self.hierarchies = [Hierarchy(*entry) for entry in given.get("hierarchies", V2)]
        self.cgroup_paths = [f"{hierarchy.mount}/ocirt/box" for hierarchy in self.hierarchies]
        versions = {hierarchy.version for hierarchy in self.hierarchies}
        self.layout = {(1,): "v1", (2,): "v2", (1, 2): "hybrid"}.get(tuple(sorted(versions)), "none")


def translated(document: dict[str, Any]) -> None:
    """Make of a config's resources what every kind of host would. Raises OcirtError."""
    linux = document.get("linux") or {}
    resources = linux.get("resources") or {}
    rules = devices.rules(resources.get("devices") or ())
    assert devices.program(*rules)
    devices.writes(*rules)
    for v2 in (False, True):
        properties.of_resources(resources, v2)
        try:
            limits.writes(resources, CONTROLLERS, v2)
        except Unmet:
            pass
    properties.of_annotations(document.get("annotations") or {})
    units.unit_for(linux.get("cgroupsPath"), "box", False)


class Both:
    """What is compiled from a config: `plan` is the init's, `runtime` the host plan."""

    def __init__(self, plan: Plan, runtime: list[ops.Op]) -> None:
        self.plan = plan
        self.runtime = runtime


def compiled(config: dict[str, Any], **given: Any) -> Plan:
    """The init's plan of a config, as of `both`."""
    return both(config, **given).plan


def both(config: dict[str, Any], **given: Any) -> Both:
    """Both plans of a config. `given`: launch, seccomp (instructions), manager, pidfd_socket, and what Host takes."""
    launch = Launch(**{"container_id": "box", "bundle": "/bundle", **given.pop("launch", {})})
    program = b"\6\0\0\0\0\0\377\177" * given.pop("seccomp", 0) or None
    manager, pidfd_socket = given.pop("manager", "cgroupfs"), given.pop("pidfd_socket", "")
    host: Any = Host(**given)
    if launch.start == "exec":
        return entered(config, launch, host, program)
    compilation = Compilation(config, launch, host)
    v1 = [path for path, h in zip(host.cgroup_paths, host.hierarchies, strict=True) if h.version == 1]
    unified = host.cgroup_paths[0] if host.layout == "v2" else ""
    pointer = "/linux/cgroupsPath" if (config.get("linux") or {}).get("cgroupsPath") else ""
    cgroups = plan_host.Cgroups(host.cgroup_paths, v1[: launch.tasks], unified, pointer)
    host_steps.compile(cgroups, host.hierarchies, config)
    runtime = plan_host.Host(compilation, cgroups, "/run/ocirt", manager)
    runtime.raw, runtime.filter_file = b"{}", program or b""
    runtime.foreground = launch.start == "run"
    runtime.console_socket = "/run/console" if launch.console and launch.start == "create" else ""
    runtime.pid_file, runtime.pidfd_socket = "/run/pid", pidfd_socket
    runtime.rootfs, runtime.owner = "/bundle/rootfs", "root"
    runtime.unit = "ocirt-box.scope" if manager == "systemd" else ""
    first = plan_host.first(runtime)
    runtime.plan = compilation.finish(program)
    return Both(runtime.plan, first + plan_host.rest(runtime))


def entered(config: dict[str, Any], launch: Launch, host: Any, program: bytes | None) -> Both:
    """The plans that put config's process into the container that config describes."""
    plan = plan_exec.compile(config, launch, host, program)
    context = Context({**config, "linux": {}}, launch, host)
    context.warnings, context.errands = plan.warnings, plan.errands
    runtime = plan_exec.Host({"process": {}, **config}, plan, host.cgroup_paths, host.cgroup_paths[: launch.tasks])
    runtime.beside = runtime.foreground = True
    return Both(Plan(context, plan.ops), plan_exec.enter(runtime) + plan_exec.finish(runtime))


def config(**changes: Any) -> dict[str, Any]:
    """A small valid config; `process`, `linux` … are merged into it, other members replace."""
    document: dict[str, Any] = {
        "ociVersion": "1.3.0",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "cwd": "/", "env": ["HOME=/"]},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
    }
    for name, value in changes.items():
        document[name] = {**document[name], **value} if isinstance(document.get(name), dict) else value
    return document


def named(plan: Plan, name: str) -> list[tuple[Any, ...]]:
    """The arguments of every operation of that name."""
    return [op[3] for op in plan.ops if op[0] == name]


def order(plan: Plan) -> list[str]:
    """The names of the operations."""
    return [op[0] for op in plan.ops]


def golden(name: str) -> Both:
    """The plans of a golden config, on the host of its host.json."""
    directory = GOLDEN / name
    host = directory / "host.json"
    given = json.loads(host.read_text()) if host.exists() else {}
    return both(json.loads((directory / "config.json").read_text()), **given)


def rendered(plan: Plan) -> str:
    """The init's plan as text: warnings, then one operation a line, in words and as it is."""
    lines = [f"warning: {warning}" for warning in plan.warnings]
    lines.append(f"syncs {plan.syncs}{', pid 1' if plan.own_pid_namespace else ''}")
    return "\n".join([*lines, *_lines(plan.ops, show.describe)]) + "\n"


def rendered_runtime(runtime: list[ops.Op]) -> str:
    """The host plan, likewise."""
    return "\n".join(_lines(runtime, describe_host.describe)) + "\n"


def _lines(listed: Sequence[ops.Op], describe: Callable[[ops.Op], str]) -> list[str]:
    return [f"{index:3} {op[1] or '-':<26} {describe(op)}  [{raw(op)}]" for index, op in enumerate(listed)]


def raw(op: ops.Op) -> str:
    """The operation itself; long values cut."""
    words = []
    for value in op[3]:
        text = hex(value) if isinstance(value, int) and value > 255 else repr(value)
        words.append(text if len(text) <= 60 else text[:57] + "...")
    return f"{op[0]} {' '.join(words)}".strip()


def user_namespace(maps: list[dict[str, int]], **process_: Any) -> dict[str, Any]:
    """A config with a user namespace of these maps."""
    linux = {"namespaces": [{"type": "mount"}, {"type": "user"}], "uidMappings": maps, "gidMappings": maps}
    return config(linux=linux, process=process_)
