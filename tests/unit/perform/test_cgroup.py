"""Cgroups made and entered by perform/cgroup.c, on plain directories; what the Python functions do is the measure."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from errno import EACCES, EBUSY, EEXIST, ENAMETOOLONG, ENOENT, ENOTDIR, ENOTEMPTY
from pathlib import Path

import pytest

from ocirt import cgroup
from ocirt.cgroup import v1, v2
from ocirt.errors import ContainerError, SystemCallError
from ocirt.linux._kernel import lib
from ocirt.linux.consts import SLOT_CGROUP
from ocirt.plan import host_ops
from tests.oracle import cgroups
from tests.performances import as_nobody, go_on, perform, performance

Tree = dict[str, str]  # path of each file → text; a directory without files is "path/" → ""


def build(base: Path, files: Tree) -> Path:
    """Lay the files out."""
    base.mkdir()
    for name, text in files.items():
        path = base / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            path.symlink_to(text[3:])
        elif not name.endswith("/"):
            path.write_text(text)
    return base


def content(base: Path) -> Tree:
    """What is there."""
    found = {}
    for path in base.rglob("*"):
        name = str(path.relative_to(base))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        else:
            found[name] = path.read_text() if path.is_file() else ""
    return found


def outcome(action: Callable[[], object]) -> int:
    """0, or the errno with which the Python function fails, as a negative number; EBUSY stands for words."""
    try:
        action()
    except ContainerError:
        return -EBUSY
    except SystemCallError as error:
        return -(error.errno or 0)
    return 0


# ---- make_cgroup -----------------------------------------------------------------------------------------------------

MADE: dict[str, tuple[Tree, int]] = {
    "its parents are missing": ({}, 0),
    "its parent is there": ({"a/": ""}, 0),
    "it is there": ({"a/b/cgroup.procs": ""}, 0),
    "it is there, with no file that could tell": ({"a/b/": ""}, 0),
    "it has a process": ({"a/b/cgroup.procs": "12\n"}, -ENOTEMPTY),
    "it has one of another pid namespace": ({"a/b/cgroup.procs": "0\n"}, -ENOTEMPTY),
    "a process is below it": ({"a/b/cgroup.procs": "", "a/b/c/cgroup.procs": "12\n"}, -ENOTEMPTY),
    "its parent is a file": ({"a": ""}, -ENOTDIR),
    "it is a file": ({"a/b": ""}, -ENOTEMPTY),  # Python has the words
}


@pytest.mark.parametrize("case", MADE)
def test_a_cgroup_is_made_or_refused_as_by_python(tmp_path: Path, case: str) -> None:
    files, expected = MADE[case]
    ours, theirs = build(tmp_path / "c", files), build(tmp_path / "python", files)
    before = content(ours)
    assert perform(host_ops.make_cgroup("", f"{ours}/a/b")) == expected
    assert (outcome(lambda: cgroups.make(f"{theirs}/a/b", [])) == 0) == (expected == 0)
    assert content(ours) == content(theirs)
    assert expected == 0 or content(ours) == before
    if expected == 0:
        assert (ours / "a/b").stat().st_mode == (theirs / "a/b").stat().st_mode


def test_whether_empty_cgroups_below_it_matter_is_left_to_python(tmp_path: Path) -> None:
    ours = build(tmp_path / "c", {"a/b/cgroup.procs": "", "a/b/c/cgroup.procs": ""})
    assert perform(host_ops.make_cgroup("", f"{ours}/a/b")) == -ENOTEMPTY
    assert cgroups.make(f"{ours}/a/b", [])


def test_a_path_that_is_too_long_is_an_error(tmp_path: Path) -> None:
    path = f"{tmp_path}/" + "/".join(["x" * 200] * 25)
    for op in (
        host_ops.make_cgroup("", path),
        host_ops.open_cgroup("", SLOT_CGROUP, path),
        host_ops.open_tasks("", SLOT_CGROUP, path),
        host_ops.attach("", path, 0),
        host_ops.write_limit("", path, "pids.max", "1", 1),
    ):
        assert perform(op) == -ENAMETOOLONG, op[0]
    assert os.listdir(tmp_path) == []


def test_those_who_come_and_go_at_once_share_a_parent_without_failing(tmp_path: Path) -> None:
    children = []
    for number in range(3):
        child = os.fork()
        if child == 0:
            failed = 1
            try:
                for turn in range(300):
                    path = f"{tmp_path}/above/parent/{number}-{turn}"
                    assert perform(host_ops.make_cgroup("", path)) == 0
                    cgroup.remove([path], made=[f"{tmp_path}/above/parent", f"{tmp_path}/above"])
                failed = 0
            finally:
                os._exit(failed)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    assert os.listdir(tmp_path) == []


@pytest.fixture
def foreign() -> Iterator[Path]:
    """A hierarchy that everybody sees and nobody but root may write."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))  # pytest's own directories are closed to others
    yield path
    path.chmod(0o700)
    for directory in path.glob("*/"):
        directory.chmod(0o700)
    shutil.rmtree(path)


