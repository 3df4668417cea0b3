"""Every kind of system call of `exec` fails once, the plan compiled or kept from before: an error with a reason and
nothing left in the container, or the same process as without the failure."""

from __future__ import annotations

import pytest

from tests.integration.injection import Attempts, Fault, Outcome, TracedExec, guarded_bundle
from tests.integration.leftovers import children, reap
from tests.integration.support import INTERPRETER, Container, Runtime, wait_for
from tests.integration.views import MakeBundle

# Of the runtime and of both stages of the init
CALLS = """
capset chdir clone clone3 close_range dup2 execve execveat fchown fcntl fstat getcwd getresuid keyctl memfd_create mmap
openat openat2 pipe2 poll ppoll prctl pread64 prlimit64 read recvmsg rename renameat seccomp sendfile sendmsg sendto
setgroups setns setresgid setresuid setsid socketpair statx vfork wait4 waitid write
"""
BEGIN = 'state.json"'  # opened when the program has been loaded
MOST = 2  # faults for each system call

undisturbed: dict[str, Outcome] = {}


@pytest.fixture
def guarded(runtime: Runtime, make_bundle: MakeBundle) -> Container:
    """A running container with all that protects it."""
    return runtime.start(guarded_bundle(make_bundle))


def members(container: Container) -> list[int]:
    pids = container.runtime.run("ps", "--format", "json", container.id, check=True).json()
    assert isinstance(pids, list)
    return pids


@pytest.fixture(params=["compiled", "kept"])
def attempt(request: pytest.FixtureRequest, guarded: Container) -> Attempts:
    """attempt("setns", "EPERM", 1) runs exec with that fault and asserts what holds for each."""
    first, kept = [guarded.pid], request.param == "kept"

    def once(fault: Fault | None = None) -> Outcome:
        before = children()
        outcome = TracedExec(guarded, kept).run([fault.call] if fault else CALLS.split(), fault)
        for pid in set(children()) - set(before):
            reap(pid)  # where the fault was in the waiting for it
        wait_for(lambda: members(guarded) == first, f"{fault}: nothing left in the container", 3)
        assert not list(guarded.runtime.scratch.glob(".*.tmp")), fault
        return outcome

    if kept:
        once()  # keeps it
    if request.param not in undisturbed:
        undisturbed[request.param] = once()
        assert undisturbed[request.param].seen, undisturbed[request.param].words
        assert (INTERPRETER in undisturbed[request.param].trace) is not kept
    return Attempts(once, undisturbed[request.param], BEGIN)


@pytest.mark.parametrize("call", CALLS.split())
def test_a_failing_call_of_exec_is_an_error_or_makes_no_difference(call: str, attempt: Attempts) -> None:
    assert attempt.everywhere(call, MOST, {})
