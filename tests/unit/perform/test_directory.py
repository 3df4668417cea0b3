"""The state directory as C claims, fills and gives it up, and the files that it writes elsewhere."""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import EEXIST, EINVAL, EISDIR, EKEYREJECTED, ELOOP, EMFILE, ENAMETOOLONG, ENOTDIR
from pathlib import Path

import pytest

from ocirt.container import quick, state
from ocirt.errors import ContainerExists
from ocirt.linux._kernel import ffi, lib
from ocirt.plan import host_ops, ops
from ocirt.spawn import wire
from ocirt.spawn.performance import Performance
from tests.oracle import records, states
from tests.unit.perform.support import directory, kept, recorded, state_of

Perform = Callable[..., int]


@pytest.fixture
def claimed(root: str, performance: Performance, perform: Perform) -> Performance:
    """One that has claimed the id "web"."""
    assert perform(host_ops.claim("", root, "web")) == lib.PERFORM_DONE
    return performance


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def descriptors(count: int) -> Iterator[None]:
    """So many more can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = [os.open("/", os.O_PATH) for _ in range(count)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[-1] + 1, hard))
    for fd in free:
        os.close(fd)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def modes(*paths: str | Path) -> list[int]:
    return [os.lstat(path).st_mode & 0o7777 for path in paths]


# ---- claiming ----


@pytest.mark.parametrize("mask", [0, 0o77, 0o777])
def test_claim_makes_what_python_makes_whatever_the_umask(root: str, perform: Perform, mask: int) -> None:
    with umask(mask):
        assert perform(host_ops.claim("", root, "web")) == lib.PERFORM_DONE
    assert modes(root, f"{root}/web") == [0o700, 0o1700]
    assert modes(f"{root}/web/ocirt.json") == [0o600 & ~mask]
    assert os.listdir(f"{root}/web") == ["ocirt.json"]


def test_what_is_claimed_is_locked_until_it_is_closed(root: str, claimed: Performance) -> None:
    with pytest.raises(ContainerExists):
        states.claim(root, "web")
    assert not os.get_inheritable(directory(claimed))
    claimed.close()
    os.close(states.claim(root, "web"))


def test_an_id_that_is_claimed_exists(root: str, claimed: Performance, perform: Perform) -> None:
    before = directory(claimed)
    other = Performance()
    other.take([host_ops.claim("", root, "web")])
    assert other.go_on() == -EEXIST
    assert directory(other) == -1
    other.close()
    os.fstat(before)
    assert kept(claimed, "ocirt.json") == records.mark()


@pytest.mark.parametrize("kind", ["file", "symlink", "directory", "leftover"])
def test_what_has_the_id_stays_as_it_is(root: str, tmp_path: Path, perform: Perform, kind: str) -> None:
    Path(root).mkdir(mode=0o700)
    web = Path(root, "web")
    if kind == "file":
        web.write_text("")
    elif kind == "symlink":
        web.symlink_to(tmp_path)
    else:
        web.mkdir()
        web.chmod(0o755 if kind == "directory" else 0o1700)
        (web / "something").touch()
    before = os.lstat(web)
    assert perform(host_ops.claim("", root, "web")) == -EEXIST
    assert os.lstat(web) == before
    assert sorted(os.listdir(tmp_path)) == ["state"]


def test_of_many_who_claim_an_id_at_once_one_gets_it(root: str) -> None:
    """Some of them by Python."""

    def by_c(gate: threading.Barrier, container_id: str, won: list[int]) -> None:
        performance = Performance()
        performance.take([host_ops.claim("", root, container_id)])
        gate.wait()
        result = performance.go_on()
        if result == lib.PERFORM_DONE:
            won.append(directory(performance))
        else:
            assert result == -EEXIST

    def by_python(gate: threading.Barrier, container_id: str, won: list[int]) -> None:
        gate.wait()
        with suppress(ContainerExists):
            won.append(states.claim(root, container_id))

    for turn in range(30):
        won: list[int] = []
        gate = threading.Barrier(6)
        arguments = (gate, f"web{turn}", won)
        threads = [threading.Thread(target=claim, args=arguments) for claim in (by_c, by_python, by_c) * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for fd in won:
            os.close(fd)
        assert len(won) == 1
        assert os.listdir(f"{root}/web{turn}") == ["ocirt.json"]


@pytest.mark.parametrize("container_id", ["", ".", "..", "a/b", "a\nb", "x" * 256, "\udcff"])
def test_what_is_no_id_reaches_no_file(root: str, perform: Perform, container_id: str) -> None:
    assert perform(host_ops.claim("", root, container_id)) == -EINVAL
    assert not Path(root).exists()


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_root_that_others_can_write_is_refused(root: str, perform: Perform, mode: int) -> None:
    Path(root).mkdir()
    Path(root).chmod(mode)
    expected = lib.PERFORM_DONE if mode & 0o1000 else -EKEYREJECTED  # a sticky one is safe: trust.h
    assert perform(host_ops.claim("", root, "web")) == expected
    assert os.listdir(root) == (["web"] if mode & 0o1000 else [])


def test_a_root_that_cannot_be_made(tmp_path: Path, perform: Perform) -> None:
    (tmp_path / "file").touch()
    assert perform(host_ops.claim("", f"{tmp_path}/file/root", "web")) == -ENOTDIR


def test_a_full_descriptor_table_leaves_nothing(root: str, perform: Perform) -> None:
    for count in range(1, 5):
        performance = Performance()
        performance.take([host_ops.claim("", root, "web")])
        with descriptors(count):
            result = performance.go_on()
        if result == lib.PERFORM_DONE:
            break
        assert result == -EMFILE
        assert not Path(root, "web").exists()
        performance.close()
    assert count > 2
    assert os.listdir(f"{root}/web") == ["ocirt.json"]
    performance.close()


def test_where_nothing_can_be_written_nothing_is_left(root: str, perform: Perform) -> None:
    """RLIMIT_FSIZE stands in for a full filesystem; the mark is the first that has a size."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        result = perform(host_ops.claim("", root, "web"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert result < 0
    assert os.listdir(root) == []


