"""What a container uses, and that it ran out of memory, as lines of JSON."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ocirt
from tests.integration.support import Container, Json, Runtime, wait_for
from tests.integration.views import MakeBundle, host_cgroups

SECTIONS = {"cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces"}
# dd holds one block of its size in memory
EATER = ["sh", "-c", "read go; dd if=/dev/zero of=/dev/null bs=64M count=1; echo survived; sleep 60"]


class Watcher:
    """A running `ocirt events`."""

    def __init__(self, container: Container, *flags: str) -> None:
        self.stem = container.runtime.scratch / "events"
        self.process = container.runtime.popen("events", *flags, container.id, stem=self.stem)

    def lines(self) -> list[Json]:
        """What it has printed so far."""
        text = self.stem.with_suffix(".out").read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def kinds(self) -> list[str]:
        """The types of the events so far."""
        return [str(line["type"]) for line in self.lines()]

    def stop(self) -> None:
        """It must not outlive the test."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


@pytest.fixture
def watch(runtime: Runtime) -> Any:
    """watch(container, *flags) → Watcher, stopped after the test."""
    watchers: list[Watcher] = []

    def start(container: Container, *flags: str) -> Watcher:
        watchers.append(Watcher(container, *flags))
        return watchers[-1]

    yield start
    for watcher in watchers:
        watcher.stop()


@pytest.fixture
def busy(runtime: Runtime, make_bundle: MakeBundle) -> Container:
    """A container that uses a little of everything."""
    return runtime.start(make_bundle(args=["sh", "-c", "sleep 600 & while :; do sleep 0.01; done"]))


def stats_of(container: Container) -> Json:
    found = container.runtime.run("events", "--stats", container.id, check=True)
    assert found.stderr == ""
    assert found.stdout.count("\n") == 1
    event = found.json()
    assert (event["type"], event["id"]) == ("stats", container.id)
    data = event["data"]
    assert isinstance(data, dict)
    return data


def test_stats_are_printed_once_with_every_section(busy: Container) -> None:
    data = stats_of(busy)
    assert set(data) == SECTIONS
    assert {"kernel", "user"} <= set(data["cpu"]["usage"])
    assert set(data["memory"]["usage"]) >= {"limit", "failcnt"}
    assert data["intel_rdt"] == {}


def test_the_figures_are_those_of_the_containers_cgroups(busy: Container) -> None:
    homes = host_cgroups(busy.pid)
    controllers = ",".join(homes)
    if (v2 := Path("/sys/fs/cgroup" + homes.get("", "/none"), "cgroup.controllers")).exists():
        controllers += ",".join({"pids", "memory"} & set(v2.read_text().split()))
    wait_for(lambda: stats_of(busy)["cpu"]["usage"].get("total", 0) > 0, "time is counted")
    data = stats_of(busy)
    checks: dict[str, Callable[[], bool]] = {
        "pids": lambda: data["pids"]["current"] >= 2,
        "memory": lambda: data["memory"]["usage"]["usage"] > 4096 and bool(data["memory"]["raw"]),
        "cpuacct": lambda: len(data["cpu"]["usage"]["percpu"]) >= 1,
        "cpuset": lambda: data["cpuset"]["cpus"] != [] and data["cpuset"]["sched_load_balance"] in (0, 1),
    }
    counted = {name: check for name, check in checks.items() if name in controllers}
    if not counted:
        pytest.skip("needs a hierarchy with controllers")
    assert {name: check() for name, check in counted.items()} == dict.fromkeys(counted, True)


