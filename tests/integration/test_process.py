"""process: arguments, environment, directory, ids, limits and all that execve(2) carries over."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import Runtime
from tests.integration.views import Inside, MakeBundle, fields, wrapper

CAP_SYS_RESOURCE = 24

# ---- arguments, environment ------------------------------------------------------------------------------------------


def test_arguments_arrive_byte_for_byte(runtime: Runtime, make_bundle: MakeBundle) -> None:
    odd = ["", " ", "a b", "*", "$HOME", "'\"\\", "tab\tnewline\n", "ünï", "--help", "x" * 100_000]
    container = runtime.start(make_bundle(args=["sh", "-c", "sleep 600; :", *odd]))
    assert container.proc("cmdline").split("\0")[:-1] == ["sh", "-c", "sleep 600; :", *odd]


LOOKED_UP = {
    "by PATH": ("tool", "/tools", "in PATH"),
    "by the later of two directories": ("tool", "/nowhere:/tools", "in PATH"),
    "relative to cwd": ("./tool", "/nowhere", "in cwd"),
    "by an absolute path": ("/tools/tool", "/nowhere", "in PATH"),
    "not by what cannot run": ("tool", "/plain:/tools", "in PATH"),
}


@pytest.mark.parametrize(("name", "path", "answer"), LOOKED_UP.values(), ids=LOOKED_UP)
def test_the_program_is_found(runtime: Runtime, make_bundle: MakeBundle, name: str, path: str, answer: str) -> None:
    bundle = make_bundle(args=[name], process={"cwd": "/work", "env": [f"PATH={path}"]})
    bundle.add_file("/tools/tool", "#!/bin/sh\necho in PATH\n", 0o755)
    bundle.add_file("/work/tool", "#!/bin/sh\necho in cwd\n", 0o755)
    bundle.add_file("/plain/tool", "no program", 0o644)
    assert runtime.run_container(bundle, check=True).stdout == f"{answer}\n"


ENVIRONMENTS = {
    "as listed, in that order": (["B=2", "A=1", "HOME=/h"], ["B=2", "A=1", "HOME=/h"]),
    "values with equals signs and spaces": (["A= b=c ", "HOME=/h"], ["A= b=c ", "HOME=/h"]),
    "the last of duplicates": (["A=1", "HOME=/h", "A=2"], ["A=2", "HOME=/h"]),
    "empty values": (["A=", "HOME=/h"], ["A=", "HOME=/h"]),
}


@pytest.mark.parametrize(("given", "seen"), ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_the_environment_is_the_configs_alone(
    runtime: Runtime, make_bundle: MakeBundle, given: list[str], seen: list[str]
) -> None:
    bundle = make_bundle(args=["/bin/sleep", "600"], process={"env": given})
    container = runtime.create(bundle, env={"SECRET": "of the caller", "PATH": os.environ["PATH"]})
    container.start()
    assert sorted(container.proc("environ").split("\0")[:-1]) == sorted(seen)


HOMES = {
    "of root, from passwd": (0, [], "/root"),
    "of a user, from passwd": (1000, [], "/home/user"),
    "of nobody known": (4242, [], "/"),
    "as configured": (1000, ["HOME=/elsewhere"], "/elsewhere"),
    "empty counts as none": (0, ["HOME="], "/root"),
}


@pytest.mark.parametrize(("uid", "env", "home"), HOMES.values(), ids=HOMES)
def test_home_is_set(inside: Inside, uid: int, env: list[str], home: str) -> None:
    process = {"user": {"uid": uid, "gid": uid}, "env": ["PATH=/bin", *env]}
    assert inside("sh", "-c", "echo $HOME", process=process) == f"{home}\n"


# ---- directory -------------------------------------------------------------------------------------------------------


def test_the_directory_is_the_configured_one(inside: Inside) -> None:
    assert inside("sh", "-c", "pwd; readlink /proc/self/cwd", process={"cwd": "/tmp"}) == "/tmp\n/tmp\n"


def test_a_missing_directory_is_made(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["stat", "-c", "%a %u", "."], process={"cwd": "/srv/app/data"})
    assert runtime.run_container(bundle, check=True).stdout == "755 0\n"
    assert (bundle.rootfs / "srv" / "app" / "data").is_dir()


# ---- ids -------------------------------------------------------------------------------------------------------------

USERS = {
    "root": {"uid": 0, "gid": 0},
    "a user": {"uid": 1000, "gid": 1000},
    "without an account": {"uid": 54321, "gid": 12345},
    "with groups": {"uid": 1000, "gid": 5, "additionalGids": [7, 50, 4294967294]},
    "the highest id": {"uid": 4294967294, "gid": 4294967294},
}


@pytest.mark.parametrize("user", USERS.values(), ids=USERS)
def test_the_process_has_the_configured_ids_and_no_other_group(
    runtime: Runtime, make_bundle: MakeBundle, user: dict[str, Any]
) -> None:
    container = runtime.create(make_bundle(args=["sleep", "600"], process={"user": user}), extra_groups=[3, 4])
    container.start()
    status = fields(container.proc("status"))
    assert status["Uid"].split() == [str(user["uid"])] * 4
    assert status["Gid"].split() == [str(user["gid"])] * 4
    assert status["Groups"].split() == [str(gid) for gid in user.get("additionalGids", [])]


@pytest.mark.parametrize(("umask", "seen"), [(None, "0022"), (0, "0000"), (0o77, "0077"), (0o2, "0002")])
def test_the_umask_is_the_configured_one_whatever_the_callers(
    runtime: Runtime, make_bundle: MakeBundle, umask: int | None, seen: str
) -> None:
    bundle = make_bundle(args=["sh", "-c", "umask"], process={"user": {"umask": umask}})
    assert runtime.run_container(bundle, check=True, umask=0o777).stdout == f"{seen}\n"


# ---- limits ----------------------------------------------------------------------------------------------------------

# RLIMIT_… → its line in /proc/PID/limits
LIMITS = {
    "AS": "Max address space",
    "CORE": "Max core file size",
    "CPU": "Max cpu time",
    "DATA": "Max data size",
    "FSIZE": "Max file size",
    "LOCKS": "Max file locks",
    "MEMLOCK": "Max locked memory",
    "MSGQUEUE": "Max msgqueue size",
    "NICE": "Max nice priority",
    "NOFILE": "Max open files",
    "NPROC": "Max processes",
    "RSS": "Max resident set",
    "RTPRIO": "Max realtime priority",
    "RTTIME": "Max realtime timeout",
    "SIGPENDING": "Max pending signals",
    "STACK": "Max stack size",
}


@pytest.fixture
def sys_resource() -> None:
    """The capability to raise hard limits and to lower an OOM score."""
    if not int(fields(Path("/proc/self/status").read_text())["CapEff"], 16) >> CAP_SYS_RESOURCE & 1:
        pytest.skip("needs CAP_SYS_RESOURCE")


def limit(text: str, name: str) -> list[str]:
    """Soft and hard of one line."""
    return next(line for line in text.splitlines() if line.startswith(name))[len(name) :].split()[:2]


@pytest.mark.parametrize(("kind", "line"), LIMITS.items(), ids=LIMITS)
def test_a_limit_is_exactly_as_configured(runtime: Runtime, make_bundle: MakeBundle, kind: str, line: str) -> None:
    hard = resource.prlimit(0, getattr(resource, f"RLIMIT_{kind}"))[1] if hasattr(resource, f"RLIMIT_{kind}") else 0
    # Lower than what we have, for raising takes CAP_SYS_RESOURCE; and not so low that nothing could run.
    top = 2**33 if hard == resource.RLIM_INFINITY else hard
    rlimit = {"type": f"RLIMIT_{kind}", "soft": max(top - 2, 0), "hard": max(top - 1, 0)}
    container = runtime.start(make_bundle(args=["sleep", "600"], process={"rlimits": [rlimit]}))
    assert limit(container.proc("limits"), line) == [str(rlimit["soft"]), str(rlimit["hard"])]


@pytest.mark.usefixtures("sys_resource")
def test_a_hard_limit_is_raised_by_who_may(runtime: Runtime, make_bundle: MakeBundle) -> None:
    low = ["prlimit", "--nofile=500:600", "--core=0:0", "--", runtime.program]
    runtime.program = wrapper(runtime.scratch / "low", low)
    rlimits = [
        {"type": "RLIMIT_NOFILE", "soft": 70000, "hard": 80000},
        {"type": "RLIMIT_CORE", "soft": 2**64 - 1, "hard": 2**64 - 1},
    ]
    container = runtime.start(make_bundle(args=["sleep", "600"], process={"rlimits": rlimits}))
    assert limit(container.proc("limits"), "Max open files") == ["70000", "80000"]
    assert limit(container.proc("limits"), "Max core file size") == ["unlimited", "unlimited"]
    flags = ["--pid-file", str(runtime.scratch / "pid"), "--detach"]
    container.exec("sleep", "600", flags=flags)
    added = int((runtime.scratch / "pid").read_text())
    assert limit(container.proc("limits", added), "Max open files") == ["70000", "80000"]
    os.kill(added, signal.SIGKILL)  # and reaped, as engines do it
    os.waitpid(added, 0)


def test_without_limits_the_callers_are_kept_and_unlimited_is_said_as_such(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    everything = 2**64 - 1
    rlimits = [{"type": "RLIMIT_FSIZE", "soft": everything, "hard": everything}]
    container = runtime.start(make_bundle(args=["sleep", "600"], process={"rlimits": rlimits}))
    ours = Path("/proc/self/limits").read_text()
    for name in ("Max open files", "Max processes", "Max core file size", "Max file size"):
        assert limit(container.proc("limits"), name) == limit(ours, name)


def test_few_descriptors_are_enough_for_the_process_and_no_hindrance_before(inside: Inside) -> None:
    rlimits = [{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 5}]
    assert inside("sh", "-c", "ulimit -n", process={"rlimits": rlimits}) == "5\n"


@pytest.mark.parametrize("score", [None, 0, 500, 1000])
def test_the_oom_score_is_raised_or_left(runtime: Runtime, make_bundle: MakeBundle, score: int | None) -> None:
    ours = int(Path("/proc/self/oom_score_adj").read_text())
    assert ours < 300, "the tests are not to be killed first"

    def raised() -> None:
        Path("/proc/self/oom_score_adj").write_text("300" if score is None else str(ours))

    bundle = make_bundle(args=["sleep", "600"], process={"oomScoreAdj": score})
    container = runtime.create(bundle, preexec_fn=raised)
    container.start()
    assert int(container.proc("oom_score_adj")) == (300 if score is None else score)


@pytest.mark.usefixtures("sys_resource")
@pytest.mark.parametrize("score", [-998, -1])
def test_the_oom_score_is_lowered_by_who_may(runtime: Runtime, make_bundle: MakeBundle, score: int) -> None:
    container = runtime.start(make_bundle(args=["sleep", "600"], process={"oomScoreAdj": score}))
    assert int(container.proc("oom_score_adj")) == score


# ---- what execve carries over ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wanted", "seen"), [(True, "1"), (False, "0"), (None, "0")])
def test_no_new_privileges(inside: Inside, wanted: bool | None, seen: str) -> None:
    status = fields(inside("cat", "/proc/self/status", process={"noNewPrivileges": wanted}))
    assert status["NoNewPrivs"] == seen


def test_signals_are_as_at_the_first_process_of_a_system(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """Whatever the caller ignored or blocked, and although the interpreter ignores SIGPIPE and SIGXFSZ."""

    def hostile() -> None:
        for number in (signal.SIGPIPE, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])

    container = runtime.create(make_bundle(args=["sleep", "600"]), preexec_fn=hostile)
    container.start()
    status = fields(container.proc("status"))
    assert {name: int(status[name], 16) for name in ("SigIgn", "SigBlk", "SigCgt")} == {
        "SigIgn": 0,
        "SigBlk": 0,
        "SigCgt": 0,
    }


def test_the_process_leads_a_session_without_a_terminal(runtime: Runtime, make_bundle: MakeBundle) -> None:
    container = runtime.start(make_bundle(args=["sleep", "600"]))
    _, _, rest = container.proc("stat").rpartition(") ")
    session, terminal = rest.split()[3:5]
    assert (int(session), int(terminal)) == (container.pid, 0)


def test_only_the_standard_descriptors_are_open(runtime: Runtime, make_bundle: MakeBundle) -> None:
    leak = os.open("/", os.O_RDONLY)
    container = runtime.create(make_bundle(args=["sleep", "600"]), pass_fds=[leak])
    os.close(leak)
    container.start()
    assert sorted(os.listdir(f"/proc/{container.pid}/fd")) == ["0", "1", "2"]


@pytest.mark.parametrize(("flags", "kept"), [((), []), (("--preserve-fds", "1"), [3]), (("--preserve-fds=3",), [3, 5])])
def test_preserved_descriptors_are_handed_on_and_no_more(
    runtime: Runtime, make_bundle: MakeBundle, flags: tuple[str, ...], kept: list[int]
) -> None:
    """The caller has 3, 5 and 6 open; 4 is a hole that nothing of the runtime's may fill."""
    wanted = (3, 5, 6)

    def open_some() -> None:
        source = os.open("/etc/hostname", os.O_RDONLY)
        for number in wanted:
            os.dup2(source, number)

    container = runtime.create(make_bundle(args=["sleep", "600"]), *flags, preexec_fn=open_some, close_fds=False)
    container.start()
    found = {
        int(name): os.readlink(f"/proc/{container.pid}/fd/{name}") for name in os.listdir(f"/proc/{container.pid}/fd")
    }
    assert {number: target for number, target in found.items() if number > 2} == dict.fromkeys(kept, "/etc/hostname")


