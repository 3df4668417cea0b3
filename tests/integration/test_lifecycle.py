"""From create to delete: statuses and their documents, kill in all its forms, run in the foreground and detached."""

from __future__ import annotations

import array
import datetime
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import ocirt
from ocirt.config import schemas
from tests.integration.support import PROC, Container, Json, Runtime, children_of, wait_for
from tests.integration.views import MakeBundle, host_cgroups, namespaces

# Everything but a pid namespace: the first process's death ends no other.
NO_PIDS: Json = {"namespaces": namespaces("mount", "ipc", "uts"), "maskedPaths": None, "readonlyPaths": None}


@pytest.fixture(scope="session")
def state_schema(project: Path) -> Callable[[Json], None]:
    """A function: raises where a document is no state of the specification."""
    return jsonschema.Draft202012Validator(schemas.joined("state.json", project / "spec")).validate


@pytest.fixture
def sleeper(runtime: Runtime, make_bundle: MakeBundle) -> Container:
    """A created container."""
    return runtime.create(make_bundle(args=["sleep", "600"], annotations={"org.example.key": "value \"'\\ ü"}))


# ---- statuses --------------------------------------------------------------------------------------------------------


def test_every_status_has_a_state_of_the_specification(
    runtime: Runtime, sleeper: Container, state_schema: Callable[[Json], None]
) -> None:
    seen = []

    def look() -> None:
        document = sleeper.state()
        state_schema(document)
        listed = runtime.run("list", "--format", "json", check=True).json()
        assert listed == [document]
        assert document["bundle"] == str(sleeper.bundle.path)
        assert document["rootfs"] == str(sleeper.bundle.rootfs)
        assert document["annotations"] == sleeper.bundle.config["annotations"]
        assert document["owner"] == "root"
        seen.append((document["status"], bool(document["pid"]), document["created"]))

    look()
    sleeper.start()
    look()
    sleeper.kill("KILL")
    sleeper.wait_stopped()
    look()
    assert [entry[:2] for entry in seen] == [("created", True), ("running", True), ("stopped", False)]
    assert len({entry[2] for entry in seen}) == 1
    created = datetime.datetime.fromisoformat(seen[0][2][:19] + "+00:00")
    assert abs(time.time() - created.timestamp()) < 60


def test_a_container_whose_process_was_killed_before_start_is_stopped(sleeper: Container) -> None:
    sleeper.kill("KILL")
    sleeper.wait_stopped()
    assert "stopped" in sleeper.start(check=False).stderr
    sleeper.delete()


def test_the_config_counts_as_it_was_at_create(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["sleep", "600"])
    container = runtime.create(bundle)
    bundle.config["process"]["args"] = ["false"]
    bundle.config["annotations"] = {"new": "one"}
    bundle.write()
    container.start()
    assert container.proc("cmdline") == "sleep\0" + "600\0"
    assert "annotations" not in container.state() or container.state()["annotations"] == {}


def test_an_id_can_be_used_again_after_delete(runtime: Runtime, make_bundle: MakeBundle, sleeper: Container) -> None:
    pid = sleeper.pid
    sleeper.stop()
    again = runtime.create(make_bundle(args=["sleep", "600"]), container_id=sleeper.id)
    assert again.pid != pid
    again.stop()


def test_the_bundle_is_the_current_directory_unless_it_is_named(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["echo", "here"])
    assert runtime.run("run", runtime.new_id(), check=True, cwd=bundle.path).stdout == "here\n"
    relative = runtime.run("run", "-b", bundle.path.name, runtime.new_id(), check=True, cwd=bundle.path.parent)
    assert relative.stdout == "here\n"


def test_another_file_can_be_the_config(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["echo", "of the bundle"])
    other = json.loads((bundle.path / "config.json").read_text())
    other["process"]["args"] = ["echo", "of the file"]
    (runtime.scratch / "other.json").write_text(json.dumps(other))
    result = runtime.run_container(bundle, "--config", str(runtime.scratch / "other.json"), check=True)
    assert result.stdout == "of the file\n"


