"""A state directory of ours that cannot be read: every verb says so, a list shows it, delete --force frees its id."""

from __future__ import annotations

import builtins
import errno
import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from ocirt import notes
from ocirt.container import delete, kill, list, pause, place, ps, quick, record, resume, start, state, update
from ocirt.container.command import Command
from ocirt.container.entry import Entry
from ocirt.container.exec import ExecOptions
from ocirt.errors import ContainerError, ContainerExists, ContainerNotFound, StateDamaged, StateUnknown
from ocirt.linux._kernel import ffi, lib
from tests import states
from tests.unit.container.conftest import Make, Sleeper, hooked, is_zombie, rewrite, wait_until

DAMAGES: dict[str, tuple[Callable[[bytes], bytes | None], str]] = {
    "empty": (lambda _: b"", "state.json is empty"),
    "zeroed": (lambda data: bytes(len(data)), "state.json holds nothing but zero bytes"),
    "missing": (lambda _: None, "state.json is missing"),
    "cut": (lambda data: data[: len(data) // 2], r"state.json:\d+:\d+: "),
    "cut at the end": (lambda data: data[:-3], r"state.json:\d+:\d+: "),
    "garbage": (lambda _: b"\xff\x00garbage", "state.json"),
    "another's": (lambda _: b'{"id": "web", "init_process_pid": 1}', "state.json: ocirt is missing"),
    "without a member": (lambda data: data.replace(b'    "unit": "",\n', b""), "state.json: unit is missing"),
    "a wrong type": (
        lambda data: data.replace(b'"unit": ""', b'"unit": 7'),
        "state.json: unit has a value that create never writes",
    ),
    "one more member": (
        lambda data: data.replace(b'    "unit"', b'    "new": 1,\n    "unit"'),
        "not laid out as create",
    ),
    "laid out anew": (lambda data: json.dumps(json.loads(data)).encode(), "not laid out as create writes it"),
    "a pid that is none": (
        lambda data: data.replace(b'"pid": ', b'"pid": -1'),
        "pid has a value that create never writes",
    ),
    "another container's": (lambda data: data.replace(b'"id": "web"', b'"id": "web2"'), 'that of container "web2"'),
}
damaged = pytest.mark.parametrize(("damage", "words"), DAMAGES.values(), ids=DAMAGES)
Damage = Callable[[bytes], bytes | None]


def spoil(root: str, damage: Damage) -> Path:
    """Damage the state of the container "web"; its directory."""
    path = Path(root, "web/state.json")
    data = damage(path.read_bytes())
    path.unlink()
    if data is not None:
        path.write_bytes(data)
        path.chmod(0o600)
    return path.parent


VERBS: dict[str, Callable[[str], object]] = {
    "state": lambda root: state.public(root, "web"),
    "start": lambda root: start.start(root, "web"),
    "kill": lambda root: kill.kill(root, "web", 9),
    "kill --all": lambda root: kill.kill(root, "web", 9, all=True),
    "delete": lambda root: delete.delete(root, "web"),
    "ps": lambda root: quick.status(root, "web") and ps.pids(root, "web"),
    "pause": lambda root: pause.pause(root, "web"),
    "resume": lambda root: resume.resume(root, "web"),
    "update": lambda root: update.update(root, "web", {}),
    "exec": lambda root: Entry(root, "web", Command(["true"]), ExecOptions()).read(),
}


@damaged
def test_every_verb_names_the_directory_and_what_is_wrong(
    root: str, make: Make, sleeper: Sleeper, damage: Damage, words: str
) -> None:
    made = make("web", pid=sleeper())
    where = spoil(root, damage)
    before = sorted(os.listdir(where))
    for verb in VERBS.values():
        with pytest.raises(
            StateDamaged, match=f'container "web": .*directory "{where}" is damaged: .*{words}'
        ) as caught:
            verb(root)
        assert "does not exist" not in str(caught.value)
        assert "not running" not in str(caught.value)
    path = root.encode()
    quick_verbs = [
        lib.quick_state(path, b"web", 1), lib.quick_start(path, b"web"), lib.quick_kill(path, b"web", 9),
        lib.quick_delete(path, b"web", 0), lib.quick_delete(path, b"web", 1),
    ]  # fmt: skip
    assert set(quick_verbs) == {lib.QUICK_PYTHON}
    os.kill(made.pid, 0)
    assert sorted(os.listdir(where)) == before


@damaged
def test_a_list_shows_it_and_create_says_what_is_in_the_way(root: str, make: Make, damage: Damage, words: str) -> None:
    make("web")
    make("other")
    where = spoil(root, damage)
    told: builtins.list[str] = []
    assert [(entry["id"], entry["status"]) for entry in list.containers(root, told.append)] == [
        ("other", "stopped"), ("web", "damaged"),
    ]  # fmt: skip
    assert len(told) == 1
    with pytest.raises(ContainerExists, match=f'given ID already exists: .*"{where}" is damaged: .*{words}'):
        states.claim(root, "web")


@damaged
@pytest.mark.parametrize("pid_namespace", [True, False])
def test_delete_by_force_ends_the_process_and_frees_the_id(
    root: str, make: Make, sleeper: Sleeper, damage: Damage, words: str, pid_namespace: bool
) -> None:
    made = make("web", pid=sleeper(), pid_namespace=pid_namespace)
    spoil(root, damage)
    delete.delete(root, "web", force=True)
    assert is_zombie(made.pid), words
    assert os.listdir(root) == []
    os.close(states.claim(root, "web"))


def test_delete_by_force_removes_the_cgroups_that_the_mark_names(root: str, make: Make, tmp_path: Path) -> None:
    own, parent, found = tmp_path / "cgroup/parent/web", tmp_path / "cgroup/parent", tmp_path / "found"
    own.mkdir(parents=True)
    found.mkdir()
    make("web", cgroups=[str(own), str(found)], made=[str(own), str(parent)])
    spoil(root, lambda _: b"")
    delete.delete(root, "web", force=True)
    assert os.listdir(tmp_path / "cgroup") == []
    assert found.is_dir()


@pytest.mark.parametrize("members", [{"boot_id": "f00d0000-0000-0000-0000-000000000000"}, {"start_time": 1}], ids=str)
def test_who_has_the_pid_by_now_lives_on(
    root: str, make: Make, sleeper: Sleeper, members: dict[str, object], tmp_path: Path
) -> None:
    stranger = sleeper()
    made = make("web", pid=stranger, cgroups=[str(tmp_path)], made=[str(tmp_path / "x")])
    for name, value in members.items():
        setattr(made, name, value)
    rewrite(root, made)
    spoil(root, lambda _: None)
    delete.delete(root, "web", force=True)
    os.kill(stranger, 0)
    assert not is_zombie(stranger)


@pytest.mark.parametrize("mark", [b"", b"{", b"[]", b"null", b"\xff", b'{"pid": "x", "cgroups": [1, "x"], "made": {}}'])
def test_a_damaged_mark_is_still_one_and_kills_nobody(root: str, make: Make, sleeper: Sleeper, mark: bytes) -> None:
    made = make("web", pid=sleeper())
    Path(root, "web", place.MARK).write_bytes(mark)
    assert state.public(root, "web")["status"] == "running", "a state in order is enough"
    spoil(root, lambda _: b"")
    with pytest.raises(StateDamaged):
        state.read(root, "web")
    delete.delete(root, "web", force=True)
    os.kill(made.pid, signal.SIGKILL)
    assert os.listdir(root) == []


def test_hooks_that_cannot_run_are_a_warning(
    root: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make("web", python="poststop")
    hooked(root, made, "poststop", f"touch {tmp_path}/ran")
    spoil(root, lambda _: b"")
    warned: builtins.list[str] = []
    monkeypatch.setattr(notes, "warnings", warned.append)
    delete.delete(root, "web", force=True)
    assert warned == [
        'container "web": poststop hooks did not run: the state that they are given is damaged',
    ]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("config", [b"", b"{", b"[]", None], ids=str)
def test_a_config_that_is_damaged_is_named(root: str, make: Make, sleeper: Sleeper, config: bytes | None) -> None:
    make("web", pid=sleeper())
    if config is not None:
        Path(root, "web/config.json").write_bytes(config)
    with pytest.raises(StateDamaged, match=f'"{root}/web" is damaged: config.json'):
        VERBS["exec"](root)


TOKENS = [
    b'"',
    b",",
    b"\n",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\\",
    b"\0",
    b" ",
    b"0",
    b"-",
    b"9" * 20,
    b"\xff",
    b"\\u0000",
    b"\\udc80",
    b"\\udbff\\udfff",  # one character to a parser of JSON, which is not escaped then
    b"null",
]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """`data` with up to three bytes, parts or lines changed, taken out, put in or exchanged."""
    text = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(text) + 1)
        match chance.randrange(5):
            case 0:
                text[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del text[at : at + chance.randint(1, 8)]
            case 2:
                text[at:at] = chance.choice(TOKENS)
            case 3:
                text[at : at + chance.randint(1, 4)] = chance.choice(TOKENS)
            case _:
                lines = bytes(text).split(b"\n")
                one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
                lines[one], lines[other] = lines[other], lines[one]
                text = bytearray(b"\n".join(lines))
    return bytes(text)


def test_c_and_python_agree_about_what_is_damaged(root: str, make: Make) -> None:
    """What one of them took for whole, the other might take for gone."""
    make("web", annotations={'a"b\\': "c\n\x01ä𝄞"}, cgroups=["/x", "/y"], made=["/x"], freezers=["/f"])
    path = Path(root, "web/state.json")
    whole, chance, accepted = path.read_bytes(), random.Random(7), 0
    for _ in range(1000):
        data = mutated(whole, chance)
        path.write_bytes(data)
        by_c = lib.quick_status(root.encode(), b"web", ffi.from_buffer("int[]", bytearray(4)))
        try:
            by_python = record.decode(data).container_id == "web"
        except ValueError:
            by_python = False
        assert by_c == (lib.STATUS_STOPPED if by_python else -errno.EBADMSG), data
        accepted += by_python
    assert 0 < accepted < 500


# ---- formats ----


def newer(root: str, where: str) -> None:
    """Give the container a format of the future: "mark", "state" or both."""
    for name in {"mark": [place.MARK], "state": ["state.json"]}.get(where, [place.MARK, "state.json"]):
        path = Path(root, "web", name)
        path.write_bytes(path.read_bytes().replace(b'"format": 2', b'"format": 3').replace(b'    "unit"', b'    "x"'))
    if where == "mark":
        Path(root, "web/state.json").write_bytes(b"of another kind")


@pytest.mark.parametrize("where", ["mark", "state", "both"])
def test_an_unknown_format_is_an_error_in_words_and_never_deleted(
    root: str, make: Make, sleeper: Sleeper, where: str
) -> None:
    made = make("web", pid=sleeper())
    newer(root, where)
    verbs = {**VERBS, "delete --force": lambda root: delete.delete(root, "web", force=True)}
    for verb in verbs.values():
        with pytest.raises(StateUnknown, match=r'"web": .* has format 3, which this version of ocirt does not know'):
            verb(root)
    with pytest.raises(ContainerExists, match=r"already exists: .* has format 3"):
        states.claim(root, "web")
    assert [(entry["id"], entry["status"]) for entry in list.containers(root)] == [("web", "unknown")]
    os.kill(made.pid, 0)
    assert sorted(os.listdir(f"{root}/web")) == [place.MARK, "state.json"]


def first_format(root: str, container_id: str) -> None:
    """Make of a container what the first format had: no mark, and no number."""
    Path(root, container_id, place.MARK).unlink()
    path = Path(root, container_id, "state.json")
    path.write_bytes(path.read_bytes().replace(b'    "format": 2,\n', b""))


def test_the_first_format_is_known(root: str, waiting: Make) -> None:
    made = waiting("web")
    first_format(root, "web")
    assert list.containers(root) == [state.public(root, "web")]
    start.start(root, "web")
    assert quick.status(root, "web") == ("running", made.pid)
    assert lib.quick_kill(root.encode(), b"web", signal.SIGKILL) == lib.QUICK_DONE
    wait_until(lambda: is_zombie(made.pid))
    assert lib.quick_delete(root.encode(), b"web", 0) == lib.QUICK_DONE
    assert os.listdir(root) == []


@pytest.mark.parametrize("cut", [20, 5])
def test_of_the_first_format_a_damaged_state_is_the_mark_and_its_whole_lines_are_what_is_known(
    root: str, make: Make, sleeper: Sleeper, cut: int
) -> None:
    made = make("web", pid=sleeper())
    first_format(root, "web")
    spoil(root, lambda data: data[:-cut])
    with pytest.raises(StateDamaged):
        state.read(root, "web")
    delete.delete(root, "web", force=True)
    assert is_zombie(made.pid)
    assert os.listdir(root) == []


# ---- what is not ours ----


@pytest.mark.parametrize("data", [None, b"", b"{", b'{"id": "web", "init_process_pid": 1}'], ids=str)
def test_a_directory_without_a_mark_is_left_alone_and_named_by_create(root: str, data: bytes | None) -> None:
    path = Path(root, "web")
    path.mkdir(parents=True)
    path.chmod(0o711)
    if data is not None:
        (path / "state.json").write_bytes(data)
    for verb in VERBS.values():
        with pytest.raises(ContainerNotFound):
            verb(root)
    delete.delete(root, "web", force=True)
    assert list.containers(root) == []
    with pytest.raises(ContainerExists, match=f'already exists: "{path}" exists and was not made by ocirt'):
        states.claim(root, "web")
    assert path.stat().st_mode & 0o7777 == 0o711
    assert os.listdir(path) == ([] if data is None else ["state.json"])


def test_the_mark_is_the_first_thing_that_is_written_and_has_the_formats_number(root: str) -> None:
    directory = states.claim(root, "web")
    assert os.listdir(directory) == [place.MARK]
    assert json.loads(Path(root, "web", place.MARK).read_bytes()) == {"format": record.FORMAT}
    os.close(directory)


def test_a_copy_of_a_container_does_not_kill_it(root: str, make: Make, sleeper: Sleeper) -> None:
    made = make("web", pid=sleeper())
    Path(root, "copy").mkdir(mode=0o700)
    for name in (place.MARK, "state.json"):
        Path(root, "copy", name).write_bytes(Path(root, "web", name).read_bytes())
    for ask in (lambda: state.read(root, "copy"), lambda: kill.kill(root, "copy", 9)):
        with pytest.raises(ContainerError, match='it is that of container "web"'):
            ask()
    os.kill(made.pid, 0)


@pytest.mark.parametrize("config", [b"", b"[]", None], ids=str)
def test_a_damaged_config_does_not_keep_delete_from_its_work(
    root: str, make: Make, monkeypatch: pytest.MonkeyPatch, config: bytes | None
) -> None:
    warned: builtins.list[str] = []
    monkeypatch.setattr(notes, "warnings", warned.append)
    make("web", python="poststop")
    if config is not None:
        Path(root, "web/config.json").write_bytes(config)
    delete.delete(root, "web")
    assert len(warned) == 1
    assert "poststop hooks did not run: " in warned[0]
    assert os.listdir(root) == []


def test_the_cgroup_of_a_damaged_container_is_still_taken(root: str, make: Make) -> None:
    make("web", cgroups=["/cgroup/of/both"], made=["/cgroup/of/both"])
    spoil(root, lambda _: b"")
    with pytest.raises(ContainerError, match='is that of container "web", delete it first'):
        list.refuse_shared(root, ["/cgroup/of/both"], "other")
