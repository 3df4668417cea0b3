"""Making, walking, filling and removing cgroups, on plain directories that stand for a hierarchy."""

from __future__ import annotations

import os
from errno import EBUSY, ENOENT, ENOTDIR, ETIMEDOUT
from pathlib import Path

import pytest

from ocirt import cgroup
from ocirt.cgroup import tree, v1, v2
from ocirt.errors import ContainerError, SystemCallError
from ocirt.plan import host_ops
from tests import cgroups


def cgroup_at(path: Path, **files: str) -> Path:
    """Make a fake cgroup; `cgroup_procs="1\\n"` gives it a file cgroup.procs."""
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / name.replace("_", ".", 1)).write_text(text)
    return path


def test_create_makes_parents_and_returns_children_first(tmp_path: Path) -> None:
    paths = [f"{tmp_path}/pids/a/b", f"{tmp_path}/cpu/a/b"]
    for name in ("pids", "cpu"):
        (tmp_path / name).mkdir()
    planned = cgroups.missing(paths)
    made = cgroups.create(paths)
    assert sorted(made) == sorted(planned) == sorted([*paths, f"{tmp_path}/pids/a", f"{tmp_path}/cpu/a"])
    for directories in (made, planned):
        assert directories.index(f"{tmp_path}/pids/a/b") < directories.index(f"{tmp_path}/pids/a")


def test_create_returns_only_what_it_made(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    path = f"{tmp_path}/a/b"
    assert cgroups.missing([path]) == [path]
    assert cgroups.create([path]) == [path]
    assert cgroups.missing([path]) == []
    assert cgroups.create([path]) == []


def test_the_default_parent_counts_as_made_even_when_it_was_there(tmp_path: Path) -> None:
    (tmp_path / "ocirt").mkdir()
    path = f"{tmp_path}/ocirt/web"
    assert cgroups.missing([path]) == [path, f"{tmp_path}/ocirt"]
    assert cgroups.create([path]) == [path, f"{tmp_path}/ocirt"]


def test_remove_takes_the_recorded_parents_only_when_they_are_empty(tmp_path: Path) -> None:
    one, two = f"{tmp_path}/ocirt/one", f"{tmp_path}/ocirt/two"
    made_one, made_two = cgroups.create([one]), cgroups.create([two])
    cgroup.remove([one], made=made_one)
    assert os.listdir(tmp_path / "ocirt") == ["two"]
    cgroup.remove([two], made=made_two)
    assert os.listdir(tmp_path) == []


def test_create_refuses_a_cgroup_with_processes_and_names_them(tmp_path: Path) -> None:
    held = cgroup_at(tmp_path / "held", cgroup_procs="12\n13\n")
    with pytest.raises(ContainerError, match=f'^cgroup "{held}" is not empty, it holds process 12, 13$'):
        cgroups.create([str(held)])


def test_create_refuses_a_cgroup_whose_processes_are_below_or_in_another_pid_namespace(tmp_path: Path) -> None:
    cgroup_at(tmp_path / "held" / "deep" / "er", cgroup_procs="0\n")
    with pytest.raises(ContainerError, match="process of another pid namespace"):
        cgroups.create([f"{tmp_path}/held"])


@pytest.mark.parametrize("state", ["FROZEN\n", "FREEZING\n"])
def test_create_refuses_a_frozen_v1_cgroup(tmp_path: Path, state: str) -> None:
    path = cgroup_at(tmp_path / "cold", freezer_state=state)
    with pytest.raises(ContainerError, match="is frozen"):
        cgroups.create([str(path)])


@pytest.mark.parametrize(("events", "asked"), [("frozen 1\n", "1\n"), ("frozen 0\n", "1\n"), ("frozen 1\n", "0\n")])
def test_create_refuses_a_v2_cgroup_frozen_by_itself_or_from_above(tmp_path: Path, events: str, asked: str) -> None:
    path = cgroup_at(tmp_path / "cold", cgroup_events=f"populated 0\n{events}", cgroup_freeze=asked)
    with pytest.raises(ContainerError, match="is frozen"):
        cgroups.create([str(path)])


def test_a_create_that_fails_half_way_removes_what_it_made_and_nothing_else(tmp_path: Path) -> None:
    held = cgroup_at(tmp_path / "pids" / "x", cgroup_procs="1\n")
    (tmp_path / "cpu").mkdir()
    with pytest.raises(ContainerError):
        cgroups.create([f"{tmp_path}/cpu/x/y", str(held)])
    assert os.listdir(tmp_path / "cpu") == []
    assert held.is_dir()


def test_a_file_in_the_way_is_an_error_that_names_it(tmp_path: Path) -> None:
    cgroup_at(tmp_path, cgroup_procs="")
    with pytest.raises(SystemCallError, match=r"cgroup\.procs") as caught:
        cgroups.create([f"{tmp_path}/cgroup.procs/x"])
    assert caught.value.errno == ENOTDIR
    with pytest.raises(SystemCallError, match=r"cgroup\.procs") as caught:
        cgroups.create([f"{tmp_path}/cgroup.procs"])
    assert caught.value.errno == ENOTDIR


def test_attach_writes_the_pid_to_each_cgroup(tmp_path: Path) -> None:
    paths = [cgroup_at(tmp_path / name, cgroup_procs="") for name in ("cpu", "pids")]
    cgroups.attach([str(path) for path in paths], 4242)
    assert [(path / "cgroup.procs").read_text() for path in paths] == ["4242", "4242"]


def test_attach_fails_where_a_writable_hierarchy_lacks_the_cgroup(tmp_path: Path) -> None:
    with pytest.raises(SystemCallError, match=f'^move process 1 into cgroup "{tmp_path}/gone"') as caught:
        cgroups.attach([f"{tmp_path}/gone"], 1)
    assert caught.value.errno == ENOENT


def test_pids_come_once_each_from_all_levels_of_the_first_hierarchy_with_members(tmp_path: Path) -> None:
    cgroup_at(tmp_path / "empty", cgroup_procs="")
    cgroup_at(tmp_path / "pids", cgroup_procs="1\n2\n2\n0\n")
    cgroup_at(tmp_path / "pids" / "sub" / "subsub", cgroup_procs="3\n")
    cgroup_at(tmp_path / "cpu", cgroup_procs="99\n")
    assert cgroup.pids([f"{tmp_path}/{name}" for name in ("gone", "empty", "pids", "cpu")]) == [1, 2, 3]


def test_walking_yields_children_before_parents_and_leaks_no_descriptor(tmp_path: Path) -> None:
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "d").mkdir()
    before = os.listdir("/proc/self/fd")
    names = [name for _, name in tree.below(str(tmp_path))]
    assert sorted(names) == ["a", "b", "c", "d"]
    assert names.index("c") < names.index("b") < names.index("a")
    for _ in tree.below(str(tmp_path)):
        break
    assert os.listdir("/proc/self/fd") == before