# ---- the state ----


def test_the_state_is_read_by_python_and_c(root: str, claimed: Performance, perform: Perform) -> None:
    claimed.numbers[lib.PERFORM_PID] = 0
    annotations = {"a": "b", 'line\nbreak "quoted" \x01\x7f ä𝄞': "\udcff"}
    said = {"annotations": annotations, "bundle": "/b\udcff"}
    assert perform(recorded(**said), host_ops.write_state("", "created")) == lib.PERFORM_DONE
    made = state.read(root, "web")
    assert records.encode(made) == records.encode(state_of(claimed, "web", phase="created", **said))
    pid = ffi.new("int *")
    assert lib.quick_status(root.encode(), b"web", pid) == lib.STATUS_STOPPED
    assert quick.status(root, "web") == ("stopped", 0)


@pytest.mark.parametrize("mask", [0, 0o77])
def test_the_files_are_their_owners_alone(root: str, claimed: Performance, perform: Perform, mask: int) -> None:
    with umask(mask):
        assert perform(recorded(), host_ops.write_state("", "creating")) == lib.PERFORM_DONE
    assert modes(*(f"{root}/web{name}" for name in ("", "/state.json", "/ocirt.json"))) == [0o700, 0o600, 0o600]
    assert sorted(os.listdir(f"{root}/web")) == ["ocirt.json", "state.json"]
    assert claimed.numbers[lib.PERFORM_RECORDED] == 1


def test_a_state_is_replaced_and_not_written_over(root: str, claimed: Performance, perform: Perform) -> None:
    assert perform(recorded(), host_ops.write_state("", "creating")) == lib.PERFORM_DONE
    with open(f"{root}/web/state.json", "rb") as before:
        assert perform(host_ops.write_state("", "created")) == lib.PERFORM_DONE
        assert b'"phase": "creating"' in before.read()
    assert b'"phase": "created"' in kept(claimed, "state.json")


@pytest.mark.parametrize("name", [".ocirt.json.tmp", ".state.json.tmp"])
def test_a_symlink_at_a_temporary_name_is_not_followed(
    root: str, tmp_path: Path, claimed: Performance, perform: Perform, name: str
) -> None:
    (tmp_path / "theirs").write_text("theirs")
    Path(root, "web", name).symlink_to(tmp_path / "theirs")
    assert perform(recorded(), host_ops.write_state("", "creating")) == -ELOOP
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert claimed.numbers[lib.PERFORM_RECORDED] == 1  # the mark may be there: it is undone by what is noted


def test_a_name_without_a_value_is_no_record(claimed: Performance, perform: Perform) -> None:
    name, pointer, guard, arguments = recorded(annotations={"a": "b"})
    odd = (name, pointer, guard, (*arguments[:3], ["a"], *arguments[4:]))
    assert perform(odd, host_ops.write_state("", "creating")) < 0
    assert os.listdir(directory(claimed)) == ["ocirt.json"]