# (what is wrong with it, found by)
OTHER_PROBLEMS: dict[str, Json] = {
    "the schema": {"process": {"cwd": 7}},
    "the rules": {"process": {"cwd": "relative"}},
    "the compiler": {
        "linux": {"namespaces": namespaces("mount"), "uidMappings": [], "sysctl": {"kernel.domainname": "x"}}
    },
    "the init": {"process": {"args": ["no-such-program"]}, "mounts": [{"destination": "/x", "type": "nosuchfs"}]},
}


@pytest.mark.parametrize("delta", OTHER_PROBLEMS.values(), ids=OTHER_PROBLEMS)
def test_what_is_wrong_with_another_file_is_said_of_that_file(
    runtime: Runtime, make_bundle: MakeBundle, delta: Json
) -> None:
    bundle = make_bundle(**delta)
    other = runtime.scratch / "other.json"
    (bundle.path / "config.json").rename(other)
    for verb in (["create"], ["run"], ["run", "--detach"]):
        argv = (*verb, "--bundle", str(bundle.path), "--config", str(other), runtime.new_id())
        said = runtime.run(*argv, check=False).stderr
        assert said.startswith("ocirt: other.json:"), said
        assert "config.json" not in said


def test_validate_and_a_python_program_name_the_other_file_too(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(process={"cwd": "relative"})
    other = runtime.scratch / "other.json"
    (bundle.path / "config.json").rename(other)
    said = runtime.run("validate", "--config", str(other), str(bundle.path), check=False).stderr
    assert said.startswith("ocirt: other.json:")
    theirs = ocirt.Bundle(str(bundle.path), str(other))
    assert [problem.document for problem in theirs.problems()] == ["other.json"]
    with pytest.raises(ocirt.ConfigError, match=r"^other\.json:"):
        theirs.read()


def test_the_pid_file_has_the_pid_alone(runtime: Runtime, make_bundle: MakeBundle) -> None:
    file = runtime.scratch / "pid"
    container = runtime.create(make_bundle(args=["sleep", "600"]), "--pid-file", str(file))
    assert file.read_text() == str(container.pid)


def test_a_pidfd_is_sent_to_who_asks_for_it(runtime: Runtime, make_bundle: MakeBundle) -> None:
    path = runtime.scratch / "pidfd.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(1)
        container = runtime.create(make_bundle(args=["sleep", "600"]), "--pidfd-socket", str(path))
        connection, _ = listener.accept()
        with connection:
            _, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4))
    fd = array.array("i", ancillary[0][2])[0]
    said = Path(f"/proc/self/fdinfo/{fd}").read_text()
    os.close(fd)
    assert f"Pid:\t{container.pid}\n" in said


# ---- kill ------------------------------------------------------------------------------------------------------------

TRAP = "trap 'exit 42' {}; echo ready; while :; do sleep 0.05; done"


@pytest.mark.parametrize("name", ["TERM", "SIGTERM", "term", "15", "HUP", "USR2", "SIGINT", "RTMIN+3", "37"])
def test_a_signal_arrives_however_it_is_named(runtime: Runtime, make_bundle: MakeBundle, name: str) -> None:
    upper = name.upper().removeprefix("SIG")
    number = int(name) if name.isdigit() else {"RTMIN+3": 37}.get(upper) or signal.Signals[f"SIG{upper}"].value
    bundle = make_bundle(args=["sh", "-c", TRAP.format(number)])
    process = runtime.popen(
        "run", "--bundle", str(bundle.path), container_id := runtime.new_id(), stem=runtime.scratch / "r"
    )
    wait_for(lambda: (runtime.scratch / "r.out").read_text() == "ready\n", "ready")
    runtime.run("kill", container_id, name, check=True)
    assert process.wait(10) == 42


def test_signal_0_only_asks(sleeper: Container) -> None:
    sleeper.start()
    sleeper.kill("0")
    assert sleeper.status == "running"


def processes_of(container: Container) -> list[int]:
    """The container's processes, by its cgroup."""
    path = Path(f"/sys/fs/cgroup/pids{host_cgroups(container.pid).get('pids', '/missing')}/cgroup.procs")
    if not path.exists():
        pytest.skip("needs a v1 pids hierarchy")
    return [int(line) for line in path.read_text().split()]


