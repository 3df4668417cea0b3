"""containerd's CRI plugin with a runtime handler "ocirt", driven as the kubelet drives it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.engines.place import Result
from tests.integration.support import wait_for

if TYPE_CHECKING:
    from tests.engines.cri import Cri

SLEEP = ("sleep", "600")
RUNNING, EXITED = 1, 2


@pytest.fixture(scope="module")
def pod(cri: Cri) -> str:
    """A pod on the host's network."""
    return cri.pod("host", host_network=True)


def stream(cri: Cri, url: str, *text: str) -> Result:
    """What comes by a stream's address."""
    program = Path(__file__).with_name("cri_stream.py")
    return cri.place.run(sys.executable, program, url, *text, check=True)


def test_a_container_runs_and_its_log_is_written(cri: Cri, pod: str) -> None:
    container = cri.started(pod, "logged", "sh", "-c", "echo out; echo err >&2; exit 3")
    wait_for(lambda: cri.status(container).state == EXITED, "exited")
    assert cri.status(container).exit_code == 3
    assert sorted(cri.log(pod, "logged")) == ["stderr err", "stdout out"]
    cri("RemoveContainer", container_id=container)


def test_exec_sync_has_the_code_and_the_streams(cri: Cri, pod: str) -> None:
    container = cri.started(pod, "execd", *SLEEP)
    assert cri.exec(container, "sh", "-c", "echo out; echo err >&2; exit 5") == (5, "out\n", "err\n")
    assert cri.exec(container, "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline")[1] == "sleep 600 "


def test_exec_sync_ends_at_its_timeout(cri: Cri, pod: str) -> None:
    import grpc

    container = cri.started(pod, "slow", *SLEEP)
    began = time.monotonic()
    with pytest.raises(grpc.RpcError, match=r"timed out|exceeded"):
        cri("ExecSync", container_id=container, cmd=["sleep", "30"], timeout=1)
    assert time.monotonic() - began < 10


def test_exec_streams_both_ways(cri: Cri, pod: str) -> None:
    container = cri.started(pod, "streamed", *SLEEP)
    script = "read line; echo got $line; echo err >&2; exit 0"
    command = {"container_id": container, "cmd": ["sh", "-c", script], "stdin": True, "stdout": True, "stderr": True}
    said = stream(cri, cri("Exec", **command).url, "hello\n").stdout.splitlines()
    assert "1 got hello" in said
    assert "2 err" in said


def test_exec_with_a_terminal(cri: Cri, pod: str) -> None:
    container = cri.started(pod, "terminal", *SLEEP)
    url = cri("Exec", container_id=container, cmd=["tty"], tty=True, stdin=True, stdout=True).url
    assert "1 /dev/pts/" in stream(cri, url).stdout


def test_attach_sees_what_the_process_says(cri: Cri, pod: str) -> None:
    script = "while :; do echo tick; sleep 0.1; done"
    container = cri.started(pod, "attached", "sh", "-c", f"({script}) & sleep 2; kill $!; exit 0")
    url = cri("Attach", container_id=container, stdout=True).url
    assert stream(cri, url).stdout.splitlines().count("1 tick") > 2


def test_stop_sends_the_signal_and_then_kills(cri: Cri, pod: str) -> None:
    gentle = cri.started(pod, "gentle", "sh", "-c", "trap 'exit 4' TERM; while :; do sleep 0.1; done")
    time.sleep(0.3)
    cri("StopContainer", container_id=gentle, timeout=20)
    assert cri.status(gentle).exit_code == 4
    stubborn = cri.started(pod, "stubborn", *SLEEP)
    cri("StopContainer", container_id=stubborn, timeout=0)
    assert cri.status(stubborn).exit_code == 137


def limits(cri: Cri, name: str) -> Any:
    """Reads a file of a container's v1 cgroup."""
    if not Path("/sys/fs/cgroup/pids").is_dir():
        pytest.skip("needs cgroup v1")

    def read(controller: str, file: str) -> str:
        return Path("/sys/fs/cgroup", controller, cri.place.cgroup.lstrip("/"), name, file).read_text().strip()

    return read


def test_resources_are_applied_and_updated(cri: Cri, pod: str) -> None:
    resources = {"memory_limit_in_bytes": 64 << 20, "cpu_shares": 512, "cpu_quota": 50000, "cpu_period": 100000}
    container = cri.started(pod, "limited", *SLEEP, resources=resources)
    read = limits(cri, container)
    assert read("memory", "memory.limit_in_bytes") == str(64 << 20)
    assert (read("cpu", "cpu.shares"), read("cpu", "cpu.cfs_quota_us")) == ("512", "50000")
    changed = {"memory_limit_in_bytes": 128 << 20, "cpu_shares": 300}
    cri("UpdateContainerResources", container_id=container, linux=changed)
    assert read("memory", "memory.limit_in_bytes") == str(128 << 20)
    assert read("cpu", "cpu.shares") == "300"
    assert cri.status(container).state == RUNNING


