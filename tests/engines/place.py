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
from pathlib import Path
from typing import NamedTuple

from tests.integration.support import wait_for

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


def children(pid: int) -> list[int]:
    """The children of a process's first thread."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Place:
    """The namespaces, held by a process; `scratch` for files, `cgroup` as the parent of all cgroups."""

    def __init__(self, hybrid: bool = True) -> None:
        self.scratch = Path(tempfile.mkdtemp(prefix="ocirt-engine-"))
        self.scratch.chmod(0o755)
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
        self.holder = children(pid)[0]
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

    def daemon(self, *argv: str | Path) -> subprocess.Popen[bytes]:
        """Start a daemon in here; `close` ends it. Its log is scratch/<name>.log."""
        log = self.scratch / f"{Path(argv[0]).name}.log"
        with log.open("ab") as file:
            process = subprocess.Popen(
                self.inside(*argv), stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=self.environment
            )
        self.daemons.append(process)
        return process

    def processes(self) -> dict[int, str]:
        """Every process that lives in the place's namespaces or its cgroups, but for the holder: id → command line."""
        found = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                here = os.readlink(f"/proc/{name}/ns/mnt") == self.namespace
                cgroup = Path(f"/proc/{name}/cgroup").read_text()
                words = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if (here or f"{self.cgroup}/" in cgroup) and int(name) not in (self.holder, self.outside.pid) and words:
                found[int(name)] = words.strip()
        return found

    def cgroups(self) -> list[Path]:
        """The cgroups that are left, the deepest first."""
        found = []
        for hierarchy in [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()]:
            top = hierarchy / self.cgroup.lstrip("/")
            if top.is_dir():
                found += [Path(path) for path, _, _ in os.walk(top, topdown=False)]
        return found

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Ask a daemon to end, and wait for it; nsenter has forked it, to be in the pid namespace."""
        for pid in children(process.pid):
            os.kill(pid, signal.SIGTERM)
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
        self.outside.kill()
        self.outside.wait()
        for path in self.cgroups():
            if path.name not in (Path(self.cgroup).name, "conmon"):  # podman leaves its monitors'
                left.append(f"cgroup {path}")
            path.rmdir()
        shutil.rmtree(self.scratch, ignore_errors=True)
        return left