def test_stdin_is_the_callers(runtime: Runtime, make_bundle: MakeBundle) -> None:
    result = runtime.run_container(make_bundle(args=["cat"]), check=True, stdin=b"hello\n")
    assert result.stdout == "hello\n"


@pytest.mark.parametrize(("flags", "own"), [((), True), (("--no-new-keyring",), False)])
def test_the_session_keyring_is_its_own_unless_asked_otherwise(
    runtime: Runtime, make_bundle: MakeBundle, flags: tuple[str, ...], own: bool
) -> None:
    bundle = make_bundle(args=["cat", "/proc/keys"], linux={"maskedPaths": None})
    container_id = runtime.new_id()
    keys = runtime.run_container(bundle, *flags, container_id=container_id, check=True).stdout
    assert (f"_ses.{container_id}" in keys) is own


def test_pipes_belong_to_the_user_so_that_it_can_open_them_again(runtime: Runtime, make_bundle: MakeBundle) -> None:
    process = {"user": {"uid": 1000, "gid": 1000}}
    read, write = os.pipe()
    try:
        runtime.run_container(
            make_bundle(args=["sh", "-c", "echo x >/dev/stdout"], process=process), check=True, stdout=write
        )
        assert os.read(read, 10) == b"x\n"
        assert os.fstat(write).st_uid == 1000
    finally:
        os.close(read)
        os.close(write)
