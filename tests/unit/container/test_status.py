"""What a container is at the moment, found out each time, with a stand-in for the init (docs/plan.md, "Start")."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from ocirt.container import delete, kill, quick, record, start, state
from ocirt.errors import ContainerNotRunning
from tests.unit.container.conftest import Make, Sleeper, is_zombie, listen, rewrite, wait_until


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
    made = make("web", pid=sleeper(), freezers=[str(tmp_path / "gone"), str(freezer)])
    assert quick.status(root, "web")[0] == "running"
    freezer.write_text(text)
    assert quick.status(root, "web") == ("paused", made.pid)
    freezer.write_text("THAWED\n")
    assert quick.status(root, "web")[0] == "running"
