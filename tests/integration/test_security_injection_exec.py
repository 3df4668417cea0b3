"""Every kind of system call of `exec` fails once, the plan compiled or kept from before: an error with a reason and
nothing left in the container, or the same process as without the failure."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from tests.integration.injection import GUARDED, Fault, Outcome, TracedExec, build_pause, difference, places, spread
from tests.integration.leftovers import children, reap
from tests.integration.support import Bundle, Container, Runtime, wait_for
from tests.integration.test_security_injection import ERRORS, INTERPRETER

MakeBundle = Callable[..., Bundle]

# Of the runtime and of both stages of the init
CALLS = """
capset chdir clone3 close_range dup2 execve execveat fchown fcntl fstat getcwd getresuid keyctl memfd_create mmap openat
openat2 pipe2 poll ppoll prctl pread64 prlimit64 read recvmsg rename renameat seccomp sendfile sendmsg sendto setgroups
setns setresgid setresuid setsid socketpair statx vfork wait4 waitid write
"""
BEGIN = 'state.json"'  # opened when the program has been loaded
MOST = 2  # faults for each system call

undisturbed: dict[str, Outcome] = {}


@pytest.fixture
def guarded(runtime: Runtime, make_bundle: MakeBundle) -> Container:
    """A running container with all that protects it."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    bundle = make_bundle(**GUARDED)
    build_pause(bundle.rootfs / "pause")
    return runtime.start(bundle)


def members(container: Container) -> list[int]:
    pids = container.runtime.run("ps", "--format", "json", container.id, check=True).json()
    assert isinstance(pids, list)
    return pids


@pytest.fixture(params=["compiled", "kept"])
def attempt(request: pytest.FixtureRequest, guarded: Container) -> Callable[..., Outcome]:
    """A function: attempt("setns", "EPERM", 1) runs exec with that fault and asserts what holds for each."""
    state = guarded.runtime.root / guarded.id
    first = [guarded.pid]

    def once(fault: Fault | None = None) -> Outcome:
        if request.param == "compiled":
            for plan in state.glob("exec-*"):
                plan.unlink()
        before = children()
        outcome = TracedExec(guarded).run([fault.call] if fault else CALLS.split(), fault)
        for pid in set(children()) - set(before):
            reap(pid)  # where the fault was in the waiting for it
        wait_for(lambda: members(guarded) == first, f"{fault}: nothing left in the container", 3)
        assert not list(guarded.runtime.scratch.glob(".*.tmp")), fault
        return outcome

    def injected(call: str, error: str, n: int) -> Outcome:
        fault, normal = Fault(call, error, n), undisturbed[request.param]
        outcome = once(fault)
        if any(words in outcome.words for words in INTERPRETER):
            return outcome
        assert "Traceback" not in outcome.words, f"{fault}: {outcome.words}"
        assert "internal error" not in outcome.words, f"{fault}: {outcome.words}"
        if outcome.seen is None:
            assert outcome.words.count("\n") == 1, f"{fault}: exit {outcome.code}, {outcome.words!r}"
            assert len(outcome.words) > len("ocirt: x\n"), fault
        else:
            assert outcome.seen == normal.seen, f"{fault}: {difference(outcome.seen, normal.seen)}"
        return outcome

    once()  # keeps the plan
    if request.param not in undisturbed:
        undisturbed[request.param] = once()
        assert undisturbed[request.param].seen, undisturbed[request.param].words
        assert ("libpython" in undisturbed[request.param].trace) is (request.param == "compiled")
    injected.trace = undisturbed[request.param].trace  # type: ignore[attr-defined]
    return injected


@pytest.mark.parametrize("call", CALLS.split())
def test_a_failing_call_of_exec_is_an_error_or_makes_no_difference(call: str, attempt: Callable[..., Outcome]) -> None:
    numbers = places(attempt.trace, call, BEGIN)  # type: ignore[attr-defined]
    if not numbers:
        pytest.skip(f"{call} is not called by this command")
    hits = 0
    for index, n in enumerate(spread(numbers, MOST)):
        hits += "(INJECTED)" in attempt(call, ERRORS[(index + len(call)) % len(ERRORS)], n).trace
    assert hits
