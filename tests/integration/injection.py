"""System calls that fail on demand: the runtime under strace(1), and what can be seen of a container's security."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.integration.support import BASE, Bundle, Container, Json, Runtime, mounts, static_program, texts, wait_for
from tests.integration.views import MakeBundle, fields, ns_of

SECCOMP = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": ["getcwd", "ptrace", "bpf"], "action": "SCMP_ACT_ERRNO"}],
}
SYSCTL = "net/ipv4/ip_forward"
GUARDED: Json = {
    "process": {
        "args": ["/pause"],
        "user": {"uid": 1000, "gid": 1000, "umask": 0o27, "additionalGids": [7, 8]},
        "capabilities": {kind: ["CAP_CHOWN", "CAP_KILL"] for kind in ("bounding", "effective", "permitted")},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 64}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}],
        "oomScoreAdj": 100,
    },
    "root": {"readonly": True},
    "linux": {
        "namespaces": [*BASE["linux"]["namespaces"], {"type": "cgroup"}],
        "seccomp": SECCOMP,
        "sysctl": {SYSCTL.replace("/", "."): "1"},
    },
}
ERRORS = ("EPERM", "ENOMEM", "EIO", "EBUSY", "EINVAL", "EMFILE")

# The interpreter, finishing its own start, where no code of the program's has a say
INTERPRETER = ("<frozen getpath>", "Python path configuration")

HOST_FD = 27  # a descriptor of the caller's that must not get in


def guarded_bundle(make_bundle: MakeBundle) -> Bundle:
    """GUARDED, and the program that it runs."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    bundle = make_bundle(**GUARDED)
    static_program("pause.c", bundle.rootfs / "pause", "-nostdlib")
    return bundle


class Fault(NamedTuple):
    """The n-th call (in each process) of a system call fails."""

    call: str
    error: str
    n: int


class Outcome(NamedTuple):
    """How the command ended, and what of its container could be seen (None: it did not come up)."""

    code: int
    words: str
    seen: Json | None
    trace: str


