"""Every system call of a command fails, one at a time; what comes of it is judged by the oracle of the config.

The commands and the tracing are tests/integration/injection.py's; here are the verbs that it lacks, and the judge.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

from tests.fuzz.bundles import executable
from tests.fuzz.view import View
from tests.fuzz.weaker import weaker
from tests.integration.injection import BY_EITHER_THREAD, Attempts, Fault, Outcome, Traced, calls_of, guarded_bundle
from tests.integration.leftovers import children, end_processes, reap, remains, remove_cgroups
from tests.integration.support import INTERPRETER, Bundle, Json, Runtime, texts, wait_for
from tests.integration.views import MakeBundle

ERRORS = ("EPERM", "ENOMEM", "EMFILE", "EIO", "EINTR", "ENOSPC", "EACCES")
VERBS = ("create", "start", "exec", "delete")
# Opened when the program has been loaded
BEGIN = {"create": 'config.json"', "start": 'state.json"', "exec": 'state.json"', "delete": 'state.json"'}
# Whoever traces sees these of a process that ends; or they cannot fail: close(2) closes, whatever it returns.
NOT_FAILING = {
    "exit", "exit_group", "execve", "rt_sigreturn", "getpid", "gettid", "geteuid", "getuid", "getegid", "getgid",
    "restart_syscall", "brk", "munmap", "close", "rt_sigaction", "rt_sigprocmask", "umask", "pause", "sched_yield",
}  # fmt: skip


class Command(Traced):
    """One of VERBS under strace, on a container that is brought as far as it needs."""

    def __init__(self, runtime: Runtime, verb: str, bundle: Bundle, host: View, kept: bool) -> None:
        super().__init__(runtime, verb, bundle, kept)
        self.host = host
        self.others = set(children())
        self.pid_file = self.stem.with_suffix(".pid")
        self.exec_file = self.stem.with_suffix(".exec")

    def prepare(self) -> None:
        """What comes before the verb."""
        if self.verb != "create":
            self.runtime.run(*self.creation(), check=True)
        if self.verb in ("exec", "delete"):
            self.runtime.run("start", self.name, check=True)
            wait_for(lambda: executable(self.pid()) == "/pause", "the process is executed")
        if self.verb == "delete":
            self.runtime.run("kill", self.name, "KILL", check=True)
            wait_for(lambda: reap(self.pid()), "the process has ended")

    def creation(self) -> list[str]:
        return ["create", "--pid-file", str(self.pid_file), "--bundle", str(self.bundle.path), self.name]

    def command(self) -> list[str]:
        if self.verb == "create":
            return self.creation()
        detached = ["--detach", "--pid-file", str(self.exec_file), self.name, "/pause"]
        return ["exec", *detached] if self.verb == "exec" else [self.verb, self.name]

    def pid(self, file: Path | None = None) -> int:
        return int((file or self.pid_file).read_text())

    def look(self) -> tuple[Json | None, str]:
        """What the container lacks of its config, once it runs; of one that is deleted, nothing."""
        if self.verb == "delete":
            return {"weaker": []}, ""
        if self.verb == "create":
            result = self.runtime.run("start", self.name)
            if result.code:
                return None, result.stderr
        first = self.view(self.pid())
        found = weaker(self.bundle.config, first, self.host)
        if self.verb == "exec":
            found += weaker(self.bundle.config, self.view(self.pid(self.exec_file)), self.host, first)
        return {"weaker": found}, ""

    def view(self, pid: int) -> View:
        wait_for(lambda: executable(pid) == "/pause", "the process is executed")
        return View(pid)

    def end(self) -> None:
        """Whatever has become of it: `delete --force` removes it."""
        if self.exec_file.exists():
            pid = self.pid(self.exec_file)
            self.exec_file.unlink()
            assert executable(pid), "a pid file of a process that is not there"
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: reap(pid), "the process of exec has ended")
        stem = self.stem.with_suffix(".end")
        process = self.runtime.popen("delete", "--force", self.name, stem=stem)
        while process.poll() is None:  # a pid namespace does not end before those of it that are ours to reap
            for pid in set(children()) - self.others - {process.pid}:
                reap(pid)
            time.sleep(0.005)
        assert process.returncode == 0, f"delete --force after it: {texts(stem)[1]}"


class Matrix:
    """All faults of a verb, and the way to make one. `kept`: of a launch that was kept."""

    def __init__(self, runtime: Runtime, verb: str, make_bundle: MakeBundle, kept: bool = False) -> None:
        self.runtime = runtime
        self.verb = verb
        self.kept = kept
        self.bundle = guarded_bundle(make_bundle)
        self.bundle.config["linux"]["cgroupsPath"] = f"/{runtime.prefix}"
        self.bundle.write()
        self.host = View("self")
        self.before = children()
        if kept:
            self.once(None)
        normal = self.once(None)
        assert kept is not (INTERPRETER in normal.trace) or verb in ("start", "delete")
        assert normal.seen == {"weaker": []}, normal
        self.attempt = Attempts(self.once, normal, BEGIN[verb])

    def once(self, fault: Fault | None) -> Outcome:
        """Prepare, run the command with the fault, end the container; then nothing is left."""
        command = Command(self.runtime, self.verb, self.bundle, self.host, self.kept)
        command.prepare()
        try:
            outcome = command.run([fault.call] if fault else ["all"], fault)
        finally:
            command.end()
        end = time.monotonic() + 3
        while (left := remains(self.runtime, self.before)) and time.monotonic() < end:
            time.sleep(0.01)
        assert not left, f"left behind: {left}"
        return outcome

    def faults(self) -> list[Fault]:
        """Each call at each place with each error."""
        names = {name for count in calls_of(self.attempt.normal.trace, "").values() for name in count}
        return [
            Fault(call, error, n)
            for call in sorted(names - NOT_FAILING - BY_EITHER_THREAD)
            for n in self.attempt.places(call)
            for error in ERRORS
        ]

    def wrong(self, faults: list[Fault]) -> list[str]:
        """What is wrong with those faults; a line for each."""
        found = []
        for fault in faults:
            try:
                self.attempt(*fault)
            except (AssertionError, OSError, subprocess.SubprocessError) as error:
                found.append(f"{fault}: {error}")
                end_processes(self.before)
                for name in self.runtime.entries():
                    self.runtime.run("delete", "--force", name)
                remove_cgroups(self.runtime.prefix)
        return found


def some(faults: list[Fault], most: int, seed: int = 1) -> list[Fault]:
    """At most so many of them, always the same."""
    return faults if len(faults) <= most else random.Random(seed).sample(faults, most)
