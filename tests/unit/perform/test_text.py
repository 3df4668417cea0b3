"""What C writes is, byte for byte, what Python writes and both read."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from errno import EOVERFLOW
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ocirt.container import record, state
from ocirt.errors import SystemCallError
from ocirt.linux._kernel import ffi, lib
from ocirt.plan import host_ops
from ocirt.spawn.performance import Performance
from tests.oracle import records
from tests.unit.perform.support import kept, recorded, state_of

# Every byte but NUL, of all kinds of sequences: what no UTF-8 is, Python has as lone surrogates (PEP 383).
BYTES = st.lists(
    st.one_of(
        st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"])).map(str.encode),
        st.binary().map(lambda data: data.replace(b"\0", b"")),
        st.sampled_from(
            [b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xe2\x82", b"\xf0\x9d\x84", b"\x7f", b"\\"]
        ),
    )
).map(b"".join)
TEXT = BYTES.map(lambda data: data.decode("utf-8", "surrogateescape"))
ALL = bytes(range(1, 256)).decode("utf-8", "surrogateescape") + "ä€𝄞\x80\u2028\ud7ff\ue000\U0010ffff"


@contextmanager
def performed(*ops: Any, pid: int = 0) -> Iterator[Performance]:
    """A container "web" with this said of it, below a root of its own."""
    performance = Performance()
    try:
        with tempfile.TemporaryDirectory() as directory:
            performance.numbers[lib.PERFORM_PID] = pid
            performance.take([host_ops.claim("", f"{directory}/state", "web"), *ops])
            assert performance.go_on() == lib.PERFORM_DONE
            yield performance
    finally:
        performance.close()


def same(performance: Performance, expected: record.State) -> None:
    """Whether the two files are as Python would write them."""
    assert kept(performance, "state.json") == records.encode(expected)
    assert kept(performance, "ocirt.json") == records.mark(expected)


@given(st.dictionaries(TEXT, TEXT), TEXT, TEXT, TEXT, st.integers(0, (1 << 31) - 1), st.booleans())
@example({ALL: ALL, "": ""}, ALL, ALL, ALL, 1, True)
def test_any_string_is_written_as_python_writes_it(
    annotations: dict[str, str], bundle: str, owner: str, version: str, pid: int, pid_namespace: bool
) -> None:
    said: dict[str, Any] = {"annotations": annotations, "bundle": bundle, "rootfs": bundle + "/r", "owner": owner}
    said |= {"oci_version": version, "pid_namespace": pid_namespace}
    ops = [recorded(**said, words=owner, manager="systemd"), host_ops.write_state("", "creating")]
    with performed(*ops, pid=pid) as performance:
        expected = state_of(performance, "web", **said, python=owner, manager="systemd", pid=pid)
        same(performance, expected)
        assert performance.document("created", pid) == records.document(expected, "created", pid)
        assert performance.document("stopped", 0) == records.document(expected, "stopped", 0)


@pytest.mark.parametrize("phase", ["creating", "created"])
@pytest.mark.parametrize("before", [0, 1, 2])
def test_cgroups_are_written_as_python_writes_them(tmp_path: Path, phase: str, before: int) -> None:
    paths = [str(tmp_path / name / 'web "1"') for name in ("a", "b\udcff", "c")]
    for path in paths[:before]:
        Path(path).mkdir(parents=True)
    ops = [recorded(), host_ops.expect_cgroups("", paths, ""), host_ops.write_state("", phase)]
    with performed(*ops) as performance:
        made = [directory for path in paths[before:] for directory in (path, path.rpartition("/")[0])]
        assert performance.made() == made
        same(performance, state_of(performance, "web", phase=phase, cgroups=paths, made=made))


def test_freezers_that_are_there_are_written(tmp_path: Path) -> None:
    there, missing, also = (str(tmp_path / name) for name in ("a\udcff", "b", "c"))
    Path(there).touch()
    Path(also).touch()
    ops = [recorded(), *(host_ops.note_freezer("", path) for path in (there, missing, also))]
    with performed(*ops, host_ops.write_state("", "created")) as performance:
        same(performance, state_of(performance, "web", phase="created", freezers=[there, also]))


def test_the_mark_of_a_claim_is_pythons() -> None:
    with performed() as performance:
        assert kept(performance, "ocirt.json") == records.mark()


def test_the_time_and_the_boot_are_those_of_now() -> None:
    before = time.time()
    with performed(recorded(), host_ops.write_state("", "creating")) as performance:
        written = state_of(performance, "web")
    assert written.boot_id == record.boot_id()
    assert len(written.created) == len(records.now())
    said = datetime.strptime(written.created[:26] + "Z", "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    assert before - 0.001 <= said.timestamp() <= time.time()


def test_a_document_may_be_of_any_size() -> None:
    annotations = {f"name {number}": "value \\ " * number for number in range(300)}
    with performed(recorded(annotations=annotations), host_ops.write_state("", "creating")) as performance:
        expected = state_of(performance, "web", annotations=annotations)
        assert performance.document("creating", 7) == records.document(expected, "creating", 7)
        assert json.loads(performance.document("creating", 7))["annotations"] == annotations


def test_nothing_is_written_where_a_document_does_not_fit() -> None:
    with performed(recorded()) as performance:
        whole = performance.document("creating", 1)
        room = bytearray(b"x" * (len(whole) - 1))
        memory = ffi.from_buffer(room)
        assert lib.performance_document(performance.view, b"creating", 1, memory, len(room)) == len(whole)
        assert set(room) == {ord("x")}


def test_of_a_container_of_which_nothing_is_said_there_is_no_document(performance: Performance) -> None:
    with pytest.raises(SystemCallError):
        performance.document("creating", 1)


def test_a_state_that_nobody_would_read_is_not_written() -> None:
    annotations = {"a": "\udcff" * (state.LIMIT // 6)}
    with performed(recorded(annotations=annotations)) as performance:
        performance.take([host_ops.write_state("", "creating")])
        assert performance.go_on() == -EOVERFLOW
        assert kept(performance, "ocirt.json") == records.mark()
        assert performance.numbers[lib.PERFORM_RECORDED] == 1