def test_interfaces_of_the_containers_own_network_are_listed_without_the_loopback(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    container = runtime.start(make_bundle(args=["sleep", "60"]))
    assert stats_of(container)["network_interfaces"] is None
    argv = ["nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", "link", "add", "veth-a", "type", "veth"]
    if subprocess.run([*argv, "peer", "name", "veth-b"], check=False).returncode:
        pytest.skip("needs ip(8) and veth")
    found = stats_of(container)["network_interfaces"]
    assert sorted(entry["Name"] for entry in found) == ["veth-a", "veth-b"]
    assert set(found[0]) == {
        "Name", "RxBytes", "RxPackets", "RxErrors", "RxDropped", "TxBytes", "TxPackets", "TxErrors", "TxDropped",
    }  # fmt: skip


@pytest.mark.parametrize("name", [b"a\x1cb", b"a\xc2\x85", b"\xff\x1d", b"\x1elo"])
def test_a_container_cannot_name_a_device_so_that_its_figures_are_not_read(
    runtime: Runtime, make_bundle: MakeBundle, name: bytes
) -> None:
    """To Python some bytes end a line that are letters to the kernel."""
    container = runtime.start(make_bundle(args=["sleep", "60"]))
    argv = ["nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", "link", "add", name, "type", "veth"]
    if subprocess.run([*argv, "peer", "name", "veth-b"], check=False).returncode:
        pytest.skip("needs ip(8) and veth")
    found = {entry["Name"]: entry for entry in stats_of(container)["network_interfaces"]}
    assert set(found) == {name.decode("utf-8", "replace"), "veth-b"}
    assert found["veth-b"]["RxBytes"] == 0


def test_no_device_is_left_out_where_there_are_many(runtime: Runtime, make_bundle: MakeBundle) -> None:
    container = runtime.start(make_bundle(args=["sleep", "60"]))
    lines = "".join(f"link add a{number} type veth peer name b{number}\n" for number in range(40))
    argv = ["nsenter", f"--net=/proc/{container.pid}/ns/net", "ip", "-batch", "-"]
    if subprocess.run(argv, input=lines.encode(), check=False).returncode:
        pytest.skip("needs ip(8) and veth")
    names = {entry["Name"] for entry in stats_of(container)["network_interfaces"]}
    assert names == {f"{side}{number}" for side in "ab" for number in range(40)}


def test_figures_come_at_the_interval_until_the_container_ends(busy: Container, watch: Any) -> None:
    watcher = watch(busy, "--interval", "50ms")
    begin = time.monotonic()
    wait_for(lambda: len(watcher.lines()) >= 4, "four events")
    assert time.monotonic() - begin >= 0.15
    assert set(watcher.kinds()) == {"stats"}
    totals = [line["data"]["cpu"]["usage"].get("total", 0) for line in watcher.lines()]
    assert totals == sorted(totals)
    busy.kill("KILL")
    assert watcher.process.wait(5) == 0


def has_pidfd(pid: int) -> bool:
    """Whether the process holds a pidfd."""
    try:
        return any("pidfd" in os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:  # closed meanwhile
        return False


def test_the_end_of_the_container_is_not_waited_for_until_the_interval_is_over(busy: Container, watch: Any) -> None:
    watcher = watch(busy)
    wait_for(lambda: has_pidfd(watcher.process.pid), "it watches")
    busy.delete("--force")
    assert watcher.process.wait(4) == 0
    assert watcher.lines() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_watching(busy: Container, watch: Any, number: int) -> None:
    watcher = watch(busy, "--interval", "50ms")
    wait_for(watcher.lines, "an event")
    watcher.process.send_signal(number)
    assert watcher.process.wait(5) != 0
    assert "Traceback" not in watcher.stem.with_suffix(".err").read_text()
    assert busy.status == "running"


def test_a_reader_that_has_had_enough_ends_it_without_a_word(busy: Container) -> None:
    argv = f"'{busy.runtime.program}' --root '{busy.runtime.root}' events --interval 20ms {busy.id} | head -n 1"
    done = subprocess.run(["timeout", "20", "sh", "-c", argv], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["type"] == "stats"
    assert done.stderr == ""


def limited(runtime: Runtime, make_bundle: MakeBundle, go: Path, **linux: Any) -> Container:
    """A container that outgrows its memory once something is written to the file `go`."""
    os.mkfifo(go)
    delta = {"resources": {"memory": {"limit": 16 << 20, "swap": 16 << 20}}} | linux
    with open(os.open(go, os.O_RDWR)) as stdin:
        return runtime.start(make_bundle(args=EATER, linux=delta), stdin=stdin)


def test_running_out_of_memory_is_an_event(
    runtime: Runtime, make_bundle: MakeBundle, watch: Any, tmp_path: Path
) -> None:
    container = limited(runtime, make_bundle, tmp_path / "go")
    watcher = watch(container, "--interval", "100ms")
    wait_for(watcher.lines, "it watches")
    (tmp_path / "go").write_text("go\n")
    wait_for(lambda: "survived" in container.stdout, "the shell outlives its child")
    wait_for(lambda: "oom" in watcher.kinds(), "an oom event")
    event = next(line for line in watcher.lines() if line["type"] == "oom")
    assert event == {"type": "oom", "id": container.id}
    memory = stats_of(container)["memory"]
    assert memory["usage"]["limit"] == 16 << 20
    assert (15 << 20) < memory["usage"]["max"] <= (16 << 20)
    assert container.status == "running"
    container.delete("--force")
    assert watcher.process.wait(5) == 0
    assert watcher.kinds().count("oom") == 1, "the end of the cgroup is no second one"


def test_what_does_not_run_or_exist_has_no_events(busy: Container) -> None:
    run = busy.runtime.run
    assert "container does not exist" in run("events", "no-such", check=False).stderr
    assert "is not a duration" in run("events", "--interval", "soon", busy.id, check=False).stderr
    busy.kill("KILL")
    busy.wait_stopped()
    for flags in ([], ["--stats"]):
        assert "container not running" in run("events", *flags, busy.id, check=False).stderr


def test_a_created_or_paused_container_has_figures(runtime: Runtime, make_bundle: MakeBundle) -> None:
    container = runtime.create(make_bundle(args=["sleep", "60"]))
    assert set(stats_of(container)) == SECTIONS
    container.start()
    container.pause()
    assert set(stats_of(container)) == SECTIONS


def test_a_python_program_pauses_lists_and_watches(busy: Container) -> None:
    container = ocirt.Runtime(str(busy.runtime.root)).container(busy.id)
    assert busy.pid in container.pids()
    assert set(container.stats()) == SECTIONS
    events = container.events(0.02)
    assert next(events)["type"] == "stats"
    container.pause()
    assert container.status == "paused"
    assert next(events)["id"] == busy.id
    with pytest.raises(ocirt.ContainerNotRunning):
        container.pause()
    container.resume()
    assert container.status == "running"
    with pytest.raises(ocirt.ContainerError, match="container not paused"):
        container.resume()
    container.kill("KILL")
    assert all(event["type"] == "stats" for event in events), "it ends with the container"