def gone(pids: list[int]) -> bool:
    """Whether none of them runs any more; zombies don't."""
    return not any(command(pid) for pid in pids)


@pytest.fixture
def family(runtime: Runtime, make_bundle: MakeBundle) -> Container:
    """A first process that outlives TERM, and two children, without a pid namespace of their own."""
    script = "trap : TERM; sleep 601 & sleep 602 & while :; do sleep 0.05; done"
    delta = {"linux": NO_PIDS, "mounts": [PROC]}
    container = runtime.start(make_bundle(args=["sh", "-c", script], **delta))
    wait_for(lambda: len(sleepers_of(container)) == 2, "the children")
    return container


def sleepers_of(container: Container) -> list[int]:
    """The two that sleep long."""
    return [pid for pid in processes_of(container) if "sleep\x0060" in command(pid)]


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.parametrize("flags", [(), ("--all",)], ids=["kill KILL", "kill --all KILL"])
def test_kill_ends_every_process_even_without_a_pid_namespace(family: Container, flags: tuple[str, ...]) -> None:
    pids = sleepers_of(family)
    family.kill(*flags, "KILL")
    wait_for(lambda: gone(pids), "all gone")
    family.wait_stopped()
    family.delete()


def test_a_signal_to_all_reaches_the_children_and_without_all_only_the_first(family: Container) -> None:
    children = sleepers_of(family)
    family.kill("TERM")
    family.kill("0")
    assert len(sleepers_of(family)) == 2
    family.kill("--all", "TERM")
    wait_for(lambda: gone(children), "children gone")


def test_delete_removes_what_the_first_process_has_left(family: Container) -> None:
    pids = sleepers_of(family)
    os.kill(family.pid, signal.SIGKILL)
    family.wait_stopped()
    assert not gone(pids)
    family.delete()
    wait_for(lambda: gone(pids), "all gone")


@pytest.mark.parametrize("verb", [("kill", "--regex"), ("delete", "--force", "--regex")], ids=["kill", "delete"])
def test_a_regular_expression_names_many(runtime: Runtime, make_bundle: MakeBundle, verb: tuple[str, ...]) -> None:
    bundle = make_bundle(args=["sleep", "600"])
    chosen = [runtime.create(bundle, container_id=f"{runtime.prefix}-{name}") for name in ("aa", "ab")]
    other = runtime.create(bundle, container_id=f"{runtime.prefix}-b")
    words = (*verb, f"{runtime.prefix}-a.*", *(["KILL"] if verb[0] == "kill" else []))
    runtime.run(*words, check=True)
    if verb[0] == "kill":
        for container in chosen:
            container.wait_stopped()
    else:
        assert runtime.run("list", "--quiet", check=True).stdout.split() == [other.id]
    assert other.status == "created"


# ---- run -------------------------------------------------------------------------------------------------------------

CODES: dict[str, tuple[str, int]] = {
    "success": ("true", 0),
    "failure": ("exit 1", 1),
    "the highest code": ("exit 255", 255),
    "TERM": ("trap - TERM; busybox kill -TERM $$; sleep 9", 143),
    "KILL": ("busybox kill -KILL $$; sleep 9", 137),
    "SEGV": ("busybox kill -SEGV $$; sleep 9", 139),
}


@pytest.mark.parametrize(("script", "code"), CODES.values(), ids=CODES)
def test_run_ends_with_the_code_of_the_process_or_128_and_the_signal(
    runtime: Runtime, make_bundle: MakeBundle, script: str, code: int
) -> None:
    """Without a pid namespace, where the first process is protected from its own signals."""
    bundle = make_bundle(args=["sh", "-c", script], linux=NO_PIDS, mounts=[PROC])
    result = runtime.run_container(bundle)
    assert (result.code, result.stderr) == (code, "")


def test_run_leaves_nothing_and_keep_leaves_a_stopped_container(runtime: Runtime, make_bundle: MakeBundle) -> None:
    runtime.run_container(make_bundle(), check=True)
    assert runtime.run("list", "--quiet", check=True).stdout == ""
    kept = runtime.run_container(make_bundle(args=["sh", "-c", "exit 4"]), "--keep", container_id=runtime.new_id())
    assert kept.code == 4
    container = runtime.containers[-1]
    assert container.status == "stopped"
    container.delete()