def test_stats_see_memory_and_time(cri: Cri, pod: str) -> None:
    container = cri.started(pod, "counted", "sh", "-c", "while :; do :; done")
    time.sleep(0.5)
    stats = cri("ContainerStats", container_id=container).stats
    assert stats.cpu.usage_core_nano_seconds.value > 10**8
    assert stats.memory.working_set_bytes.value > 0
    cri("StopContainer", container_id=container, timeout=0)


def test_security_settings_of_a_container(cri: Cri, pod: str) -> None:
    security = {
        "capabilities": {"add_capabilities": ["NET_ADMIN"], "drop_capabilities": ["CHOWN"]},
        "run_as_user": {"value": 1000},
        "readonly_rootfs": True,
        "no_new_privs": True,
        "masked_paths": ["/proc/kcore"],
    }
    container = cri.started(pod, "secured", *SLEEP, security=security)
    code, out, _ = cri.exec(container, "sh", "-c", "id -u; touch /x 2>&1; grep -E 'CapBnd|NoNew' /proc/self/status")
    assert code == 0
    user, touched, bounding, privileges = out.splitlines()
    assert user == "1000"
    assert "Read-only" in touched
    assert int(bounding.split()[1], 16) >> 12 & 1 == 1
    assert int(bounding.split()[1], 16) & 1 == 0
    assert privileges.split()[1] == "1"


def test_a_volume_is_mounted(cri: Cri, pod: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("host\n")
    mount = {"host_path": str(tmp_path), "container_path": "/v", "readonly": True}
    container = cri.started(pod, "mounted", *SLEEP, mounts=[mount])
    assert cri.exec(container, "sh", "-c", "cat /v/file; touch /v/x 2>&1")[1].startswith("host\n")
    assert not (tmp_path / "x").exists()


def test_a_command_that_is_missing_is_an_error_of_start_or_create(cri: Cri, pod: str) -> None:
    import grpc

    with pytest.raises(grpc.RpcError, match="executable file not found"):
        cri.started(pod, "missing", "nosuch")


def test_two_containers_share_the_namespaces_of_their_pod(cri: Cri) -> None:
    pod = cri.pod("bridged")
    server = "mkdir /www; echo page >/www/page; exec httpd -f -p 80 -h /www"
    cri.started(pod, "server", "sh", "-c", server)
    asking = cri.started(pod, "asking", *SLEEP)
    wait_for(lambda: cri.exec(asking, "wget", "-qO-", "http://127.0.0.1/page")[1] == "page\n", "the page")
    assert cri.exec(asking, "hostname")[1] == "bridged\n"
    address = cri("PodSandboxStatus", pod_sandbox_id=pod).status.network.ip
    assert address.startswith("10.222.0.")
    other = cri.started(cri.pod("other"), "other", *SLEEP)
    assert cri.exec(other, "wget", "-qO-", f"http://{address}/page")[1] == "page\n"
    assert "page" not in cri.exec(other, "wget", "-qO-", "-T", "2", "http://127.0.0.1/page")[1]


def test_a_process_namespace_is_shared_when_asked_for(cri: Cri) -> None:
    pod = cri.pod("shared")
    options = {"namespace_options": {"pid": 0}}
    first = cri.started(pod, "first", *SLEEP, security=options)
    second = cri.started(pod, "second", "sleep", "601", security=options)
    assert "sleep 601" in cri.exec(first, "ps", "-o", "args")[1]
    assert "sleep 600" in cri.exec(second, "ps", "-o", "args")[1]


def test_a_pod_that_is_removed_leaves_nothing(cri: Cri) -> None:
    pod = cri.pod("gone")
    container = cri.started(pod, "one", *SLEEP)
    pid = int(cri.exec(container, "sh", "-c", "echo 1")[1])
    assert pid == 1
    cri("StopPodSandbox", pod_sandbox_id=pod)
    cri("RemovePodSandbox", pod_sandbox_id=pod)
    assert pod not in [found.id for found in cri("ListPodSandbox").items]
    assert container not in [found.id for found in cri("ListContainers").containers]
    assert not [path for path in cri.place.cgroups() if path.name in {pod, container}]