def test_without_a_record_there_is_no_state(claimed: Performance, perform: Perform) -> None:
    assert perform(host_ops.write_state("", "creating")) == -EINVAL
    assert os.listdir(directory(claimed)) == ["ocirt.json"]


# ---- files ----


@pytest.mark.parametrize("content", [b"", b"{}\n\0\xff", b"x" * (3 << 20)])
def test_a_file_is_kept_as_python_keeps_it(root: str, claimed: Performance, perform: Perform, content: bytes) -> None:
    with umask(0):
        assert perform(host_ops.keep_file("", "config.json", content)) == lib.PERFORM_DONE
    assert kept(claimed, "config.json") == content
    assert modes(f"{root}/web/config.json") == [0o600]
    assert perform(host_ops.keep_file("", "config.json", b"shorter")) == lib.PERFORM_DONE
    assert kept(claimed, "config.json") == b"shorter"


def test_a_symlink_is_no_file_to_keep(root: str, tmp_path: Path, claimed: Performance, perform: Perform) -> None:
    Path(root, "web/config.json").symlink_to(tmp_path / "theirs")
    assert perform(host_ops.keep_file("", "config.json", b"{}")) == -ELOOP
    assert not (tmp_path / "theirs").exists()


def test_a_plan_is_kept_as_python_archives_it(claimed: Performance, perform: Perform) -> None:
    plan = [ops.hostname("/hostname", "a\udcff"), ops.hostname("/other", "b")]
    claimed.take_init_plan(wire.encode(plan))
    assert perform(host_ops.keep_plan("", "0\n/hostname\n/other")) == lib.PERFORM_DONE
    assert kept(claimed, "plan.bin") == wire.archive(wire.encode(plan), plan)
    assert wire.decode(kept(claimed, "plan.bin")) == plan


def test_without_a_plan_none_is_kept(claimed: Performance, perform: Perform) -> None:
    assert perform(host_ops.keep_plan("", "0")) == -EINVAL
    assert os.listdir(directory(claimed)) == ["ocirt.json"]


def test_a_socket_is_lent_that_can_be_connected_to(root: str, claimed: Performance, perform: Perform) -> None:
    assert perform(host_ops.listen("", 5, "start.sock")) == lib.PERFORM_DONE
    assert not os.get_inheritable(claimed.lent(5))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"/proc/self/fd/{directory(claimed)}/start.sock")


# ---- the pid file ----


@pytest.mark.parametrize("name", ["pid", "p\udcff"])
def test_a_pid_file_holds_the_pid_alone(tmp_path: Path, performance: Performance, perform: Perform, name: str) -> None:
    (tmp_path / name).write_text("an older one")
    performance.numbers[lib.PERFORM_PID] = 2147483647
    with umask(0o22):
        assert perform(host_ops.write_pid_file("", f"{tmp_path}/{name}")) == lib.PERFORM_DONE
    assert (tmp_path / name).read_bytes() == b"2147483647"
    assert modes(tmp_path / name) == [0o644]
    assert os.listdir(tmp_path) == [name]
    assert performance.numbers[lib.PERFORM_PID_FILE] == 1


def test_a_symlink_at_the_temporary_name_is_replaced(
    tmp_path: Path, performance: Performance, perform: Perform
) -> None:
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / ".pid.tmp").symlink_to(tmp_path / "theirs")
    performance.numbers[lib.PERFORM_PID] = 7
    assert perform(host_ops.write_pid_file("", f"{tmp_path}/pid")) == lib.PERFORM_DONE
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert sorted(os.listdir(tmp_path)) == ["pid", "theirs"]


def test_a_relative_pid_file(
    tmp_path: Path, performance: Performance, perform: Perform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    performance.numbers[lib.PERFORM_PID] = 7
    assert perform(host_ops.write_pid_file("", "pid")) == lib.PERFORM_DONE
    assert os.listdir(tmp_path) == ["pid"]


def test_a_pid_file_that_cannot_be_written_leaves_nothing(tmp_path: Path, perform: Perform) -> None:
    (tmp_path / "pid").mkdir()
    assert perform(host_ops.write_pid_file("", f"{tmp_path}/pid")) == -EISDIR
    assert os.listdir(tmp_path) == ["pid"]
    assert perform(host_ops.write_pid_file("", f"{tmp_path}/{'x' * 5000}")) == -ENAMETOOLONG
    assert perform(host_ops.write_pid_file("", "/proc/pid")) < 0