def test_a_detached_run_writes_its_pid_file_and_returns(runtime: Runtime, make_bundle: MakeBundle) -> None:
    file = runtime.scratch / "pid"
    runtime.run_container(make_bundle(args=["sleep", "600"]), "--detach", "--pid-file", str(file), check=True)
    container = runtime.containers[-1]
    assert file.read_text() == str(container.pid)
    assert container.proc("cmdline").startswith("sleep\0")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT])
def test_signals_to_a_foreground_run_are_the_containers(
    runtime: Runtime, make_bundle: MakeBundle, number: signal.Signals
) -> None:
    bundle = make_bundle(args=["sh", "-c", TRAP.format(number.value)])
    process = runtime.popen("run", "--bundle", str(bundle.path), runtime.new_id(), stem=runtime.scratch / "r")
    wait_for(lambda: (runtime.scratch / "r.out").read_text() == "ready\n", "ready")
    process.send_signal(number)
    assert process.wait(10) == 42


def test_a_foreground_run_reaps_what_the_container_orphans(runtime: Runtime, make_bundle: MakeBundle) -> None:
    script = "(sleep 0.1 & ) ; (sleep 0.1 & ); echo ready; sleep 600"
    bundle = make_bundle(args=["sh", "-c", script], linux=NO_PIDS, mounts=[PROC])
    container_id = runtime.new_id()
    process = runtime.popen("run", "--bundle", str(bundle.path), container_id, stem=runtime.scratch / "r")
    wait_for(lambda: (runtime.scratch / "r.out").read_text() == "ready\n", "ready")

    wait_for(lambda: len(children_of(process.pid)) == 1, "only the first process is left")
    runtime.run("kill", "--all", container_id, "KILL", check=True)
    assert process.wait(10) == 137


def test_a_run_that_is_deleted_by_somebody_else_ends(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["sh", "-c", "echo ready; sleep 600"])
    container_id = runtime.new_id()
    process = runtime.popen("run", "--bundle", str(bundle.path), container_id, stem=runtime.scratch / "r")
    wait_for(lambda: (runtime.scratch / "r.out").read_text() == "ready\n", "ready")
    runtime.run("delete", "--force", container_id, check=True)
    assert process.wait(10) == 137


# ---- list ------------------------------------------------------------------------------------------------------------


def test_the_table_has_a_line_for_each_container(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle = make_bundle(args=["sleep", "600"])
    made = {container.id: container for container in (runtime.create(bundle), runtime.start(bundle))}
    head, *lines = runtime.run("list", check=True).stdout.splitlines()
    assert head.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    for line in lines:
        name, pid, status, path, *_ = line.split()
        state = made.pop(name).state()
        assert (int(pid), status, path) == (state["pid"], state["status"], state["bundle"])
    assert not made


def test_no_container_is_an_empty_list_in_every_format(runtime: Runtime) -> None:
    assert runtime.run("list", "--format=json", check=True).json() in ([], None)
    assert runtime.run("list", "-q", check=True).stdout == ""
    assert len(runtime.run("list", check=True).stdout.splitlines()) == 1


def test_what_a_container_holds_is_gone_from_the_host_after_delete(runtime: Runtime, make_bundle: MakeBundle) -> None:
    def host() -> dict[str, Any]:
        return {
            "mounts": Path("/proc/self/mountinfo").read_text(),
            "keyrings": Path("/proc/keys").read_text().count(f"_ses.{runtime.prefix}"),
            "sockets": [line for line in Path("/proc/net/unix").read_text().splitlines() if str(runtime.root) in line],
        }

    before = host()
    container = runtime.start(make_bundle(args=["sleep", "600"]))
    pid = container.pid
    assert host() != before
    container.stop()
    os.waitpid(pid, 0)  # a zombie has its keyring still
    wait_for(lambda: host() == before, "as before")
    assert runtime.entries() == []
