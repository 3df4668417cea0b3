"""Pids that have become somebody else's: no wait, signal or deletion is misled by them."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import ocirt
from ocirt.container import delete, hooks, process, state
from ocirt.errors import ContainerNotRunning, HookError
from tests import states
from tests.unit.container.conftest import is_zombie, wait_until

Make = Callable[..., state.State]


def rewrite(root: str, value: state.State) -> None:
    directory = state.lock(root, value.container_id)
    states.write(directory, value)
    os.close(directory)


def test_wait_takes_no_other_child_with_the_same_pid_for_the_containers(
    root: str, make: Make, sleeper: Callable[[], int]
) -> None:
    stranger = sleeper()
    record = make("web", pid=stranger)
    record.start_time += 1
    rewrite(root, record)
    with pytest.raises(ContainerNotRunning):
        ocirt.Runtime(root).container("web").wait(0.1)
    os.kill(stranger, 9)
    wait_until(lambda: is_zombie(stranger))  # and still there to be reaped
    with pytest.raises(ContainerNotRunning):
        ocirt.Runtime(root).container("web").wait(0.1)
    assert is_zombie(stranger)


def test_of_two_threads_that_wait_one_gets_the_code_and_none_hangs(
    root: str, make: Make, sleeper: Callable[[], int]
) -> None:
    pid = sleeper()
    make("web", pid=pid)
    container = ocirt.Runtime(root).container("web")
    codes: list[int | str] = []

    def wait() -> None:
        try:
            codes.append(container.wait(5))
        except ContainerNotRunning:
            codes.append("gone")

    threads = [threading.Thread(target=wait) for _ in range(2)]
    for thread in threads:
        thread.start()
    os.kill(pid, 9)
    for thread in threads:
        thread.join(10)
    assert sorted(codes, key=str) == [137, "gone"]


def test_a_container_whose_pid_is_a_threads_by_now_can_be_deleted(root: str, make: Make) -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        record = make("web", pid_namespace=False)
        record.pid, record.start_time = thread.native_id or 0, 1
        rewrite(root, record)
        assert process.open_process(record) == -1
        delete.delete(root, "web", force=True)
    finally:
        over.set()
        thread.join()
    assert os.listdir(root) == []


def test_a_hook_that_has_left_its_process_group_is_killed_when_its_time_is_over(tmp_path: Path) -> None:
    script = f"import os, time; os.setpgid(0, {os.getpgrp()}); open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    argv = ["python3", "-c", f"import os; os.chdir('{tmp_path}'); {script}"]
    with pytest.raises(HookError, match="did not finish within 1 s"):
        hooks.run_one({"path": sys.executable, "args": argv, "timeout": 1}, "/", b"{}", "/hooks/poststop/0")
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists()
