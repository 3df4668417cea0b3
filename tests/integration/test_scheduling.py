"""How the process is scheduled, and where its memory comes from: as the kernel tells it of the container's process."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import Container, Json, Runtime
from tests.integration.views import MAPPED, SUBORDINATE, MakeBundle, namespaces, user_namespace

LIBC = ctypes.CDLL(None, use_errno=True)
SCHED_GETATTR, IOPRIO_GET = {"x86_64": (315, 252), "aarch64": (275, 31)}[platform.machine()]


def attributes(pid: int) -> tuple[int, ...]:
    """Policy, flags, nice, priority, runtime, deadline, period (sched_getattr(2))."""
    buffer = ctypes.create_string_buffer(48)
    assert LIBC.syscall(SCHED_GETATTR, pid, buffer, 48, 0) == 0, os.strerror(ctypes.get_errno())
    return struct.unpack("<IQiIQQQ", buffer.raw[4:])


def io_priority(pid: int) -> tuple[int, int]:
    """Class and level (ioprio_get(2))."""
    value = LIBC.syscall(IOPRIO_GET, 1, pid)
    return value >> 13, value & 0x1FFF


@pytest.fixture
def sleeping(runtime: Runtime, make_bundle: MakeBundle) -> Any:
    """sleeping(*flags, **delta): a container whose process sleeps."""

    def make(*flags: str, **delta: Any) -> Container:
        return runtime.start(make_bundle(args=["sleep", "600"], **delta), *flags)

    return make


SCHEDULERS: dict[str, tuple[Json, tuple[int, ...]]] = {
    "other, nicer": ({"policy": "SCHED_OTHER", "nice": 7}, (0, 7, 0)),
    "other, less nice": ({"policy": "SCHED_OTHER", "nice": -11}, (0, -11, 0)),
    "batch": ({"policy": "SCHED_BATCH", "nice": 3}, (3, 3, 0)),
    "idle": ({"policy": "SCHED_IDLE"}, (5, 0, 0)),
}


@pytest.mark.parametrize(("scheduler", "expected"), SCHEDULERS.values(), ids=SCHEDULERS)
@pytest.mark.parametrize("users", [False, True], ids=["host's users", "user namespace"])
def test_the_policy_is_the_configured_one(
    sleeping: Any, scheduler: Json, expected: tuple[int, ...], users: bool
) -> None:
    linux = {"linux": user_namespace()} if users else {}
    policy, _, nice, priority, *_ = attributes(sleeping(process={"scheduler": scheduler}, **linux).pid)
    assert (policy, nice, priority) == expected


def test_reset_on_fork_is_a_flag_of_the_process(sleeping: Any) -> None:
    scheduler = {"policy": "SCHED_BATCH", "nice": -4, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
    assert attributes(sleeping(process={"scheduler": scheduler}).pid)[:3] == (3, 1, -4)


def real_time_in_this_cgroup() -> bool:
    """A child may have a real-time policy where the tests run."""
    pid = os.fork()
    if not pid:
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
            os._exit(0)
        except OSError:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize(("policy", "number"), [("SCHED_FIFO", 1), ("SCHED_RR", 2)])
def test_a_real_time_policy_has_its_priority(runtime: Runtime, sleeping: Any, policy: str, number: int) -> None:
    if not real_time_in_this_cgroup():
        pytest.skip("this host allows no real-time policy here")
    runtime.root.mkdir(exist_ok=True)
    scheduler = {"policy": policy, "priority": 13, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}
    container = sleeping("--cgroup-manager=disabled", process={"scheduler": scheduler})
    assert attributes(container.pid)[:4] == (number, 1, 0, 13)


def test_a_deadline_has_its_parameters(sleeping: Any, runtime: Runtime) -> None:
    if not real_time_in_this_cgroup():
        pytest.skip("this host allows no real-time policy here")
    scheduler = {"policy": "SCHED_DEADLINE", "runtime": 100_000, "deadline": 20_000_000, "period": 50_000_000}
    container = sleeping("--cgroup-manager=disabled", process={"scheduler": scheduler})
    assert attributes(container.pid) == (6, 0, 0, 0, 100_000, 20_000_000, 50_000_000)


def test_a_policy_that_the_kernel_refuses_is_an_error_that_names_the_field(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    result = runtime.run_container(make_bundle(process={"scheduler": {"policy": "SCHED_ISO"}}), check=False)
    assert "config.json: /process/scheduler: set the scheduling policy SCHED_ISO (the kernel does not" in result.stderr
    assert result.stderr.rstrip().endswith("invalid argument")


@pytest.mark.parametrize(("name", "number"), [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)])
@pytest.mark.parametrize("users", [False, True], ids=["host's users", "user namespace"])
def test_the_io_priority_is_the_configured_one(sleeping: Any, name: str, number: int, users: bool) -> None:
    linux = {"linux": user_namespace()} if users else {}
    container = sleeping(process={"ioPriority": {"class": name, "priority": 6}}, **linux)
    assert io_priority(container.pid) == (number, 6)


POLICIES: dict[str, tuple[Json, str]] = {
    "bind": ({"mode": "MPOL_BIND", "nodes": "0"}, "bind:0"),
    "bind to nodes that stay": (
        {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
        "bind=static:0",
    ),
    "interleave": ({"mode": "MPOL_INTERLEAVE", "nodes": "0"}, "interleave:0"),
    "prefer": ({"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_RELATIVE_NODES"]}, "prefer=relative:0"),
    "local": ({"mode": "MPOL_LOCAL"}, "local"),
    "default": ({"mode": "MPOL_DEFAULT"}, "default"),
}


@pytest.mark.parametrize(("policy", "shown"), POLICIES.values(), ids=POLICIES)
def test_the_memory_policy_is_the_configured_one(sleeping: Any, policy: Json, shown: str) -> None:
    if not Path("/proc/self/numa_maps").exists():
        pytest.skip("the kernel is built without NUMA")
    lines = sleeping(linux={"memoryPolicy": policy}).proc("numa_maps").splitlines()
    assert {line.split()[1] for line in lines} == {shown}


def test_a_node_that_is_not_there_is_an_error_that_names_the_field(runtime: Runtime, make_bundle: MakeBundle) -> None:
    if not Path("/proc/self/numa_maps").exists():
        pytest.skip("the kernel is built without NUMA")
    bundle = make_bundle(linux={"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "900"}})
    result = runtime.run_container(bundle, check=False)
    assert "config.json: /linux/memoryPolicy: set memory policy MPOL_BIND on nodes 900: invalid arg" in result.stderr


@pytest.mark.parametrize(("domain", "machines"), [("LINUX", {platform.machine()}), ("LINUX32", {"i686", "armv8l"})])
def test_uname_tells_the_machine_of_the_execution_domain(inside: Any, domain: str, machines: set[str]) -> None:
    assert inside("uname", "-m", linux={"personality": {"domain": domain}}).strip() in machines


def test_all_of_it_goes_together_in_a_user_namespace(sleeping: Any) -> None:
    container = sleeping(
        process={
            "user": {"uid": 1000, "gid": 1000},
            "scheduler": {"policy": "SCHED_OTHER", "nice": -3},
            "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 1},
        },
        linux={
            "namespaces": namespaces("mount", "pid", "ipc", "network", "user"),
            **MAPPED,
            "memoryPolicy": {"mode": "MPOL_LOCAL"},
            "personality": {"domain": "LINUX32"},
        },
        hostname=None,
    )
    assert attributes(container.pid)[2] == -3
    assert io_priority(container.pid) == (2, 1)
    assert int(container.proc("personality"), 16) == 8
    assert os.stat(f"/proc/{container.pid}").st_uid == SUBORDINATE + 1000


# ---- exec ------------------------------------------------------------------------------------------------------------


def test_a_process_that_exec_adds_runs_on_its_cpus(runtime: Runtime, sleeping: Any) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    wanted = {"initial": str(cpus[0]), "final": str(cpus[-1])}
    container = sleeping(process={"execCPUAffinity": wanted})
    assert os.sched_getaffinity(container.pid) == set(cpus), "it is not for the first process"
    shown = ["sed", "-n", "s/^Cpus_allowed_list:.//p", "/proc/self/status"]
    assert runtime.run("exec", container.id, *shown, check=True).stdout.strip() == str(cpus[-1])


def test_without_final_cpus_the_kernel_has_the_last_word(runtime: Runtime, sleeping: Any) -> None:
    cpus = sorted(os.sched_getaffinity(0))
    container = sleeping("--cgroup-manager=disabled", process={"execCPUAffinity": {"initial": str(cpus[0])}})
    shown = ["sed", "-n", "s/^Cpus_allowed_list:.//p", "/proc/self/status"]
    assert runtime.run("exec", container.id, *shown, check=True).stdout.strip() == str(cpus[0])


def test_cpus_that_are_not_there_are_an_error_that_names_the_field(runtime: Runtime, sleeping: Any) -> None:
    container = sleeping(process={"execCPUAffinity": {"final": "8000"}})
    result = runtime.run("exec", container.id, "true", check=False)
    assert "config.json: /process/execCPUAffinity/final: run on the CPUs 8000: invalid argument" in result.stderr


def test_a_process_that_exec_adds_is_scheduled_as_the_first(runtime: Runtime, sleeping: Any) -> None:
    io = {"class": "IOPRIO_CLASS_BE", "priority": 1}
    process = {"scheduler": {"policy": "SCHED_BATCH", "nice": 5}, "ioPriority": io}
    container = sleeping(process=process, linux=user_namespace())
    pid = runtime.scratch / "exec.pid"
    runtime.run("exec", "--detach", "--pid-file", str(pid), container.id, "sleep", "600", check=True)
    added = int(pid.read_text())
    found = attributes(added)[:3], io_priority(added)
    os.kill(added, signal.SIGKILL)
    os.waitpid(added, 0)  # its parent is gone, and we are the next subreaper
    assert found == ((3, 0, 5), (2, 1))
