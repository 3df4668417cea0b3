"""cgroupsPath in systemd's words."""

from __future__ import annotations

import pytest

from ocirt.cgroup.units import NAME_MAX, unit_for
from ocirt.errors import ConfigError

# (cgroupsPath, rootless, name, slice, cgroup)
GOOD = [
    ("system.slice:docker:4f2a", False, "docker-4f2a.scope", "system.slice", "/system.slice/docker-4f2a.scope"),
    ("a-b.slice:cri:4f", False, "cri-4f.scope", "a-b.slice", "/a.slice/a-b.slice/cri-4f.scope"),
    ("a-b-c.slice:p:n", False, "p-n.scope", "a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice/p-n.scope"),
    (":p:n", False, "p-n.scope", "system.slice", "/system.slice/p-n.scope"),
    (":p:n", True, "p-n.scope", "user.slice", "/user.slice/p-n.scope"),
    ("user.slice::n", True, "n.scope", "user.slice", "/user.slice/n.scope"),
    ("-.slice:p:n", False, "p-n.scope", "-.slice", "/p-n.scope"),
    ("a.slice:p:a-b.slice", False, "a-b.slice", "a.slice", "/a.slice/a-b.slice"),
    ("::a-b.slice", False, "a-b.slice", "a.slice", "/a.slice/a-b.slice"),
    ("::a.slice", True, "a.slice", "-.slice", "/a.slice"),
    ("-.slice::a-b-c.slice", False, "a-b-c.slice", "-.slice", "/a.slice/a-b.slice/a-b-c.slice"),
    (None, False, "ocirt-web.scope", "system.slice", "/system.slice/ocirt-web.scope"),
    ("", True, "ocirt-web.scope", "user.slice", "/user.slice/ocirt-web.scope"),
]


@pytest.mark.parametrize(("path", "rootless", "name", "slice_", "cgroup"), GOOD)
def test_a_path_names_a_unit_and_its_place(
    path: str | None, rootless: bool, name: str, slice_: str, cgroup: str
) -> None:
    unit = unit_for(path, "web", rootless)
    assert (unit.name, unit.slice, unit.cgroup) == (name, slice_, cgroup)


def test_an_id_with_a_plus_still_names_a_unit() -> None:
    assert unit_for(None, "c+d", False).name == r"ocirt-c\x2bd.scope"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/a/b", "is not of the form slice:prefix:name"),
        ("a:b", "is not of the form slice:prefix:name"),
        ("a.slice:b:c:d", "is not of the form slice:prefix:name"),
        ("a.slice:b:", "has no name"),
        ("a:b:c", '"a" is not the name of a slice'),
        ("a--b.slice:b:c", '"a--b.slice" is not the name of a slice'),
        ("-a.slice:b:c", '"-a.slice" is not the name of a slice'),
        (".slice:b:c", '".slice" is not the name of a slice'),
        ("::a-.slice", '"a-.slice" is not the name of a slice'),
        ("a.slice::b.slice", '"b.slice" is not in "a.slice"'),
        ("../a.slice:b:c", 'has the character "/"'),
        (":../b:c", 'has the character "/"'),
        (":b:c d", 'has the character " "'),
        (f":b:{'c' * NAME_MAX}", "longer than 255 characters"),
    ],
)
def test_what_systemd_would_not_take_is_an_error_of_the_field(path: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        unit_for(path, "web", False)
    assert words in str(error.value)
    assert error.value.pointer == "/linux/cgroupsPath"