class Traced:
    """`create` or `run --detach` under strace. strace lives as long as the container: it is deleted, then it ends.

    kept   a launch may be carried out that was kept
    """

    numbers = itertools.count(1)

    def __init__(self, runtime: Runtime, verb: str, bundle: Bundle, kept: bool) -> None:
        self.runtime = runtime
        self.verb = verb
        self.kept = kept
        self.bundle = bundle
        self.name = runtime.new_id()
        self.stem = runtime.scratch / f"traced-{next(self.numbers)}"
        self.log = self.stem.with_suffix(".trace")

    def run(self, calls: list[str], fault: Fault | None) -> Outcome:
        """From the command's begin to the end of all its processes."""
        inject = [f"--inject={fault.call}:error={fault.error}:when={fault.n}"] if fault else []
        watched = ",".join(["execve", *(f"?{call}" for call in calls)])  # the first line is the command's own execve
        argv = ["strace", "-f", "-o", str(self.log), f"--trace={watched}", *inject]
        argv += [self.runtime.program, "--root", str(self.runtime.root), "--kept", "on" if self.kept else "off"]
        argv += self.command()
        with self.stem.with_suffix(".out").open("wb") as out, self.stem.with_suffix(".err").open("wb") as err:
            stdio: Json = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": err}
            strace = subprocess.Popen(argv, **stdio, preexec_fn=hold, close_fds=False)  # noqa: PLW1509 - no threads
        try:
            code = self.exit_code(strace)
            words, seen = texts(self.stem)[1], None
            if code == 0:
                seen, more = self.look()
                words += more
                self.end()
            strace.wait(10)
        finally:
            strace.kill()
            strace.wait()
        return Outcome(code, words, seen, self.log.read_text())

    def command(self) -> list[str]:
        flags = ["--detach"] if self.verb == "run" else []
        return [self.verb, *flags, "--pid-file", str(self.stem), "--bundle", str(self.bundle.path), self.name]

    def end(self) -> None:
        """Of what has come up."""
        self.runtime.run("delete", "--force", self.name, check=True)

    def exit_code(self, strace: subprocess.Popen[bytes]) -> int:
        """That of the command, which strace notes; the command is the first process of the log."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            ended = strace.poll() is not None
            text = self.log.read_text() if self.log.exists() else ""
            main = text.partition(" ")[0]
            found = re.search(rf"^{main} +\+\+\+ (?:exited with|killed by) (\w+)", text, re.MULTILINE) if main else None
            if found:
                return int(found[1]) if found[1].isdigit() else -1
            assert not ended, texts(self.stem)[1]
            time.sleep(0.003)
        raise AssertionError(f"the command hangs; so far:\n{self.log.read_text()[-2000:]}")

    def look(self) -> tuple[Json | None, str]:
        """The container as it is created, if it is, and as it runs; and what a failed start says."""
        pid, created = int(self.stem.read_text()), None
        if self.verb == "create":
            created = {"owner": os.stat(f"/proc/{pid}/fd").st_uid, "fds": settled_fds(pid)}
            result = self.runtime.run("start", self.name)
            if result.code:
                return None, result.stderr
        wait_for(lambda: os.readlink(f"/proc/{pid}/exe") == "/pause", "the process is executed")
        return {"created": created, **security(pid, self.name)}, ""


class TracedExec(Traced):
    """`exec --detach` under strace, in a container that is there."""

    def __init__(self, container: Container, kept: bool) -> None:
        super().__init__(container.runtime, "exec", container.bundle, kept)
        self.name = container.id

    def command(self) -> list[str]:
        return ["exec", "--detach", "--pid-file", str(self.stem), self.name, "/pause"]

    def end(self) -> None:
        pid = int(self.stem.read_text())
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def look(self) -> tuple[Json | None, str]:
        pid = int(self.stem.read_text())
        wait_for(lambda: os.readlink(f"/proc/{pid}/exe") == "/pause", "the process is executed")
        return security(pid, self.name), ""


def hold() -> None:
    """In the child: the host's root is open at HOST_FD, and stays so."""
    os.dup2(os.open("/", os.O_RDONLY | os.O_DIRECTORY), HOST_FD, inheritable=True)


def settled_fds(pid: int) -> list[str]:
    """Those of an init to which create has said its last word, which it may not have read yet."""
    found = kinds_of_fds(pid)
    for _ in range(50):
        time.sleep(0.02)
        found, before = kinds_of_fds(pid), found
        if found == before:
            break
    return found


