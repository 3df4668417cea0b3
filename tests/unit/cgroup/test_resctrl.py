"""linux.intelRdt: which groups are made, written, compared, entered and removed (config-linux.md "IntelRdt")."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocirt.cgroup import resctrl
from ocirt.errors import SystemCallError, UnsupportedError
from tests.resctrl import Kernel, kernel

__all__ = ["kernel"]

L3, MB = "L3:0=7f0;1=1f", "MB:0=20;1=70"


def made(kernel: Kernel, section: dict[str, Any]) -> resctrl.Groups:
    """The groups of a container "box", made and entered by process 77."""
    groups = resctrl.Groups(section, "box", resctrl.root())
    groups.look()
    groups.make()
    groups.enter(77)
    return groups


def names(kernel: Kernel, paths: list[str]) -> list[str]:
    return [str(Path(path).relative_to(kernel.root)) for path in paths]


def test_without_a_class_the_container_gets_its_own_which_goes_with_it(kernel: Kernel) -> None:
    groups = made(kernel, {"l3CacheSchema": L3})
    assert kernel.groups() == {"box"}
    assert (kernel.root / "box/schemata").read_text() == f"{L3}\n"
    assert (kernel.root / "box/tasks").read_text() == "77"
    assert names(kernel, groups.removed) == ["box"]
    resctrl.remove(groups.removed)
    resctrl.remove(groups.removed)
    assert kernel.groups() == set()


def test_schemata_are_written_in_the_order_of_the_specification(kernel: Kernel) -> None:
    made(kernel, {"closID": "new", "schemata": ["L2:0=f", "MB:1=30"], "memBwSchema": MB, "l3CacheSchema": L3})
    assert (kernel.root / "new/schemata").read_text() == f"{L3}\n{MB}\nL2:0=f\nMB:1=30\n"


def test_a_class_that_is_named_stays_even_if_it_was_made(kernel: Kernel) -> None:
    groups = made(kernel, {"closID": "new", "schemata": [L3]})
    assert (names(kernel, groups.missing), groups.removed) == (["new"], [])


def test_nothing_is_written_to_schemata_where_none_are_given(kernel: Kernel) -> None:
    kernel.mkdir(f"{kernel.root}/there", 0o755)
    (kernel.root / "there/schemata").write_text("as it was")
    groups = made(kernel, {"closID": "there"})
    assert (kernel.root / "there/schemata").read_text() == "as it was"
    assert (kernel.root / "there/tasks").read_text() == "77"
    assert groups.missing == groups.removed == []


def test_the_default_class_is_the_root(kernel: Kernel) -> None:
    assert made(kernel, {"closID": "/"}).missing == []
    assert (kernel.root / "tasks").read_text() == "77"


def test_a_class_that_is_missing_needs_schemata(kernel: Kernel) -> None:
    with pytest.raises(UnsupportedError, match="is not there, and no schemata say how to make it") as caught:
        made(kernel, {"closID": "gone"})
    assert caught.value.pointer == "/linux/intelRdt/closID"
    assert kernel.groups() == set()


@pytest.mark.parametrize("schema", ["L3:0=7FF;1=7ff", " L3:1=07ff", "L3:0=7ff;1=7ff;"])
def test_a_class_that_is_there_and_says_the_same_is_taken(kernel: Kernel, schema: str) -> None:
    assert made(kernel, {"closID": "/", "l3CacheSchema": schema, "memBwSchema": "MB:1=100"}).missing == []


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"l3CacheSchema": "L3:0=7ff;1=1f"}, "has L3:1=7ff, not L3:1=1f"),
        ({"memBwSchema": "MB:0=50"}, "has MB:0=100, not MB:0=50"),
        ({"schemata": ["L2:0=f"]}, "has no L2:0, not L2:0=f"),
        ({"l3CacheSchema": "L3:7=f"}, "has no L3:7, not L3:7=f"),
    ],
)
def test_a_class_that_is_there_and_says_something_else_is_an_error(
    kernel: Kernel, section: dict[str, Any], words: str
) -> None:
    with pytest.raises(UnsupportedError, match=words) as caught:
        made(kernel, {"closID": "/", **section})
    assert caught.value.pointer == "/linux/intelRdt/closID"


def test_a_line_of_another_form_is_an_error(kernel: Kernel) -> None:
    with pytest.raises(UnsupportedError, match='"L3:0" is no line of schemata'):
        made(kernel, {"closID": "/", "schemata": ["L3:0"]})


@pytest.mark.parametrize(("clos", "where"), [("", "box"), ("there", "there"), ("/", "")])
def test_monitoring_makes_a_group_of_the_containers_name_that_goes_with_it(
    kernel: Kernel, clos: str, where: str
) -> None:
    kernel.mkdir(f"{kernel.root}/there", 0o755)
    groups = made(kernel, {"closID": clos, "enableMonitoring": True})
    inner = str(Path(where) / "mon_groups/box")
    assert names(kernel, groups.removed) == ([inner, "box"] if not clos else [inner])
    assert (kernel.root / inner / "tasks").read_text() == "77"
    assert (kernel.root / where / "tasks").read_text() == "77"
    resctrl.remove(groups.removed)
    assert kernel.groups() == {"there"}


def test_a_group_that_cannot_be_made_is_an_error_that_names_it(kernel: Kernel) -> None:
    kernel.full = True
    with pytest.raises(SystemCallError, match=r"/linux/intelRdt: make the resctrl group .*box.*: no space left"):
        made(kernel, {"enableMonitoring": True})


def test_somebody_elses_directory_is_not_taken_for_the_containers_own(kernel: Kernel) -> None:
    kernel.mkdir(f"{kernel.root}/box", 0o755)
    with pytest.raises(UnsupportedError, match="is there already, and not this container's"):
        made(kernel, {"l3CacheSchema": L3})


def test_what_the_kernel_says_of_a_failure_is_told(kernel: Kernel) -> None:
    kernel.mkdir(f"{kernel.root}/there", 0o755)
    (kernel.root / "there/tasks").unlink()
    (kernel.root / "info/last_cmd_status").write_text("No task\n")
    with pytest.raises(SystemCallError, match=r'write "77" to ".*there/tasks" \(No task\): no such file'):
        made(kernel, {"closID": "there"})


def test_a_host_without_resctrl_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mountinfo").write_text("20 1 0:5 / /proc rw - proc proc rw\n")
    monkeypatch.setattr(resctrl, "MOUNTINFO", str(tmp_path / "mountinfo"))
    with pytest.raises(UnsupportedError, match="/linux/intelRdt: no resctrl filesystem is mounted on this host"):
        resctrl.root()
