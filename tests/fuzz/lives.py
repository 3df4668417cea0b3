"""Mutated configs as containers, through their whole life: create, start, exec, update, kill, delete. Needs root.

    python -m tests.fuzz.lives [--seed N] [--first N] [--count N] [--view hybrid|v1|v2] [--jobs N]
        [--keep DIRECTORY] [--sanitized] [--ordinary]

Case N of a seed is always the same. A case fails for a traceback, an internal error, a death by signal, an error
without words, a hang, something left behind, and for a process that is weaker than its config (weaker.py).
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from ocirt.config import check, lenient
from tests.fuzz import documents, sandbox, sanitized
from tests.fuzz.bundles import USER, Ground, Json, executable, parsed
from tests.fuzz.mutate import Mutator, Stock
from tests.fuzz.view import View
from tests.fuzz.weaker import weaker
from tests.integration import leftovers
from tests.integration.support import Runtime
from tests.integration.views import wrapper

PROGRAM = Path(__file__).parents[2] / "ocirt/_bin/ocirt"
HANG = 10.0  # seconds
# In no error that is one: a failure of Python's code, of C under sanitizers (sanitized.py), of the init
BROKEN = ("Traceback", "internal error", "Sanitizer", "runtime error:", "killed by signal 4", "killed by signal 11")
# What a process of exec has from the container where it says nothing: docs/plan.md, "Exec"
INHERITED = ("capabilities", "oomScoreAdj")
INHERITED_WHEN_EMPTY = ("rlimits",)


class Failure(NamedTuple):
    """What went wrong in a case, with the commands that led there."""

    case: int
    what: str
    config: str
    commands: list[str]


class Ended(Exception):
    """The case cannot go on; `what` it ended with was right or has been noted."""


class Life:
    """One case. `wrong` gets a line for everything that went wrong."""

    def __init__(self, ground: Ground, runtime: Runtime, host: View, bundle: Path) -> None:
        self.ground = ground
        self.runtime = runtime
        self.host = host
        self.bundle = bundle
        self.id = runtime.new_id()
        self.pid_file = bundle / "pid"
        self.commands: list[str] = []
        self.wrong: list[str] = []
        self.joined: list[int] = []

    def command(self, *argv: str, must: bool = False) -> int:
        """Run one, judge how it ended, return its exit code. Raises Ended where it hangs, or fails and must not."""
        self.commands.append(" ".join(argv))
        stem = self.bundle / "command"
        process = self.runtime.popen(*argv, stem=stem)
        code = self.wait(process)
        if code is None:
            self.wrong.append(f"{argv[0]} hangs: {states_of(process.pid)}")
            process.kill()
            process.wait()
            raise Ended from None
        words = stem.with_suffix(".err").read_text(errors="replace")
        self.judge(argv[0], code, words)
        if must and code:
            self.wrong.append(f"{argv[0]} failed: {words}")
            raise Ended
        return code

    def wait(self, process: subprocess.Popen[bytes]) -> int | None:
        """Its exit code, None where it hangs. What exec has left to us is reaped: a pid namespace waits for that."""
        end = time.monotonic() + HANG
        while time.monotonic() < end:
            self.joined = [pid for pid in self.joined if not leftovers.reap(pid)]
            try:
                return process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        return None

    def judge(self, verb: str, code: int, words: str) -> None:
        if any(word in words for word in BROKEN):
            self.wrong.append(f"{verb}: {words}")
        elif code < 0 or (code >= 128 and (verb, code) != ("exec", 255)):
            self.wrong.append(f"{verb}: exit {code}, {words}")
        elif code and not words.strip():
            self.wrong.append(f"{verb}: exit {code} without words")

    def live(self, config: Json | None, process: Any, resources: Any, rng: random.Random) -> str:
        """The whole life; how far it went."""
        flags = [flag for flag in ("--no-pivot", "--no-new-keyring") if rng.random() < 0.05]
        files = ["--pid-file", str(self.pid_file)]
        if self.command("create", "--bundle", str(self.bundle), *files, *flags, self.id):
            if self.pid_file.exists():
                self.wrong.append("a pid file of a container that was not created")
            return "refused"
        if config is None:
            self.wrong.append("created from what is no JSON object")
            return "created"
        pid = int(self.pid_file.read_text())
        stage = "created"
        if rng.random() < 0.9:
            stage = self.run(pid, config, process, resources, rng)
        return stage

    def run(self, pid: int, config: Json, process: Any, resources: Any, rng: random.Random) -> str:
        if self.command("start", self.id):
            return "not started"
        first = self.look(pid)
        if first is None:
            if stays(config):
                self.wrong.append("start succeeds, but nothing is executed")
            return "ended"
        self.wrong += weaker(config, first, self.host, ordinary=self.ground.ordinary)
        if rng.random() < 0.7:
            self.execute(config, process, first)
        if rng.random() < 0.2:
            (self.bundle / "resources.json").write_text(json.dumps(resources))
            self.command("update", "--resources", str(self.bundle / "resources.json"), self.id)
        self.command("state", self.id, must=True)
        return "ran"

    def look(self, pid: int) -> View | None:
        """A process once it has been executed; None where it is something else, or has ended."""
        end = time.monotonic() + 2
        while time.monotonic() < end:
            if executable(pid).endswith("/pause"):  # without a mount namespace it is below the bundle
                try:
                    return View(pid)
                except OSError:
                    return None
            if "ocirt-init" not in executable(pid):
                return None
            time.sleep(0.002)
        return None

    def execute(self, config: Json, process: Any, first: View) -> None:
        """One more process, by a file; twice, for the second time the plan may be kept."""
        file, pid_file = self.bundle / "process.json", self.bundle / "exec-pid"
        file.write_text(json.dumps(process))
        for _ in range(2):
            pid_file.unlink(missing_ok=True)
            if self.command("exec", "--detach", "--process", str(file), "--pid-file", str(pid_file), self.id):
                return
            self.joined.append(int(pid_file.read_text()))
            seen = self.look(self.joined[-1])
            if seen:
                own = config.get("process") or {}
                wanted = {**config, "process": completed(process, own)}
                self.wrong += [
                    f"exec: {line}" for line in weaker(wanted, seen, self.host, first, ordinary=self.ground.ordinary)
                ]

    def end(self, rng: random.Random) -> None:
        """Kill and delete it, whatever it has come to; then nothing is left.

        Without a cgroup and a pid namespace nobody but their caller knows of the processes of exec.
        """
        for pid in self.joined if self.ground.ordinary else ():
            os.kill(pid, signal.SIGKILL)
        if (self.runtime.root / self.id).exists():
            self.command("kill", self.id, "KILL") if rng.random() < 0.5 else None
            self.command("delete", "--force", self.id, must=True)

    def left(self, cgroups: set[str], mounts: int, processes: list[int]) -> list[str]:
        """What is left: state, processes, cgroups, mounts, files beside the bundle."""
        found: list[str] = []
        for _ in range(200):
            found = [f"state {name}" for name in self.runtime.entries()]
            found += [f"cgroup {path}" for path in set(leftovers.cgroups_named("")) - cgroups]
            left = [pid for pid in leftovers.children() if pid not in processes and not leftovers.reap(pid)]
            found += [f"process {pid}: {leftovers.command_of(pid)}" for pid in left]
            if leftovers.count_mounts() != mounts:
                found.append("a mount")
            if not found:
                break
            time.sleep(0.01)
        return [f"left behind: {what}" for what in found]


def stays(config: Json) -> bool:
    """Whether a config's program is sure to be there when it is looked at: nothing in the config may end it."""
    process, linux = config.get("process") or {}, config.get("linux") or {}
    ending = process.get("rlimits") or linux.get("seccomp") or (linux.get("resources") or {}).get("memory")
    return process.get("args") == ["/pause"] and not ending


