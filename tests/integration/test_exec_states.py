"""exec: detached processes, containers in every state, cgroups below, and what the container sees of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.support import Bundle, Container, Runtime, wait_for
from tests.integration.views import MakeBundle

SLEEP = ["sleep", "600"]


# ---- detached --------------------------------------------------------------------------------------------------------


def test_a_detached_process_lives_on_with_a_pid_file_without_newline(
    sleeper: Container, detached: Callable[..., int]
) -> None:
    pid = detached()
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x00600\x00"
    assert os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink(f"/proc/{sleeper.pid}/ns/mnt")


@pytest.mark.parametrize("words", [["nosuch"], ["/etc"]])
def test_no_pid_file_is_written_for_what_was_not_executed(sleeper: Container, tmp_path: Path, words: list[str]) -> None:
    path = tmp_path / "pid"
    assert sleeper.exec(*words, flags=["--detach", "--pid-file", str(path)], check=False).code == 255
    assert list(tmp_path.iterdir()) == []


def test_a_foreground_process_has_its_pid_file_too(sleeper: Container, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    process = sleeper.runtime.popen("exec", "--pid-file", str(path), sleeper.id, "sleep", "600")
    wait_for(path.exists, "the pid file")
    os.kill(int(path.read_text()), signal.SIGKILL)
    assert process.wait(10) == 137


def test_a_pid_file_that_cannot_be_written_ends_the_process(sleeper: Container) -> None:
    done = sleeper.exec("sleep", "600", flags=["-d", "--pid-file", "/nonexistent/pid"], check=False)
    assert done.code == 255
    assert "sleep" not in sleeper.exec("sh", "-c", "cat /proc/[2-9]*/comm 2>/dev/null").stdout


def test_a_pidfd_of_the_process_is_sent(detached: Callable[..., int], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "pidfd.sock"))
        listener.listen(1)
        pid = detached("--pidfd-socket", str(tmp_path / "pidfd.sock"))
        connection, _ = listener.accept()
        with connection:
            _, fds, _, _ = socket.recv_fds(connection, 100, 1)
    info = Path(f"/proc/self/fdinfo/{fds[0]}").read_text()
    assert f"\nPid:\t{pid}\n" in info
    os.close(fds[0])


# ---- the state of the container --------------------------------------------------------------------------------------


def test_a_stopped_container_cannot_be_entered(sleeper: Container) -> None:
    sleeper.kill("KILL")
    sleeper.wait_stopped()
    done = sleeper.exec("true", check=False)
    assert done.code == 255
    assert "container not running" in done.stderr


def test_a_container_that_does_not_exist_is_told_so(runtime: Runtime) -> None:
    done = runtime.run("exec", "nosuch", "true", check=False)
    assert done.code == 255
    assert "container does not exist" in done.stderr


def test_a_paused_container_is_entered_on_demand_alone_and_runs_it_when_resumed(sleeper: Container) -> None:
    if sleeper.pause(check=None).code:
        pytest.skip("this host has no freezer")
    try:
        done = sleeper.exec("true", check=False)
        assert done.code == 255
        assert "paused" in done.stderr
        process = sleeper.runtime.popen("exec", "--ignore-paused", sleeper.id, "sh", "-c", "exit 3")
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
    finally:
        sleeper.resume()
    assert process.wait(10) == 3


# ---- cgroups below ---------------------------------------------------------------------------------------------------


def cgroups_of(sleeper: Container) -> list[Path]:
    return [path for path in sleeper.cgroups() if path.is_dir()]


def test_the_process_goes_into_a_cgroup_below_the_containers(sleeper: Container, detached: Callable[..., int]) -> None:
    directories = [path / "sub" for path in cgroups_of(sleeper)]
    for directory in directories:
        directory.mkdir()
        if (directory / "cpuset.mems").exists():
            for name in ("cpuset.cpus", "cpuset.mems"):
                (directory / name).write_text((directory.parent / name).read_text())
    pid = str(detached("--cgroup", "sub"))
    assert all(pid in (directory / "cgroup.procs").read_text().split() for directory in directories)


def test_one_controller_can_be_chosen_on_v1(sleeper: Container, detached: Callable[..., int]) -> None:
    directories = [path for path in cgroups_of(sleeper) if (path / "pids.max").exists() and (path / "tasks").exists()]
    if not directories:
        pytest.skip("pids is not a hierarchy of cgroup v1 here")
    (directories[0] / "sub").mkdir()
    pid = str(detached("--cgroup", "pids:/sub"))
    assert (directories[0] / "sub/cgroup.procs").read_text().split() == [pid]
    assert "no cgroup of controller" in sleeper.exec("true", flags=["--cgroup", "nosuch:x"], check=False).stderr


@pytest.mark.parametrize("word", ["..", "../..", "a/../../b", "pids:.."])
def test_no_cgroup_above_the_containers_can_be_named(sleeper: Container, word: str) -> None:
    assert '".." component' in sleeper.exec("true", flags=["--cgroup", word], check=False).stderr


def test_a_container_at_its_limit_on_processes_is_not_entered(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """The process is born inside, and whoever makes it counts at that moment."""
    limited = {"resources": {"pids": {"limit": 2}}}
    sleeper = runtime.start(make_bundle(args=SLEEP, linux=limited))
    limits = [path for path in sleeper.cgroups() if (path / "pids.max").exists()]
    if not limits:
        pytest.skip("no hierarchy has the controller pids")
    done = sleeper.exec("true", check=False)
    assert done.code == 255
    assert done.stderr == (
        "ocirt: config.json: /linux/namespaces: start the process: resource temporarily unavailable "
        "(the limit on processes is reached: RLIMIT_NPROC or the pids cgroup)\n"
    )
    assert (limits[0] / "cgroup.procs").read_text().split() == [str(sleeper.pid)]
    (limits[0] / "pids.max").write_text("3")
    assert [sleeper.exec("true").code for _ in range(2)] == [0, 0]


# ---- secrets ---------------------------------------------------------------------------------------------------------


def test_the_container_sees_nothing_of_the_host_in_a_process_that_enters(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    """CVE-2016-9962: the container looks at every process there is while others enter."""
    script = """while :; do for p in /proc/[0-9]*; do case $p in /proc/1|/proc/$$) continue;; esac
for f in $p/cwd $p/root $p/exe $p/fd/*; do readlink $f 2>/dev/null; done; done; done >/tmp/seen"""
    sleeper = runtime.start(make_bundle(args=["sh", "-c", script]))
    for _ in range(15):
        sleeper.exec("true")
    seen = set((sleeper.bundle.rootfs / "tmp/seen").read_text().split())
    host = {word for word in seen if str(sleeper.runtime.scratch) in word or "memfd" in word or "cgroup" in word}
    assert {word for word in host if not word.endswith((".out", ".err"))} == set()


def test_the_programs_file_cannot_be_written_through_proc(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """CVE-2019-5736: an interpreter /proc/self/exe would be the init; it is a sealed copy, and gone."""
    bundle: Bundle = make_bundle(args=SLEEP)
    bundle.add_file("trap", "#!/proc/self/exe\n", 0o755)
    sleeper = runtime.start(bundle)
    before = Path(runtime.program).read_bytes()
    sleeper.exec("/trap", check=None)
    assert Path(runtime.program).read_bytes() == before
