"""Commands on a running container that Podman and Docker share: logs, exec, top, pause, stop, restart policies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.engine import SLEEP, Engine
from tests.integration.support import wait_for


@pytest.fixture
def removed(engine: Engine) -> Iterator[str]:
    """A name; a container of that name is removed at the end."""
    yield "life"
    engine.remove("life")


@pytest.fixture
def running(engine: Engine, removed: str) -> str:
    """The name of a container that sleeps."""
    engine.start(removed, *SLEEP)
    return removed


def test_a_detached_container_runs_and_its_output_is_in_the_logs(engine: Engine, removed: str) -> None:
    engine.start(removed, "--", "sh", "-c", "echo out; echo err >&2; exit 5")
    assert engine("wait", removed, check=True).stdout == "5\n"
    logs = engine("logs", removed, check=True)
    assert (logs.stdout, logs.stderr) == ("out\n", "err\n")
    assert engine.status(removed) == "exited 5"


def test_stop_sends_the_signal_and_then_kills(engine: Engine, running: str) -> None:
    engine("stop", "--time=1", running, check=True)
    assert engine.status(running) == "exited 137"


def test_stop_lets_the_process_end_by_itself(engine: Engine, removed: str) -> None:
    engine.start(removed, "--", "sh", "-c", "trap 'exit 4' TERM; echo ready; while :; do sleep 0.1; done")
    wait_for(lambda: "ready" in engine("logs", removed).stdout, "ready")
    engine("stop", "--time=20", removed, check=True)
    assert engine.status(removed) == "exited 4"


def test_kill_start_and_restart(engine: Engine, running: str) -> None:
    engine("kill", running, check=True)
    assert engine("wait", running, check=True).stdout == "137\n"
    engine("start", running, check=True)
    before = engine.inspect(running, ".State.Pid")
    engine("restart", "--time=0", running, check=True)
    assert engine.inspect(running, ".State.Pid") != before
    assert engine.inspect(running, ".State.Status") == "running"


def test_a_container_without_a_pid_namespace_is_stopped_whole(engine: Engine, removed: str) -> None:
    engine.start(removed, "--pid=host", "--", "sh", "-c", "sleep 6789 & sleep 6788")
    wait_for(lambda: any("6789" in words for words in engine.place.processes().values()), "both run")
    engine("stop", "--time=0", removed, check=True)
    wait_for(lambda: not any("678" in words for words in engine.place.processes().values()), "none is left")


def test_pause_stops_it_and_unpause_lets_it_go_on(engine: Engine, removed: str) -> None:
    engine.start(removed, "--", "sh", "-c", "while :; do echo x; sleep 0.05; done")
    engine("pause", removed, check=True)
    assert engine.inspect(removed, ".State.Status") == "paused"
    said = engine("logs", removed, check=True).stdout
    time.sleep(0.3)
    assert engine("logs", removed, check=True).stdout == said
    engine("unpause", removed, check=True)
    wait_for(lambda: len(engine("logs", removed, check=True).stdout) > len(said), "it goes on")


def test_exec_runs_in_the_container(engine: Engine, running: str) -> None:
    script = "id -u; pwd; echo $A; tr '\\0' ' ' </proc/1/cmdline; exit 6"
    done = engine("exec", "--user=1000", "--workdir=/tmp", "--env=A=b", running, "sh", "-c", script)
    assert done.code == 6
    assert done.stdout.splitlines() == ["1000", "/tmp", "b", "sleep 600 "]


def test_exec_has_streams_of_its_own(engine: Engine, running: str) -> None:
    done = engine("exec", "--interactive", running, "sh", "-c", "cat; echo err >&2", stdin=b"in\n", check=True)
    assert (done.stdout, done.stderr) == ("in\n", "err\n")


@pytest.mark.parametrize("command", ["nosuch", "/nosuch", "/etc"])
def test_exec_of_what_cannot_run_is_126_or_127(engine: Engine, running: str, command: str) -> None:
    assert engine("exec", running, command).code in {126, 127}


def test_exec_detached_goes_on(engine: Engine, running: str) -> None:
    engine("exec", "--detach", running, "sh", "-c", "echo here >/tmp/made; sleep 600", check=True)
    wait_for(lambda: engine("exec", running, "cat", "/tmp/made").stdout == "here\n", "it ran")
    assert engine("top", running, check=True).stdout.count("sleep 600") >= 2


@pytest.mark.usefixtures("every_capability")
def test_privileged_exec_has_every_capability(engine: Engine, running: str) -> None:
    plain = engine("exec", running, "grep", "CapEff", "/proc/self/status", check=True).stdout
    more = engine("exec", "--privileged", running, "grep", "CapEff", "/proc/self/status", check=True).stdout
    assert int(more.split()[1], 16) > int(plain.split()[1], 16)


def test_the_restart_policy_is_followed(engine: Engine, removed: str) -> None:
    engine.start(removed, "--restart=on-failure:2", "--", "sh", "-c", "echo run; exit 1")
    wait_for(lambda: engine("logs", removed).stdout == "run\n" * 3, "three runs", 20)
    wait_for(lambda: engine.inspect(removed, ".State.Status") == "exited", "it is given up")
    assert engine.inspect(removed, ".RestartCount") == "2"


def test_files_are_copied_and_the_container_is_committed(engine: Engine, running: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("copied\n")
    engine("cp", str(tmp_path / "in"), f"{running}:/tmp/in", check=True)
    assert "A /tmp/in" in engine("diff", running, check=True).stdout
    engine("commit", running, "committed", check=True)
    words = ("run", "--rm", "--network=none", *engine.container, "committed", "cat", "/tmp/in")
    assert engine(*words, check=True).stdout == "copied\n"
    engine("rmi", "committed", check=True)


def test_exec_with_a_terminal_has_one(engine: Engine, running: str) -> None:
    assert "/dev/pts/" in engine.terminal("exec", "-it", running, "tty").stdout


def test_top_and_stats_see_the_processes(engine: Engine, running: str) -> None:
    assert "sleep 600" in engine("top", running, check=True).stdout
    line = engine("stats", "--no-stream", "--format={{.Name}} {{.PIDs}}", running, check=True).stdout
    assert line.split() == [running, "1"]


def test_a_container_with_a_terminal_runs_detached(engine: Engine, removed: str) -> None:
    engine.start(removed, "--tty", "--", "sh", "-c", "tty; ls -l /dev/console | cut -c1")
    engine("wait", removed, check=True)
    first, kind = engine("logs", removed, check=True).stdout.split("\r\n")[:2]
    assert first.startswith("/dev/pts/")
    assert kind == "c"


def test_attach_sees_what_comes(engine: Engine, removed: str) -> None:
    engine.start(removed, "--", "sh", "-c", "sleep 1; echo late; exit 3")
    assert "late\n" in engine("attach", removed).stdout
    assert engine("wait", removed, check=True).stdout == "3\n"


def test_many_at_once(engine: Engine) -> None:
    names = [f"many{number}" for number in range(6)]
    for name in names:
        engine.start(name, *SLEEP)
    assert set(names) <= set(engine("ps", "--format={{.Names}}", check=True).stdout.split())
    engine.remove(*names)
    assert not set(names) & set(engine("ps", "--all", "--format={{.Names}}", check=True).stdout.split())
