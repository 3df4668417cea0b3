"""The processes of a container: as ids, and as the rows of ps(1)."""

from __future__ import annotations

import pytest

from tests.integration.support import Container, Runtime, wait_for
from tests.integration.views import MakeBundle

FAMILY = ["sh", "-c", "sleep 601 & sleep 602 & wait"]


@pytest.fixture
def family(runtime: Runtime, make_bundle: MakeBundle) -> Container:
    """A shell and its two children."""
    container = runtime.start(make_bundle(args=FAMILY))
    wait_for(lambda: len(listed(container)) == 3, "the children")
    return container


def listed(container: Container) -> list[int]:
    """What --format json says."""
    found = container.runtime.run("ps", "--format", "json", container.id, check=True).json()
    assert isinstance(found, list)
    return found


def test_json_is_an_array_of_the_ids_as_the_caller_sees_them(family: Container) -> None:
    pids = listed(family)
    assert family.pid in pids
    others = sorted(family.proc("cmdline", pid) for pid in pids if pid != family.pid)
    assert others == ["sleep\x00601\x00", "sleep\x00602\x00"]
    assert family.runtime.run("ps", "-f=json", family.id, check=True).stderr == ""


def test_the_table_is_that_of_ps_with_the_containers_rows(family: Container) -> None:
    header, *rows = family.runtime.run("ps", family.id, check=True).stdout.splitlines()
    assert "PID" in header.split()
    assert sorted(int(row.split()[header.split().index("PID")]) for row in rows) == sorted(listed(family))


@pytest.mark.parametrize(
    "words", [("-o", "comm,pid", "-e"), ("-e -o comm,pid",), ("-eocomm,pid",), ("axo", "comm,pid")], ids=" ".join
)
def test_what_follows_the_id_is_for_ps(family: Container, words: tuple[str, ...]) -> None:
    header, *rows = family.runtime.run("ps", "--format", "table", family.id, *words, check=True).stdout.splitlines()
    assert header.split() == ["COMMAND", "PID"]
    assert sorted(row.split()[0] for row in rows) == ["sh", "sleep", "sleep"]


def test_engines_call_without_an_environment(family: Container) -> None:
    assert "sleep 601" in family.runtime.run("ps", family.id, check=True, env={}).stdout


def test_what_ps_refuses_is_told_on_one_line(family: Container) -> None:
    refused = family.runtime.run("ps", family.id, "--no-such-flag", check=False)
    assert refused.stderr.startswith("ocirt: ps: error:")
    assert refused.stderr.count("\n") == 1
    assert "column PID" in family.runtime.run("ps", family.id, "-eo", "comm", check=False).stderr
    assert "not one of table, json" in family.runtime.run("ps", "--format", "xml", family.id, check=False).stderr


def test_a_stopped_container_has_none_and_an_unknown_one_is_an_error(family: Container) -> None:
    family.kill("KILL")
    family.wait_stopped()
    wait_for(lambda: not listed(family), "all gone")
    assert "container does not exist" in family.runtime.run("ps", "no-such", check=False).stderr


def test_a_paused_container_can_be_listed(family: Container) -> None:
    family.pause()
    assert len(listed(family)) == 3


def test_without_a_cgroup_they_are_found_by_their_pid_namespace(runtime: Runtime, make_bundle: MakeBundle) -> None:
    bundle, container_id = make_bundle(args=FAMILY), runtime.new_id()
    container = Container(runtime, container_id, bundle)
    runtime.containers.append(container)
    argv = ("--cgroup-manager=disabled", "run", "--detach", "--bundle", str(bundle.path), container_id)
    runtime.run(*argv, check=True)
    wait_for(lambda: len(listed(container)) == 3, "the children")
