"""Every kind of system call fails once, at several places: an error with a reason and nothing left, or the same
container as without the failure. None may come up weaker."""

from __future__ import annotations

import pytest

from tests.integration.injection import Attempts, Fault, Outcome, Traced, guarded_bundle, spread
from tests.integration.leftovers import children, remains
from tests.integration.support import INTERPRETER, Bundle, Runtime, wait_for
from tests.integration.views import MakeBundle

# Of the runtime, of the launcher's helper threads, of both stages of the init
CALLS = """
accept4 bind capset chdir clone3 close_range dup2 execveat fchdir fchmod fcntl flock fsconfig fsmount fsopen
getcwd getresuid keyctl listen lseek memfd_create mkdir mkdirat mknodat mmap mount mount_setattr move_mount
open_tree openat openat2 pipe2 pivot_root poll prctl pread64 prlimit64 read recvmsg renameat seccomp sendfile sendmsg
sendto setgroups sethostname setresgid setresuid setsid socket socketpair statx symlinkat umount2 unshare vfork wait4
write
"""

# A signal that arrives meanwhile, or a rename somewhere: the call is made again
RETRIED = {
    "EINTR": ["openat2", "read", "recvmsg", "sendmsg", "sendto", "write", "wait4", "poll", "accept4", "mount", "flock"],
    "EAGAIN": ["openat2"],
}

# What no system before Linux 5.14 has, or what a sandbox around the runtime hides
NEW = ["clone3", "openat2", "open_tree", "move_mount", "fsopen", "fsmount", "fsconfig", "mount_setattr", "close_range"]

# Errors that mean "by another way" (here: a device that may not be made is bound from the host), and what stands in
# (of fcntl: it copies the descriptor of the mount in which the device is made, and has no such error of its own).
OTHERWISE = {(call, "EPERM"): "EACCES" for call in ("mknodat", "openat2", "fcntl")}

BEGIN = 'config.json"'  # opened when the program has been loaded

MOST = 3  # faults for each system call and command

undisturbed: dict[str, Outcome] = {}


@pytest.fixture
def bundle(make_bundle: MakeBundle) -> Bundle:
    return guarded_bundle(make_bundle)


COMPILED, KEPT = ["run", "create"], ["run, kept", "create, kept"]


@pytest.fixture(params=[*COMPILED, *KEPT])
def attempt(request: pytest.FixtureRequest, runtime: Runtime, bundle: Bundle) -> Attempts:
    """attempt("mount", "EPERM", 2) runs the command with that fault and asserts what holds for each."""
    verb, kept = request.param.partition(",")[0], request.param in KEPT

    def once(fault: Fault | None = None) -> Outcome:
        before = children()
        watched = [fault.call] if fault else CALLS.split()
        outcome = Traced(runtime, verb, bundle, kept).run(watched, fault)
        wait_for(lambda: not remains(runtime, before), f"{fault}: nothing left", 3)
        return outcome

    if kept:
        once()  # keeps it
    if request.param not in undisturbed:
        normal = undisturbed[request.param] = once()
        assert normal.seen, normal.words
        assert (INTERPRETER in normal.trace) is not kept
    return Attempts(once, undisturbed[request.param], BEGIN)


@pytest.mark.parametrize("call", CALLS.split())
def test_a_failing_call_is_an_error_or_makes_no_difference(call: str, attempt: Attempts) -> None:
    assert attempt.everywhere(call, MOST, OTHERWISE)


@pytest.mark.parametrize("error", RETRIED)
def test_an_interrupted_call_is_made_again(error: str, attempt: Attempts) -> None:
    for call in RETRIED[error]:
        for n in spread(attempt.places(call), 2):
            outcome = attempt(call, error, n)
            assert outcome.seen, f"{call}, call {n}: {outcome.words}"


@pytest.mark.parametrize("attempt", COMPILED, indirect=True)
@pytest.mark.parametrize("call", NEW)
def test_a_system_call_that_is_not_there_is_said_so(call: str, attempt: Attempts) -> None:
    outcome = attempt(call, "ENOSYS", attempt.places(call)[0])
    assert outcome.seen is None
    assert "needs Linux 5.14" in outcome.words
