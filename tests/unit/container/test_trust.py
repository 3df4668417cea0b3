"""The state root and what is in it is believed only where nobody but root and the caller could have written it."""

from __future__ import annotations

import builtins
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ocirt import notes
from ocirt.container import delete, entry, exec, kill, list, place, ps, quick, start, state
from ocirt.container.command import Command
from ocirt.errors import ContainerNotFound, StateUntrusted, SystemCallError
from ocirt.linux._kernel import lib
from tests import states
from tests.unit.container.conftest import Make, Sleeper, hooked

SOMEBODY = 12345


@pytest.fixture(autouse=True)
def as_root() -> None:
    """Directories are given away."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to give directories away")


def verbs(root: str) -> dict[str, Callable[[], object]]:
    """What can be asked of the container "web", and of the root."""
    return {
        "state": lambda: state.public(root, "web"),
        "start": lambda: start.start(root, "web"),
        "kill": lambda: kill.kill(root, "web", 9),
        "kill --all": lambda: kill.kill(root, "web", 9, all=True),
        "delete": lambda: delete.delete(root, "web"),
        "delete --force": lambda: delete.delete(root, "web", force=True),
        "ps": lambda: ps.pids(root, "web"),
        "exec": lambda: entry.Entry(root, "web", Command(["true"]), exec.ExecOptions()).read(),
        "create": lambda: states.claim(root, "other"),
        "list": lambda: list.containers(root),
    }


def quick_verbs(root: str) -> list[int]:
    """What the verbs of the launcher answer."""
    path = root.encode()
    return [
        lib.quick_state(path, b"web", 1),
        lib.quick_start(path, b"web"),
        lib.quick_kill(path, b"web", 9),
        lib.quick_delete(path, b"web", 0),
        lib.quick_delete(path, b"web", 1),
    ]


def refused(root: str, words: str, but: tuple[str, ...] = ()) -> None:
    """Every verb refuses in these words, and the quick ones leave it to Python."""
    for name, ask in verbs(root).items():
        if name not in but:
            with pytest.raises(StateUntrusted, match=words):
                ask()
    assert set(quick_verbs(root)) == {lib.QUICK_PYTHON}


def spoil_owner(path: Path) -> None:
    os.chown(path, SOMEBODY, SOMEBODY)


def spoil_group(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o020)


def spoil_all(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o002)


def spoil_acl(path: Path) -> None:
    if (
        not shutil.which("setfacl")
        or subprocess.run(["setfacl", "-m", f"u:{SOMEBODY}:rwx", path], check=False).returncode
    ):
        pytest.skip("needs setfacl and a file system with ACLs")


SPOILED = {
    spoil_owner: f"belongs to user {SOMEBODY}",
    spoil_group: "can be written by others",
    spoil_all: "can be written by others",
    spoil_acl: "can be written by others",
}
spoiled = pytest.mark.parametrize(("spoil", "words"), SPOILED.items(), ids=lambda item: getattr(item, "__name__", ""))
Spoil = Callable[[Path], None]


@pytest.fixture
def living(root: str, make: Make, sleeper: Sleeper, tmp_path: Path) -> state.State:
    """A running container "web" with a poststop hook that would leave a file "ran"."""
    made = make("web", pid=sleeper(), python="poststop")
    hooked(root, made, "poststop", f"touch {tmp_path}/ran")
    return made


def unharmed(root: str, made: state.State, tmp_path: Path) -> None:
    """Nothing was killed, run or removed."""
    os.kill(made.pid, 0)
    assert not (tmp_path / "ran").exists()
    assert sorted(os.listdir(f"{root}/web")) == ["config.json", "ocirt.json", "state.json"]


@spoiled
def test_a_root_that_others_own_or_can_write_is_refused_by_every_verb(
    root: str, living: state.State, tmp_path: Path, spoil: Spoil, words: str
) -> None:
    spoil(Path(root))
    refused(root, f'cannot trust the state (root|of container) "({root}|web)": "{root}" {words}')
    unharmed(root, living, tmp_path)
    assert os.listdir(root) == ["web"]


@spoiled
def test_a_directory_on_the_way_that_others_own_or_can_write_is_refused_by_every_verb(
    root: str, living: state.State, tmp_path: Path, spoil: Spoil, words: str
) -> None:
    way = tmp_path / "way"
    way.mkdir()
    shutil.move(root, way / "state")
    spoil(way)
    refused(f"{way}/state", f'"{way}" {words}')
    refused(f"{tmp_path}/./way/../way//state/", f'"{way}" {words}')
    unharmed(f"{way}/state", living, tmp_path)


@pytest.mark.parametrize("spoil", [spoil_group, spoil_all, spoil_acl], ids=lambda spoil: spoil.__name__)
def test_an_id_directory_that_others_can_write_is_refused_by_every_verb(
    root: str, living: state.State, tmp_path: Path, spoil: Spoil
) -> None:
    spoil(Path(root, "web"))
    refused(root, f'container "web": "{root}/web" can be written by others', but=("create", "list"))
    assert [(one["id"], one["status"]) for one in list.containers(root)] == [("web", "untrusted")]
    unharmed(root, living, tmp_path)


@spoiled
def test_a_state_that_others_own_or_can_write_is_refused_by_every_verb(
    root: str, living: state.State, tmp_path: Path, spoil: Spoil, words: str
) -> None:
    spoil(Path(root, "web/state.json"))
    refused(root, f'"{root}/web/state.json" {words}'.replace(f"{root}/web/", f'{root}/web": "'), but=("create", "list"))
    assert [(one["id"], one["status"]) for one in list.containers(root)] == [("web", "untrusted")]
    unharmed(root, living, tmp_path)


@spoiled
@pytest.mark.parametrize("name", ["config.json", "seccomp.bpf", "plan.bin", "ocirt.json", "exec-1.plan"])
def test_no_other_file_that_others_own_or_can_write_is_read(
    root: str, living: state.State, name: str, spoil: Spoil, words: str
) -> None:
    path = Path(root, "web", name)
    path.touch()
    spoil(path)
    with pytest.raises(StateUntrusted, match=words):
        state.kept_file(root, living.container_id, name, 1 << 20)


def test_hooks_of_a_config_that_others_can_write_do_not_run(
    root: str, living: state.State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: builtins.list[str] = []
    monkeypatch.setattr(notes, "warnings", warned.append)
    spoil_all(Path(root, "web/config.json"))
    delete.delete(root, "web", force=True)
    (warning,) = warned
    assert "poststop hooks did not run: cannot trust the state in" in warning
    assert not (tmp_path / "ran").exists()
    assert os.listdir(root) == []


def test_a_start_sock_that_is_a_symlink_or_anothers_is_not_connected_to(
    root: str, waiting: Make, tmp_path: Path
) -> None:
    waiting("web")
    path = Path(root, "web/start.sock")
    spoil_owner(path)
    with pytest.raises(StateUntrusted, match=r"start\.sock"):
        quick.status(root, "web")
    path.unlink()
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(str(tmp_path / "theirs"))
        theirs.listen()
        theirs.setblocking(False)
        path.symlink_to(tmp_path / "theirs")
        with pytest.raises(StateUntrusted, match=r"start\.sock"):
            start.start(root, "web")
        with pytest.raises(BlockingIOError):
            theirs.accept()


# ---- symlinks, and the way ----


def test_a_root_that_is_a_symlink_is_refused(root: str, living: state.State, tmp_path: Path) -> None:
    link = f"{root}.link"
    Path(link).symlink_to(root)
    for path in (link, f"{link}/", f"{link}/."):
        refused(path, f'"{link}" is a symlink')
    unharmed(root, living, tmp_path)


def test_symlinks_on_the_way_are_followed_where_they_and_their_way_are_trusted(root: str, make: Make) -> None:
    made = make("web")
    here = Path(root).parent
    (here / "absolute").symlink_to(here)
    (here / "relative").symlink_to(f"../{here.name}")
    (here / "twice").symlink_to("absolute/relative")
    for name in ("absolute", "relative", "twice", "twice/.", "twice/state/.."):
        assert state.read(f"{here}/{name}/state", "web").created == made.created
    os.lchown(here / "relative", SOMEBODY, SOMEBODY)
    with pytest.raises(StateUntrusted, match=f'"{here}/relative" belongs to user {SOMEBODY}'):
        state.read(f"{here}/twice/state", "web")


def test_a_symlink_to_itself_ends(root: str) -> None:
    Path(f"{root}.loop").symlink_to(f"{root}.loop")
    with pytest.raises(SystemCallError, match="symbolic links"):
        states.claim(f"{root}.loop/state", "web")


def test_a_link_of_procfs_is_not_followed_by_what_it_says(root: str, make: Make) -> None:
    """/proc/PID/root says "/", which is another place."""
    make("web")
    for link in (f"/proc/{os.getpid()}/root", f"/proc/self/cwd/../../../../../../../..{Path(root).parent}"):
        with pytest.raises(StateUntrusted, match="is a symlink of procfs"):
            state.read(f"{link}{root}", "web")


def test_a_sticky_directory_is_fine_on_the_way_and_as_root_but_not_what_others_put_there(root: str) -> None:
    Path(root).mkdir()
    Path(root).chmod(0o1777)
    os.close(states.claim(root, "one"))
    os.close(states.claim(f"{root}/below", "two"))
    Path(root, "theirs").mkdir()
    os.chown(Path(root, "theirs"), SOMEBODY, SOMEBODY)
    with pytest.raises(StateUntrusted, match=f'"{root}/theirs" belongs to user {SOMEBODY}'):
        states.claim(f"{root}/theirs/state", "three")
    with pytest.raises(ContainerNotFound):
        state.read(root, "theirs")


def test_nothing_is_made_below_a_directory_that_is_not_trusted(root: str) -> None:
    Path(root).mkdir()
    spoil_owner(Path(root))
    with pytest.raises(StateUntrusted):
        states.claim(f"{root}/a/b", "web")
    assert os.listdir(root) == []


def test_a_relative_root_counts_from_the_current_directory(
    root: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("web")
    monkeypatch.chdir(Path(root).parent)
    assert quick.status("state", "web")[0] == "stopped"
    spoil_all(Path(root).parent)
    with pytest.raises(StateUntrusted, match=f'"{Path(root).parent}" can be written'):
        quick.status("state", "web")


@pytest.mark.parametrize("length", [4094, 4096, 5000])
def test_a_path_that_is_too_long_is_an_error(root: str, length: int) -> None:
    path = f"{root}/" + "x/" * ((length - len(root)) // 2)
    with pytest.raises((ContainerNotFound, SystemCallError)):
        state.read(path, "web")
    if length > 4096:
        with pytest.raises(SystemCallError, match="too long"):
            states.claim(path, "web")
    with pytest.raises(SystemCallError, match="too long"):
        states.claim(f"{root}/{'x' * 256}/state", "web")


def test_the_rule_costs_three_system_calls_a_component(root: str, make: Make, ocirt_bin: str, tmp_path: Path) -> None:
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    make("web")
    log = tmp_path / "log"
    subprocess.run(
        ["strace", "-o", log, ocirt_bin, "--root", root, "state", "web"], stdout=subprocess.DEVNULL, check=True
    )
    steps = [line for line in log.read_text().splitlines() if "O_PATH" in line]
    assert len(steps) == 1 + root.count("/")
    assert place.MARK not in log.read_text(), "the mark is looked at where state.json is not in order, and only there"
