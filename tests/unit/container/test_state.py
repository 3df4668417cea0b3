"""The record: its text, who may claim an id, what is left behind, and that C reads what Python writes."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocirt.container import list as list_module
from ocirt.container import place, quick, record, state
from ocirt.container.performer import Performer
from ocirt.errors import (
    ContainerExists,
    ContainerNotFound,
    InvalidID,
    SystemCallError,
    UnsupportedError,
)
from ocirt.linux._kernel import lib
from ocirt.plan import host_ops
from tests import states
from tests.oracle import records

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
PATH = st.text(st.characters(min_codepoint=1)).map(lambda text: text.encode("utf-8", "replace").decode())
HOSTILE = 'line\nbreak "quoted" \\back\t\x01\x7f   <ä𝄞> "ocirt": {'


def members(value: state.State) -> dict[str, Any]:
    return {name: getattr(value, name) for name in state.State.__slots__ if name != "text"}


def printed(root: str, container_id: str) -> str:
    """What quick_state prints."""
    reader, writer = os.pipe()
    try:
        assert lib.quick_state(root.encode(), container_id.encode(), writer) == lib.QUICK_DONE
    finally:
        os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as file:
        return file.read()


@given(st.dictionaries(TEXT, TEXT), PATH, st.lists(PATH), st.integers(0, 2**22), st.booleans())
def test_what_is_written_is_read_again(
    annotations: dict[str, str], path: str, cgroups: list[str], pid: int, pid_namespace: bool
) -> None:
    written = records.State("web", "1.3.0-dev", path, path)
    written.annotations, written.cgroups, written.made, written.freezers = annotations, cgroups, cgroups[:1], [path]
    written.pid, written.start_time, written.pid_namespace = pid, 2**40, pid_namespace
    assert members(record.decode(records.encode(written))) == members(written)


def test_the_text_is_json_with_one_member_a_line() -> None:
    written = records.State("web", "1.3.0", "/b", "/b/rootfs")
    written.annotations = {HOSTILE: HOSTILE, "": ""}
    text = records.encode(written).decode()
    assert json.loads(text)["annotations"] == written.annotations
    assert len(text.split("\n")) == 25


def test_a_path_that_is_not_utf8_survives() -> None:
    written = records.State("web", "1.3.0", os.fsdecode(b"/b\xff\\udcff"), "/r")
    data = records.encode(written)
    assert json.loads(data)["bundle"] == written.bundle
    assert record.decode(data).bundle == written.bundle


def test_created_is_rfc3339_with_nanoseconds() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", records.now())


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"null", b"[]", b"{}", b'{"ocirt": {}}', b'{"ocirt": []}', b"\xff", b'{"id":"x","init_process_pid":1}'],
)
def test_a_text_of_another_runtime_is_told_from_ours(data: bytes) -> None:
    with pytest.raises(ValueError):
        record.decode(data)


def test_a_member_of_the_wrong_type_is_not_ours() -> None:
    doc = json.loads(records.encode(records.State("web", "1.3.0", "/b", "/r")))
    doc["pid"] = True
    with pytest.raises(ValueError, match="pid"):
        record.decode(json.dumps(doc).encode())


def test_c_prints_what_python_says(root: str, make: Callable[..., state.State], sleeper: Callable[[], int]) -> None:
    make("web", pid=sleeper(), annotations={HOSTILE: HOSTILE, "ä": "𝄞"}, bundle=HOSTILE)
    assert json.loads(printed(root, "web")) == state.public(root, "web")
    assert printed(root, "web").encode() == state.document(state.read(root, "web"), *quick.status(root, "web"))


def test_c_prints_a_stopped_container_without_its_pid(root: str, make: Callable[..., state.State]) -> None:
    made = make("web", pid=os.getpid())
    made.start_time += 1
    rewrite(root, made)
    assert json.loads(printed(root, "web")) == state.public(root, "web")
    assert (state.public(root, "web")["pid"], state.public(root, "web")["status"]) == (0, "stopped")


def rewrite(root: str, value: state.State) -> None:
    directory = state.lock(root, value.container_id)
    states.write(directory, value)
    os.close(directory)


# ---- claiming ----


def test_claim_makes_the_root_and_a_directory_for_the_owner_alone(root: str, make: Callable[..., state.State]) -> None:
    make("web")
    assert [Path(path).stat().st_mode & 0o7777 for path in (root, f"{root}/web", f"{root}/web/state.json")] == [
        0o700, 0o700, 0o600,
    ]  # fmt: skip


def test_a_claimed_id_is_no_container_until_it_has_a_state(root: str) -> None:
    directory = states.claim(root, "web")
    with pytest.raises(ContainerNotFound):
        quick.status(root, "web")
    assert list_module.containers(root) == []
    os.close(directory)


def test_an_id_is_claimed_once(root: str, make: Callable[..., state.State]) -> None:
    make("web")
    with pytest.raises(ContainerExists, match="container with given ID already exists"):
        states.claim(root, "web")
    assert state.read(root, "web").container_id == "web"


def test_an_id_that_is_being_claimed_exists(root: str) -> None:
    directory = states.claim(root, "web")
    with pytest.raises(ContainerExists):
        states.claim(root, "web")
    os.close(directory)


def test_what_a_killed_claim_left_is_claimed_again(root: str) -> None:
    directory = states.claim(root, "web")
    place.write_file(directory, ".state.json.tmp", b"half")
    os.close(directory)
    again = states.claim(root, "web")
    assert os.listdir(again) == [place.MARK]
    os.close(again)


@pytest.mark.parametrize("mode", [0o700, 0o711, 0o1777])
def test_an_entry_of_another_runtime_keeps_its_id_and_is_left_alone(root: str, mode: int) -> None:
    Path(root, "theirs").mkdir(parents=True)
    Path(root, "theirs").chmod(mode)
    with pytest.raises(ContainerExists):
        states.claim(root, "theirs")
    state.sweep(root, "theirs")
    assert Path(root, "theirs").stat().st_mode & 0o7777 == mode


@pytest.mark.parametrize("kind", ["file", "symlink"])
def test_a_file_with_the_name_of_an_id_is_no_container(root: str, kind: str, tmp_path: Path) -> None:
    Path(root).mkdir()
    if kind == "file":
        Path(root, "web").write_text("")
    else:
        Path(root, "web").symlink_to(tmp_path)
    with pytest.raises(ContainerExists):
        states.claim(root, "web")
    for look in (state.read, quick.status):
        with pytest.raises(ContainerNotFound):
            look(root, "web")


def test_of_many_who_claim_an_id_at_once_one_gets_it(root: str) -> None:
    for turn in range(20):
        results: list[int | type] = []
        gate = threading.Barrier(4)

        def compete(turn: int = turn, results: list[int | type] = results, gate: threading.Barrier = gate) -> None:
            gate.wait()
            try:
                results.append(states.claim(root, f"web{turn}"))
            except Exception as error:
                results.append(type(error))

        threads = [threading.Thread(target=compete) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        won = [result for result in results if isinstance(result, int)]
        for fd in won:
            os.close(fd)
        assert len(won) == 1
        assert results.count(ContainerExists) == 3


@pytest.mark.parametrize("container_id", ["", "..", "a/b", "a\nb"])
def test_a_bad_id_reaches_no_file(root: str, container_id: str) -> None:
    for use in (state.read, state.lock, state.public):
        with pytest.raises(InvalidID):
            use(root, container_id)
    assert not Path(root).exists()


def test_a_root_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemCallError, match=r'make the state root ".*/file/root": not a directory'):
        states.claim(f"{tmp_path}/file/root", "web")


def test_remove_leaves_nothing_even_of_what_it_does_not_know(root: str, make: Callable[..., state.State]) -> None:
    make("web")
    Path(root, "web/plans/deep").mkdir(parents=True)
    Path(root, "web/plans/deep/file").write_text("")
    directory = state.lock(root, "web")
    state.remove(root, "web", directory)
    os.close(directory)
    assert os.listdir(root) == []


# ---- list ----


def test_list_shows_ours_and_passes_over_the_rest(root: str, make: Callable[..., state.State], tmp_path: Path) -> None:
    make("b")
    make("a")
    Path(root, "foreign").mkdir()
    Path(root, "runc").mkdir()
    Path(root, "runc/state.json").write_text('{"id":"runc","init_process_pid":1}')
    Path(root, "garbage").mkdir()
    Path(root, "garbage/state.json").write_bytes(b"\xff{")
    Path(root, "fifo").mkdir()
    os.mkfifo(f"{root}/fifo/state.json")
    Path(root, "a file").write_text("")
    Path(root, "link").symlink_to(tmp_path)
    assert [found["id"] for found in list_module.containers(root)] == ["a", "b"]


def test_list_of_a_root_that_does_not_exist_is_empty(root: str) -> None:
    assert list_module.containers(root) == []


def test_a_state_of_more_than_the_limit_is_not_written(root: str) -> None:
    annotations = ["a", "b" * state.LIMIT]
    about = host_ops.record("", "1.3.0", "/bundle", "/bundle/rootfs", annotations, "root", "cgroupfs", "", 1)
    performer = Performer(root, "web", "/bundle")
    with pytest.raises(UnsupportedError, match="/annotations: "):  # unread, it could not be deleted
        performer.perform([host_ops.claim("", root, "web"), about, host_ops.write_state("", "creating")])
    performer.close()
    assert os.listdir(f"{root}/web") == ["ocirt.json"]


def test_annotations_of_4_mebibytes_are_read_by_python_and_c(root: str, make: Callable[..., state.State]) -> None:
    made = make("web", annotations={HOSTILE: HOSTILE, "b": "c" * (4 << 20)})
    assert state.public(root, "web")["annotations"] == made.annotations
    assert lib.quick_delete(root.encode(), b"web", 0) == lib.QUICK_DONE
    assert os.listdir(root) == []
