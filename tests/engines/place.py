"""A place for an engine to live in: a mount, a network and a pid namespace of the test's own, with an empty /run.

The engine's daemons, bridges, firewall rules and sockets are seen by nobody else, and end with the place. Only
processes and cgroups could outlive it, so these are looked for at the end.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.integration.support import children_of, wait_for
from tests.integration.systemctl import cgroup_of, systemctl

NUMBERS = itertools.count(1)
TIMEOUT = 60.0
UNSHARE = [
    "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation=private",
    "sh", "-c",
]  # fmt: skip
# The engines' fixed directories are hidden: /run for sockets and named namespaces, /var/lib/cni for addresses.
SETUP = """
set -e
ip link set lo up
mount -t tmpfs run /run
for name in /var/lib/cni /etc/cni /var/lib/containers /var/lib/docker /var/lib/containerd; do
	[ ! -d $name ] || mount -t tmpfs engine $name
done
mkdir -p /run/lock /run/netns
echo ready
trap "" CHLD # the first process of a pid namespace reaps: engines look whether their monitors are gone
exec sleep infinity
"""


V1_ONLY = """
if grep -q " /sys/fs/cgroup/unified " /proc/mounts; then umount /sys/fs/cgroup/unified; fi
"""


class Result(NamedTuple):
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        """All that it said."""
        return self.stdout + self.stderr


def new_scratch() -> Path:
    """A directory that containers of other users may enter too."""
    path = Path(tempfile.mkdtemp(prefix="ocirt-engine-"))
    path.chmod(0o755)
    return path


class Place:
    """The namespaces, held by a process; `scratch` for files, `cgroup` as the parent of all cgroups."""

    manager = "cgroupfs"  # who makes the engines' cgroups
    run_directory = Path("/run")  # for what is gone when the machine is off

    def __init__(self, hybrid: bool = True) -> None:
        self.scratch = new_scratch()
        self.cgroup = f"/ocirt-engine-{os.getpid()}-{next(NUMBERS)}"
        self.environment = {**os.environ, "HOME": str(self.scratch), "XDG_RUNTIME_DIR": ""}
        self.daemons: list[subprocess.Popen[bytes]] = []
        self.outside = subprocess.Popen(
            [*UNSHARE, SETUP if hybrid else V1_ONLY + SETUP],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert self.outside.stdout is not None
        assert self.outside.stdout.readline() == b"ready\n"
        pid = self.outside.pid
        self.holder = children_of(pid)[0]
        self.namespace = os.readlink(f"/proc/{self.holder}/ns/mnt")

    def inside(self, *argv: str | Path) -> list[str]:
        """The command line that runs `argv` in here."""
        return ["nsenter", f"--target={self.holder}", "--mount", "--net", "--pid", "--", *map(str, argv)]

    def run(self, *argv: str | Path, stdin: bytes = b"", timeout: float = TIMEOUT, check: bool | None = None) -> Result:
        """Run a command in here. Its output goes to files: what it leaves running must not hold a pipe of ours.

        check    True: it must succeed, False: it must fail, None: either
        """
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(stdin)
            given.seek(0)
            process = subprocess.Popen(
                self.inside(*argv), stdin=given, stdout=out, stderr=err, env=self.environment, start_new_session=True
            )
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                code = -1
            out.seek(0)
            err.seek(0)
            result = Result(code, out.read().decode(errors="replace"), err.read().decode(errors="replace"))
        assert code != -1, f"{' '.join(map(str, argv))}: no end within {timeout} s\n{result.text}"
        if check is not None:
            assert (code == 0) is check, f"{' '.join(map(str, argv))}: exit {code}\n{result.text}"
        return result

    def terminal(self, *argv: str | Path) -> Result:
        """Run a command in here on a terminal; it must succeed."""
        quoted = " ".join(f"'{word}'" for word in argv)
        return self.run("script", "-qec", quoted, "/dev/null", check=True)

    def log(self, name: str) -> Path:
        """What the daemon of that name writes."""
        return self.scratch / f"{name}.log"

    def daemon(self, *argv: str | Path) -> subprocess.Popen[bytes]:
        """Start a daemon in here; `close` ends it."""
        with self.log(Path(argv[0]).name).open("ab") as file:
            process = subprocess.Popen(
                self.inside(*argv), stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=self.environment
            )
        self.daemons.append(process)
        return process

    def wait_up(self, daemon: subprocess.Popen[bytes], name: str, ask: Callable[[], Result], seconds: float) -> None:
        """Wait until a daemon answers. AssertionError when it has ended."""

        def up() -> bool:
            assert daemon.poll() is None, self.log(name).read_text()[-3000:]
            return ask().code == 0

        wait_for(up, f"{name} is up", seconds)

    def holds(self, pid: int) -> bool:
        """Whether the process lives in the place's namespaces or its cgroups; not so the holder. Raises OSError."""
        here = os.readlink(f"/proc/{pid}/ns/mnt") == self.namespace
        cgroup = Path(f"/proc/{pid}/cgroup").read_text()
        return (here or f"{self.cgroup}/" in cgroup) and pid not in (self.holder, self.outside.pid)

    def processes(self) -> dict[int, str]:
        """Every process that the place holds: id → command line."""
        found = {}
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            try:
                held = self.holds(pid)
                words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if held and words:
                found[pid] = words.strip()
        return found

    def cgroups(self) -> list[Path]:
        """The cgroups that are left, the deepest first."""
        found = []
        for hierarchy in [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()]:
            top = hierarchy / self.cgroup.lstrip("/")
            if top.is_dir():
                found += [Path(path) for path, _, _ in os.walk(top, topdown=False)]
        return found

    def ask_to_end(self, process: subprocess.Popen[bytes]) -> None:
        """Ask a daemon; nsenter has forked it, to be in the pid namespace."""
        for pid in children_of(process.pid) if process.poll() is None else ():
            os.kill(pid, signal.SIGTERM)

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Ask a daemon to end, and wait for it."""
        self.ask_to_end(process)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self) -> list[str]:
        """End everything; what was left although the daemons were asked to end, in words."""
        for process in reversed(self.daemons):
            self.end(process)
        left = [f"process {pid}: {words}" for pid, words in self.processes().items()]
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        wait_for(lambda: not self.processes(), "the place is empty")
        left += self.leave()
        shutil.rmtree(self.scratch, ignore_errors=True)
        return left

    def leave(self) -> list[str]:
        """End the namespaces and remove the cgroups; those that engines left, in words."""
        left = []
        self.outside.kill()
        self.outside.wait()
        for path in self.cgroups():
            if path.name not in (Path(self.cgroup).name, "conmon"):  # podman leaves its monitors'
                left.append(f"cgroup {path}")
            path.rmdir()
        return left


class SystemdPlace(Place):
    """A place where systemd makes the cgroups: the system's, or an ordinary user's own; `cgroup` is a slice.

    It hides nothing of the host: systemd knows processes by the host's ids, and engines ask it over its socket in /run.
    """

    manager = "systemd"

    def __init__(self) -> None:
        self.scratch = new_scratch()
        self.run_directory = self.scratch / "run"
        self.cgroup = f"ocirtengine{os.getpid()}n{next(NUMBERS)}.slice"
        self.environment = {**os.environ, "HOME": str(self.scratch)}
        self.daemons: list[subprocess.Popen[bytes]] = []

    def inside(self, *argv: str | Path) -> list[str]:
        """The command line, as it is."""
        return list(map(str, argv))

    def ask_to_end(self, process: subprocess.Popen[bytes]) -> None:
        """Ask a daemon, which is what was started."""
        process.terminate()

    def holds(self, pid: int) -> bool:
        """Whether the process is in the slice. Raises OSError."""
        return f"/{self.cgroup}/" in Path(f"/proc/{pid}/cgroup").read_text()

    def cgroups(self) -> list[Path]:
        """What is left below the slice."""
        top = cgroup_of(self.cgroup)
        return [path for path in top.rglob("*/") if path.is_dir()] if top.name == self.cgroup else []

    def leave(self) -> list[str]:
        """Stop the slice; what engines left in it. A scope that is empty goes when systemd has heard of it."""
        deadline = time.monotonic() + 10
        while (left := self.cgroups()) and time.monotonic() < deadline:
            time.sleep(0.1)
        systemctl("stop", self.cgroup)
        return [f"cgroup {path}" for path in left]
