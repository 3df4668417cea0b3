"""Docker's commands on a running container: logs, exec, top, stats, pause, update, restart policies, healthchecks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.docker import Docker
from tests.integration.support import wait_for

SLEEP = ("--", "sleep", "600")


@pytest.fixture
def removed(docker: Docker) -> Iterator[str]:
    """A name; a container of that name is removed at the end."""
    yield "life"
    docker("rm", "--force", "life")


@pytest.fixture
def running(docker: Docker, removed: str) -> str:
    """The name of a container that sleeps."""
    docker.start(removed, *SLEEP)
    return removed


def status(docker: Docker, name: str) -> str:
    """State and exit code."""
    return docker.inspect(name, ".State.Status") + " " + docker.inspect(name, ".State.ExitCode")


def test_a_detached_container_runs_and_its_output_is_in_the_logs(docker: Docker, removed: str) -> None:
    docker.start(removed, "--", "sh", "-c", "echo out; echo err >&2; exit 5")
    assert docker("wait", removed, check=True).stdout == "5\n"
    logs = docker("logs", removed, check=True)
    assert (logs.stdout, logs.stderr) == ("out\n", "err\n")
    assert status(docker, removed) == "exited 5"


def test_stop_sends_the_signal_and_then_kills(docker: Docker, running: str) -> None:
    docker("stop", "--time=1", running, check=True)
    assert status(docker, running) == "exited 137"


def test_stop_lets_the_process_end_by_itself(docker: Docker, removed: str) -> None:
    docker.start(removed, "--", "sh", "-c", "trap 'exit 4' TERM; echo ready; while :; do sleep 0.1; done")
    wait_for(lambda: "ready" in docker("logs", removed).stdout, "ready")
    docker("stop", "--time=20", removed, check=True)
    assert status(docker, removed) == "exited 4"


def test_kill_start_and_restart(docker: Docker, running: str) -> None:
    docker("kill", running, check=True)
    assert docker("wait", running, check=True).stdout == "137\n"
    docker("start", running, check=True)
    before = docker.inspect(running, ".State.Pid")
    docker("restart", "--time=0", running, check=True)
    assert docker.inspect(running, ".State.Pid") != before
    assert docker.inspect(running, ".State.Status") == "running"


def test_pause_stops_it_and_unpause_lets_it_go_on(docker: Docker, removed: str) -> None:
    docker.start(removed, "--", "sh", "-c", "while :; do echo x; sleep 0.05; done")
    docker("pause", removed, check=True)
    assert docker.inspect(removed, ".State.Status") == "paused"
    said = docker("logs", removed, check=True).stdout
    time.sleep(0.3)
    assert docker("logs", removed, check=True).stdout == said
    docker("unpause", removed, check=True)
    wait_for(lambda: len(docker("logs", removed, check=True).stdout) > len(said), "it goes on")


def test_exec_runs_in_the_container(docker: Docker, running: str) -> None:
    script = "id -u; pwd; echo $A; tr '\\0' ' ' </proc/1/cmdline; exit 6"
    done = docker("exec", "--user=1000", "--workdir=/tmp", "--env=A=b", running, "sh", "-c", script)
    assert done.code == 6
    assert done.stdout.splitlines() == ["1000", "/tmp", "b", "sleep 600 "]


def test_exec_has_streams_of_its_own(docker: Docker, running: str) -> None:
    done = docker("exec", "--interactive", running, "sh", "-c", "cat; echo err >&2", stdin=b"in\n", check=True)
    assert (done.stdout, done.stderr) == ("in\n", "err\n")


@pytest.mark.parametrize("command", ["nosuch", "/nosuch", "/etc"])
def test_exec_of_what_cannot_run_is_126_or_127(docker: Docker, running: str, command: str) -> None:
    assert docker("exec", running, command).code in {126, 127}


def test_exec_detached_goes_on(docker: Docker, running: str) -> None:
    docker("exec", "--detach", running, "sh", "-c", "echo here >/tmp/made; sleep 600", check=True)
    wait_for(lambda: docker("exec", running, "cat", "/tmp/made").stdout == "here\n", "it ran")
    assert docker("top", running, check=True).stdout.count("sleep 600") >= 2


def test_exec_with_a_terminal_has_one(docker: Docker, running: str) -> None:
    words = ["docker", "--host", docker.socket, "exec", "-t", running, "tty"]
    done = docker.place.run("script", "-qec", " ".join(words), "/dev/null", check=True)
    assert "/dev/pts/" in done.stdout


@pytest.mark.usefixtures("every_capability")
def test_privileged_exec_has_every_capability(docker: Docker, running: str) -> None:
    plain = docker("exec", running, "grep", "CapEff", "/proc/self/status", check=True).stdout
    more = docker("exec", "--privileged", running, "grep", "CapEff", "/proc/self/status", check=True).stdout
    assert int(more.split()[1], 16) > int(plain.split()[1], 16)


def test_top_and_stats_see_the_processes(docker: Docker, running: str) -> None:
    assert "sleep 600" in docker("top", running, check=True).stdout
    line = docker("stats", "--no-stream", "--format={{.Name}} {{.PIDs}}", running, check=True).stdout
    assert line.split() == [running, "1"]


def test_update_changes_the_limits(docker: Docker, running: str) -> None:
    docker("update", "--pids-limit=55", "--cpu-shares=300", "--memory=64m", "--memory-swap=-1", running, check=True)
    if not Path("/sys/fs/cgroup/pids").is_dir():
        pytest.skip("needs cgroup v1")
    files = [f"/sys/fs/cgroup/{name}" for name in ("pids/pids.max", "cpu/cpu.shares", "memory/memory.limit_in_bytes")]
    assert docker("exec", running, "cat", *files, check=True).stdout.split() == ["55", "300", "67108864"]


def test_a_healthcheck_is_an_exec(docker: Docker, removed: str) -> None:
    words = ("--health-cmd=test -e /tmp/well", "--health-interval=200ms", "--health-retries=1")
    docker.start(removed, *words, *SLEEP)
    wait_for(lambda: docker.inspect(removed, ".State.Health.Status") == "unhealthy", "unhealthy")
    docker("exec", removed, "touch", "/tmp/well", check=True)
    wait_for(lambda: docker.inspect(removed, ".State.Health.Status") == "healthy", "healthy")


def test_the_restart_policy_is_followed(docker: Docker, removed: str) -> None:
    docker.start(removed, "--restart=on-failure:2", "--", "sh", "-c", "echo run; exit 1")
    wait_for(lambda: docker("logs", removed).stdout == "run\n" * 3, "three runs", 20)
    wait_for(lambda: docker.inspect(removed, ".State.Status") == "exited", "it is given up")
    assert docker.inspect(removed, ".RestartCount") == "2"


def test_a_container_over_its_memory_is_killed_and_docker_knows_why(docker: Docker, removed: str) -> None:
    script = "x=x; while :; do x=$x$x; done"
    docker.start(removed, "--memory=16m", "--memory-swap=16m", "--", "sh", "-c", script)
    assert docker("wait", removed, check=True).stdout == "137\n"
    assert docker.inspect(removed, ".State.OOMKilled") == "true"


def test_a_container_without_a_pid_namespace_is_stopped_whole(docker: Docker, removed: str) -> None:
    docker.start(removed, "--pid=host", "--", "sh", "-c", "sleep 6789 & sleep 6788")
    wait_for(lambda: any("6789" in words for words in docker.place.processes().values()), "both run")
    docker("stop", "--time=0", removed, check=True)
    wait_for(lambda: not any("678" in words for words in docker.place.processes().values()), "none is left")


def test_files_are_copied_and_the_container_is_committed(docker: Docker, running: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("copied\n")
    docker("cp", str(tmp_path / "in"), f"{running}:/tmp/in", check=True)
    assert "A /tmp/in" in docker("diff", running, check=True).stdout
    docker("commit", running, "committed", check=True)
    assert docker("run", "--rm", "--network=none", "committed", "cat", "/tmp/in", check=True).stdout == "copied\n"
    docker("rmi", "committed", check=True)
