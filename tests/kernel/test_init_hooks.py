"""Hooks that the init runs: what they get, how they fail, and what they cannot hold up."""

from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path

import pytest

from tests.kernel import harness, plans
from tests.kernel.harness import WIRE, Init, Result, op
from tests.kernel.plans import execute

pytestmark = pytest.mark.root


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def run_hook(
    script: str, timeout: int = 0, env: tuple[str, ...] = (), state: bytes = b"{}", path: str = "/bin/sh"
) -> Result:
    """A hook, and then a process that says that it ran."""
    with Init() as init:
        fd = harness.memfd(state, 0)
        hook = plans.hook(path, ["hook-name", "-c", script], list(env), timeout, 6)
        init.send_plan([op("clone", harness.CLONE_NEWPID), hook, *execute("/bin/busybox", "echo", "after")], {6: fd})
        os.close(fd)
        return init.finish()


def test_a_hook_gets_its_argv_env_and_the_state(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = f"cat > {out}; echo $0 $A >> {out}; /usr/bin/env >> {out}; readlink /proc/$$/fd/* >> {out}; true"
    assert run_hook(script, env=("A=b",), state=b'{"id": 1}\n').ok() == "after\n"
    lines = out.read_text().splitlines()
    assert lines[:2] == ['{"id": 1}', "hook-name b"]
    assert {line.split("=")[0] for line in lines if "=" in line} <= {
        "A",
        "PWD",
        "_",
        "OLDPWD",
        "SHLVL",
    }  # the shell's own
    assert not any("socket" in line for line in lines)


def test_each_hook_reads_the_state_from_its_start(tmp_path: Path) -> None:
    with Init() as init:
        fd = harness.memfd(b"state", 0)
        hooks = [plans.hook("/bin/sh", ["sh", "-c", f"cat >> {tmp_path}/out"], state=6)] * 3
        init.send_plan([*hooks, *execute("/bin/true")], {6: fd})
        os.close(fd)
        init.finish().ok()
    assert (tmp_path / "out").read_text() == "state" * 3


def test_a_failing_hook_tells_its_status_and_the_end_of_its_output() -> None:
    result = run_hook("echo out; echo err >&2; exit 3")
    assert result.error is not None
    assert (result.error.value, result.error.detail, result.error.text) == (1, "EXIT", "out\nerr\n")
    assert os.waitstatus_to_exitcode(result.error.error) == 3
    long = run_hook("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; exit 1").error
    assert long is not None
    assert long.text.endswith("line 2999\n")
    assert len(long.text) == WIRE["MSG_TEXT_MAX"] - 1


def test_a_hook_killed_by_a_signal_tells_which() -> None:
    error = run_hook("kill -9 $$").error
    assert error is not None
    assert os.waitstatus_to_exitcode(error.error) == -9


def test_a_hook_that_cannot_be_executed_tells_the_errno() -> None:
    error = run_hook("", path="/nonexistent").error
    assert error is not None
    assert (error.error, error.detail) == (errno.ENOENT, "NONE")


def test_a_hook_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    started = time.monotonic()
    script = f"echo waiting; sleep 100 & echo $! > {tmp_path}/child; sleep 100"
    hook = plans.hook("/bin/sh", ["sh", "-c", script], timeout=300)
    error = harness.carry_out([hook]).error
    assert error is not None
    assert (error.error, error.detail, error.text) == (errno.ETIMEDOUT, "TIMEOUT", "waiting\n")
    assert 0.25 < time.monotonic() - started < 3
    child = int((tmp_path / "child").read_text())
    end = time.monotonic() + 2
    while alive(child) and time.monotonic() < end:
        time.sleep(0.01)
    assert not alive(child)


def test_a_daemon_that_a_hook_leaves_does_not_hold_the_container_up() -> None:
    started = time.monotonic()
    assert run_hook("sleep 3 & exit 0").ok() == "after\n"
    assert time.monotonic() - started < 2


def test_what_a_hook_prints_is_not_the_containers_output() -> None:
    assert run_hook("echo noise; echo noise >&2").ok() == "after\n"


def test_a_daemon_that_never_stops_printing_does_not_hold_the_container_up() -> None:
    started = time.monotonic()
    larger = "import fcntl; fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 1 << 20)"
    script = f"{sys.executable} -c '{larger}'; for i in 1 2 3 4; do cat /dev/zero & done; exit 0"
    assert run_hook(script, timeout=5000).ok() == "after\n"
    assert time.monotonic() - started < 2