def test_walking_follows_no_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "outside" / "x").mkdir(parents=True)
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "link").symlink_to(tmp_path / "outside")
    assert list(tree.below(str(tmp_path / "inside"))) == []


def test_remove_takes_everything_below_and_accepts_what_is_gone(tmp_path: Path) -> None:
    (tmp_path / "x" / "a" / "b").mkdir(parents=True)
    (tmp_path / "x" / "c").mkdir()
    (tmp_path / "other").mkdir()
    cgroup.remove([f"{tmp_path}/x", f"{tmp_path}/gone"])
    assert os.listdir(tmp_path) == ["other"]


def test_remove_gives_up_at_the_deadline_and_names_the_holders(tmp_path: Path) -> None:
    held = cgroup_at(tmp_path / "held", cgroup_procs="".join(f"{n}\n" for n in range(1, 13)))
    free = cgroup_at(tmp_path / "free")
    with pytest.raises(SystemCallError) as caught:
        cgroup.remove([str(held), str(free)], 0.01)
    assert str(caught.value).startswith(f'rmdir "{held}" (held by process 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more): ')
    assert caught.value.errno == EBUSY
    assert not free.exists()


def test_an_empty_cpuset_takes_the_values_of_the_nearest_filled_one_above(tmp_path: Path) -> None:
    for path, cpus in ((tmp_path, "0-3\n"), (tmp_path / "a", "\n"), (tmp_path / "a" / "b", "\n")):
        cgroup_at(path, cpuset_cpus=cpus, cpuset_mems=cpus, cpuset_cpu_exclusive="0\n")
    cgroups.perform([host_ops.fill_cpuset("", f"{tmp_path}/a/b")])
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        assert (path / "cpuset.cpus").read_text() == (path / "cpuset.mems").read_text() == "0-3"


