"""The README's promises, P1 to P7. That nothing is left behind is asserted after every test by the runtime fixture."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

from tests.integration.growth import run_program
from tests.integration.leftovers import assert_nothing_is_left, cgroups_named, count_mounts
from tests.integration.support import Json, Runtime, merged, wait_for
from tests.integration.views import MakeBundle

# What makes create fail, early and late: (laid over the base config, part of the message)
FAILURES: dict[str, tuple[Json, str]] = {
    "invalid config": ({"process": {"cwd": "not/absolute"}}, "/process/cwd"),
    "program not found": ({"process": {"args": ["nosuch"]}}, 'exec: "nosuch": executable file not found in $PATH'),
    "program not executable": ({"process": {"args": ["/etc/passwd"]}}, "permission denied"),
    "no such filesystem": (
        {"mounts": [{"destination": "/x", "type": "nosuchfs", "source": "none"}]},
        "/mounts/0",
    ),
    "bad mount option": (
        {"mounts": [{"destination": "/x", "type": "tmpfs", "source": "none", "options": ["size=banana"]}]},
        "size",
    ),
    "no source to bind": (
        {"mounts": [{"destination": "/x", "type": "bind", "source": "/nosuch/source", "options": ["bind"]}]},
        "/nosuch/source",
    ),
    "failing hook": ({"hooks": {"createRuntime": [{"path": "/bin/false"}]}}, "/hooks/createRuntime/0"),
    "failing hook inside": ({"hooks": {"createContainer": [{"path": "/bin/false"}]}}, "/hooks/createContainer/0"),
    "foreign sysctl": ({"linux": {"sysctl": {"kernel.panic": "1"}}}, "kernel.panic"),
    "rootfs is missing": ({"root": {"path": "nosuch"}}, "nosuch"),
}


@pytest.mark.parametrize("case", FAILURES)
@pytest.mark.parametrize("verb", ["create", "run"])
def test_p1_p2_a_failure_is_one_clear_line_one_log_record_and_leaves_nothing(
    verb: str, case: str, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    delta, message = FAILURES[case]
    bundle, log, container_id = make_bundle(**delta), runtime.scratch / "log.json", runtime.new_id()
    argv = ["--log", str(log), "--log-format", "json", verb, "--bundle", str(bundle.path), container_id]
    result = runtime.run(*argv, check=False)
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.startswith("ocirt: ")
    assert result.stderr.count("\n") == 1
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [record["level"] for record in records] == ["error"]
    assert message in records[0]["msg"]
    # Nothing is forced here: it is the failed command that has undone what it did.
    assert "does not exist" in runtime.run("state", container_id, check=False).stderr
    assert cgroups_named(runtime.prefix) == []


@pytest.mark.parametrize(
    "argv", [["state", "nosuch"], ["kill", "nosuch"], ["start", "a/b"], ["create", "--nosuch", "x"], []]
)
def test_p1_wrong_use_never_shows_a_traceback(argv: list[str], runtime: Runtime) -> None:
    result = runtime.run(*argv, check=False)
    assert result.stderr
    assert "Traceback" not in result.stderr + result.stdout


@pytest.mark.parametrize("delay", [n * 0.002 for n in range(16)])
def test_p3_delete_force_removes_all_that_a_killed_create_left(
    delay: float, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    container_id = runtime.new_id()
    bundle = make_bundle(args=["sleep", "600"])
    process = runtime.popen("create", "--bundle", str(bundle.path), container_id, stem=runtime.scratch / "create")
    time.sleep(delay)
    process.kill()
    process.wait()
    for _ in range(2):
        runtime.run("delete", "--force", container_id, check=True)
    assert cgroups_named(runtime.prefix) == []
    assert "does not exist" in runtime.run("state", container_id, check=False).stderr


def test_p3_delete_force_removes_all_that_a_killed_run_left(runtime: Runtime, make_bundle: MakeBundle) -> None:
    container_id = runtime.new_id()
    bundle = make_bundle(args=["sh", "-c", "echo up; exec sleep 600"])
    stem = runtime.scratch / "run"
    process = runtime.popen("run", "--bundle", str(bundle.path), container_id, stem=stem)
    while "up" not in stem.with_suffix(".out").read_text():
        assert process.poll() is None, stem.with_suffix(".err").read_text()
        time.sleep(0.01)
    process.kill()
    process.wait()
    runtime.run("delete", "--force", container_id, check=True)


def test_p3_an_init_that_hangs_while_its_runtime_is_killed_goes_with_delete_force(
    runtime: Runtime, make_bundle: MakeBundle
) -> None:
    """In a system call that does not end, here stopped: so it does not hear that the runtime has gone."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    container_id, log = runtime.new_id(), runtime.scratch / "trace"
    argv = ["strace", "-f", "-o", str(log), "--trace=execve,capset", "--inject=capset:signal=SIGSTOP"]
    argv += [runtime.program, "--root", str(runtime.root), "create", "--bundle", str(make_bundle().path), container_id]
    strace = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: log.exists() and "stopped by SIGSTOP" in log.read_text(), "the init stopped")
    os.kill(int(log.read_text().split()[0]), signal.SIGKILL)
    wait_for(lambda: "killed by SIGKILL" in log.read_text(), "the runtime killed")
    runtime.run("delete", "--force", container_id, check=True)
    strace.wait(10)
    assert cgroups_named(runtime.prefix) == []


