"""Drives the real ocirt-init, operation by operation: builds it, encodes plans, speaks the protocol of docs/plan.md.

Independent of ocirt's own encoder on purpose: the two must agree on ops.def and wire.h, and malformed plans are made
here as well.
"""

from __future__ import annotations

import array
import fcntl
import os
import re
import signal
import socket
import struct
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocirt.linux import _flags

PROJECT = Path(__file__).parent.parent.parent
SOURCES = PROJECT / "ocirt/spawn/init"
BUILD = PROJECT / "build/test-init"
DEADLINE = 10.0

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
CLONE_NEWCGROUP, CLONE_NEWTIME = 0x2000000, 0x80
NAMESPACES = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET

MS_RDONLY, MS_REC, MS_UNBINDABLE, MS_PRIVATE, MS_SLAVE, MS_SHARED = 1, 0x4000, 1 << 17, 1 << 18, 1 << 19, 1 << 20
ATTR_RDONLY = 1

SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
HEAD = struct.Struct("<QII")
MESSAGE = struct.Struct("<IIII")


def enumerators() -> dict[str, int]:
    """Every constant of wire.h."""
    text = re.sub(r"/\*.*?\*/", "", (SOURCES / "wire.h").read_text(), flags=re.DOTALL)
    found = {name: int(value.rstrip("UL"), 0) for name, value in re.findall(r"#define (\w+) (\w+) *\n", text)}
    for body in re.findall(r"enum \{(.*?)\}", text, re.DOTALL):
        value = 0
        for item in filter(None, (part.strip() for part in body.split(","))):
            name, _, given = item.partition("=")
            value = int(given) if given else value
            found[name.strip()] = value
            value += 1
    return found


def operations() -> dict[str, tuple[int, str]]:
    """Name → (number, kinds), from ops.def."""
    text = re.sub(r"/\*.*?\*/", "", (SOURCES / "ops.def").read_text(), flags=re.DOTALL)
    return {name: (number, kinds) for number, (name, kinds) in enumerate(re.findall(r'OP\((\w+),\s*"(\w*)"\)', text))}


WIRE = enumerators()
OPERATIONS = operations()
NONE = WIRE["SLOT_NONE"]
ROOT, PROC, NULL, EMPTY = (WIRE[f"SLOT_{name}"] for name in ("ROOT", "PROC", "NULL", "EMPTY"))


def detail(number: int) -> str:
    """DETAIL_… as a word."""
    return next(name[7:] for name, value in WIRE.items() if name.startswith("DETAIL_") and value == number)


def init_program() -> Path:
    """The init, built when a source is newer. OCIRT_SANITIZE=1: undefined behaviour ends it by SIGILL."""
    flags = [*_flags.compile_flags("init", str(PROJECT)), *_flags.link_flags("init")]
    if os.environ.get("OCIRT_SANITIZE"):
        trap = ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"]
        return build("ocirt-init-ubsan", [*flags, *trap], sorted(SOURCES.glob("*.c")))
    return build("ocirt-init", flags, sorted(SOURCES.glob("*.c")))


def build(name: str, flags: list[str], sources: list[Path]) -> Path:
    """Compile and link `sources` to build/test-init/`name` when something is newer than it."""
    target = BUILD / name
    newest = max(path.stat().st_mtime for path in [*sources, *SOURCES.iterdir()])
    if not target.exists() or target.stat().st_mtime < newest:
        BUILD.mkdir(parents=True, exist_ok=True)
        new = target.with_suffix(f".{os.getpid()}")
        subprocess.run(["gcc", *flags, "-o", new, *sources], check=True)
        new.rename(target)
    return target


# ---- plans ---------------------------------------------------------------------------------------------------------


@dataclass
class Op:
    """One operation; `ignore` at most two errnos."""

    name: str
    args: tuple[Any, ...]
    ignore: tuple[int, ...] = ()
    skip: int = 0


def op(name: str, *args: Any, ignore: tuple[int, ...] = (), skip: int = 0) -> Op:
    """An operation."""
    return Op(name, args, ignore, skip)


class Encoder:
    """Operations → bytes."""

    def __init__(self, ops: list[Op]) -> None:
        self.base = HEAD.size + sum(8 + 8 * len(op.args) for op in ops)
        self.data = bytearray()
        heads = bytearray()
        for one in ops:
            number, kinds = OPERATIONS[one.name]
            assert len(kinds) == len(one.args), one
            first, second = (*one.ignore, 0, 0)[:2]
            heads += struct.pack("<HHHH", number, first, second, one.skip)
            for kind, value in zip(kinds, one.args, strict=True):
                heads += struct.pack("<Q", self.word(kind, value))
        size = HEAD.size + len(heads) + len(self.data)
        self.bytes = HEAD.pack(WIRE["PLAN_MAGIC"], size, len(ops)) + bytes(heads) + bytes(self.data)

    def place(self, data: bytes, length: int) -> int:
        """Put data at the end, 8-aligned; the word that points at it."""
        where = self.base + len(self.data)
        self.data += data + b"\0" * (-len(data) % 8)
        return where | length << 32

    def word(self, kind: str, value: Any) -> int:
        """The word of one argument."""
        if kind in "uf":
            return int(value)
        if kind == "s":
            text = os.fsencode(value)
            return self.place(text + b"\0", len(text))
        if kind == "b":
            return self.place(value, len(value))
        words = [self.word("s", item) for item in value]
        return self.place(struct.pack(f"<{len(words) + 2}Q", *words, 0, 0), len(words))


def encode(ops: list[Op]) -> bytes:
    """A plan's bytes."""
    return Encoder(ops).bytes


