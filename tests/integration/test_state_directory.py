"""State directories: of an earlier version, damaged ones, and those that another user could have written."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocirt import cgroup
from ocirt.container import record
from tests import cgroups
from tests.integration.support import Container, Runtime, children_of, needs_open_way, wait_for
from tests.integration.views import MakeBundle, wrapper

RECORDED = Path(__file__).parent / "recorded"
SOMEBODY = 12345


# ---- what earlier versions wrote ----


@pytest.fixture
def stand_in(runtime: Runtime) -> Iterator[int]:
    """The pid of a process in namespaces of its own, as a container's is."""
    command = ["unshare", "--pid", "--mount", "--uts", "--ipc", "--net", "--fork", "--kill-child", "sleep", "600"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as parent:
        (pid,) = wait_for(lambda: children_of(parent.pid), "the stand-in")
        wait_for(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n", "it is executed")
        yield pid
        parent.kill()


@pytest.fixture(params=["75bfd76"])
def recorded(request: pytest.FixtureRequest, runtime: Runtime, scratch: Path, stand_in: int) -> str:
    """The id of a created container whose directory is as that version wrote it; the stand-in is its process."""
    container_id = runtime.new_id()
    paths = cgroup.paths_for(None, container_id, cgroup.hierarchies())
    cgroups.create(paths)
    cgroups.attach(paths, stand_in)
    hook = scratch / "hook"
    hook.write_text(f"#!/bin/sh\ncat > {scratch}/told\n")
    hook.chmod(0o755)
    words = {
        "@ID@": container_id, "@PID@": str(stand_in), "@START@": str(record.start_time(stand_in)),
        "@BOOT@": record.boot_id(), "@BUNDLE@": str(scratch), "/bin/true": str(hook),
        "@CGROUPS@": json.dumps(paths)[1:-1], "@FREEZERS@": json.dumps(cgroups.freezers(paths))[1:-1],
    }  # fmt: skip
    directory = runtime.root / container_id
    runtime.root.mkdir(mode=0o700)
    directory.mkdir(mode=0o700)
    for path in (RECORDED / request.param).iterdir():
        text = path.read_text()
        for word, value in words.items():
            text = text.replace(word, value)
        (directory / path.name).write_text(text)
        (directory / path.name).chmod(0o600)
    return container_id


@pytest.fixture
def waits(runtime: Runtime, recorded: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Thread]:
    """The other end of start.sock, which ends when the container is started."""
    listener = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(runtime.root / recorded)
    listener.bind("start.sock")
    listener.listen()
    monkeypatch.undo()

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                if connection.recv(1) != b"":
                    listener.close()
                    return

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield thread
    listener.close()


def test_a_container_of_an_earlier_version_is_taken_through_its_life(
    runtime: Runtime, scratch: Path, recorded: str, waits: threading.Thread, stand_in: int
) -> None:
    def run(*words: str) -> str:
        return runtime.run(*words, check=True).stdout

    (listed,) = json.loads(run("list", "--format=json"))
    assert listed == json.loads(run("state", recorded))
    assert (listed["status"], listed["pid"]) == ("created", stand_in)
    assert listed["annotations"] == {"org.example.note": "as 75bfd76 wrote it"}
    run("start", recorded)
    waits.join(10)
    assert json.loads(run("state", recorded))["status"] == "running"
    for _ in range(2):  # the second by the plan of the first
        assert run("exec", recorded, "readlink", "/proc/self/ns/net") == os.readlink(f"/proc/{stand_in}/ns/net") + "\n"
    run("pause", recorded)
    assert json.loads(run("state", recorded))["status"] == "paused"
    run("resume", recorded)
    assert json.loads(run("ps", "--format=json", recorded)) == [stand_in]
    run("kill", recorded, "KILL")
    wait_for(lambda: json.loads(run("state", recorded))["status"] == "stopped", "stopped")
    run("delete", recorded)
    assert json.loads((scratch / "told").read_text())["id"] == recorded
    assert runtime.entries() == []


@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
def test_delete_by_force_of_a_container_of_an_earlier_version_leaves_nothing(
    runtime: Runtime, recorded: str, paused: bool
) -> None:
    if paused:
        runtime.run("pause", recorded, check=True)
    runtime.run("delete", "--force", recorded, check=True)
    assert runtime.entries() == []


# ---- damaged ones ----

DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "one more member": lambda path: path.write_bytes(
        path.read_bytes().replace(b'    "made', b'    "new": 1,\n    "made')
    ),
}


@pytest.fixture(params=DAMAGES)
def damaged(request: pytest.FixtureRequest, runtime: Runtime, make_bundle: MakeBundle) -> Container:
    """A running container whose state.json is damaged, with a process besides its first."""
    container = runtime.start(make_bundle(args=["sh", "-c", "sleep 601 & exec sleep 602"]))
    DAMAGES[request.param](runtime.root / container.id / "state.json")
    return container


def test_a_damaged_container_is_named_listed_and_gone_by_force(
    runtime: Runtime, damaged: Container, make_bundle: MakeBundle
) -> None:
    where = f'"{runtime.root}/{damaged.id}" is damaged: state.json'
    verbs = ("state", "start", "kill", "delete", "ps", "pause", "resume", "exec", "update", "events")
    more = {"exec": ["true"], "update": ["--pids-limit=9"]}
    for verb in verbs:
        said = runtime.run(verb, damaged.id, *more.get(verb, []), check=False).stderr
        assert where in said, verb
        assert "does not exist" not in said
        assert said.count("\n") == 1
    row = runtime.run("list", check=True).stdout.splitlines()[1].split()
    assert row[:3] == [damaged.id, "0", "damaged"]
    assert runtime.run("list", "--quiet", check=True).stdout == f"{damaged.id}\n"
    (entry,) = runtime.run("list", "--format=json", check=True).json()
    assert (entry["id"], entry["status"], entry["created"]) == (damaged.id, "damaged", "0001-01-01T00:00:00Z")
    taken = runtime.run("create", "--bundle", str(make_bundle().path), damaged.id, check=False).stderr
    assert "container with given ID already exists" in taken
    assert where in taken
    runtime.run("delete", "--force", damaged.id, check=True)
    assert runtime.run("list", "--quiet", check=True).stdout == ""


def test_a_damaged_container_goes_by_regular_expression_too(runtime: Runtime, damaged: Container) -> None:
    runtime.run("delete", "--force", "--regex", f"^{damaged.id}$", check=True)
    assert runtime.run("list", "--quiet", check=True).stdout == ""


# ---- what another user could have written ----


def test_root_is_not_made_to_kill_or_run_by_a_users_own_root(
    runtime: Runtime, make_bundle: MakeBundle, scratch: Path
) -> None:
    container = runtime.start(make_bundle(args=["sleep", "600"]))
    shutil.move(runtime.root, scratch / "theirs")
    theirs = scratch / "home"
    theirs.mkdir()
    os.chown(theirs, SOMEBODY, SOMEBODY)
    shutil.move(scratch / "theirs", theirs / "state")  # root's own, as by `mv`: the way to it is another's
    root, runtime.root = runtime.root, theirs / "state"
    words = [["state"], ["start"], ["kill"], ["kill", "--all"], ["delete"], ["delete", "--force"], ["ps"], ["pause"]]
    for verb in [*words, ["exec"], ["events"], ["create", "--bundle", str(container.bundle.path)]]:
        said = runtime.run(*verb, container.id, *(["true"] if verb == ["exec"] else []), check=False).stderr
        assert f'"{theirs}" belongs to user {SOMEBODY}' in said, verb
    assert "cannot trust the state root" in runtime.run("list", check=False).stderr
    shutil.move(theirs / "state", root)
    runtime.root = root
    assert container.status == "running"


def test_a_user_namespace_shows_the_hosts_root_as_nobody_who_is_trusted_there_alone(
    runtime: Runtime, make_bundle: MakeBundle, scratch: Path
) -> None:
    """As a rootless engine calls: root of a namespace, below directories of a root that is not mapped there."""
    needs_open_way(runtime.program)
    home = scratch / "home"
    home.mkdir()
    os.chown(home, SOMEBODY, SOMEBODY)
    program = runtime.program
    drop = ["setpriv", f"--reuid={SOMEBODY}", f"--regid={SOMEBODY}", "--clear-groups", "--"]
    runtime.root = home / "state"
    runtime.program = wrapper(scratch / "inside", [*drop, "unshare", "--user", "--map-root-user", program])
    assert runtime.run("list", "--quiet", check=True).stdout == ""
    (home / "state").mkdir(mode=0o700)
    os.chown(home / "state", SOMEBODY, SOMEBODY)
    assert runtime.run("list", check=True).stdout.startswith("ID")
    runtime.program = wrapper(scratch / "outside", [*drop, program])
    os.chown(home / "state", 0, 0)
    os.chown(home, SOMEBODY + 1, SOMEBODY + 1)
    assert f'"{home}" belongs to user {SOMEBODY + 1}' in runtime.run("list", check=False).stderr
    os.rmdir(home / "state")