def contents(directory: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Everything below a directory, with what a write would change."""
    found = {}
    for path in sorted(directory.rglob("*")):
        stat = path.lstat()
        found[str(path)] = (stat.st_mode, stat.st_uid, stat.st_mtime_ns, path.read_bytes() if path.is_file() else b"")
    return found


@pytest.mark.parametrize("name", ["dev", "proc", "sys", "tmp", "etc"])
@pytest.mark.parametrize("relative", [False, True])
def test_p4_a_symlink_in_the_image_leads_no_write_to_the_host(
    name: str, relative: bool, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    canary = runtime.scratch / "canary"
    canary.mkdir()
    (canary / "null").write_text("host")
    (canary / "passwd").write_text("host")
    extra = {"destination": f"/{name}/made/below", "type": "tmpfs", "source": "tmpfs"}
    bundle = make_bundle(lambda config: config["mounts"].append(extra))
    if (bundle.rootfs / name).exists():
        subprocess.run(["rm", "-rf", str(bundle.rootfs / name)], check=True)
    (bundle.rootfs / name).symlink_to("../../../../../.." + str(canary) if relative else str(canary))
    before = contents(canary)
    runtime.run_container(bundle)  # whether it is refused or stays within the rootfs, the host must not change
    assert contents(canary) == before


@pytest.mark.parametrize("kind", ["createRuntime", "createContainer"])
def test_p5_a_hook_that_never_ends_is_ended_at_its_timeout(
    kind: str, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "sleep 600"], "env": ["PATH=/bin"], "timeout": 1}
    began = time.monotonic()
    result = runtime.run_container(make_bundle(hooks={kind: [hook]}), check=False)
    assert time.monotonic() - began < 5
    assert f"/hooks/{kind}/0" in result.stderr


def all_at_once(runtime: Runtime, *commands: list[str]) -> list[int]:
    """The exit codes of commands that ran at the same time."""
    started = [
        runtime.popen(*argv, stem=runtime.scratch / f"parallel-{number}") for number, argv in enumerate(commands)
    ]
    return [process.wait(30) for process in started]


def test_p6_of_many_creates_of_one_id_exactly_one_succeeds(runtime: Runtime, make_bundle: MakeBundle) -> None:
    container_id, bundle = runtime.new_id(), make_bundle(args=["sleep", "600"])
    codes = all_at_once(runtime, *[["create", "--bundle", str(bundle.path), container_id]] * 6)
    assert sorted(code == 0 for code in codes) == [False] * 5 + [True]
    errors = "".join(path.read_text() for path in runtime.scratch.glob("parallel-*.err"))
    assert errors.count("container with given ID already exists") == 5
    runtime.run("delete", "--force", container_id, check=True)


def test_p6_many_forced_deletes_of_one_id_all_succeed(runtime: Runtime, make_bundle: MakeBundle) -> None:
    container = runtime.start(make_bundle(args=["sleep", "600"]))
    assert all_at_once(runtime, *[["delete", "--force", container.id]] * 4) == [0] * 4


def test_p6_different_ids_do_not_disturb_each_other(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["true"])
    commands = [["run", "--bundle", str(bundle.path), runtime.new_id()] for _ in range(8)]
    assert all_at_once(runtime, *commands) == [0] * 8


CHURN = """
root, bundle, prefix = sys.argv[1:]
runtime = ocirt.Runtime(root)
def once(n):
    assert runtime.run(f"{prefix}{n}", bundle) == 0
for n in range(5):
    once(n)
before = measure()
for n in range(25):
    once(n)
after = measure()
print(before, after)
assert after[:2] == before[:2], "descriptors or threads"
assert after[2] - before[2] < 512, "memory, KiB"
"""


def test_p7_repeated_runs_cost_no_descriptors_threads_or_memory(
    runtime: Runtime, make_bundle: MakeBundle, project: Path
) -> None:
    argv = (runtime.root, make_bundle(args=["true"]).path, f"{runtime.prefix}-c")
    run_program(CHURN, *argv, project=project, seconds=60)


def test_p7_repeated_runs_leave_the_host_as_it_was(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["true"])
    mounts_before = count_mounts()
    for _ in range(10):
        runtime.run("run", "--bundle", str(bundle.path), runtime.new_id(), check=True)
    assert_nothing_is_left(runtime, mounts_before)


def test_merged_keeps_what_the_change_does_not_name() -> None:
    assert merged({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": None}, "d": [2]}) == {"a": {"c": 2}, "d": [2]}


def test_few_descriptors_are_an_error_of_their_own_and_leave_nothing(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle, failed = make_bundle(), 0
    for count in range(6, 24):
        limit = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (count, count))
        done = runtime.run_container(bundle, preexec_fn=limit)
        failed += done.code != 0
        assert done.code == 0 or "too many open files" in done.stderr, (count, done.stderr)
        assert "ocirt: remove" not in done.stderr, count
        assert runtime.entries() == [], (count, done.stderr)
    assert 0 < failed < 18
