"""Filters that refuse what the init itself needs: it ends, and what did not run is never called a success."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.support import Bundle, Json, Result, Runtime
from tests.integration.views import MakeBundle

ENDS = ["exit_group", "exit"]
SENDS = ["write", "writev", "sendto", "sendmsg"]
REFUSALS = ("SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP", "SCMP_ACT_TRACE")


def filtered(names: list[str], action: str = "SCMP_ACT_ERRNO") -> Json:
    """A `linux` delta."""
    return {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": names, "action": action}]}}


def started(runtime: Runtime, bundle: Bundle) -> Result:
    """How `start` ended, with the container deleted."""
    container = runtime.create(bundle)
    result = runtime.run("start", container.id)
    again = runtime.run("start", container.id, check=False)
    assert not result.code or "cannot start a container that is stopped" in again.stderr
    runtime.run("delete", "--force", container.id, check=True)
    return result


@pytest.mark.parametrize("action", REFUSALS)
def test_start_fails_where_the_filter_refuses_execve(runtime: Runtime, make_bundle: MakeBundle, action: str) -> None:
    bundle = make_bundle(args=["true"], linux=filtered(["execve"], action))
    result = started(runtime, bundle)
    assert result.code == 1
    said = {
        "SCMP_ACT_ERRNO": os.strerror(errno.EPERM).lower(),
        "SCMP_ACT_TRACE": os.strerror(errno.ENOSYS).lower(),
    }.get(action, "seccomp")
    assert said in result.stderr, result.stderr


@pytest.mark.parametrize("privileges", [True, False], ids=["no_new_privs", "privileged"])
@pytest.mark.parametrize("also", [[], ENDS, SENDS, [*ENDS, *SENDS]], ids=["", "ends", "sends", "both"])
@pytest.mark.parametrize("action", ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"])
def test_run_and_exec_fail_where_the_filter_refuses_execve(
    runtime: Runtime, make_bundle: MakeBundle, also: list[str], privileges: bool, action: str
) -> None:
    linux = filtered(["execve", *also], action)
    bundle = make_bundle(args=["true"], linux=linux, process={"noNewPrivileges": privileges})
    result = runtime.run_container(bundle)
    assert result.code == 1
    assert "seccomp" in result.stderr or "exec: " in result.stderr, result.stderr


# Without no_new_privs the filter is in force for the talk with the runtime, too.
EITHER = [(names, privileges) for names in (ENDS[:1], ENDS) for privileges in (True, False)]


@pytest.mark.parametrize(("refused", "privileges"), [*EITHER, (SENDS, True), ([*ENDS, *SENDS], True)])
def test_why_the_process_was_not_executed_is_told_under_any_filter(
    runtime: Runtime, make_bundle: MakeBundle, refused: list[str], privileges: bool
) -> None:
    """A script without its interpreter: execve is the first to see that, behind the filter."""
    bundle = make_bundle(args=["/script"], linux=filtered(refused), process={"noNewPrivileges": privileges})
    bundle.add_file("/script", "#!/no/such/interpreter\n", 0o755)
    for result in (started(runtime, bundle), runtime.run_container(bundle)):
        assert result.code == 1
        assert 'exec: "/script": no such file or directory' in result.stderr, result.stderr


def test_it_is_told_where_the_disk_has_become_full(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """What is written to a file's memory then would be the end of the init by SIGBUS, ahead of its words."""
    runtime.root.mkdir(0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(runtime.root)], check=True)
    try:
        bundle = make_bundle(args=["/script"], linux=filtered(["mkdir"]))
        bundle.add_file("/script", "#!/no/such/interpreter\n", 0o755)
        container = runtime.create(bundle)
        with pytest.raises(OSError, match="No space left"):
            (runtime.root / "fill").write_bytes(bytes(4 << 20))
        result = runtime.run("start", container.id)
        assert result.code == 1
        assert 'exec: "/script": no such file or directory' in result.stderr, result.stderr
        runtime.run("delete", "--force", container.id, check=True)
    finally:
        subprocess.run(["umount", str(runtime.root)], check=True)


def test_exec_tells_it_the_first_time_and_again(runtime: Runtime, make_bundle: MakeBundle) -> None:
    linux = filtered([*ENDS, *SENDS])
    bundle = make_bundle(args=["sleep", "600"], linux=linux)
    bundle.add_file("/script", "#!/bin/sh\nexit 0\n", 0o755)
    container = runtime.start(bundle)
    script = bundle.rootfs / "script"
    good = script.read_text()
    for text in (good, good, "#!/no/such/interpreter\n", good):
        script.write_text(text)
        result = runtime.run("exec", container.id, "/script")
        if text == good:  # busybox too ends by exit_group: it is killed for what it does then
            assert 'exec: "/script"' not in result.stderr
        else:
            assert 'exec: "/script": no such file or directory' in result.stderr


def test_exec_of_what_the_filter_kills_fails(runtime: Runtime, make_bundle: MakeBundle, scratch: Path) -> None:
    """The filter came with the config; the first process was executed before: by another runtime's hand."""
    bundle = make_bundle(args=["sleep", "600"], linux=filtered(["execve"], "SCMP_ACT_KILL_PROCESS"))
    container = runtime.create(bundle)
    pid_file = scratch / "pid"
    result = runtime.run("exec", "--detach", "--pid-file", str(pid_file), container.id, "true")
    assert result.code == 255
    assert "seccomp" in result.stderr
    assert not pid_file.exists()


@pytest.mark.parametrize("name", ["sendto", "recvmsg", "accept4", "read", "capset", "setresuid"])
@pytest.mark.parametrize("action", ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"])
def test_an_early_filter_that_refuses_a_call_of_the_init_is_named(
    runtime: Runtime, make_bundle: MakeBundle, name: str, action: str
) -> None:
    """Without no_new_privs it is in force while the init becomes the process."""
    linux = filtered([name], action)
    bundle = make_bundle(args=["true"], linux=linux, process={"noNewPrivileges": False})
    result = runtime.run_container(bundle)
    if result.code == 0:
        assert name in {"accept4", "read"}  # for `create` alone
        return
    assert result.code == 1
    assert "without a report" not in result.stderr
    assert "seccomp" in result.stderr, result.stderr
