"""Podman's commands on a running container: logs, top, stats, pause, stop, restart, healthchecks, attach, update."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.podman import Podman
from tests.integration.support import wait_for

SLEEP = ("--", "sleep", "600")


@pytest.fixture
def running(podman: Podman) -> Iterator[str]:
    """The name of a container that sleeps."""
    podman.start("life", *SLEEP)
    yield "life"
    podman("rm", "--force", "--time=0", "life", check=True)


@pytest.fixture
def removed(podman: Podman) -> Iterator[str]:
    """A name; a container of that name is removed at the end."""
    yield "life"
    podman("rm", "--force", "--time=0", "life")


def status(podman: Podman, name: str) -> str:
    """State and exit code."""
    return podman.inspect(name, ".State.Status") + " " + podman.inspect(name, ".State.ExitCode")


def test_a_detached_container_runs_and_its_output_is_in_the_logs(podman: Podman, removed: str) -> None:
    podman.start(removed, "--", "sh", "-c", "echo out; echo err >&2; exit 5")
    assert podman("wait", removed, check=True).stdout == "5\n"
    logs = podman("logs", removed, check=True)
    assert (logs.stdout, logs.stderr) == ("out\n", "err\n")
    assert status(podman, removed) == "exited 5"


def test_stop_sends_the_signal_and_then_kills(podman: Podman, running: str, removed: str) -> None:
    podman("stop", "--time=1", running, check=True)
    assert status(podman, running) == "exited 137"


def test_stop_lets_the_process_end_by_itself(podman: Podman, removed: str) -> None:
    podman.start(removed, "--", "sh", "-c", "trap 'exit 4' TERM; echo ready; while :; do sleep 0.1; done")
    wait_for(lambda: "ready" in podman("logs", removed).stdout, "ready")
    podman("stop", "--time=20", removed, check=True)
    assert status(podman, removed) == "exited 4"


def test_kill_start_and_restart(podman: Podman, running: str) -> None:
    podman("kill", running, check=True)
    assert podman("wait", running, check=True).stdout == "137\n"
    podman("start", running, check=True)
    assert podman.inspect(running, ".State.Status") == "running"
    before = podman.inspect(running, ".State.Pid")
    podman("restart", "--time=0", running, check=True)
    assert podman.inspect(running, ".State.Pid") != before


def test_a_container_without_a_pid_namespace_is_stopped_whole(podman: Podman, removed: str) -> None:
    podman.start(removed, "--pid=host", "--", "sh", "-c", "sleep 6789 & sleep 6788")
    wait_for(lambda: any("6789" in words for words in podman.place.processes().values()), "both run")
    podman("stop", "--time=0", removed, check=True)
    wait_for(lambda: not any("678" in words for words in podman.place.processes().values()), "none is left")


def test_pause_stops_it_and_unpause_lets_it_go_on(podman: Podman, removed: str) -> None:
    podman.start(removed, "--", "sh", "-c", "while :; do echo x; sleep 0.05; done")
    podman("pause", removed, check=True)
    assert podman.inspect(removed, ".State.Status") == "paused"
    said = podman("logs", removed, check=True).stdout
    assert podman("logs", removed, check=True).stdout == said
    podman("unpause", removed, check=True)
    assert podman.inspect(removed, ".State.Status") == "running"
    wait_for(lambda: len(podman("logs", removed, check=True).stdout) > len(said), "it goes on")


def test_top_and_stats_see_the_processes(podman: Podman, running: str) -> None:
    assert "sleep 600" in podman("top", running, "pid", "args", check=True).stdout
    line = podman("stats", "--no-stream", "--no-reset", "--format={{.Name}} {{.PIDs}}", running, check=True).stdout
    assert line.split() == [running, "1"]


def test_exec_runs_in_the_container(podman: Podman, running: str) -> None:
    script = "id -u; pwd; echo $A; tr '\\0' ' ' </proc/1/cmdline; exit 6"
    done = podman("exec", "--user=1000", "--workdir=/tmp", "--env=A=b", running, "sh", "-c", script)
    assert done.code == 6
    assert done.stdout.splitlines() == ["1000", "/tmp", "b", "sleep 600 "]


def test_exec_has_streams_of_its_own(podman: Podman, running: str) -> None:
    done = podman("exec", "--interactive", running, "sh", "-c", "cat; echo err >&2", stdin=b"in\n", check=True)
    assert (done.stdout, done.stderr) == ("in\n", "err\n")


@pytest.mark.parametrize(("command", "code"), [("nosuch", 127), ("/nosuch", 127), ("/etc", 126)])
def test_exec_of_what_cannot_run_has_podmans_codes(podman: Podman, running: str, command: str, code: int) -> None:
    assert podman("exec", running, command).code == code


def test_exec_detached_goes_on(podman: Podman, running: str) -> None:
    podman("exec", "--detach", running, "sh", "-c", "echo here >/tmp/made; sleep 600", check=True)
    wait_for(lambda: podman("exec", running, "cat", "/tmp/made").stdout == "here\n", "it ran")
    assert "sleep 600" in podman("top", running, "args", check=True).stdout


def test_exec_with_a_terminal_has_one(podman: Podman, running: str) -> None:
    words = ["podman", *podman.flags, "exec", "-it", running, "sh", "-c", "tty; ls -l /dev/console | cut -c1"]
    done = podman.place.run("script", "-qec", " ".join(f"'{word}'" for word in words), "/dev/null", check=True)
    assert "/dev/pts/" in done.stdout.splitlines()[0]


def test_run_with_a_terminal_has_a_console(podman: Podman, removed: str) -> None:
    podman.start(removed, "--tty", "--", "sh", "-c", "tty; ls -l /dev/console | cut -c1")
    podman("wait", removed, check=True)
    first, kind = podman("logs", removed, check=True).stdout.split("\r\n")[:2]
    assert first.startswith("/dev/pts/")
    assert kind == "c"


def test_attach_sees_what_comes(podman: Podman, removed: str) -> None:
    podman.start(removed, "--", "sh", "-c", "sleep 1; echo late; exit 3")
    assert "late\n" in podman("attach", removed).stdout
    assert podman("wait", removed, check=True).stdout == "3\n"


def test_a_healthcheck_is_an_exec(podman: Podman, removed: str) -> None:
    words = ("--health-cmd=test -e /tmp/well", "--health-interval=disable", "--health-retries=1")
    podman.start(removed, *words, *SLEEP)
    assert podman("healthcheck", "run", removed).code == 1
    podman("exec", removed, "touch", "/tmp/well", check=True)
    assert podman("healthcheck", "run", removed).code == 0
    assert podman.inspect(removed, ".State.Health.Status") == "healthy"


def test_the_restart_policy_is_followed(podman: Podman, removed: str) -> None:
    podman.start(removed, "--restart=on-failure:2", "--", "sh", "-c", "echo run; exit 1")
    wait_for(lambda: podman("logs", removed).stdout == "run\n" * 3, "three runs", 20)
    wait_for(lambda: podman.inspect(removed, ".State.Status") == "exited", "it is given up")
    assert podman.inspect(removed, ".RestartCount") == "2"


def test_create_init_start(podman: Podman, removed: str) -> None:
    podman(
        "create", f"--name={removed}", "--network=none", f"--cgroup-parent={podman.place.cgroup}", "--interactive",
        podman.image, "cat", check=True,
    )  # fmt: skip
    podman("init", removed, check=True)
    assert podman.inspect(removed, ".State.Status") in {"created", "initialized"}
    assert podman("start", "--attach", "--interactive", removed, stdin=b"abc", check=True).stdout == "abc"


def test_files_are_copied_and_the_container_is_committed(podman: Podman, running: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("copied\n")
    podman("cp", str(tmp_path / "in"), f"{running}:/tmp/in", check=True)
    assert "A /tmp/in" in podman("diff", running, check=True).stdout
    podman("commit", "--quiet", running, "localhost/committed", check=True)
    done = podman(
        "run", "--rm", "--network=none", f"--cgroup-parent={podman.place.cgroup}", "localhost/committed",
        "cat", "/tmp/in", check=True,
    )  # fmt: skip
    assert done.stdout == "copied\n"
    podman("rmi", "localhost/committed", check=True)


def test_many_at_once(podman: Podman) -> None:
    names = [f"many{number}" for number in range(6)]
    for name in names:
        podman.start(name, *SLEEP)
    running = podman("ps", "--format={{.Names}}", check=True).stdout.split()
    assert set(names) <= set(running)
    podman("rm", "--force", "--time=0", *names, check=True)


def test_update_changes_the_limits(podman: Podman, running: str) -> None:
    if "update" not in podman("--help").stdout:
        pytest.skip("this Podman has no update")
    podman("update", "--cpu-shares=300", running, check=True)
    path = "cpu.weight" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "cpu/cpu.shares"
    assert podman("exec", running, "cat", f"/sys/fs/cgroup/{path}", check=True).stdout in {"300\n", "12\n"}