def memfd(data: bytes, seals: int = SEALS) -> int:
    """A sealed memfd."""
    fd = os.memfd_create("plan", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


# ---- the protocol --------------------------------------------------------------------------------------------------


@dataclass
class Message:
    """What the init says."""

    type: int
    value: int
    error: int
    detail: str
    text: str


def parse(data: bytes) -> Message:
    """A message from its bytes."""
    kind, value, error, number = MESSAGE.unpack_from(data)
    return Message(kind, value, error, detail(number), data[MESSAGE.size :].decode("utf-8", "replace"))


@dataclass
class Result:
    """How a run ended. status: the wait status of the last process; error: its ERROR message, if any."""

    status: int
    output: str
    messages: list[Message]
    error: Message | None = None
    pid: int = 0
    stages: list[int] = field(default_factory=list)

    def ok(self) -> str:
        """The output of a run that must have succeeded."""
        assert self.error is None, self.error
        assert self.status == 0, (self.status, self.output)
        return self.output


class Init:
    """A running init. Everything it leaves is ended by close()."""

    def __init__(self, preserve: tuple[int, ...] = (), user: int = 0) -> None:
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.settimeout(DEADLINE)
        self.output, output = os.pipe()
        self.messages: list[Message] = []
        self.pid = 0
        number = 3 + len(preserve)
        moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in (*preserve, theirs.fileno(), output)]
        actions = [(os.POSIX_SPAWN_DUP2, fd, 3 + i) for i, fd in enumerate(moved[:-1])]
        actions += [(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)]
        actions += [(os.POSIX_SPAWN_DUP2, moved[-1], fd) for fd in (1, 2)]
        binary = os.memfd_create("init")
        os.write(binary, init_program().read_bytes())
        argv = ["ocirt-init", str(number)]
        if user:
            argv = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "/proc/self/fd/150", str(number)]
            actions.append((os.POSIX_SPAWN_DUP2, binary, 150))
        high = fcntl.fcntl(binary, fcntl.F_DUPFD_CLOEXEC, 200)
        path = "/usr/bin/setpriv" if user else f"/proc/self/fd/{high}"
        self.first = os.posix_spawn(path, argv, {}, file_actions=actions)
        for fd in (*moved, binary, output, high):
            os.close(fd)
        theirs.close()

    def send_plan(self, ops: list[Op] | bytes, slots: dict[int, int] | None = None, seals: int = SEALS) -> None:
        """GO SYNC_PLAN."""
        plan = memfd(ops if isinstance(ops, bytes) else encode(ops), seals)
        self.go(WIRE["SYNC_PLAN"], {WIRE["SLOT_PLAN"]: plan, **(slots or {})})
        os.close(plan)

    def go(self, point: int, slots: dict[int, int] | None = None) -> None:
        """GO with descriptors."""
        slots = slots or {}
        data = MESSAGE.pack(WIRE["MSG_GO"], point, 0, len(slots)) + struct.pack(f"<{len(slots)}I", *slots)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", slots.values()))] if slots else []
        self.ours.sendmsg([data], rights)

    def message(self) -> Message | None:
        """The next message; None at end of file."""
        try:
            data = self.ours.recv(4096)
        except ConnectionResetError:
            return None
        if not data:
            return None
        message = parse(data)
        self.messages.append(message)
        if message.type == WIRE["MSG_PID"]:
            self.pid = message.value
        return message

    def until(self, point: int) -> None:
        """Let it pass every point before `point`, which it then waits at."""
        while (message := self.message()) is not None:
            assert message.type != WIRE["MSG_ERROR"], message
            if message.type == WIRE["MSG_SYNC"]:
                if message.value == point:
                    return
                self.go(message.value)
        raise AssertionError("the init ended")

    def finish(self) -> Result:
        """Let it pass every point, to the end: the processes are reaped and all output is read."""
        while (message := self.message()) is not None:
            if message.type == WIRE["MSG_SYNC"]:
                self.go(message.value)
        return self.reap()

    def reap(self) -> Result:
        """The wait status of the last process, and the output."""
        output = b""
        while chunk := os.read(self.output, 65536):
            output += chunk
        stages = [wait(pid) for pid in (self.first, self.pid) if pid]
        self.first = self.pid = 0
        error = next((m for m in self.messages if m.type == WIRE["MSG_ERROR"]), None)
        return Result(stages[-1], output.decode("utf-8", "replace"), self.messages, error, stages=stages)

    def close(self) -> None:
        """End what is left, by pid."""
        for pid in (self.pid, self.first):
            if pid:
                try:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                except (ProcessLookupError, ChildProcessError):
                    pass
        self.ours.close()
        os.close(self.output)

    def __enter__(self) -> Init:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def wait(pid: int) -> int:
    """The wait status, within the deadline; then it is killed."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def carry_out(ops: list[Op] | bytes, slots: dict[int, int] | None = None, **more: Any) -> Result:
    """Run a plan to its end."""
    with Init() as init:
        init.send_plan(ops, slots, **more)
        return init.finish()


# ---- containers ----------------------------------------------------------------------------------------------------


def new_root(path: Path) -> Path:
    """A root filesystem with a static busybox."""
    for name in ("bin", "proc", "dev", "sys", "tmp", "etc"):
        (path / name).mkdir(parents=True)
    subprocess.run(["cp", "/bin/busybox", path / "bin/busybox"], check=True)
    for name in ("sh", "cat", "ls", "stat", "mount", "id", "echo", "true"):
        (path / "bin" / name).symlink_to("busybox")
    return path


def refused(result: Result, error: int, detail: str) -> str:
    """The text of an error that must be this one."""
    assert result.error is not None, result
    assert (result.error.error, result.error.detail) == (error, detail), result.error
    return result.error.text
