"""Where steps, warnings and errors go: --debug, --log, the log of the host, a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.support import TIMEOUT, Bundle, Container, Runtime

MakeBundle = Callable[..., Bundle]

UNKNOWN = {"capabilities": {"bounding": ["CAP_TIME_TRAVEL"]}}
FAILING = {"path": "/bin/sh", "args": ["sh", "-c", "exit 3"]}


def records(log: Path) -> list[dict[str, str]]:
    """The lines of a log in JSON."""
    return [json.loads(line) for line in log.read_text().splitlines()]


class Logged:
    """Runs commands with --debug and a log of their own."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.log = runtime.scratch / "steps"

    def steps(self, *argv: str, **options: Any) -> str:
        """What a command that succeeds says to its log; nothing to standard error."""
        self.log.unlink(missing_ok=True)
        flags = ["--debug", "--log", str(self.log), "--log-format", "json"]
        result = self.runtime.run(*flags, *argv, check=True, **options)
        assert result.stderr == ""
        found = records(self.log)
        assert {record["level"] for record in found} == {"debug"}
        return "\n".join(record["msg"] for record in found)


@pytest.fixture
def logged(runtime: Runtime) -> Logged:
    return Logged(runtime)


def test_every_verb_of_a_life_says_its_steps_to_the_log(
    logged: Logged, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    bundle = make_bundle(args=["sleep", "600"], linux={"cgroupsPath": f"/{runtime.prefix}-logs"})
    container = Container(runtime, runtime.new_id(), bundle)
    runtime.containers.append(container)
    home, name = f"{runtime.root}/{container.id}", container.id
    created = logged.steps("create", "--bundle", str(bundle.path), name)
    assert f"make the state directory {home}" in created
    assert "set the hostname" in created
    assert re.search(r"\d\.\d{3} ms: claim the id", created), "each step of the host plan with its time"
    assert re.search(r"\d\.\d{3} ms: make the cgroup /", created)
    assert f"/{runtime.prefix}-logs" in created
    assert "is created" in logged.steps("state", name)
    assert f'let the process of "{home}" be executed' in logged.steps("start", name)
    assert f'read "{home}/state.json"' in logged.steps("list")
    assert f'list the processes of cgroup "{container.cgroups()[0]}"' in logged.steps("ps", "--format", "json", name)
    limited = logged.steps("update", "--pids-limit", "77", name)
    assert 'pids.max of the cgroup to "77"' in limited
    for _ in range(2):  # the second time nothing has to be compiled
        assert "execute" in logged.steps("exec", name, "true")
    assert f'send signal 0 to the process of "{home}"' in logged.steps("kill", name, "0")
    if container.cgroup_file("freezer.state") or container.cgroup_file("cgroup.freeze"):
        assert 'write "' in logged.steps("pause", name)
        assert 'write "' in logged.steps("resume", name)
    assert f'read "{home}/state.json"' in logged.steps("events", "--stats", name)
    assert f'remove the cgroups and the state directory of "{home}"' in logged.steps("delete", "--force", name)
    assert "run: exit code 0" in logged.steps("run", "--bundle", str(make_bundle(args=["true"]).path), name)


def test_without_debug_a_success_leaves_the_log_empty(runtime: Runtime, make_bundle: MakeBundle) -> None:
    """As runc and crun leave it: engines look for the file."""
    log = runtime.scratch / "log"
    runtime.run("--log", str(log), "run", "--bundle", str(make_bundle().path), runtime.new_id(), check=True)
    assert log.read_text() == ""


@pytest.mark.parametrize(
    "argv",
    [["list"], ["state", "x"], ["start", "x"], ["kill", "x", "0"], ["delete", "--force", "x"], ["exec", "x", "true"]],
    ids=" ".join,
)
@pytest.mark.parametrize(
    ("log", "reason"),
    [("none/log", "no such file or directory"), (".", "is a directory")],
    ids=["missing", "directory"],
)
def test_a_log_that_cannot_be_opened_is_an_error_before_anything_is_done(
    runtime: Runtime, argv: list[str], log: str, reason: str
) -> None:
    """runc and crun refuse too."""
    path = runtime.scratch / log
    result = runtime.run("--log", str(path), *argv)
    assert (result.code, result.stdout) == (1, "")
    assert result.stderr == f'ocirt: log "{path}": {reason}\n'


def test_a_container_is_not_made_without_its_log(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["touch", "/made"])
    result = runtime.run("--log", "/nonexistent/log", "run", "--bundle", str(bundle.path), runtime.new_id())
    assert (result.code, result.stdout) == (1, "")
    assert result.stderr == 'ocirt: log "/nonexistent/log": no such file or directory\n'
    assert not (bundle.rootfs / "made").exists()


# ---- warnings --------------------------------------------------------------------------------------------------------


class Host:
    """A host with a log of the test's own: syslog's socket /dev/log, or with `journal` systemd's alone."""

    def __init__(self, runtime: Runtime, journal: bool) -> None:
        path = runtime.scratch / "host"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        name = "/run/systemd/journal/socket" if journal else "/dev/log"
        script = "\n".join(
            (
                "set -e",
                "mount --make-rprivate /",
                "mount -t tmpfs tmpfs /run",
                "mount -t tmpfs tmpfs /dev",
                "mknod -m 666 /dev/null c 1 3",
                f"mkdir -p {os.path.dirname(name)}",
                f"ln -s {path} {name}",
                f'exec {runtime.program} "$@"',
            )
        )
        self.before = runtime.program
        runtime.program = str(runtime.scratch / "on-host")
        Path(runtime.program).write_text(f"#!/bin/sh\nexec unshare --mount sh -c '{script}' sh \"$@\"\n")
        Path(runtime.program).chmod(0o755)

    def read(self) -> list[str]:
        """What has arrived."""
        found = []
        while True:
            try:
                found.append(self.socket.recv(65536).decode())
            except BlockingIOError:
                return found


@pytest.fixture(params=[False, True], ids=["syslog", "journal"])
def host(runtime: Runtime, request: pytest.FixtureRequest) -> Iterator[Host]:
    host = Host(runtime, request.param)
    yield host
    host.socket.close()
    runtime.program = host.before


def test_an_unknown_capability_is_a_warning_in_the_log_of_the_host_and_nowhere_else(
    host: Host, runtime: Runtime, make_bundle: MakeBundle
) -> None:
    """config.md: it MUST be logged as a warning. Podman takes its log for one JSON document, which is an error's."""
    log, name = runtime.scratch / "log", runtime.new_id()
    bundle = make_bundle(process=UNKNOWN)
    result = runtime.run(
        "--log", str(log), "--log-format", "json", "run", "--bundle", str(bundle.path), name, check=True
    )
    [line] = host.read()
    assert f'container "{name}": config.json: /process/capabilities' in line
    assert "CAP_TIME_TRAVEL" in line
    assert line.startswith(("<12>ocirt[", "PRIORITY=4\nSYSLOG_IDENTIFIER=ocirt\n"))
    assert (result.stdout, result.stderr, log.read_text()) == ("", "", "")


def test_with_debug_a_warning_goes_to_the_log_file(host: Host, runtime: Runtime, make_bundle: MakeBundle) -> None:
    log, bundle = runtime.scratch / "log", make_bundle(process=UNKNOWN)
    flags = ["--debug", "--log", str(log), "--log-format", "json"]
    result = runtime.run(*flags, "run", "--bundle", str(bundle.path), runtime.new_id(), check=True)
    [warning] = [record["msg"] for record in records(log) if record["level"] == "warning"]
    assert "CAP_TIME_TRAVEL" in warning
    assert (host.read(), result.stderr) == ([], "")


def test_a_poststop_hook_that_fails_is_a_warning(host: Host, runtime: Runtime, make_bundle: MakeBundle) -> None:
    """runtime.md, lifecycle, step 13; on delete and after a create that failed."""
    container = runtime.create(make_bundle(hooks={"poststop": [FAILING]}))
    container.delete("--force")
    [line] = host.read()
    assert f'container "{container.id}": config.json: /hooks/poststop/0: hook "/bin/sh" exited with status 3' in line
    bundle = make_bundle(hooks={"poststop": [FAILING], "createRuntime": [FAILING]})
    result = runtime.run("create", "--bundle", str(bundle.path), runtime.new_id(), check=False)
    assert "/hooks/createRuntime/0" in result.stderr
    assert "poststop" not in result.stderr
    [line] = host.read()
    assert "/hooks/poststop/0" in line


def test_exec_warns_of_what_it_was_given(host: Host, runtime: Runtime, make_bundle: MakeBundle) -> None:
    container = runtime.start(make_bundle(args=["sleep", "600"]))
    process = runtime.scratch / "process.json"
    process.write_text(json.dumps({**container.bundle.config["process"], "args": ["true"], **UNKNOWN}))
    assert container.exec(flags=["--process", str(process)]).stderr == ""
    [line] = host.read()
    assert f'container "{container.id}": process: /capabilities' in line
    assert "CAP_TIME_TRAVEL" in line


def test_a_warning_is_said_on_a_terminal_too(host: Host, runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(process=UNKNOWN)
    master, slave = pty.openpty()
    try:
        argv = ["run", "--bundle", str(bundle.path), runtime.new_id()]
        command = [runtime.program, "--root", str(runtime.root), *argv]
        subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=slave, timeout=TIMEOUT, check=True
        )
        said = os.read(master, 65536).decode()
    finally:
        os.close(master)
        os.close(slave)
    assert said.startswith("ocirt: warning: container ")
    assert said.count("\n") == 1
    assert "CAP_TIME_TRAVEL" in said
    assert len(host.read()) == 1


def test_a_host_without_a_log_hinders_nothing(runtime: Runtime, make_bundle: MakeBundle) -> None:
    host = Host(runtime, journal=False)
    host.socket.close()
    result = runtime.run("run", "--bundle", str(make_bundle(process=UNKNOWN).path), runtime.new_id(), check=True)
    runtime.program = host.before
    assert (result.stdout, result.stderr) == ("", "")
