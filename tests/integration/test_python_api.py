"""The Python API on real containers: the same life, exceptions with their pointers, threads, and no growth.

Most run in this very process, which is what the API is for: a threaded program with files and children of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import ocirt
from ocirt.plan import host
from tests.integration import leftovers as oracle
from tests.integration.support import Bundle, ConsoleSocket, Runtime, wait_for
from tests.integration.views import MakeBundle, fields

SLEEP = ["sleep", "600"]


@pytest.fixture
def api(runtime: Runtime) -> ocirt.Runtime:
    """The API on the state root that the oracle of left-overs watches."""
    return ocirt.Runtime(str(runtime.root))


@pytest.fixture
def ended(runtime: Runtime) -> Callable[[ocirt.Container], int]:
    """A function: kills, waits, deletes; the exit code."""

    def end(container: ocirt.Container) -> int:
        container.kill("KILL")
        code = container.wait(10)
        container.delete()
        return code

    return end


# ---- the life --------------------------------------------------------------------------------------------------------


def test_a_container_goes_through_its_life(
    api: ocirt.Runtime, runtime: Runtime, make_bundle: MakeBundle, ended: Callable[[ocirt.Container], int]
) -> None:
    container = api.create(name := runtime.new_id(), ocirt.Bundle(str(make_bundle(args=SLEEP).path)))
    assert (container.id, container.status) == (name, "created")
    assert [one.id for one in api.containers()] == [name]
    container.start()
    assert container.status == "running"
    assert Path(f"/proc/{container.pid}/cmdline").read_text() == "sleep\0" + "600\0"
    assert api.container(name).state() == container.state()
    assert ended(container) == 137
    assert api.containers() == []
    with pytest.raises(ocirt.ContainerNotFound):
        container.state()


def test_what_the_program_and_the_api_make_is_the_same(
    api: ocirt.Runtime, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    container = api.create(runtime.new_id(), str(make_bundle(args=SLEEP).path))
    listed = runtime.run("list", "--format", "json", check=True).json()
    assert listed == [container.state()]
    runtime.run("start", container.id, check=True)
    assert container.status == "running"
    runtime.run("delete", "--force", container.id, check=True)
    os.waitpid(listed[0]["pid"], 0)


def test_run_gives_the_exit_code(api: ocirt.Runtime, runtime: Runtime, make_bundle: MakeBundle) -> None:
    assert api.run(runtime.new_id(), str(make_bundle(args=["sh", "-c", "exit 7"]).path)) == 7


def test_wait_has_a_timeout(
    api: ocirt.Runtime, runtime: Runtime, make_bundle: MakeBundle, ended: Callable[[ocirt.Container], int]
) -> None:
    container = api.create(runtime.new_id(), str(make_bundle(args=SLEEP).path))
    with pytest.raises(TimeoutError):
        container.wait(0.1)
    ended(container)


def test_a_hook_of_the_inits_has_the_time_that_its_timeout_gives(
    api: ocirt.Runtime, runtime: Runtime, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "DEADLINE_MS", 300)  # of what is no hook
    hook = {"path": "/bin/sleep", "args": ["sleep", "1"], "timeout": 20}
    bundle = make_bundle(args=["sh", "-c", "exit 7"], hooks={"createContainer": [hook], "startContainer": [hook]})
    assert api.run(runtime.new_id(), str(bundle.path)) == 7


def test_options_are_those_of_the_command(
    api: ocirt.Runtime,
    runtime: Runtime,
    make_bundle: MakeBundle,
    console_socket: ConsoleSocket,
    ended: Callable[[ocirt.Container], int],
) -> None:
    bundle = make_bundle(args=SLEEP, process={"terminal": True})
    pid_file = runtime.scratch / "pid"
    container = api.create(
        runtime.new_id(), str(bundle.path), pid_file=str(pid_file), console_socket=str(console_socket.path)
    )
    os.close(console_socket.receive()[0])
    assert pid_file.read_text() == str(container.pid)
    ended(container)


# ---- exceptions ------------------------------------------------------------------------------------------------------


def broken(make_bundle: MakeBundle, **delta: Any) -> str:
    """The path of a bundle with this change."""
    return str(make_bundle(**delta).path)


# change → class, pointer
FAILURES: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "an invalid field": ({"process": {"cwd": "relative"}}, ocirt.ConfigError, "/process/cwd"),
    "what is not supported": (
        {"process": {"apparmorProfile": "some"}},
        ocirt.UnsupportedError,
        "/process/apparmorProfile",
    ),
    "a source that is missing": (
        {"mounts": [{"destination": "/m", "type": "bind", "source": "/no/such"}]},
        ocirt.PlanError,
        "/mounts/0",
    ),
    "a program that is missing": ({"args": ["no-such-program"]}, ocirt.ExecError, "/process/args/0"),
    "a hook that fails": (
        {"hooks": {"createRuntime": [{"path": "/bin/false"}]}},
        ocirt.HookError,
        "/hooks/createRuntime/0",
    ),
    "a hook that fails inside": (
        {"hooks": {"createContainer": [{"path": "/bin/false"}]}},
        ocirt.HookError,
        "/hooks/createContainer/0",
    ),
}


@pytest.mark.parametrize(("delta", "kind", "pointer"), FAILURES.values(), ids=FAILURES)
def test_a_failure_is_an_exception_with_the_place(
    api: ocirt.Runtime,
    runtime: Runtime,
    make_bundle: MakeBundle,
    delta: dict[str, Any],
    kind: type[ocirt.OcirtError],
    pointer: str,
) -> None:
    if pointer.endswith("apparmorProfile") and Path("/sys/module/apparmor/parameters/enabled").exists():
        pytest.skip("this host has AppArmor")
    with pytest.raises(kind) as caught:
        api.create(runtime.new_id(), broken(make_bundle, **delta))
    assert caught.value.pointer.startswith(pointer)
    assert "\n" not in str(caught.value)
    assert api.containers() == []


def test_each_state_forbids_what_it_forbids(api: ocirt.Runtime, runtime: Runtime, make_bundle: MakeBundle) -> None:
    path = str(make_bundle(args=SLEEP).path)
    with pytest.raises(ocirt.InvalidID):
        api.create("../escape", path)
    with pytest.raises(ocirt.BundleError):
        api.create(runtime.new_id(), "/no/such/bundle")
    with pytest.raises(ocirt.ContainerNotFound):
        api.container("nobody")
    container = api.create(name := runtime.new_id(), path)
    with pytest.raises(ocirt.ContainerExists):
        api.create(name, path)
    with pytest.raises(ocirt.ContainerError):
        container.delete()
    container.start()
    with pytest.raises(ocirt.ContainerError):
        container.start()
    container.kill(signal.SIGKILL)
    assert container.wait(10) == 137
    with pytest.raises(ocirt.ContainerNotRunning):
        container.kill()
    container.delete()
    container.delete(force=True)


def test_a_bundle_can_be_read_and_judged_without_a_container(make_bundle: MakeBundle) -> None:
    good = ocirt.Bundle(str(make_bundle(hostname="h").path))
    assert good.read()["hostname"] == "h"
    assert good.problems() == []
    bad = ocirt.Bundle(broken(make_bundle, process={"cwd": "relative"}, hostname=7))
    assert {problem.pointer for problem in bad.problems()} == {"/process/cwd", "/hostname"}
    assert all(problem.line > 0 for problem in bad.problems())


# ---- inside a program ------------------------------------------------------------------------------------------------


def test_eight_threads_take_containers_through_their_lives(
    api: ocirt.Runtime, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    bundles = [make_bundle(args=["sh", "-c", f"exit {number}"]) for number in range(8)]

    def live(number: int) -> list[int]:
        codes = []
        for _ in range(3):
            container = api.create(runtime.new_id(), str(bundles[number].path))
            assert container.status == "created"
            container.start()
            codes.append(container.wait(20))
            container.delete()
        return codes

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(live, range(8))) == [[number] * 3 for number in range(8)]
    assert api.containers() == []


def test_of_eight_threads_with_one_id_one_wins(
    api: ocirt.Runtime, runtime: Runtime, make_bundle: MakeBundle, ended: Callable[[ocirt.Container], int]
) -> None:
    path, name, barrier = str(make_bundle(args=SLEEP).path), runtime.new_id(), threading.Barrier(8)

    def race(_: int) -> ocirt.Container | None:
        barrier.wait()
        try:
            return api.create(name, path)
        except ocirt.ContainerExists:
            return None

    with ThreadPoolExecutor(8) as pool:
        winners = [container for container in pool.map(race, range(8)) if container]
    assert len(winners) == 1
    winners[0].start()
    ended(winners[0])


def test_children_files_and_signals_of_the_program_are_left_alone(
    api: ocirt.Runtime, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    mine = subprocess.Popen(["sh", "-c", "exit 5"])
    secret = os.open("/", os.O_RDONLY)
    os.set_inheritable(secret, True)
    handler = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    before = (signal.pthread_sigmask(signal.SIG_BLOCK, []), os.umask(0o77), os.getcwd())
    try:
        script = "test ! -e /proc/$$/fd/3 && grep -q 'SigIgn:.0*$' /proc/self/status && true"
        bundle = make_bundle(args=["sh", "-c", script])
        assert api.run(runtime.new_id(), str(bundle.path)) == 0
        assert mine.wait() == 5
        assert os.fstat(secret)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        assert (signal.pthread_sigmask(signal.SIG_BLOCK, []), os.umask(0o77), os.getcwd()) == (
            before[0],
            0o77,
            before[2],
        )
    finally:
        os.umask(before[1])
        signal.signal(signal.SIGTERM, handler)
        os.close(secret)


def resident() -> int:
    """Our memory in kB."""
    return int(fields(Path("/proc/self/status").read_text())["VmRSS"].split()[0])


def test_fifty_lives_cost_no_memory_and_no_descriptor(
    api: ocirt.Runtime, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    good = str(make_bundle().path)
    bad = broken(make_bundle, args=["no-such-program"])

    def cycle() -> None:
        assert api.run(runtime.new_id(), good) == 0
        with pytest.raises(ocirt.ExecError):
            api.create(runtime.new_id(), bad)

    for _ in range(5):
        cycle()
    fds, memory, threads = oracle.open_fds(), resident(), threading.active_count()
    for _ in range(50):
        cycle()
    assert oracle.open_fds() == fds
    assert threading.active_count() == threads
    assert resident() - memory < 1500


def test_importing_the_package_loads_little_and_says_nothing(project: Path) -> None:
    script = "import sys; before = set(sys.modules); import ocirt; print(*sorted(set(sys.modules) - before))"
    result = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(project)!r}); {script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(result.stdout.split()) <= {"ocirt", "__future__"}
    assert result.stderr == ""


def test_a_container_of_a_program_that_has_ended_lives_on(
    runtime: Runtime, make_bundle: MakeBundle, project: Path
) -> None:
    bundle: Bundle = make_bundle(args=SLEEP)
    name = runtime.new_id()
    script = (
        f"import sys; sys.path.insert(0, {str(project)!r}); import ocirt\n"
        f"ocirt.Runtime({str(runtime.root)!r}).create({name!r}, {str(bundle.path)!r}).start()"
    )
    subprocess.run([sys.executable, "-c", script], check=True, stdin=subprocess.DEVNULL, timeout=30)
    container = ocirt.Runtime(str(runtime.root)).container(name)
    assert container.status == "running"
    container.delete(force=True)
    wait_for(lambda: name not in runtime.run("list", "--quiet", check=True).stdout, "deleted")