def test_a_filled_cpuset_is_kept_and_a_v2_one_is_left_empty(tmp_path: Path) -> None:
    cgroup_at(tmp_path, cpuset_cpus="0-3\n", cpuset_mems="0\n", cpuset_cpu_exclusive="0\n")
    filled = cgroup_at(tmp_path / "one", cpuset_cpus="1\n", cpuset_mems="0\n", cpuset_cpu_exclusive="0\n")
    second = cgroup_at(tmp_path / "two", cpuset_cpus="\n", cpuset_mems="\n")
    cgroups.perform([host_ops.fill_cpuset("", str(path)) for path in (filled, second)])
    assert (filled / "cpuset.cpus").read_text() == "1\n"
    assert (second / "cpuset.cpus").read_text() == "\n"


def test_v1_freezes_and_thaws_by_its_state_file(tmp_path: Path) -> None:
    path = cgroup_at(tmp_path / "f", freezer_state="THAWED\n")
    assert cgroups.freezers([str(path)]) == [f"{path}/freezer.state"]
    cgroup.freeze([str(path)])
    assert cgroup.frozen([str(path)])
    cgroup.thaw([str(path)])
    assert not cgroup.frozen([str(path)])


def test_v1_thaws_again_when_freezing_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cgroup_at(tmp_path / "f", freezer_state="THAWED\n")
    monkeypatch.setattr(v1, "frozen", lambda _: False)
    with pytest.raises(SystemCallError, match=f'^freeze cgroup "{path}"') as caught:
        cgroup.freeze([str(path)], 0.005)
    assert caught.value.errno == ETIMEDOUT
    assert (path / "freezer.state").read_text() == "THAWED\n"


def test_v2_is_preferred_for_freezing_and_thaws_again_when_it_takes_too_long(tmp_path: Path) -> None:
    two = cgroup_at(tmp_path / "two", cgroup_events="populated 1\nfrozen 0\n", cgroup_freeze="0\n")
    one = cgroup_at(tmp_path / "one", freezer_state="THAWED\n")
    paths = [str(two), str(one)]
    assert cgroups.freezers(paths) == [f"{two}/cgroup.events", f"{one}/freezer.state"]
    with pytest.raises(SystemCallError, match=f'^freeze cgroup "{two}"'):
        cgroup.freeze(paths, 0.005)
    assert (two / "cgroup.freeze").read_text() == "0\n"
    assert (one / "freezer.state").read_text() == "THAWED\n"


def test_freezing_without_a_freezer_is_refused_in_words(tmp_path: Path) -> None:
    assert cgroups.freezers([str(tmp_path)]) == []
    with pytest.raises(ContainerError, match=r"^can't freeze the container, it has no cgroup with a freezer$"):
        cgroup.freeze([str(tmp_path)])


def test_killing_writes_to_cgroup_kill_where_there_is_one(tmp_path: Path) -> None:
    path = cgroup_at(tmp_path / "two", cgroup_procs="0\n", cgroup_kill="")
    cgroup.kill([str(path)])
    assert (path / "cgroup.kill").read_text() == "1"
    assert not v2.kill(str(tmp_path))


def test_killing_never_signals_process_0_which_would_be_the_runtimes_own_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cgroup_at(tmp_path / "one", cgroup_procs="0\n")
    monkeypatch.setattr(cgroup.processes, "_signal_batch", lambda *_: pytest.fail("signalled"))
    cgroup.kill([str(path)])
    assert cgroup.pids([str(path)]) == []


def test_a_cgroup_removed_while_it_is_killed_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cgroup_at(tmp_path / "one", cgroup_procs="4242\n", freezer_state="THAWED\n")
    seen: list[str] = []

    def vanished(where: str) -> bool:
        seen.append(where)
        raise FileNotFoundError(ENOENT, "gone", where)

    monkeypatch.setattr(v1, "frozen", vanished)
    cgroup.kill([str(path)], 15)
    assert seen == [str(path)]
