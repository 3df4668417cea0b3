"""A launch that is kept, killed at each of its system calls: what is left then, delete --force removes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections import Counter

import pytest

from tests.integration.launching import KEPT, cgroups_of, files
from tests.integration.leftovers import children, remains
from tests.integration.support import INTERPRETER, Bundle, Container, Runtime, wait_for
from tests.integration.views import MakeBundle

# Of the dynamic linker, and of who only looks.
IDLE = {"execve", "exit_group", "brk", "mmap", "munmap", "mprotect", "pread64", "arch_prctl", "set_robust_list", "rseq"}


def strace(runtime: Runtime, words: list[str], *options: str) -> str:
    """The calls of the command's own process."""
    log = runtime.scratch / "calls"
    log.unlink(missing_ok=True)
    command = ["strace", "-o", str(log), *options, runtime.program, "--root", str(runtime.root), *KEPT, *words]
    with (runtime.scratch / "said").open("wb") as said:  # no pipe: the container keeps what it inherits
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=60, check=False)
    return log.read_text(errors="replace")


def calls_of(trace: str) -> Counter[str]:
    """How often each is made, when nothing is killed."""
    assert INTERPRETER not in trace
    return Counter(name for name in re.findall(r"^(\w+)\(", trace, re.MULTILINE) if name not in IDLE)


def create(runtime: Runtime, bundle: Bundle) -> list[str]:
    return ["create", "--bundle", str(bundle.path), "--pid-file", str(runtime.scratch / "pid"), runtime.new_id()]


@pytest.mark.parametrize("kind", ["plain", "hooks"])
def test_create(kind: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    log = runtime.scratch / "hooks"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"echo ran >> {log}"]}
    hooks = {"hooks": {"createRuntime": [hook], "createContainer": [hook]}} if kind == "hooks" else {}
    bundle = make_bundle(args=["sleep", "600"], **hooks)
    before = children()
    for _ in range(2):  # the first is compiled
        words = create(runtime, bundle)
        trace = strace(runtime, words)
        runtime.run("delete", "--force", words[-1], check=True)
    killed = 0
    for call, count in calls_of(trace).items():
        for number in range(1, count + 1):
            words = create(runtime, bundle)
            log.unlink(missing_ok=True)
            inject = f"inject={call}:signal=SIGKILL:when={number}"
            killed += "killed by SIGKILL" in strace(runtime, words, "-e", f"trace={call}", "-e", inject)
            for _ in range(2):
                assert runtime.run("delete", "--force", words[-1], check=True).stderr == ""
            where = f"nothing left of {call} {number}"
            wait_for(lambda: not remains(runtime, before), where, 5)
            assert cgroups_of(words[-1]) == [], where
            assert not (runtime.root / words[-1]).exists(), where
            assert not log.exists() or log.read_text().count("ran") <= 2, where
    assert killed > 150
    assert len(files(runtime)) == 1


@pytest.mark.parametrize("kind", ["plain", "hooks"])
def test_create_is_interrupted(kind: str, runtime: Runtime, make_bundle: MakeBundle) -> None:
    """At each of them: all of a container or nothing. Python takes over, and undoes what the launcher has done."""
    hooks = {"hooks": {"createRuntime": [{"path": "/bin/true"}]}} if kind == "hooks" else {}
    bundle = make_bundle(args=["sleep", "600"], **hooks)
    before = children()
    for _ in range(2):
        words = create(runtime, bundle)
        trace = strace(runtime, words)
        runtime.run("delete", "--force", words[-1], check=True)
    ended = 0
    for call, count in calls_of(trace).items():
        for number in range(1, count + 1, 1 if kind == "plain" else 3):
            words, where = create(runtime, bundle), f"{call} {number}"
            strace(runtime, words, "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGTERM:when={number}")
            said = (runtime.scratch / "said").read_text()
            if (runtime.root / words[-1]).exists():
                assert (said, runtime.run("state", words[-1]).json()["status"]) == ("", "created"), where
                runtime.run("delete", "--force", words[-1], check=True)
            else:
                assert said in {"", "ocirt: interrupted\n"}, where
                ended += 1
            wait_for(lambda: not remains(runtime, before), f"nothing left of {where}", 5)
    assert ended > 40


def test_exec(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """The container is as it was, and what came into it goes with it."""
    container: Container = runtime.start(make_bundle(args=["sleep", "600"]))
    words = ["exec", "--detach", "--pid-file", str(runtime.scratch / "pid"), container.id, "sleep", "601"]
    before = children()  # the container's process among them
    for _ in range(2):
        trace = strace(runtime, words)
    killed = 0
    for call, count in calls_of(trace).items():
        for number in range(1, count + 1):
            inject = f"inject={call}:signal=SIGKILL:when={number}"
            killed += "killed by SIGKILL" in strace(runtime, words, "-e", f"trace={call}", "-e", inject)
            assert container.state()["status"] == "running", f"{call} {number}"
    assert killed > 40
    assert container.exec("echo", "hi").stdout == "hi\n"
    for pid in set(children()) - set(
        before
    ):  # orphans are ours, and pid 1 of their namespace waits until they are reaped
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    container.delete("--force")
    wait_for(lambda: not remains(runtime, before), "nothing left", 5)
