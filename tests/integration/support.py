"""Bundles, the runtime under test and its containers, as objects for the tests that run real containers."""

from __future__ import annotations

import array
import copy
import itertools
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.integration.kept_mode import KEPT, can_be_made_twice, keep_one_like

Json = dict[str, Any]
# What every command that starts an interpreter opens, and no other does.
INTERPRETER = "/_json."
TIMEOUT = 30.0

NAMESPACES = ("pid", "mount", "ipc", "uts", "network")

CAPABILITIES = [
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD", "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT", "CAP_AUDIT_WRITE",
]  # fmt: skip

PROC = {"destination": "/proc", "type": "proc", "source": "proc"}
DEV = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755"]}
PTS = {
    "destination": "/dev/pts",
    "type": "devpts",
    "source": "devpts",
    "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
}
SAFE = ["nosuid", "noexec", "nodev"]
SHM = {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": [*SAFE, "mode=1777"]}
MQUEUE = {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": SAFE}
SYS = {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*SAFE, "ro"]}
CGROUP = {
    "destination": "/sys/fs/cgroup",
    "type": "cgroup",
    "source": "cgroup",
    "options": [*SAFE, "relatime", "ro"],
}

BASE: Json = {
    "ociVersion": "1.3.0",
    "process": {
        "terminal": False,
        "user": {"uid": 0, "gid": 0},
        "args": ["true"],
        "env": ["PATH=/bin:/sbin:/usr/bin:/usr/sbin"],
        "cwd": "/",
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES),
        "noNewPrivileges": True,
    },
    "root": {"path": "rootfs"},
    "hostname": "box",
    "mounts": [PROC, DEV, PTS, SHM, MQUEUE, SYS],
    "linux": {
        "namespaces": [{"type": name} for name in NAMESPACES],
        "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    },
}


def merged(base: Any, change: Any) -> Any:
    """`base` with `change` laid over it: objects member by member, None removes, all else replaces."""
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return copy.deepcopy(change)
    result = copy.deepcopy(base)
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def needs_open_way(program: str) -> None:
    """Skip a test in which another user runs the program, where only its owner may go: a checkout below /root."""
    for directory in Path(program).resolve().parents:
        if not directory.stat().st_mode & 0o001:
            pytest.skip(f"the checkout is in {directory}, which other users may not enter")


def static_program(source: str, program: Path, *flags: str) -> Path:
    """Compile a source file of this directory to `program`, linked statically: it runs in a container, or a copy."""
    if not shutil.which("gcc"):
        pytest.skip("needs gcc")
    file = Path(__file__).with_name(source)
    subprocess.run(["gcc", "-O2", "-static", *flags, "-o", str(program), str(file)], check=True)
    return program


def wait_for(condition: Callable[[], Any], what: str = "the condition", seconds: float = 10.0) -> Any:
    """The first true value of `condition()`; AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.005)
    return value


def children_of(pid: int) -> list[int]:
    """The children of a process's first thread, those that it has adopted among them (proc_pid_task(5))."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Mount(NamedTuple):
    """One line of mountinfo (proc_pid_mountinfo(5))."""

    root: str
    target: str
    options: frozenset[str]
    propagation: frozenset[str]
    fstype: str
    source: str
    superblock: frozenset[str]


def mounts(mountinfo: str) -> list[Mount]:
    """The lines of a mountinfo file, in its order."""
    found = []
    for line in mountinfo.splitlines():
        head, _, tail = line.partition(" - ")
        fields, (fstype, source, superblock) = head.split(), tail.split(" ", 2)
        options, optional = frozenset(fields[5].split(",")), frozenset(field.split(":")[0] for field in fields[6:])
        found.append(Mount(fields[3], fields[4], options, optional, fstype, source, frozenset(superblock.split(","))))
    return found


class Bundle:
    """A bundle directory of the test's own. Change `config`, then `write()`; `rootfs` is a copy, free to spoil."""

    def __init__(self, path: Path, config: Json) -> None:
        self.path = path
        self.rootfs = path / "rootfs"
        self.config = config

    def write(self) -> Bundle:
        """Put `config` on disk."""
        (self.path / "config.json").write_text(json.dumps(self.config, indent=2))
        return self

    def add_file(self, name: str, text: str = "", mode: int = 0o644) -> Path:
        """A file in the rootfs, its parents made."""
        path = self.rootfs / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path


class Result(NamedTuple):
    """How a command ended. Negative code: killed by that signal."""

    argv: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """stdout, parsed."""
        return json.loads(self.stdout)


class Runtime:
    """The program under test with a state root of its own."""

    def __init__(self, program: str, scratch: Path, prefix: str) -> None:
        self.program = program
        self.root = scratch / "state"
        self.scratch = scratch
        self.prefix = prefix
        self.containers: list[Container] = []
        self._numbers = itertools.count(1)

    def new_id(self) -> str:
        """An id that no other test uses; the oracle of left-overs knows it by its prefix."""
        return f"{self.prefix}-{next(self._numbers)}"

    def entries(self) -> list[str]:
        """What is in the state root, but for the runtime's own (what it keeps across containers)."""
        names = os.listdir(self.root) if self.root.exists() else []
        return [name for name in names if not name.startswith("@")]

    def popen(self, *argv: str, stem: Path | None = None, **popen: Any) -> subprocess.Popen[bytes]:
        """Start `ocirt --root … ARGV`. With a stem, output goes to files STEM.out and STEM.err: a pipe would stay
        open for as long as a container lives.
        """
        command = [self.program, "--root", str(self.root), *argv]
        popen.setdefault("stdin", subprocess.DEVNULL)
        if KEPT and argv[:1] in {("create",), ("run",)}:
            command[3:3] = ["--kept", KEPT]
            if argv[0] == "create" and can_be_made_twice(argv):
                keep_one_like(command, self.new_id(), **popen)
        if stem is None:
            return subprocess.Popen(command, **popen)
        with stem.with_suffix(".out").open("wb") as out, stem.with_suffix(".err").open("wb") as err:
            popen.setdefault("stdout", out)
            popen.setdefault("stderr", err)
            return subprocess.Popen(command, **popen)

    def run(
        self, *argv: str, check: bool | None = None, stdin: bytes = b"", timeout: float = TIMEOUT, **popen: Any
    ) -> Result:
        """Run `ocirt --root … ARGV` to its end.

        check    True: must succeed; False: must fail; None: either
        popen    what subprocess.Popen takes: pass_fds, env, cwd, preexec_fn …
        """
        stem = self.scratch / f"command-{next(self._numbers)}"
        if stdin:
            stem.with_suffix(".in").write_bytes(stdin)
            with stem.with_suffix(".in").open("rb") as source:
                process = self.popen(*argv, stem=stem, stdin=source, **popen)
        else:
            process = self.popen(*argv, stem=stem, **popen)
        return finish(process, argv, stem, check, timeout)

    def create(self, bundle: Bundle, *flags: str, container_id: str = "", **popen: Any) -> Container:
        """`create`, which must succeed."""
        container = Container(self, container_id or self.new_id(), bundle)
        self.containers.append(container)
        argv = ("create", "--bundle", str(bundle.path), *flags, container.id)
        finish(self.popen(*argv, stem=container.stem, **popen), argv, container.stem, True, TIMEOUT)
        return container

    def start(self, bundle: Bundle, *flags: str, **popen: Any) -> Container:
        """`create` and `start`."""
        container = self.create(bundle, *flags, **popen)
        container.start()
        return container

    def run_container(
        self, bundle: Bundle, *flags: str, check: bool | None = None, container_id: str = "", **popen: Any
    ) -> Result:
        """`run` in the foreground, to its end."""
        container = Container(self, container_id or self.new_id(), bundle)
        self.containers.append(container)
        return self.run("run", "--bundle", str(bundle.path), *flags, container.id, check=check, **popen)


def finish(
    process: subprocess.Popen[bytes], argv: Sequence[str], stem: Path, check: bool | None, timeout: float
) -> Result:
    """Wait for a command that writes to files, and judge how it ended."""
    try:
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(f"{' '.join(argv)}: still running after {timeout} s; {texts(stem)}") from None
    result = Result(tuple(argv), code, *texts(stem))
    if check is not None:
        assert (code == 0) is check, f"{' '.join(argv)}: exit {code}\n{result.stdout}{result.stderr}"
    return result


def texts(stem: Path) -> tuple[str, str]:
    """What a command and its container wrote so far."""
    out, err = (stem.with_suffix(suffix) for suffix in (".out", ".err"))
    return out.read_text(errors="replace"), err.read_text(errors="replace")


class Container:
    """One container by its id. Each method is the command of that name and must succeed unless `check` says else."""

    def __init__(self, runtime: Runtime, container_id: str, bundle: Bundle) -> None:
        self.runtime = runtime
        self.id = container_id
        self.bundle = bundle
        self.stem = runtime.scratch / f"container-{len(runtime.containers)}"

    def start(self, check: bool | None = True) -> Result:
        return self.runtime.run("start", self.id, check=check)

    def kill(self, *signal_and_flags: str, check: bool | None = True) -> Result:
        """`kill FLAGS ID SIGNAL`; KILL when none is named."""
        flags = [word for word in signal_and_flags if word.startswith("-")]
        names = [word for word in signal_and_flags if not word.startswith("-")] or ["KILL"]
        return self.runtime.run("kill", *flags, self.id, *names, check=check)

    def delete(self, *flags: str, check: bool | None = True) -> Result:
        return self.runtime.run("delete", *flags, self.id, check=check)

    def pause(self, check: bool | None = True) -> Result:
        return self.runtime.run("pause", self.id, check=check)

    def resume(self, check: bool | None = True) -> Result:
        return self.runtime.run("resume", self.id, check=check)

    def exec(self, *words: str, flags: Sequence[str] = (), check: bool | None = True, **popen: Any) -> Result:
        """`exec FLAGS ID WORDS` in the foreground."""
        return self.runtime.run("exec", *flags, self.id, *words, check=check, **popen)

    def state(self) -> Json:
        """What `state` prints."""
        document = self.runtime.run("state", self.id, check=True).json()
        assert isinstance(document, dict)
        return document

    def record(self) -> Json:
        """What ocirt keeps of it for itself, beside the state."""
        document = json.loads((self.runtime.root / self.id / "state.json").read_text())["ocirt"]
        assert isinstance(document, dict)
        return document

    def cgroups(self) -> list[Path]:
        """Its directories, of all hierarchies."""
        return [Path(path) for path in self.record()["cgroups"]]

    def cgroup_file(self, name: str) -> str:
        """A control file, from the hierarchy that has it; "" where none has."""
        return next((path.read_text() for path in (home / name for home in self.cgroups()) if path.exists()), "")

    @property
    def status(self) -> str:
        return str(self.state()["status"])

    @property
    def pid(self) -> int:
        return int(self.state()["pid"])

    def stop(self) -> None:
        """Kill it, wait until it is stopped, delete it."""
        self.kill("KILL", check=None)
        self.wait_stopped()
        self.delete()

    def wait_stopped(self) -> None:
        wait_for(lambda: self.status == "stopped", f"{self.id} stopped")

    def proc(self, name: str, pid: int = 0) -> str:
        """A file of /proc/PID as the host sees it, of the container's init unless another pid is given."""
        return Path(f"/proc/{pid or self.pid}/{name}").read_text()

    def mounts(self) -> list[Mount]:
        """The container's mounts."""
        return mounts(self.proc("mountinfo"))

    @property
    def stdout(self) -> str:
        return texts(self.stem)[0]

    @property
    def stderr(self) -> str:
        return texts(self.stem)[1]


class ConsoleSocket:
    """The engine's end of --console-socket: hands out the terminal that it is sent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(1)

    def receive(self, seconds: float = 10.0) -> tuple[int, bytes]:
        """The terminal's master, which the caller closes, and the bytes that came with it."""
        self._listener.settimeout(seconds)
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(seconds)
            data, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4))
        fds = array.array("i")
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
        assert len(fds) == 1, f"one terminal expected, not {len(fds)}"
        return fds[0], data

    def close(self) -> None:
        self._listener.close()
        self.path.unlink(missing_ok=True)
