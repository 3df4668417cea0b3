"""ctr run: containerd's own client, with ocirt by --runc-binary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.containerd import Containerd
from tests.integration.support import wait_for
from tests.integration.views import fields


@pytest.fixture
def running(containerd: Containerd) -> Iterator[str]:
    """The name of a task that sleeps."""
    containerd.run("task", "--", "sleep", "600", detach=True, check=True)
    yield "task"
    containerd("tasks", "delete", "--force", "task")
    containerd("containers", "delete", "task", check=True)


def status(containerd: Containerd, name: str) -> str:
    """What `ctr tasks list` says of it."""
    lines = [line.split() for line in containerd("tasks", "list", check=True).stdout.splitlines()]
    return next((line[2] for line in lines if line[0] == name), "none")


def test_the_exit_code_is_passed_on(containerd: Containerd) -> None:
    done = containerd.run("one", "--", "sh", "-c", "echo out; exit 3")
    assert (done.code, done.stdout) == (3, "out\n")


def test_options_reach_the_process(containerd: Containerd, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("host\n")
    words = ("--cwd=/tmp", "--env=A=b", f"--mount=type=bind,src={tmp_path},dst=/h,options=rbind:ro")
    done = containerd.run("one", *words, "--", "sh", "-c", "pwd; echo $A; cat /h/file", check=True)
    assert done.stdout.splitlines() == ["/tmp", "b", "host"]


def test_capabilities_seccomp_and_a_read_only_root(containerd: Containerd) -> None:
    words = ("--cap-add=CAP_NET_ADMIN", "--seccomp", "--read-only")
    done = containerd.run("one", *words, "--", "sh", "-c", "touch /x 2>&1; cat /proc/self/status", check=True)
    first, _, rest = done.stdout.partition("\n")
    assert "Read-only" in first
    assert int(fields(rest)["CapEff"], 16) >> 12 & 1
    assert fields(rest)["Seccomp"] == "2"


def test_the_hosts_network_is_the_places(containerd: Containerd) -> None:
    mine = containerd.place.run("readlink", "/proc/self/ns/net", check=True).stdout
    assert containerd.run("one", "--net-host", "--", "readlink", "/proc/self/ns/net", check=True).stdout == mine


def test_what_cannot_run_says_why_and_leaves_nothing(containerd: Containerd) -> None:
    done = containerd.run("one", "--", "nosuch", check=False)
    assert "executable file not found" in done.stderr
    assert containerd("containers", "list", "--quiet", check=True).stdout == ""


def test_a_limit_is_the_kernels(containerd: Containerd) -> None:
    if not Path("/sys/fs/cgroup/memory").is_dir():
        pytest.skip("needs cgroup v1")
    file = f"/sys/fs/cgroup/memory{containerd.place.cgroup}/one/memory.limit_in_bytes"
    mount = "--mount=type=bind,src=/sys/fs/cgroup,dst=/cg,options=rbind:ro"
    words = ("--memory-limit=33554432", mount, "--", "cat", file.replace("/sys/fs/cgroup", "/cg"))
    assert containerd.run("one", *words, check=True).stdout == "33554432\n"


def test_a_task_is_listed_executed_in_and_killed(containerd: Containerd, running: str) -> None:
    assert status(containerd, running) == "RUNNING"
    done = containerd("tasks", "exec", "--exec-id=e1", running, "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline; exit 4")
    assert (done.code, done.stdout) == (4, "sleep 600 ")
    assert len(containerd("tasks", "ps", running, check=True).stdout.splitlines()) == 2
    containerd("tasks", "kill", "--signal=SIGKILL", running, check=True)
    wait_for(lambda: status(containerd, running) == "STOPPED", "stopped")


def test_a_task_is_paused_and_resumed(containerd: Containerd, running: str) -> None:
    containerd("tasks", "pause", running, check=True)
    assert status(containerd, running) == "PAUSED"
    containerd("tasks", "resume", running, check=True)
    assert status(containerd, running) == "RUNNING"


def test_the_metrics_of_a_task(containerd: Containerd, running: str) -> None:
    assert running in containerd("tasks", "metrics", running, check=True).stdout


def test_a_task_with_a_terminal(containerd: Containerd) -> None:
    assert "/dev/pts/0" in containerd.terminal("one", "--", "tty").stdout
