"""What a test left behind, found and then removed by force so that later tests are not disturbed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from tests.integration.support import Runtime, mounts, wait_for


def children() -> list[int]:
    """Our children, and their orphans, since the test process is a subreaper."""
    while True:
        found: list[int] = []
        try:
            for task in Path("/proc/self/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except FileNotFoundError:  # a thread that has ended: its children are another's, which was read before
            continue
        return found


def reap(pid: int) -> bool:
    """Whether the child is gone now."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def all_reaped(before: list[int]) -> bool:
    """Whether all children are gone now but those of `before`."""
    return all(pid in before or reap(pid) for pid in children())


def cgroups_named(prefix: str, top: str = "/sys/fs/cgroup", depth: int = 5) -> list[str]:
    """Cgroups with the prefix in their name, deepest first."""
    found: list[str] = []
    try:
        entries = [entry for entry in os.scandir(top) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return found
    for entry in entries:
        if depth > 1:
            found += cgroups_named(prefix, entry.path, depth - 1)
        if prefix in entry.name:
            found.append(entry.path)
    return found


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def end_processes(before: list[int]) -> list[str]:
    """Kill what still runs of ours, say what that was."""
    left = []
    for pid in children():
        if pid in before or reap(pid):
            continue
        left.append(f"process {pid}: {command_of(pid)}")
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: all_reaped(before), "killed processes gone")
    return left


def undo_mounts(scratch: Path) -> list[str]:
    """Unmount what is mounted below the test's directory, say what that was."""
    all_targets = [mount.target for mount in mounts(Path("/proc/self/mountinfo").read_text())]
    targets = [target for target in all_targets if str(scratch) in target]
    for target in reversed(targets):
        subprocess.run(["umount", "--lazy", target], check=False)
    return [f"mount: {target}" for target in targets]


def remove_cgroups(prefix: str) -> list[str]:
    """Remove the test's cgroups, say what they were."""
    left = cgroups_named(prefix)
    for path in left:
        try:
            wait_for(lambda path=path: not os.path.exists(path) or _removed(path), f"{path} removed")
        except AssertionError as error:
            left.append(str(error))
    return [f"cgroup: {path}" for path in left]


def _removed(path: str) -> bool:
    try:
        os.rmdir(path)
    except OSError:
        return False
    return True


def leave_nothing(runtime: Runtime, children_before: list[int]) -> list[str]:
    """What the test left, after force has removed it."""
    left = [f"state: {name}" for name in runtime.entries()]
    left += end_processes(children_before)
    left += undo_mounts(runtime.scratch)
    left += remove_cgroups(runtime.prefix)
    shutil.rmtree(runtime.scratch, ignore_errors=True)
    if runtime.scratch.exists():
        left.append(f"files: {runtime.scratch}")
    return left


def remains(runtime: Runtime, before: list[int]) -> list[str]:
    """What is left of the containers, seen without a change: state, cgroups, processes that started since `before`."""
    found = [f"state {name}" for name in runtime.entries()]
    found += [f"cgroup {path}" for path in cgroups_named(runtime.prefix)]
    return found + [f"process {pid}" for pid in children() if pid not in before and not reap(pid)]


def count_mounts() -> int:
    """How many this process sees."""
    return len(Path("/proc/self/mountinfo").read_text().splitlines())


def assert_nothing_is_left(runtime: Runtime, mounts_before: int) -> None:
    """No mount, no cgroup, no state."""
    assert count_mounts() == mounts_before
    assert cgroups_named(runtime.prefix) == []
    assert runtime.entries() == []


def open_fds() -> dict[str, str]:
    """Our descriptors and what they refer to."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
    return found