def kinds_of_fds(pid: int) -> list[str]:
    links = {int(name): os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
    return sorted(text.partition(":")[0] if number > 2 else str(number) for number, text in links.items())


# What opens the shared objects: the launcher's thread, unless the interpreter is faster.
BY_EITHER_THREAD = {"mmap"}

# What the launcher does without when it starts: threads that save time, and a second lock on the caller's descriptors
HARMLESS = {"clone3", "close_range"}

STATUS = (
    "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp",
    "Seccomp_filters", "Umask", "SigBlk", "SigIgn",
)  # fmt: skip


def security(pid: int, name: str) -> Json:
    """All that protects the host, or the container from others, as far as /proc shows it; the id is taken out."""
    proc = Path(f"/proc/{pid}")
    status, ours, theirs = fields((proc / "status").read_text()), ns_of("self"), ns_of(pid)
    inside = ["nsenter", f"--target={pid}", "--uts", "--net", "cat", f"/proc/sys/{SYSCTL}", "/proc/sys/kernel/hostname"]
    found: Json = {key: status.get(key) for key in STATUS}
    found["pid inside"] = len(status["NSpid"].split())
    found["own namespaces"] = sorted(kind for kind in ours if ours[kind] != theirs[kind])
    found["mounts"] = sorted(
        (mount.target, mount.fstype, sorted(mount.options), sorted(mount.propagation), sorted(mount.superblock))
        for mount in mounts((proc / "mountinfo").read_text())
    )
    found["limits"] = [line for line in (proc / "limits").read_text().splitlines() if "files" in line or "core" in line]
    found["oom"] = (proc / "oom_score_adj").read_text()
    found["fds"] = kinds_of_fds(pid)
    found["cgroups"] = sorted((proc / "cgroup").read_text().replace(name, "ID").splitlines())
    # HOME is a convenience: a passwd file that cannot be read leaves it at /
    found["environment"] = [entry for entry in (proc / "environ").read_text().split("\0") if entry[:5] != "HOME="]
    found["session"] = (proc / "stat").read_text().rpartition(")")[2].split()[3] == str(pid)
    found["names"] = subprocess.run(inside, capture_output=True, text=True, check=True).stdout
    return found


def calls_of(trace: str, after: str) -> dict[str, Counter[str]]:
    """Process → how often it makes each call. The first process counts from `after` on: before, it is being loaded.

    Under "before" is what the first process made until then.
    """
    found: dict[str, Counter[str]] = defaultdict(Counter)
    main, begun = trace.partition(" ")[0], False
    for line in trace.splitlines():
        begun = begun or after in line
        match = re.match(r"(\d+) +(\w+)\(", line)
        if match:
            pid, call = match.groups()
            found["before" if pid == main and not begun else pid][call] += 1
    found["main"] = found["before"] + found.pop(main, Counter())
    return dict(found)


def places(trace: str, call: str, after: str) -> list[int]:
    """Which n-th calls are worth a fault: in any process, but not those with which the program itself is loaded."""
    counts = calls_of(trace, after)
    first = 0 if call in HARMLESS else counts["before"][call]
    last = max(count[call] for count in counts.values())
    return list(range(first + 1, last + 1))


def spread(numbers: list[int], most: int) -> list[int]:
    """At most so many of them, the first and the last among them."""
    if len(numbers) <= most:
        return numbers
    return sorted({numbers[round(step * (len(numbers) - 1) / (most - 1))] for step in range(most)})


def difference(one: Any, other: Any) -> str:
    """What differs between two looks, for the message of an assertion."""
    return "\n".join(f"{key}: {one[key]} != {other[key]}" for key in one if one[key] != other[key])


class Attempts:
    """A command that is run again and again, each time with one fault, beside the one that nothing disturbed.

    once      runs it, with a fault or None
    begin     what the trace has when the program has been loaded
    """

    def __init__(self, once: Callable[[Fault | None], Outcome], normal: Outcome, begin: str) -> None:
        self.once = once
        self.normal = normal
        self.begin = begin

    def __call__(self, call: str, error: str, n: int) -> Outcome:
        """Run the command with that fault, and assert what holds for each: an error with a reason, or no difference."""
        fault = Fault(call, error, n)
        outcome = self.once(fault)
        if any(words in outcome.words for words in INTERPRETER):
            return outcome
        assert "Traceback" not in outcome.words, f"{fault}: {outcome.words}"
        assert "internal error" not in outcome.words, f"{fault}: {outcome.words}"
        if outcome.seen is None:
            assert outcome.words.count("\n") == 1, f"{fault}: exit {outcome.code}, {outcome.words!r}"
            assert len(outcome.words) > len("ocirt: x\n"), fault
        else:
            assert outcome.seen == self.normal.seen, f"{fault}: {difference(outcome.seen, self.normal.seen)}"
        return outcome

    def places(self, call: str) -> list[int]:
        """Which n-th calls are worth a fault."""
        return places(self.normal.trace, call, self.begin)

    def everywhere(self, call: str, most: int, otherwise: Mapping[tuple[str, str], str]) -> int:
        """Attempts at no more than so many places, with an error or what stands in for it; how many faults there were.

        Skips the test where the command does not make the call.
        """
        numbers = self.places(call)
        if not numbers:
            pytest.skip(f"{call} is not called by this command")
        hits = 0
        for index, n in enumerate(spread(numbers, most)):
            error = ERRORS[(index + len(call)) % len(ERRORS)]
            hits += "(INJECTED)" in self(call, otherwise.get((call, error), error), n).trace
        if not hits and call in BY_EITHER_THREAD:
            pytest.skip(f"{call} was another thread's this time")
        return hits
