"""exec on cgroup v2: the process is born in the container's cgroup, for to be moved there takes 10 ms and more."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.support import Container, Runtime, children_of, wait_for
from tests.integration.views import HostView, MakeBundle, host_cgroups

TRACED = "trace=clone3,write"


@pytest.fixture
def v2(runtime: Runtime, host_view: HostView, make_bundle: MakeBundle) -> Container:
    """A running container on a host that shows cgroup v2 alone."""
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    host_view.show_v2()
    return runtime.start(make_bundle(args=["sleep", "600"]))


def calls_of_exec(container: Container, *flags: str, inject: str = "", words: tuple[str, ...] = ("true",)) -> str:
    """The calls of an exec that must succeed, its children's too: a file each, in which no line is interrupted."""
    runtime, logs = container.runtime, container.runtime.scratch / f"strace-{time.monotonic_ns()}"
    logs.mkdir()
    lines = Path(runtime.program).read_text().splitlines()  # the way into the view, then the program
    prefix, _, rest = lines[1].removeprefix("exec ").partition(" '--' ")
    more = f"-e inject={inject}" if inject else ""
    script = runtime.scratch / "traced"
    script.write_text(f"{prefix} -- strace -ff -y -e {TRACED} {more} -o {logs}/of {rest}\n")
    command = ["sh", script, "--root", runtime.root, "exec", *flags, container.id, *words]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=30)
    return "".join(log.read_text(errors="replace") for log in logs.iterdir())


def moves(calls: str) -> list[str]:
    """The writes by which a process is moved."""
    return re.findall(r"write\(\d+<[^>]*/cgroup\.procs>.*", calls)


def test_no_exec_waits_for_a_migration(v2: Container) -> None:
    for _ in ("compiled", "kept"):
        calls = calls_of_exec(v2)
        assert len(re.findall(r"clone3\(\{flags=CLONE_INTO_CGROUP,", calls)) == 1
        assert not moves(calls)


@pytest.mark.parametrize("flags", [(), ("--user", "1000"), ("--no-new-privs",)], ids=["plain", "user", "no_new_privs"])
def test_it_is_in_the_containers_cgroup(v2: Container, tmp_path: Path, flags: tuple[str, ...]) -> None:
    expected = host_cgroups(v2.pid)[""]
    for number in range(2):
        file = tmp_path / f"pid-{number}"
        v2.runtime.run("exec", "--detach", "--pid-file", str(file), *flags, v2.id, "sleep", "600", check=True)
        pid = int(file.read_text())
        found = host_cgroups(pid)[""]
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)  # the engine's duty: until then the container's pid namespace does not end
        assert found == expected


def test_without_that_call_it_is_moved(v2: Container) -> None:
    """A sandbox around the runtime may know no clone3, which is then not there."""
    calls = calls_of_exec(v2, inject="clone3:error=ENOSYS:when=1")
    assert moves(calls)


def test_cpus_of_the_moment_of_the_move_are_had_by_moving(v2: Container, tmp_path: Path) -> None:
    file = tmp_path / "process.json"
    file.write_text(
        '{"args": ["true"], "cwd": "/", "env": ["PATH=/bin"], "execCPUAffinity": {"initial": "0", "final": "0"}}'
    )
    assert moves(calls_of_exec(v2, "--process", str(file), words=()))


def test_of_an_id_that_is_another_containers_by_then(
    runtime: Runtime, host_view: HostView, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    """A cgroup that was there before outlives its container: the process would escape the limits of the next."""
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    hierarchy = Path(host_view.show_v2())
    names = [f"{runtime.prefix}-{name}" for name in ("old", "new")]
    for name in names:
        (hierarchy / name).mkdir()
    try:
        bundles = [make_bundle(args=["sleep", "600"], linux={"cgroupsPath": f"/{name}"}) for name in names]
        container = runtime.start(bundles[0])
        log, file = tmp_path / "strace", tmp_path / "pid"
        lines = Path(runtime.program).read_text().splitlines()
        prefix, _, program = lines[1].removeprefix("exec ").partition(" '--' ")
        words = program.removesuffix('"$@"') + f"--root {runtime.root} --kept off exec --detach --pid-file {file}"

        def traced(*inject: str) -> subprocess.Popen[bytes]:
            script = f"exec {prefix} -- strace -e trace=openat {' '.join(inject)} -o {log} {words}"
            command = ["sh", "-c", f"{script} {container.id} sleep 600"]
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

        def end(process: subprocess.Popen[bytes]) -> list[str]:
            assert process.wait(30) == 0
            pid = int(file.read_text())
            found = [host_cgroups(pid)[""], host_cgroups(container.pid)[""]]
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return found

        end(traced())
        end(traced())  # the first may have had something to make, which the later ones find
        opened = [n for n, line in enumerate(log.read_text().splitlines(), 1) if f'"{container.id}"' in line]
        stop = ("-e", f"inject=openat:signal=SIGSTOP:when={opened[1] - 1}")  # the first is the launcher's
        # A file is opened by the launcher's thread, or by the interpreter where that is faster: then the stop is late.
        for _ in range(20):
            log.unlink()
            process = traced(*stop)
            wait_for(lambda: log.exists() and "stopped by SIGSTOP" in log.read_text(), "a stop")
            if log.read_text().count(f'"{container.id}"') == 1:
                break
            os.kill(children_of(process.pid)[0], signal.SIGCONT)
            end(process)
        assert log.read_text().count(f'"{container.id}"') == 1
        container.delete("--force")
        container = runtime.create(bundles[1], container_id=container.id)
        container.start()
        os.kill(children_of(process.pid)[0], signal.SIGCONT)
        found = end(process)
        assert found[0] == found[1]
        container.delete("--force")
    finally:
        for name in names:
            wait_for(lambda name=name: not (hierarchy / name / "cgroup.procs").read_text(), "an empty cgroup")
            (hierarchy / name).rmdir()