def test_a_hierarchy_that_is_not_ours_is_passed_over(foreign: Path) -> None:
    build(foreign / "box", {"cgroup.procs": "", "tasks": ""})
    for path in (foreign / "box", foreign):
        path.chmod(0o555)
    for path in (f"{foreign}/a/b", f"{foreign}/box/a"):

        def enter(path: str = path) -> int:
            with performance() as p:
                ops = [host_ops.make_cgroup("", path), host_ops.open_cgroup("", SLOT_CGROUP, path)]
                ops += [host_ops.open_tasks("", SLOT_CGROUP, path), host_ops.attach("", path, 0)]
                return go_on(p, *ops) or p.lent(SLOT_CGROUP)

        assert as_nobody(enter) == -1, "no descriptor, no error"
        assert as_nobody(lambda path=path: int(cgroups.make(path, []))) == 0
    assert content(foreign) == {"box": "", "box/cgroup.procs": "", "box/tasks": ""}


def test_a_refusal_where_we_may_write_is_an_error(foreign: Path) -> None:
    """The directory can be written and not searched: nobody knows what is in it."""
    foreign.chmod(0o755)
    inner = foreign / "inner"
    build(inner, {"a/cgroup.procs": "", "a/tasks": ""})
    inner.chmod(0o666)
    for op in (
        host_ops.make_cgroup("", f"{inner}/a/b"),
        host_ops.open_cgroup("", SLOT_CGROUP, f"{inner}/a"),
        host_ops.open_tasks("", SLOT_CGROUP, f"{inner}/a"),
        host_ops.attach("", f"{inner}/a", 0),
    ):
        assert as_nobody(lambda op=op: perform(op)) == -EACCES, op[0]
    assert as_nobody(lambda: outcome(lambda: cgroups.make(f"{inner}/a/b", []))) == -EACCES


# ---- fill_cpuset -----------------------------------------------------------------------------------------------------


def cpusets(**cpus: str) -> Tree:
    """A tree of cpusets; `a_b="0"` has cpus and mems 0 in a/b."""
    found = {}
    for name, text in cpus.items():
        for file, value in (("cpus", text), ("mems", text), ("cpu_exclusive", "0\n")):
            found[f"{name.replace('_', '/')}/cpuset.{file}"] = value
    return found


V2_CPUSET = {"a/cpuset.cpus": "0\n", "a/b/cpuset.cpus": "\n"}


@pytest.mark.parametrize(
    ("files", "filled"),
    [
        (cpusets(a="0-3,5\n", a_b="\n", a_b_c="\n"), {"a/b/cpuset.cpus": "0-3,5", "a/b/c/cpuset.mems": "0-3,5"}),
        (cpusets(a="0-3\n", a_b="1\n", a_b_c="\n"), {"a/b/cpuset.cpus": "1\n", "a/b/c/cpuset.cpus": "1"}),
        (cpusets(a="0-3\n", a_b="1\n", a_b_c="2\n"), {"a/b/c/cpuset.cpus": "2\n"}),
        (cpusets(a=",".join(map(str, range(0, 1200, 2))) + "\n", a_b="\n", a_b_c=""), {}),
        (V2_CPUSET, V2_CPUSET),
        ({"a/b/c/": ""}, {}),
        (cpusets(a_b_c="\n"), {}),
    ],
)
def test_an_empty_cpuset_takes_what_is_above_as_by_python(tmp_path: Path, files: Tree, filled: Tree) -> None:
    ours, theirs = build(tmp_path / "c", files), build(tmp_path / "python", files)
    result = perform(host_ops.fill_cpuset("", f"{ours}/a/b/c"))
    assert result == outcome(lambda: cgroups.inherit_cpuset(f"{theirs}/a/b/c"))
    assert result == (0 if files != cpusets(a_b_c="\n") else -ENOENT), "the root of the hierarchy has some"
    after = content(ours)
    assert after == content(theirs)
    assert filled.items() <= after.items()


