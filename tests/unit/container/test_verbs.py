"""What a container is, start, kill and delete, with a stand-in for the init (docs/plan.md, "Start")."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ocirt.container import delete, kill, quick, record, start, state
from ocirt.errors import (
    ContainerError,
    ContainerNotFound,
    ContainerNotRunning,
    HookError,
    InvalidID,
    OcirtError,
    SystemCallError,
)
from ocirt.linux._kernel import lib
from tests.unit.container.conftest import is_zombie, listen, refusal, wait_until

Make = Callable[..., state.State]
Sleeper = Callable[[], int]
NO_SUCH = r'container "nope": container does not exist'


def rewrite(root: str, value: state.State) -> None:
    directory = state.lock(root, value.container_id)
    state.write(directory, value)
    os.close(directory)


# ---- status ----


def test_a_container_is_running_when_nothing_listens_on_start_sock(root: str, make: Make, sleeper: Sleeper) -> None:
    made = make("web", pid=sleeper())
    assert quick.status(root, "web") == ("running", made.pid)
    listen(f"{root}/web").close()  # the socket's name stays, and refuses
    assert quick.status(root, "web") == ("running", made.pid)


def test_a_container_is_created_while_its_init_waits_however_often_one_looks(root: str, waiting: Make) -> None:
    made = waiting("web")
    assert [quick.status(root, "web") for _ in range(50)] == [("created", made.pid)] * 50


def test_an_id_longer_than_a_socket_address_works(root: str, waiting: Make) -> None:
    name = "x" * 255
    waiting(name)
    assert quick.status(root, name)[0] == "created"
    start.start(root, name)
    assert quick.status(root, name)[0] == "running"


def test_a_process_that_nobody_has_reaped_is_stopped(root: str, make: Make, sleeper: Sleeper) -> None:
    made = make("web", pid=sleeper())
    os.kill(made.pid, signal.SIGKILL)
    wait_until(lambda: is_zombie(made.pid))
    assert quick.status(root, "web") == ("stopped", 0)


def test_a_reaped_process_is_stopped(root: str, make: Make, sleeper: Sleeper) -> None:
    made = make("web", pid=sleeper())
    os.kill(made.pid, signal.SIGKILL)
    os.waitpid(made.pid, 0)
    assert quick.status(root, "web") == ("stopped", 0)


def test_another_process_with_the_same_pid_is_not_the_containers(root: str, make: Make, sleeper: Sleeper) -> None:
    made = make("web", pid=sleeper())
    made.start_time -= 1
    rewrite(root, made)
    assert quick.status(root, "web") == ("stopped", 0)
    with pytest.raises(ContainerNotRunning):
        kill.kill(root, "web", signal.SIGKILL)
    delete.delete(root, "web", force=True)
    assert Path(f"/proc/{made.pid}").exists()
    assert not is_zombie(made.pid)


def test_a_process_of_an_earlier_boot_is_stopped(root: str, make: Make, sleeper: Sleeper) -> None:
    made = make("web", pid=sleeper())
    made.boot_id = "0" * 36
    rewrite(root, made)
    assert quick.status(root, "web") == ("stopped", 0)
    with pytest.raises(ContainerNotRunning):
        kill.kill(root, "web", signal.SIGTERM)


def test_the_start_time_is_found_behind_any_name(sleeper: Sleeper, tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    pid = os.posix_spawn(program, ["x", "60"], {})
    try:
        wait_until(lambda: "a) R 1 (b" in Path(f"/proc/{pid}/stat").read_text())
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        assert record.start_time(pid) == int(after_name[19]) > 0
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_container_is_creating_until_create_says_otherwise(root: str, make: Make, sleeper: Sleeper) -> None:
    made = make("web", phase="creating", pid=sleeper())
    assert quick.status(root, "web") == ("creating", made.pid)
    os.kill(made.pid, signal.SIGKILL)
    wait_until(lambda: is_zombie(made.pid))
    assert quick.status(root, "web") == ("stopped", 0)


def test_without_a_process_the_lock_tells_whether_create_lives(root: str, make: Make) -> None:
    make("web", phase="creating")
    directory = state.lock(root, "web")
    assert quick.status(root, "web") == ("creating", 0)
    os.close(directory)
    assert quick.status(root, "web") == ("stopped", 0)


@pytest.mark.parametrize("text", ["FROZEN\n", "populated 1\nfrozen 1\n"])
def test_a_container_is_paused_when_its_freezer_says_so(
    root: str, make: Make, sleeper: Sleeper, tmp_path: Path, text: str
) -> None:
    freezer = tmp_path / 'a "freezer"\\\n'
    made = make("web", pid=sleeper(), freezer=str(freezer))
    assert quick.status(root, "web")[0] == "running"
    freezer.write_text(text)
    assert quick.status(root, "web") == ("paused", made.pid)
    freezer.write_text("THAWED\n")
    assert quick.status(root, "web")[0] == "running"


@pytest.mark.parametrize("verb", [quick.status, start.start, state.read, delete.delete])
def test_what_does_not_exist_is_said_in_the_words_that_engines_match(root: str, verb: Callable[..., object]) -> None:
    with pytest.raises(ContainerNotFound, match=NO_SUCH):
        verb(root, "nope")
    with pytest.raises(ContainerNotFound, match=NO_SUCH):
        kill.kill(root, "nope", 9)


def test_another_runtimes_container_does_not_exist_and_is_left_alone(root: str) -> None:
    Path(root, "nope").mkdir(parents=True)
    Path(root, "nope/state.json").write_text('{"id":"nope","init_process_pid":1,"cgroup_paths":{}}')
    for act in (start.start, delete.delete, quick.status):
        with pytest.raises(ContainerNotFound, match=NO_SUCH):
            act(root, "nope")
    delete.delete(root, "nope", force=True)
    assert os.listdir(f"{root}/nope") == ["state.json"]


@pytest.mark.parametrize("act", [start.start, delete.delete, lambda root, name: kill.kill(root, name, 9)])
def test_a_bad_id_is_called_bad_by_every_verb(root: str, act: Callable[[str, str], object]) -> None:
    with pytest.raises(InvalidID):
        act(root, "../x")


def test_a_root_with_a_nul_byte_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OcirtError):
        quick.status(f"{tmp_path}\0x", "web")


# ---- start ----


def test_start_returns_once_the_process_is_executed(root: str, waiting: Make) -> None:
    made = waiting("web")
    start.start(root, "web")
    assert Path(f"/proc/{made.pid}/comm").read_text() == "sleep\n"
    assert quick.status(root, "web") == ("running", made.pid)
    assert not Path(root, "web/start.sock").exists()


def test_a_second_start_is_refused_and_changes_nothing(root: str, waiting: Make) -> None:
    made = waiting("web")
    start.start(root, "web")
    with pytest.raises(ContainerError, match='container "web": cannot start a container that is running'):
        start.start(root, "web")
    assert quick.status(root, "web") == ("running", made.pid)


def test_a_stopped_container_cannot_be_started(root: str, waiting: Make) -> None:
    made = waiting("web")
    os.kill(made.pid, signal.SIGKILL)
    wait_until(lambda: is_zombie(made.pid))
    with pytest.raises(ContainerError, match="cannot start a container that is stopped"):
        start.start(root, "web")


def test_a_container_without_process_cannot_be_started_and_stays_created(root: str, waiting: Make) -> None:
    waiting("web", python="noprocess")
    for _ in range(2):
        with pytest.raises(ContainerError, match=r"cannot start, its config\.json has no process"):
            start.start(root, "web")
    assert lib.quick_start(root.encode(), b"web") == lib.QUICK_PYTHON
    assert quick.status(root, "web")[0] == "created"


def test_of_two_starts_at_once_one_wins(root: str, waiting: Make) -> None:
    waiting("web")
    results: list[str] = []

    def try_start() -> None:
        try:
            start.start(root, "web")
            results.append("started")
        except ContainerError as error:
            results.append(str(error))

    threads = [threading.Thread(target=try_start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ['container "web": cannot start a container that is running', "started"]


def test_a_refusal_reaches_who_asks_for_the_words(root: str, waiting: Make) -> None:
    waiting("web", refusal(op=3, errno=13, text=b"because"))
    code, report = quick.start(root, "web")
    assert (code, report) == (1, refusal(op=3, errno=13, text=b"because"))


def test_a_refusal_to_a_quick_start_is_kept_for_python_which_says_it_once(
    root: str, waiting: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = waiting("web", refusal())
    assert lib.quick_start(root.encode(), b"web") == lib.QUICK_PYTHON
    wait_until(lambda: is_zombie(made.pid))
    asked: list[tuple[bytes, str]] = []

    def refused(root_: str, container_id: str, report: bytes) -> OcirtError:
        asked.append((report, container_id))
        return OcirtError("the words")

    monkeypatch.setattr(start, "_refused", refused)
    with pytest.raises(OcirtError, match="the words"):
        start.start(root, "web")
    assert asked == [(refusal(), "web")]
    with pytest.raises(ContainerError, match="cannot start a container that is stopped"):
        start.start(root, "web")


def test_an_init_that_dies_before_it_hears_start_is_no_success(
    root: str, make: Make, children: Callable[..., int]
) -> None:
    """The kernel resets a connection that was never accepted."""
    made = make("web")
    listener = listen(f"{root}/web")
    made.born(children(lambda: time.sleep(60)))
    rewrite(root, made)
    listener.close()
    threading.Timer(0.1, os.kill, (made.pid, signal.SIGKILL)).start()
    with pytest.raises(SystemCallError, match='start container "web": connection reset by peer'):
        start.start(root, "web")


def hooked(root: str, made: state.State, kind: str, script: str) -> None:
    """Give the recorded config hooks of one kind, one for each line of shell."""
    entries = [{"path": "/bin/sh", "args": ["sh", "-c", line]} for line in script.split("\n")]
    Path(root, made.container_id, "config.json").write_text(json.dumps({"hooks": {kind: entries}}))


def test_poststart_hooks_run_after_the_process_is_executed_and_see_it_running(
    root: str, waiting: Make, tmp_path: Path
) -> None:
    made = waiting("web", python="poststart")
    hooked(root, made, "poststart", f"cat > {tmp_path}/seen; cat /proc/{made.pid}/comm > {tmp_path}/comm")
    start.start(root, "web")
    assert json.loads((tmp_path / "seen").read_text()) == state.public(root, "web")
    assert (tmp_path / "comm").read_text() == "sleep\n"


def test_a_failed_poststart_hook_stops_and_destroys_the_container(root: str, waiting: Make, tmp_path: Path) -> None:
    made = waiting("web", python="poststart")
    hooked(root, made, "poststart", f"echo sorry; exit 3\ntouch {tmp_path}/never")
    with pytest.raises(HookError, match="/hooks/poststart/0"):
        start.start(root, "web")
    assert is_zombie(made.pid)
    assert os.listdir(root) == []
    assert not (tmp_path / "never").exists()


# ---- kill ----


def test_kill_sends_the_signal_to_the_process(root: str, make: Make, sleeper: Sleeper) -> None:
    made = make("web", pid=sleeper())
    kill.kill(root, "web", 0)
    kill.kill(root, "web", signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(made.pid, 0)[1]) == -signal.SIGTERM


def test_a_created_container_can_be_killed(root: str, waiting: Make) -> None:
    made = waiting("web")
    kill.kill(root, "web", signal.SIGKILL)
    wait_until(lambda: is_zombie(made.pid))


def test_kill_of_a_stopped_container_fails_in_the_words_that_engines_match(root: str, make: Make) -> None:
    make("web")
    for everyone in (False, True):
        with pytest.raises(ContainerNotRunning, match='container "web": container not running'):
            kill.kill(root, "web", signal.SIGTERM, all=everyone)


def test_kill_of_a_container_being_created_is_refused(root: str, make: Make, sleeper: Sleeper) -> None:
    made = make("web", phase="creating", pid=sleeper())
    with pytest.raises(ContainerNotRunning):
        kill.kill(root, "web", signal.SIGKILL)
    assert not is_zombie(made.pid)


@pytest.mark.parametrize(("number", "alone"), [(signal.SIGTERM, True), (signal.SIGKILL, False)])
def test_sigkill_reaches_all_where_the_pid_namespace_is_shared(
    root: str, make: Make, sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch, number: int, alone: bool
) -> None:
    made = make("web", pid=sleeper(), pid_namespace=False, cgroups=["/nowhere"])
    killed: list[tuple[list[str], int]] = []
    monkeypatch.setattr(kill.cgroup, "kill", lambda paths, signal: killed.append((paths, signal)))
    kill.kill(root, "web", number)
    assert killed == ([] if alone else [(["/nowhere"], number)])
    if alone:
        assert os.waitstatus_to_exitcode(os.waitpid(made.pid, 0)[1]) == -number


def test_kill_all_reaches_the_others_after_the_first_has_exited(
    root: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("web", pid_namespace=False, cgroups=["/nowhere"])
    killed: list[tuple[list[str], int]] = []
    monkeypatch.setattr(kill.cgroup, "kill", lambda paths, signal: killed.append((paths, signal)))
    kill.kill(root, "web", 15, all=True)
    assert killed == [(["/nowhere"], 15)]


# ---- delete ----


def test_delete_leaves_nothing_of_a_stopped_container(root: str, make: Make, tmp_path: Path) -> None:
    own, parent = tmp_path / "cgroup/parent/web", tmp_path / "cgroup/parent"
    own.mkdir(parents=True)
    make("web", cgroups=[str(own)], made=[str(own), str(parent)])
    for name in ("config.json", "start.sock", "plan.bin", "start.failure", ".state.json.tmp"):
        Path(root, "web", name).write_text("")
    Path(root, "web/plans").mkdir()
    assert lib.quick_delete(root.encode(), b"web", 0) == lib.QUICK_DONE
    assert os.listdir(root) == []
    assert os.listdir(tmp_path / "cgroup") == []


def test_delete_keeps_the_cgroups_that_create_found_and_parents_in_use(root: str, make: Make, tmp_path: Path) -> None:
    found, parent, other = tmp_path / "found", tmp_path / "parent", tmp_path / "parent/other"
    for directory in (found, other):
        directory.mkdir(parents=True)
    make("web", cgroups=[str(found)], made=[str(parent)])
    delete.delete(root, "web")
    assert found.is_dir()
    assert other.is_dir()


@pytest.mark.parametrize("status", ["created", "running"])
def test_delete_of_a_living_container_is_refused_and_changes_nothing(root: str, waiting: Make, status: str) -> None:
    made = waiting("web")
    if status == "running":
        start.start(root, "web")
    with pytest.raises(ContainerError, match=f'container "web": cannot delete a container that is {status}'):
        delete.delete(root, "web")
    assert quick.status(root, "web") == (status, made.pid)


@pytest.mark.parametrize("pid_namespace", [True, False])
def test_delete_with_force_kills_first(root: str, waiting: Make, pid_namespace: bool) -> None:
    made = waiting("web", pid_namespace=pid_namespace)
    delete.delete(root, "web", force=True)
    assert is_zombie(made.pid)
    assert os.listdir(root) == []


def test_delete_with_force_of_what_does_not_exist_is_fine(root: str) -> None:
    assert delete.delete(root, "nope", force=True) == []
    assert lib.quick_delete(root.encode(), b"nope", 1) == lib.QUICK_DONE
    assert lib.quick_delete(root.encode(), b"nope", 0) == lib.QUICK_PYTHON


def test_delete_removes_what_it_does_not_know_from_a_directory_of_ours(root: str, make: Make) -> None:
    make("web")
    Path(root, "web/plans").mkdir()
    Path(root, "web/plans/cached").write_text("")
    assert lib.quick_delete(root.encode(), b"web", 0) == lib.QUICK_PYTHON
    assert quick.status(root, "web") == ("stopped", 0)
    delete.delete(root, "web")
    assert os.listdir(root) == []


def test_delete_with_force_clears_away_what_a_killed_claim_or_delete_left(root: str) -> None:
    os.close(state.claim(root, "web"))
    with pytest.raises(ContainerNotFound):
        delete.delete(root, "web")
    assert os.listdir(root) == ["web"]
    delete.delete(root, "web", force=True)
    assert os.listdir(root) == []


@pytest.mark.parametrize("pid", [False, True])
def test_delete_with_force_clears_away_a_half_made_container(
    root: str, make: Make, sleeper: Sleeper, pid: bool
) -> None:
    members = {"pid": sleeper()} if pid else {}
    make("web", phase="creating", cgroups=["/nowhere/a"], made=["/nowhere/a"], **members)
    delete.delete(root, "web", force=True)
    assert os.listdir(root) == []


def test_delete_with_force_ends_a_start_that_hangs(root: str, make: Make, children: Callable[..., int]) -> None:
    """The start holds the lock; the death of the process that it waits for makes it let go."""
    made = make("web")
    listener = listen(f"{root}/web")
    made.born(children(lambda: time.sleep(60)))
    rewrite(root, made)
    listener.close()
    failed: list[OcirtError] = []

    def hang() -> None:
        try:
            start.start(root, "web")
        except OcirtError as error:
            failed.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    time.sleep(0.05)
    delete.delete(root, "web", force=True)
    thread.join(5)
    assert len(failed) == 1
    assert os.listdir(root) == []


def test_poststop_hooks_all_run_and_their_failures_are_warnings(root: str, make: Make, tmp_path: Path) -> None:
    made = make("web", python="poststop")
    hooked(root, made, "poststop", f"exit 1\ncat > {tmp_path}/seen")
    warnings = delete.delete(root, "web")
    assert len(warnings) == 1
    assert "/hooks/poststop/0" in warnings[0]
    assert json.loads((tmp_path / "seen").read_text())["status"] == "stopped"
    assert os.listdir(root) == []


def test_a_delete_that_fails_can_be_repeated(
    root: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    (own / "file-that-no-cgroup-has").mkdir(parents=True)
    make("web", cgroups=[str(own)], made=[str(own)])
    monkeypatch.setattr(delete.cgroup, "remove", lambda *_, **__: (_ for _ in ()).throw(OcirtError("busy")))
    with pytest.raises(OcirtError, match="busy"):
        delete.delete(root, "web")
    assert quick.status(root, "web") == ("stopped", 0)
    monkeypatch.undo()
    delete.delete(root, "web")
    assert os.listdir(root) == []


def test_ids_are_free_again_after_delete(root: str, make: Make) -> None:
    for _ in range(3):
        make("web")
        delete.delete(root, "web")


def test_no_verb_leaves_a_descriptor_open(root: str, waiting: Make) -> None:
    made = waiting("web")
    before = os.listdir("/proc/self/fd")
    quick.status(root, "web")
    start.start(root, "web")
    for act in (start.start, delete.delete):
        with pytest.raises(ContainerError):
            act(root, "web")
    kill.kill(root, "web", signal.SIGKILL)
    wait_until(lambda: is_zombie(made.pid))
    delete.delete(root, "web")
    assert os.listdir("/proc/self/fd") == before
