"""What check accepts and refuses, and the words that it has for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ocirt.config import default, explain
from ocirt.config.check import check, check_process
from ocirt.errors import ConfigError, Problem
from tests.unit.config.changes import (
    Doc,
    Patch,
    both,
    changed,
    drop,
    mapped,
    mapping,
    mount,
    put,
    text,
    with_namespace,
    without_namespace,
)
from tests.unit.config.documents import base, full, others
from tests.unit.config.invalid import INVALID


def refused(doc: Any, raw: bytes = b"") -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        check(doc, raw)
    return caught.value.problems


@pytest.mark.parametrize(
    ("patch", "pointer", "words"), [case[1:] for case in INVALID], ids=[case[0] for case in INVALID]
)
def test_a_mistake_gets_one_message_with_its_pointer_and_line(patch: Patch, pointer: str, words: str) -> None:
    doc = changed(base(), patch)
    raw = text(doc)
    problems = refused(doc, raw)
    assert [problem.pointer for problem in problems] == [pointer], [str(problem) for problem in problems]
    assert words in problems[0].message
    lines = raw.decode().splitlines()
    assert 1 <= problems[0].line <= len(lines)
    name = pointer.rpartition("/")[2]
    if "missing" not in words and not name.isdigit() and f'"{name}":' in raw.decode():
        assert f'"{name}":' in lines[problems[0].line - 1]


def test_the_table_of_mistakes_is_long_and_its_names_are_unique() -> None:
    assert len(INVALID) >= 60
    assert len({case[0] for case in INVALID}) == len(INVALID)


def test_messages_are_one_printable_line_in_lower_case_without_full_stop() -> None:
    for _, patch, _, _ in INVALID:
        for problem in refused(changed(base(), patch)):
            assert str(problem).isprintable()
            assert problem.message[-1] != "."
            assert not problem.message[0].isupper() or problem.message.startswith("SCMP_")


VALID: list[tuple[str, Patch]] = [
    ("no process", drop("/process")),
    ("no user", drop("/process/user")),
    ("the last ID", put("/process/user", {"uid": 4294967294, "gid": 4294967294})),
    ("a pre-release", put("/ociVersion", "1.0.2-dev")),
    ("a release candidate", put("/ociVersion", "1.0.0-rc5")),
    ("a version to come with build data", put("/ociVersion", "1.99.0-a.0.b-1+build.007")),
    ("an empty hostname without a uts namespace", both(without_namespace("uts"), put("/hostname", ""))),
    ("a hostname of 64 bytes", put("/hostname", "a" * 64)),
    ("a size of a terminal that is not there", put("/process/consoleSize", {"height": 1, "width": 65536})),
    ("a relative destination", mount(destination="tmp", type="tmpfs")),
    ("what lxcfs mounts", mount(destination="/proc/meminfo", type="bind", source="/var/lib/lxcfs/proc/meminfo")),
    ("a bind mount on /proc", mount(destination="/proc", source="/proc", options=["rbind"])),
    ("a path that only starts like /proc", mount(destination="/process/x", type="tmpfs")),
    ("an empty option", mount(destination="/a", type="tmpfs", options=["rw", ""])),
    (
        "mappings of a mount without an option",
        mount(destination="/a", uidMappings=mapping((0, 1, 1)), gidMappings=mapping((0, 1, 1))),
    ),
    (
        "an idmapped mount in a user namespace",
        both(mapped(mapping((0, 1000, 10))), mount(destination="/a", options=["bind", "idmap"])),
    ),
    ("a joined user namespace without mappings", with_namespace("user", path="/proc/1/ns/user")),
    (
        "a joined user namespace with mappings",
        both(mapped(mapping((0, 1, 1))), with_namespace("user", path="/proc/1/ns/user")),
    ),
    ("a mapping of every ID", mapped(mapping((0, 0, 4294967295)))),
    ("340 mappings", mapped(mapping(*((n, n, 1) for n in range(340))))),
    (
        "sysctls in both spellings",
        put("/linux/sysctl", {"net.ipv4.conf.eth0/1.forwarding": "1", "net/core/somaxconn": "1"}),
    ),
    ("the domain name by sysctl", put("/linux/sysctl", {"kernel.domainname": "a"})),
    ("one domain name twice", both(put("/domainname", "a"), put("/linux/sysctl", {"kernel.domainname": "a"}))),
    (
        "a device with its type in the mode",
        put("/linux/devices", [{"path": "/d", "type": "c", "major": 1, "minor": 3, "fileMode": 8630}]),
    ),
    ("unlimited", put("/process/rlimits", [{"type": "RLIMIT_CORE", "soft": 2**64 - 1, "hard": 2**64 - 1}])),
    ("a listener that is not used", put("/linux/seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"})),
    (
        "unknown names with any value",
        both(put("/x", [1.5, None, {"": 1e300}]), put("/linux/y", 1.0), put("/process/user/z", "é")),
    ),
    ("an unknown capability", put("/process/capabilities", {"bounding": ["CAP_FUTURE"]})),
    (
        "a network device with a template for its name",
        put("/linux/netDevices", {"eth0": {"name": "eth%d"}, "eth1": {"name": "eth%d"}}),
    ),
    ("no limit of tasks", put("/linux/resources", {"pids": {}})),
    ("an escape", put("/annotations", {"a": "\u2028 \U0001f600 \\u0000"})),
]


@pytest.mark.parametrize("patch", [case[1] for case in VALID], ids=[case[0] for case in VALID])
def test_what_the_text_allows_is_accepted(patch: Patch) -> None:
    doc = changed(base(), patch)
    assert check(doc) is None
    assert check(doc, text(doc)) is None


@pytest.mark.parametrize("doc", [base(), full(), default.document(), default.document(rootless=True)])
def test_whole_documents_are_accepted(doc: Doc) -> None:
    assert check(doc, text(doc)) is None
    assert explain.problems(doc, text(doc)) == []


def test_sections_of_other_platforms_are_accepted() -> None:
    doc = {**base(), **others()}
    assert check(doc) is None


def test_every_mistake_is_listed_by_line() -> None:
    doc = changed(
        base(),
        both(
            put("/process/cwd", "relative"),
            put("/process/args", 5),
            put("/linux/namespaces/0/type", "pit"),
            put("/hostname", "x" * 70),
            drop("/root"),
            put("/process/env", ["A"]),
        ),
    )
    problems = refused(doc, text(doc))
    assert [problem.pointer for problem in problems] == [
        "/root",
        "/process/cwd",
        "/process/args",
        "/process/env/0",
        "/linux/namespaces/0/type",
        "/hostname",
    ]
    assert [problem.line for problem in problems] == sorted(problem.line for problem in problems)


def test_a_misspelt_namespace_causes_no_other_message() -> None:
    doc = changed(full(), put("/linux/namespaces/4/type", "mouth"))
    assert [problem.pointer for problem in refused(doc)] == ["/linux/namespaces/4/type"]


@pytest.mark.parametrize("doc", [None, [], "x", 1, True, {}, {"linux": None, "process": 1, "mounts": {}, "hooks": []}])
def test_whatever_a_document_is_the_answer_is_a_list_of_problems(doc: Any) -> None:
    assert refused(doc)


def test_a_text_without_lines_of_its_own_gets_line_0() -> None:
    assert refused(changed(base(), drop("/root")))[0].line == 0


def test_depth_is_no_problem() -> None:
    deep: Any = "\0"
    for _ in range(20000):
        deep = [deep]
    problems = refused({**base(), "unknown": deep})
    assert len(problems) == 1
    assert problems[0].message.endswith("a nul character")


def test_a_long_value_is_cut_in_the_message() -> None:
    problem = refused(changed(base(), put("/process/cwd", "x" * 100000)))[0]
    assert len(str(problem)) < 200


def test_warnings_name_likely_slips_and_each_unknown_capability_once() -> None:
    doc = changed(
        base(),
        both(
            put("/process/noNewPriviledges", True),
            put("/linux/maskedpaths", []),
            put("/process/capabilities", {"bounding": ["CAP_KIL", "CAP_KILL"], "permitted": ["CAP_KIL"]}),
            put("/x-vendor", 1),
            put("/mounts", [{"destination": "tmp", "type": "tmpfs", "optoins": []}]),
        ),
    )
    raw = text(doc).replace(b'"ociVersion"', b'"ociVersion": "1.0.0",\n  "ociVersion"', 1)
    found = {problem.pointer: problem for problem in explain.warnings(json.loads(raw), raw)}
    assert set(found) == {
        "/ociVersion",
        "/process/noNewPriviledges",
        "/linux/maskedpaths",
        "/process/capabilities/bounding/0",
        "/mounts/0/optoins",
        "/mounts/0/destination",
    }
    assert 'did you mean "noNewPrivileges"?' in found["/process/noNewPriviledges"].message
    assert 'did you mean "CAP_KILL"?' in found["/process/capabilities/bounding/0"].message
    assert "more than once" in found["/ociVersion"].message
    assert found["/ociVersion"].line == 3


def test_a_document_without_slips_has_no_warnings() -> None:
    doc = default.document()
    assert explain.warnings(doc, text(doc)) == []


def test_without_jsonschema_the_answer_is_still_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema.validators", None)
    messages = [problem.message for problem in refused(changed(base(), put("/process/args", 5)))]
    assert "does not match the schema; install jsonschema to read where" in messages


def test_the_happy_path_imports_nothing_dear(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(text(full()))
    project = Path(__file__).parents[3]
    code = (
        f"import sys; before = set(sys.modules); sys.path.insert(0, {str(project)!r})\n"
        "from ocirt.config.load import load\nfrom ocirt.config.check import check\n"
        f"check(*load({str(tmp_path)!r}))\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {
        "__future__",
        "_json",
        "ocirt",
        "ocirt.config",
        "ocirt.config._schema",
        "ocirt.config.check",
        "ocirt.config.lenient",
        "ocirt.config.load",
        "ocirt.config.rules",
        "ocirt.config.rules_linux",
        "ocirt.errors",
        "ocirt.linux",
        "ocirt.linux.consts",
        "ocirt.linux.paths",
        "ocirt.linux.sysctl",
    }


@pytest.mark.parametrize(
    ("part", "pointer"),
    [
        ({"scheduler": {"policy": "SCHED_OTHER", "nice": 100}}, "/scheduler/nice"),
        ({"scheduler": {"policy": "SCHED_BATCH", "priority": 5}}, "/scheduler/priority"),
        ({"execCPUAffinity": {"final": "all"}}, "/execCPUAffinity/final"),
        ({"rlimits": [{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]}, "/rlimits/0"),
    ],
)
def test_a_process_alone_is_checked_as_one_of_a_config(part: dict[str, Any], pointer: str) -> None:
    process = {"args": ["true"], "cwd": "/", "user": {"uid": 0, "gid": 0}, **part}
    with pytest.raises(ConfigError) as caught:
        check_process(process, "given.json")
    assert caught.value.pointer.startswith(pointer)
    assert str(caught.value).startswith("given.json: ")