def test_a_cpuset_that_may_not_be_filled_is_left_as_it_is(foreign: Path) -> None:
    foreign.chmod(0o755)
    base = build(foreign / "x", cpusets(a="0\n", a_b="\n"))
    before = content(base)
    for file in base.rglob("cpuset.*"):
        file.chmod(0o444)
    assert as_nobody(lambda: perform(host_ops.fill_cpuset("", f"{base}/a/b"))) == 0
    assert content(base) == before


# ---- refuse_frozen ---------------------------------------------------------------------------------------------------

FREEZABLE = {"cgroup.events": "populated 0\nfrozen 0\n", "cgroup.freeze": "0\n"}


@pytest.mark.parametrize(
    ("version", "files", "expected"),
    [
        (1, {}, 0),
        (1, {"freezer.state": "THAWED\n"}, 0),
        (1, {"freezer.state": "FROZEN\n"}, -EBUSY),
        (1, {"freezer.state": "FREEZING\n"}, -EBUSY),
        (2, {}, 0),
        (2, FREEZABLE, 0),
        (2, {**FREEZABLE, "cgroup.freeze": "1\n"}, -EBUSY),
        (2, {**FREEZABLE, "cgroup.events": "populated 0\nfrozen 1\n"}, -EBUSY),
        (2, {"cgroup.events": "populated 0\nfrozen 0\n"}, -ENOENT),
        (2, {**FREEZABLE, "cgroup.type": "domain\n"}, 0),
        (2, {**FREEZABLE, "cgroup.type": "domain threaded\n"}, 0),
        (2, {**FREEZABLE, "cgroup.type": "domain invalid\n"}, -EBUSY),
        (2, {**FREEZABLE, "cgroup.type": "threaded\n"}, -EBUSY),
    ],
)
def test_a_cgroup_in_which_no_process_could_run_is_refused_as_by_python(
    tmp_path: Path, version: int, files: Tree, expected: int
) -> None:
    base = build(tmp_path / "c", files)
    assert perform(host_ops.refuse_frozen("", str(base), version)) == expected
    assert outcome(lambda: cgroup.refuse_frozen(str(base), v2 if version == 2 else v1)) == expected


# ---- refuse_shared ---------------------------------------------------------------------------------------------------


def test_a_cgroup_that_was_there_may_be_anothers_and_one_that_was_made_is_ours(tmp_path: Path) -> None:
    base = build(tmp_path / "c", {"there/": ""})
    there, made, absent = (f"{base}/{name}" for name in ("there", "made", "absent"))
    with performance() as p:
        assert go_on(p, host_ops.make_cgroup("", there), host_ops.make_cgroup("", made)) == 0
        assert go_on(p, host_ops.refuse_shared("", [made, absent])) == 0
        assert go_on(p, host_ops.refuse_shared("", [made, there])) == -EEXIST
        p.numbers[lib.PERFORM_OURS] = p.numbers[lib.PERFORM_BROUGHT] = 1
        assert go_on(p, host_ops.refuse_shared("", [made, there])) == -EEXIST, "nobody expected the unit to make it"


# ---- hand_down -------------------------------------------------------------------------------------------------------


def controllers(base: str, has: str, enabled: str = "", procs: str | None = "") -> Tree:
    found = {f"{base}cgroup.controllers": has, f"{base}cgroup.subtree_control": enabled}
    return found if procs is None else {**found, f"{base}cgroup.type": "domain\n", f"{base}cgroup.procs": procs}


ALL = "cpuset cpu io memory\n"
ENABLED = "+cpuset +cpu +io +memory"


