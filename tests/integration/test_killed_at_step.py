"""A runtime that is killed between any two steps of its host plan leaves what `delete --force` removes whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.leftovers import cgroups_named
from tests.integration.support import Bundle, Container, Runtime, children_of, wait_for
from tests.integration.views import HostView, MakeBundle

PROJECT = Path(__file__).parents[2]
HOOKS = {kind: [{"path": "/bin/true"}] for kind in ("createRuntime", "createContainer", "poststart", "poststop")}
MORE_THAN_THERE_ARE = 1000


@pytest.fixture(params=["here", "v1", "v2"])
def prefix(request: pytest.FixtureRequest, host_view: HostView) -> list[str]:
    """What a command begins with, to see the host's cgroups so."""
    if request.param == "v2":
        host_view.show_v2()
    elif request.param == "v1":
        if not os.path.exists("/sys/fs/cgroup/unified/cgroup.procs"):
            pytest.skip("needs a hybrid host")
        host_view.run("umount", "/sys/fs/cgroup/unified")
    return host_view.prefix


def driven(prefix: list[str], verb: str, runtime: Runtime, container_id: str, bundle: Bundle, steps: int) -> int:
    """Carry out so many steps; the number of all where there are fewer, 0 where it was killed before its end."""
    words = [verb, str(runtime.root), container_id, str(bundle.path), str(steps)]
    command = [*prefix, sys.executable, "-m", "tests.integration.killed_at_step", *words]
    out, err = runtime.scratch / "driven.out", runtime.scratch / "driven.err"
    with out.open("w") as stdout, err.open("w") as stderr:  # no pipes: the container's process has them too
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            timeout=60,
            check=False,
        )
    assert err.read_text() == ""
    assert done.returncode in {0, -signal.SIGKILL, 128 + signal.SIGKILL}
    return int(out.read_text()) if done.returncode == 0 else 0


def expect_nothing(runtime: Runtime, container_id: str) -> None:
    for _ in range(2):
        runtime.run("delete", "--force", container_id, check=True)
    assert cgroups_named(container_id) == []
    assert not (runtime.root / container_id).exists()


@pytest.mark.parametrize("verb", ["create", "run"])
@pytest.mark.parametrize("hooked", [False, True], ids=["plain", "with hooks"])
def test_a_container_that_is_being_made(
    verb: str, hooked: bool, prefix: list[str], runtime: Runtime, make_bundle: MakeBundle
) -> None:
    resources = {"devices": [{"allow": False}]}
    bundle = make_bundle(args=["sleep", "600"], linux={"resources": resources}, **({"hooks": HOOKS} if hooked else {}))
    container_id = runtime.new_id()
    count = driven(prefix, verb, runtime, container_id, bundle, MORE_THAN_THERE_ARE)
    expect_nothing(runtime, container_id)
    assert count > 15
    for steps in range(count + 1):
        container_id = runtime.new_id()
        driven(prefix, verb, runtime, container_id, bundle, steps)
        expect_nothing(runtime, container_id)


def test_a_process_on_its_way_into_a_container(prefix: list[str], runtime: Runtime, make_bundle: MakeBundle) -> None:
    """The container is as it was, and goes whole."""
    before = set(children_of(os.getpid()))
    container: Container = runtime.start(make_bundle(args=["sleep", "600"]))
    count = driven(prefix, "exec", runtime, container.id, container.bundle, MORE_THAN_THERE_ARE)
    assert count > 5
    for steps in range(count + 1):
        driven(prefix, "exec", runtime, container.id, container.bundle, steps)
        assert container.status == "running"
    delete = runtime.popen("delete", "--force", container.id, stem=runtime.scratch / "delete")
    left = set(children_of(os.getpid())) - before - {delete.pid}
    assert len(left) > 1, "some have been executed; as their parent we have to reap them"
    wait_for(lambda: [pid for pid in left if not ended(pid)] == [] and delete.poll() is not None, "all have ended")
    assert delete.returncode == 0
    expect_nothing(runtime, container.id)


def ended(pid: int) -> bool:
    """Whether the child has; then it is reaped."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
