"""One runtime's commands, timed, and what they and their containers have in memory."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from tests.bench.bundles import Bundles

ENGINES = ("podman", "docker")
COMMANDS = (
    "run", "create", "start", "exec, first", "exec, repeated", "state", "kill 0", "delete", "life cycle",
    *(f"{verb}, {engine}'s config" for engine in ENGINES for verb in ("create", "run")),
)  # fmt: skip


class Cost(NamedTuple):
    """What a command took, in milliseconds: wall clock, and CPU time with its children's."""

    wall: float
    cpu: float


COMPILED = "ocirt compiled"  # the same program, which compiles each launch


class Runtime:
    """A program with a private state root."""

    def __init__(self, name: str, program: str, bundles: Bundles, state: Path) -> None:
        self.name = name
        self.program = program
        self.bundles = bundles
        self.state = state
        self.root = state / f"root-{name.replace(' ', '-')}"
        self.flags = ("--kept", "off") if name == COMPILED else ()
        self.count = 0
        self.output = os.open("/dev/null", os.O_RDWR)

    def popen(self, *arguments: str | Path, root: Path | None = None) -> tuple[int, list[str]]:
        """Start a command: its pid, and its words."""
        argv = [self.program, "--root", str(root or self.root), *self.flags, *map(str, arguments)]
        actions = [(os.POSIX_SPAWN_DUP2, self.output, fd) for fd in (0, 1)]
        return os.posix_spawn(argv[0], argv, os.environ, file_actions=actions), argv

    def cost(self, *arguments: str | Path, root: Path | None = None) -> Cost:
        """Run a command to its end; its failure ends the benchmark."""
        begin = time.perf_counter_ns()
        pid, argv = self.popen(*arguments, root=root)
        _, status, usage = os.wait4(pid, 0)
        took = (time.perf_counter_ns() - begin) / 1e6
        if status:
            raise SystemExit(f"{' '.join(argv)}: wait status {status}")
        return Cost(took, (usage.ru_utime + usage.ru_stime) * 1000)

    def time(self, *arguments: str | Path) -> float:
        """Milliseconds of wall clock."""
        return self.cost(*arguments).wall

    def container(self) -> str:
        """A fresh id."""
        self.count += 1
        return f"bench-{os.getpid()}-{self.name.replace(' ', '-')}-{self.count}"

    def pid(self, ident: str) -> int:
        """The container's process."""
        command = [self.program, "--root", str(self.root), "state", ident]
        return int(json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["pid"])

    def life(self, gap: float) -> dict[str, float]:
        """Every command once, `gap` seconds apart."""
        ident, took = self.container(), {}
        sleeper = self.bundles.make("plain", "sleep", "1000")
        waits = ("run", "--bundle", self.bundles.make("plain", "true", "one"))
        for label, *arguments in (
            ("run", *waits, self.container()),
            ("create", "create", "--bundle", sleeper, ident),
            ("start", "start", ident),
            ("exec, first", "exec", ident, "true", f"{self.count}"),
            ("exec, repeated", "exec", ident, "true", f"{self.count}"),
            ("state", "state", ident),
            ("kill 0", "kill", ident, "0"),
            ("", "kill", ident, "KILL"),
            ("delete", "delete", ident),
        ):
            if label == "":
                process = self.pid(ident)
            time.sleep(gap)
            if label == "delete":
                wait_stopped(process)
            took[label] = self.time(*arguments)
        took["life cycle"] = sum(took[name] for name in ("create", "start", "state", "", "delete"))
        del took[""]
        return took | self.engines(gap)

    def engines(self, gap: float) -> dict[str, float]:
        """What engines ask for, with the configs that they write."""
        took = {}
        for engine in ENGINES:
            ident = self.container()
            created, ran = self.bundles.make(engine, "sleep", "1000"), self.bundles.make(engine, "true", ident)
            time.sleep(gap)
            took[f"create, {engine}'s config"] = self.time("create", "--bundle", created, ident)
            self.time("delete", "--force", ident)
            time.sleep(gap)
            took[f"run, {engine}'s config"] = self.time("run", "--bundle", ran, self.container())
        return took

    def once(self, root: Path) -> dict[str, Cost]:
        """create and run by a state root that is new: whatever a runtime keeps there for the next time is missing."""
        ident = self.container()
        made = self.cost("create", "--bundle", self.bundles.make("plain", "sleep", "1000"), ident, root=root)
        self.cost("start", ident, root=root)
        executed = self.cost("exec", ident, "true", root=root)
        self.cost("delete", "--force", ident, root=root)
        ran = self.cost("run", "--bundle", self.bundles.make("plain", "true"), self.container(), root=root)
        return {"create": made, "run": ran, "exec": executed}

    def resident(self) -> float:
        """Kilobytes that the init of a created container has in memory."""
        ident = self.container()
        self.time("create", "--bundle", self.bundles.make("plain", "sleep", "1000"), ident)
        size = field(self.pid(ident), "VmRSS")
        self.time("delete", "--force", ident)
        return size

    def peak(self) -> float:
        """Kilobytes that a `run` in the foreground had in memory at most: VmHWM, which execve(2) sets back."""
        self.time("run", "--bundle", self.bundles.make("plain", "sh", "-c", "exit 0"), self.container())  # one like it
        read, write = os.pipe()
        bundle = self.bundles.make("plain", "sh", "-c", "echo ready; sleep 1000")
        argv = [
            self.program,
            "--root",
            str(self.root),
            *self.flags,
            "run",
            "--bundle",
            str(bundle),
            ident := self.container(),
        ]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=write) as process:
            os.read(read, 1)
            size = field(process.pid, "VmHWM")
            self.time("kill", ident, "KILL")
        os.close(read)
        os.close(write)
        return size

    def many(self, total: int, together: int) -> float:
        """Containers a second: `total` runs of `true`, so many at a time."""
        waiting = [self.bundles.make("plain", "true", str(number)) for number in range(total)]
        running: set[int] = set()
        begin = time.perf_counter()
        while waiting or running:
            while waiting and len(running) < together:
                running.add(self.popen("run", "--bundle", waiting.pop(), self.container())[0])
            pid, status = os.wait()
            running.discard(pid)
            if status:
                raise SystemExit(f"{self.name}: one of {together} runs at a time failed, wait status {status}")
        return total / (time.perf_counter() - begin)


def wait_stopped(pid: int) -> None:
    """After SIGKILL the process needs a moment to be gone."""
    for _ in range(1000):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return
        except OSError:
            return
        time.sleep(0.001)
    raise SystemExit(f"process {pid}: still alive")


def field(pid: int, name: str) -> float:
    """A number of /proc/PID/status."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return float(line.split()[1])
    raise SystemExit(f"no {name} of {pid}")