def completed(process: Json, own: Json) -> Json:
    """A process file with what it has from the container where it says nothing."""
    found = dict(process)
    for name in (*INHERITED, *INHERITED_WHEN_EMPTY):
        empty = not found.get(name) if name in INHERITED_WHEN_EMPTY else found.get(name) is None
        if empty and own.get(name) is not None:
            found[name] = own[name]
    umask = (own.get("user") or {}).get("umask")
    if umask is not None and (found.get("user") or {}).get("umask") is None:
        found["user"] = {**(found.get("user") or {}), "umask": umask}
    return found


def states_of(pid: int) -> str:
    """What a process and its children are doing, for the words of a hang."""
    found = []
    for one in [pid, *leftovers.children()]:
        try:
            found.append(f"{one} {leftovers.command_of(one)[:60]} in {Path(f'/proc/{one}/wchan').read_text()}")
        except OSError:
            continue
    return "; ".join(found)


def fit(document: Any) -> bool:
    """Whether the checks let a config pass."""
    settled, found = copy.deepcopy(document), list[Any]()
    lenient.drop_nulls(settled)
    if isinstance(settled, dict):
        lenient.settle(settled)
    if not (check.valid(settled) and check.plain(settled)):
        return False
    check.judge(settled, found)
    return not found


class Cases:
    """All that cases are made from, in a sandbox."""

    def __init__(self, scratch: Path, ordinary: bool = False) -> None:
        self.ground = Ground(scratch, ordinary)
        program = os.environ.get("OCIRT") or str(PROGRAM)
        if ordinary:
            became = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all"]
            program = wrapper(scratch / "ordinary", ["env", "XDG_RUNTIME_DIR=", *became, program])
        self.runtime = Runtime(program, scratch, "fuzz")
        self.runtime.root.mkdir(mode=0o700)
        os.chown(self.runtime.root, *([USER] * 2 if ordinary else [0, 0]))
        self.configs = [self.ground.fitted(config) for config in documents.configs().values()]
        self.processes = documents.processes()
        self.resources = documents.resources()
        self.stocks = [Stock(found) for found in (self.configs, self.processes, self.resources)]
        self.host = View("self")  # once all is mounted
        self.counts: Counter[str] = Counter()

    def mutated(self, configs: Mutator, config: Json, rng: random.Random) -> Any:
        """A config changed; mostly one that the checks let pass, for all others end there (compiler.py)."""
        any_will_do = rng.random() < 0.15
        while True:
            document = self.ground.tamed(configs.document(config, rng.choice((1, 1, 1, 2, 3, 5))), rng)
            if any_will_do or fit(document):
                return document

    def one(self, seed: int, number: int) -> Iterator[Failure]:
        """Run a case."""
        rng = random.Random(f"{seed}/{number}")
        configs, processes, resources = (Mutator(stock, rng) for stock in self.stocks)
        config = rng.choice(self.configs)
        document = self.mutated(configs, config, rng)
        text = json.dumps(document, indent=1).encode()
        if rng.random() < 0.1:
            text = configs.bytes(text)
        process = processes.document(rng.choice(self.processes), rng.choice((1, 1, 2)))
        if isinstance(process, dict) and rng.random() < 0.95:
            process |= {"args": ["/pause"], "terminal": False}
            process.pop("apparmorProfile", None), process.pop("selinuxLabel", None)
        bundle = self.ground.bundle(f"case-{number}", text)
        before = set(leftovers.cgroups_named("")), leftovers.count_mounts(), leftovers.children()
        life = Life(self.ground, self.runtime, self.host, bundle)
        stage = "broken off"
        try:
            stage = life.live(parsed(text), process, resources.document(rng.choice(self.resources)), rng)
        except Ended:
            pass
        except Exception:
            life.wrong.append(traceback.format_exc())
        try:
            life.end(rng)
        except Ended:
            pass
        life.wrong += life.left(*before)
        self.counts[stage] += 1
        for what in life.wrong:
            yield Failure(number, what, text.decode(errors="backslashreplace"), [*life.commands, json.dumps(process)])
        self.clear(before, life)

    def clear(self, before: Any, life: Life) -> None:
        """Whatever is left goes, so that the next case starts anew."""
        if any("left behind" in what for what in life.wrong):
            leftovers.end_processes(before[2])
            for path in set(leftovers.cgroups_named("")) - before[0]:
                leftovers._removed(path)
        subprocess.run(["rm", "-rf", str(life.bundle), *map(str, self.runtime.root.glob("[!@]*"))], check=False)