@pytest.mark.parametrize(
    ("root", "above", "own", "expected"),
    [
        # What is written to a plain file has no effect below
        (controllers("", ALL, procs=None), controllers("a/", ALL), "", (ENABLED,) * 2),
        (controllers("", ALL, procs=None), controllers("a/", "cpu\n"), "cpu\n", (ENABLED, "+cpu")),
        (controllers("", ALL, "cpu io\n", None), controllers("a/", ALL), "", ("+cpuset +memory", ENABLED)),
        (controllers("", ALL, "cpuset cpu io memory\n", None), controllers("a/", ALL), "", (None, ENABLED)),
        (controllers("", ALL, procs=None), controllers("a/", ALL, procs="7\n"), "", (ENABLED, "")),
        (controllers("", ALL, procs="1\n"), controllers("a/", ALL), "", ("", ENABLED)),
        (controllers("", ALL, procs=None), controllers("a/", ALL), ALL, ("", "")),
        (controllers("", "\n", procs=None), controllers("a/", "\n"), "\n", ("", "")),
        ({}, controllers("a/", ALL), "", (None, "")),
        (controllers("", ALL, procs=None), {"a/": ""}, "", (ENABLED, None)),
    ],
)
def test_controllers_are_handed_down_as_by_python(
    tmp_path: Path, root: Tree, above: Tree, own: str, expected: tuple[str | None, ...]
) -> None:
    files = {**root, **above, "a/b/cgroup.controllers": own, "a/b/cgroup.subtree_control": ""}
    ours, theirs = build(tmp_path / "c", files), build(tmp_path / "python", files)
    assert perform(host_ops.hand_down("", str(ours), f"{ours}/a/b")) == 0
    cgroups.enable_controllers(str(theirs), f"{theirs}/a/b")
    after = content(ours)
    assert after == content(theirs)
    assert after["a/b/cgroup.subtree_control"] == "", "what is below the container is its own matter"
    for name, text in zip(("", "a/"), expected, strict=False):
        assert text is None or after[f"{name}cgroup.subtree_control"] == text


@pytest.mark.parametrize("by_python", [False, True])
def test_where_all_at_once_are_refused_each_is_tried(tmp_path: Path, by_python: bool) -> None:
    fd = os.memfd_create("subtree_control", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, len("+cpu"))
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)  # what is longer is refused
    files = {**controllers("", ALL, procs=None), **controllers("a/", ALL), "a/b/cgroup.controllers": ""}
    files["cgroup.controllers"] = "cpuset cpu memory\n"
    files["cgroup.subtree_control"] = f"-> /proc/self/fd/{fd}"
    ours = build(tmp_path / "c", files)
    if by_python:
        cgroups.enable_controllers(str(ours), f"{ours}/a/b")
    else:
        assert perform(host_ops.hand_down("", str(ours), f"{ours}/a/b")) == 0
    assert os.pread(fd, 10, 0) == b"+cpu"
    assert (ours / "a/cgroup.subtree_control").read_text() == ENABLED, "and those below it all the same"
    os.close(fd)


def test_a_controller_whose_name_is_part_of_another_is_told_apart(tmp_path: Path) -> None:
    files = {**controllers("", "cpuset cpu\n", "cpuset\n", None), "a/cgroup.controllers": "cpuset\n"}
    ours = build(tmp_path / "c", files)
    assert perform(host_ops.hand_down("", str(ours), f"{ours}/a")) == 0
    assert (ours / "cgroup.subtree_control").read_text().startswith("+cpu")


# ---- who enters ------------------------------------------------------------------------------------------------------


def test_cgroups_are_opened_for_the_init(tmp_path: Path) -> None:
    base = build(tmp_path / "c", {"tasks": ""})
    with performance() as p:
        assert go_on(p, host_ops.open_cgroup("", 5, str(base)), host_ops.open_tasks("", 6, str(base))) == 0
        directory, tasks = p.lent(5), p.lent(6)
        assert os.readlink(f"/proc/self/fd/{directory}") == str(base)
        assert os.readlink(f"/proc/self/fd/{tasks}") == f"{base}/tasks"
        assert fcntl.fcntl(tasks, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
        for fd in (directory, tasks):
            assert fcntl.fcntl(fd, fcntl.F_GETFD) == fcntl.FD_CLOEXEC
        assert go_on(p, host_ops.open_cgroup("", 7, f"{base}/gone")) == -ENOENT
        assert go_on(p, host_ops.open_tasks("", 7, f"{base}/gone")) == -ENOENT
        assert p.lent(7) == -1


def test_no_link_is_opened_for_a_cgroup(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/")
    assert perform(host_ops.open_cgroup("", 5, f"{tmp_path}/link")) == -ENOTDIR


def test_the_process_is_moved_or_the_first_stage_where_there_is_none_yet(tmp_path: Path) -> None:
    base = build(tmp_path / "c", {"one/cgroup.procs": "", "two/cgroup.procs": ""})
    with performance() as p:
        p.numbers[lib.PERFORM_FIRST] = 4242
        assert go_on(p, host_ops.attach("", f"{base}/one", 0)) == 0
        p.numbers[lib.PERFORM_PID] = 1234567
        assert go_on(p, host_ops.attach("", f"{base}/two", 1)) == 0
        assert go_on(p, host_ops.attach("", f"{base}/gone", 1)) == -ENOENT
    assert content(base) == {"one": "", "one/cgroup.procs": "4242", "two": "", "two/cgroup.procs": "1234567"}
