"""Hierarchies are found from /proc/self/cgroup, by convention or by mountinfo; fake trees stand for the host's."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocirt.cgroup import Hierarchy, hierarchies, layout, paths_for
from ocirt.errors import ConfigError

V1, V2 = "tasks", "cgroup.controllers"


class Host:
    """A fake /proc/self and /sys/fs/cgroup."""

    def __init__(self, base: Path) -> None:
        self.proc, self.root = base / "proc", base / "cgroup"
        self.proc.mkdir()
        self.root.mkdir()

    def cgroup(self, directory: str | Path, probe: str) -> Path:
        path = self.root / directory
        path.mkdir(parents=True, exist_ok=True)
        (path / probe).touch()
        return path

    def found(self, lines: str, mountinfo: str = "") -> list[tuple[str, str, str, int]]:
        (self.proc / "cgroup").write_text(lines)
        (self.proc / "mountinfo").write_text(mountinfo)
        found = hierarchies(str(self.proc), str(self.root))
        return [(h.controllers, h.mount.replace(str(self.root), "R"), h.own, h.version) for h in found]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_pure_v2_is_found_at_the_root(host: Host) -> None:
    host.cgroup("", V2)
    host.cgroup("user", V2)
    assert host.found("0::/user\n") == [("", "R", "/user", 2)]


def test_hybrid_puts_v2_first_and_keeps_the_kernels_order_of_v1(host: Host) -> None:
    host.cgroup("unified", V2)
    for name in ("freezer", "systemd", "cpu,cpuacct"):
        host.cgroup(name, V1)
    assert host.found("3:cpu,cpuacct:/\n2:freezer:/\n1:name=systemd:/\n0::/\n") == [
        ("", "R/unified", "/", 2),
        ("cpu,cpuacct", "R/cpu,cpuacct", "/", 1),
        ("freezer", "R/freezer", "/", 1),
        ("name=systemd", "R/systemd", "/", 1),
    ]


@pytest.mark.parametrize("directory", ["cpu,cpuacct", "cpuacct,cpu", "cpu"])
def test_comounts_are_found_in_either_order_and_by_the_first_name(host: Host, directory: str) -> None:
    host.cgroup(directory, V1)
    assert host.found("2:cpu,cpuacct:/\n") == [("cpu,cpuacct", f"R/{directory}", "/", 1)]


def test_a_v2_cgroup_called_freezer_is_not_taken_for_the_v1_hierarchy(host: Host) -> None:
    host.cgroup("", V2)
    host.cgroup("freezer", V2)
    assert host.found("5:freezer:/\n0::/\n") == [("", "R", "/", 2)]


def test_a_hierarchy_mounted_nowhere_is_left_out(host: Host) -> None:
    assert host.found("5:pids:/\n0::/\n") == []


@pytest.mark.parametrize("own", ["/..", "/../..", "/../other"])
def test_an_own_cgroup_outside_the_cgroup_namespace_counts_as_the_root(host: Host, own: str) -> None:
    host.cgroup("pids", V1)
    assert host.found(f"5:pids:{own}\n") == [("pids", "R/pids", "/", 1)]


def test_an_own_cgroup_may_hold_colons_and_dots(host: Host) -> None:
    host.cgroup("pids/a:b/..c", V1)
    assert host.found("5:pids:/a:b/..c\n") == [("pids", "R/pids", "/a:b/..c", 1)]


def test_an_unusual_mount_point_is_found_in_mountinfo_with_its_escapes(host: Host) -> None:
    host.cgroup("odd place/own", V1)
    host.cgroup("odd place", V1)
    mount = str(host.root / "odd place").replace(" ", r"\040")
    mountinfo = f"31 23 0:28 / {mount} rw - cgroup cgroup rw,cpuacct,cpu\n"
    assert host.found("5:cpu,cpuacct:/own\n", mountinfo) == [("cpu,cpuacct", "R/odd place", "/own", 1)]


def test_a_bind_mounted_part_of_a_hierarchy_makes_the_own_cgroup_relative_to_it(host: Host) -> None:
    host.cgroup("pids", V1)
    host.cgroup("pids/inner", V1)
    mountinfo = f"31 23 0:28 /docker/x {host.root}/pids rw shared:1 - cgroup cgroup rw,pids\n"
    assert host.found("5:pids:/docker/x/inner\n", mountinfo) == [("pids", "R/pids", "/inner", 1)]
    assert host.found("5:pids:/docker/x\n", mountinfo) == [("pids", "R/pids", "/", 1)]
    assert host.found("5:pids:/docker/xy\n", mountinfo) == [("pids", "R/pids", "/", 1)]


def test_a_removed_own_cgroup_counts_as_the_root(host: Host) -> None:
    host.cgroup("pids", V1)
    mountinfo = f"31 23 0:28 / {host.root}/pids rw - cgroup cgroup rw,pids\n"
    assert host.found("5:pids:/gone (deleted)\n", mountinfo) == [("pids", "R/pids", "/", 1)]


def test_v2_at_an_unusual_place_is_found_in_mountinfo(host: Host) -> None:
    host.cgroup("two", V2)
    mountinfo = f"30 23 0:27 / /elsewhere rw - tmpfs tmpfs rw\n31 23 0:28 / {host.root}/two rw - cgroup2 none rw\n"
    assert host.found("0::/\n", mountinfo) == [("", "R/two", "/", 2)]


def test_a_kernel_without_cgroups_has_no_hierarchies(tmp_path: Path) -> None:
    assert hierarchies(str(tmp_path), str(tmp_path)) == []


def hs(*controllers: str) -> list[Hierarchy]:
    return [Hierarchy(name, f"/cg/{name or 'unified'}", "/", 1 if name else 2) for name in controllers]


@pytest.mark.parametrize(
    ("controllers", "expected"),
    [
        ((), "none"),
        (("",), "v2"),
        (("", "name=systemd"), "v2"),
        (("", "name=systemd", "pids"), "hybrid"),
        (("pids", "cpu,cpuacct"), "v1"),
        (("name=systemd",), "v1"),
    ],
)
def test_the_layout_is_named_by_what_is_mounted(controllers: tuple[str, ...], expected: str) -> None:
    assert layout(hs(*controllers)) == expected


@pytest.mark.parametrize("absent", [None, ""])
def test_without_a_path_the_container_goes_below_ocirt(absent: str | None) -> None:
    assert paths_for(absent, "web", hs("", "pids")) == ["/cg/unified/ocirt/web", "/cg/pids/ocirt/web"]


def test_an_absolute_path_starts_at_the_mount_and_a_relative_one_at_the_own_cgroup() -> None:
    own = [Hierarchy("pids", "/cg/pids", "/user/1000", 1), Hierarchy("cpu", "/cg/cpu", "/", 1)]
    assert paths_for("/a/b", "id", own) == ["/cg/pids/a/b", "/cg/cpu/a/b"]
    assert paths_for("a/b", "id", own) == ["/cg/pids/user/1000/a/b", "/cg/cpu/a/b"]


def test_empty_and_dot_components_fall_away() -> None:
    assert paths_for("//a/./b//", "id", hs("pids")) == ["/cg/pids/a/b"]


def test_names_that_only_look_like_dot_dot_are_kept() -> None:
    assert paths_for("/..a/b..", "id", hs("pids")) == ["/cg/pids/..a/b.."]


@pytest.mark.parametrize("path", ["/../x", "a/../../b", "..", "/a/.."])
def test_a_dot_dot_component_is_refused_with_the_pointer(path: str) -> None:
    with pytest.raises(ConfigError, match=r'^config.json: /linux/cgroupsPath: .*"\.\." component') as caught:
        paths_for(path, "id", hs("pids"))
    assert caught.value.pointer == "/linux/cgroupsPath"


@pytest.mark.parametrize("path", ["/", "//", ".", "./"])
def test_a_path_that_is_everybodys_cgroup_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="names no cgroup of the container's own"):
        paths_for(path, "id", hs("pids"))


@pytest.mark.parametrize("path", ["/ocirt", "/ocirt/", "//./ocirt"])
def test_the_parent_of_other_containers_cgroups_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="is where other containers have their cgroups"):
        paths_for(path, "id", hs("pids"))


def test_no_hierarchies_means_no_paths() -> None:
    assert paths_for("/a", "id", []) == []