def inside(given: argparse.Namespace) -> int:
    """In the sandbox: the cases, a JSON object for each failure, the counts last."""
    sandbox.settle(given.scratch, given.view)
    cases = Cases(given.scratch, given.ordinary)
    for number in range(given.first, given.first + given.count):
        print(f"case {number}", file=sys.stderr)  # should one bring the sandbox down
        for failure in cases.one(given.seed, number):
            print(json.dumps(failure._asdict()), flush=True)
    cases.ground.close()
    print(json.dumps(cases.counts), flush=True)
    return 0


def run(
    seed: int, first: int, count: int, view: str = "hybrid", ordinary: bool = False
) -> tuple[list[Failure], Counter[str]]:
    """So many cases in a sandbox; what went wrong, and how far they came."""
    words = ["--seed", str(seed), "--first", str(first), "--count", str(count), "--view", view]
    words += ["--ordinary"] if ordinary else []
    done = sandbox.run("tests.fuzz.lives", words, 60 + count * 3 * HANG)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode or not lines or "case" in lines[-1]:
        raise RuntimeError(f"the sandbox ended with {done.returncode}: {done.stderr}")
    return [Failure(**line) for line in lines[:-1]], Counter(lines[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--view", default="hybrid")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="where failures are kept")
    parser.add_argument("--sanitized", action="store_true", help="with a build of ocirt under sanitizers")
    parser.add_argument("--ordinary", action="store_true", help="as an ordinary user")
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.scratch:
        return inside(given)
    if given.sanitized:
        os.environ |= {"OCIRT": str(sanitized.build()), **sanitized.OPTIONS}
    part, found, counts = 50, 0, Counter[str]()
    starts = range(given.first, given.first + given.count, part)
    with ThreadPoolExecutor(given.jobs) as pool:
        results = pool.map(
            lambda n: run(given.seed, n, min(part, given.first + given.count - n), given.view, given.ordinary), starts
        )
        for failures, more in results:
            counts.update(more)
            for failure in failures:
                found += 1
                given.keep.mkdir(parents=True, exist_ok=True)
                stem = given.keep / f"lives-{given.seed}-{failure.case}"
                stem.with_suffix(".json").write_text(failure.config)
                stem.with_suffix(".sh").write_text("\n".join(failure.commands))
                print(f"case {failure.case}: {failure.what}", flush=True)
            print(dict(counts), flush=True)
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
