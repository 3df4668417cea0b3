"""Fixtures for tests that run real containers. After each test nothing of it may be left: see `runtime`."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration import leftovers as oracle
from tests.integration import support
from tests.integration.support import Bundle, ConsoleSocket, Container, Json, Runtime
from tests.integration.views import HostView

PR_SET_CHILD_SUBREAPER = 36
NUMBERS = itertools.count(1)
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        others = item.get_closest_marker("ordinary") or item.get_closest_marker("anybody")
        if HERE in item.path.parents and not others:
            item.add_marker(pytest.mark.root)


@pytest.fixture
def as_each_test_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether launches are kept, also where the suite is run over such."""
    monkeypatch.setattr(support, "KEPT", "")


@pytest.fixture
def scratch() -> Path:
    """A directory that other users may enter too, as an engine's are. The runtime fixture removes it."""
    path = Path(tempfile.mkdtemp(prefix="ocirt-test-"))
    path.chmod(0o755)
    return path


@pytest.fixture
def runtime(ocirt_bin: str, scratch: Path, request: pytest.FixtureRequest) -> Iterator[Runtime]:
    """The runtime with a state root of its own.

    At the end every container that the test did not delete gets `delete --force`, and then nothing may be left: no
    process, mount, cgroup, state or open file. What is left is removed, and the test fails for it.
    """
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # orphans come to us: seen, and reaped
    fds, children = oracle.open_fds(), oracle.children()
    runtime = Runtime(ocirt_bin, scratch, f"t{os.getpid()}n{next(NUMBERS)}")
    yield runtime
    delete_all(runtime, children)
    left = oracle.leave_nothing(runtime, children)
    left += [f"open file {fd}: {what}" for fd, what in oracle.open_fds().items() if fd not in fds]
    passed = getattr(request.node, "report_call", None)
    if passed is not None and passed.passed:
        assert not left, "left behind:\n  " + "\n  ".join(left)


def delete_all(runtime: Runtime, children_before: list[int]) -> None:
    """Youngest first, and each reaped: pid 1 of a pid namespace does not go before those that joined it."""
    for container in reversed(runtime.containers):
        runtime.run("delete", "--force", container.id)
        for pid in set(oracle.children()) - set(children_before):
            oracle.reap(pid)


@pytest.fixture(autouse=True)
def leftovers(runtime: Runtime) -> None:
    """Every test here is watched for what it leaves."""


@pytest.fixture
def make_bundle(busybox_image: Path, scratch: Path) -> Callable[..., Bundle]:
    """A factory: make_bundle(mutate=None, *, args=[…], **delta) → Bundle, written, with its own rootfs.

    delta     laid over the base config (support.merged): process={"cwd": "/tmp"}, hostname="x", linux={…}
    mutate    called with the config last, for changes that a merge cannot say
    """

    def make(mutate: Callable[[Json], Any] | None = None, *, args: list[str] | None = None, **delta: Any) -> Bundle:
        path = scratch / f"bundle-{next(NUMBERS)}"
        path.mkdir(mode=0o755)
        subprocess.run(["cp", "-a", str(busybox_image.parent / "bundle" / "rootfs"), str(path)], check=True)
        config = support.merged(support.BASE, delta)
        if args is not None:
            config["process"]["args"] = args
        if mutate is not None:
            mutate(config)
        return Bundle(path, config).write()

    return make


@pytest.fixture
def inside(runtime: Runtime, make_bundle: Callable[..., Bundle]) -> Callable[..., str]:
    """A function: inside("cat", "/proc/mounts", hostname="x") runs that in a container and returns its stdout."""

    def run(*args: str, **delta: Any) -> str:
        return runtime.run_container(make_bundle(args=list(args), **delta), check=True).stdout

    return run


@pytest.fixture
def console_socket(scratch: Path, runtime: Runtime) -> Iterator[ConsoleSocket]:
    """What an engine listens on for --console-socket."""
    console = ConsoleSocket(scratch / "console.sock")
    yield console
    console.close()


@pytest.fixture
def sleeper(runtime: Runtime, make_bundle: Callable[..., Bundle]) -> Container:
    """A running container with a namespace of every type but user and time, whose process sleeps."""
    kinds = ("pid", "mount", "ipc", "uts", "network", "cgroup")
    return runtime.start(make_bundle(args=["sleep", "600"], linux={"namespaces": [{"type": kind} for kind in kinds]}))


@pytest.fixture
def detached(sleeper: Container, tmp_path: Path) -> Iterator[Callable[..., int]]:
    """A function: `exec --detach FLAGS` of a sleeper, and its pid. Killed and reaped at the end, as engines do it."""
    pids = []

    def start(*flags: str) -> int:
        path = tmp_path / "pid"
        sleeper.exec("sleep", "600", flags=["-d", "--pid-file", str(path), *flags])
        text = path.read_text()
        pids.append(int(text))
        assert text == str(pids[-1])
        return pids[-1]

    yield start
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.fixture
def host_view(runtime: Runtime) -> Iterator[HostView]:
    """From here on the runtime is called in a mount namespace of its own, where everything is shared."""
    program, children = runtime.program, oracle.children()
    view = HostView(runtime)
    yield view
    delete_all(runtime, [*children, view.pid])
    runtime.program = program
    view.close()
