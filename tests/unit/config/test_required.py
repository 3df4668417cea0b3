"""What the specification marks as required is missed by name, and what it forbids of single values is refused."""

from __future__ import annotations

from typing import Any

import pytest

from ocirt.config.check import check
from ocirt.errors import ConfigError, Problem
from tests.unit.config.changes import Patch, both, changed, drop, put, text
from tests.unit.config.documents import base, full

# config.md
COMMON = [
    "/ociVersion",
    "/root",
    "/root/path",
    "/mounts/0/destination",
    "/process/consoleSize/height",
    "/process/consoleSize/width",
    "/process/cwd",
    "/process/args",
    "/process/rlimits/0/type",
    "/process/rlimits/0/soft",
    "/process/rlimits/0/hard",
    "/process/scheduler/policy",
    "/process/ioPriority/class",
    "/process/ioPriority/priority",
    "/process/user/uid",
    "/process/user/gid",
    "/hooks/prestart/0/path",
    "/hooks/createRuntime/0/path",
    "/hooks/createContainer/0/path",
    "/hooks/startContainer/0/path",
    "/hooks/poststart/0/path",
    "/hooks/poststop/0/path",
]

# config-linux.md
LINUX = [
    "/linux/namespaces/0/type",
    "/linux/uidMappings/0/containerID",
    "/linux/uidMappings/0/hostID",
    "/linux/uidMappings/0/size",
    "/linux/gidMappings/0/containerID",
    "/linux/gidMappings/0/hostID",
    "/linux/gidMappings/0/size",
    "/linux/devices/0/type",
    "/linux/devices/0/path",
    "/linux/devices/0/major",
    "/linux/devices/0/minor",
    "/linux/resources/devices/0/allow",
    "/linux/resources/blockIO/weightDevice/0/major",
    "/linux/resources/blockIO/weightDevice/0/minor",
    "/linux/resources/hugepageLimits/0/pageSize",
    "/linux/resources/hugepageLimits/0/limit",
    "/linux/resources/network/priorities/0/name",
    "/linux/resources/network/priorities/0/priority",
    "/linux/memoryPolicy/mode",
    "/linux/seccomp/defaultAction",
    "/linux/seccomp/syscalls/0/names",
    "/linux/seccomp/syscalls/0/action",
    "/linux/seccomp/syscalls/0/args/0/index",
    "/linux/seccomp/syscalls/0/args/0/value",
    "/linux/seccomp/syscalls/0/args/0/op",
    "/linux/personality/domain",
    *(
        f"/linux/resources/blockIO/throttle{kind}Device/0/{name}"
        for kind in ("ReadBps", "WriteBps", "ReadIOPS", "WriteIOPS")
        for name in ("major", "minor", "rate")
    ),
]


def refused(patch: Patch) -> list[Problem]:
    doc = changed(full(), patch)
    with pytest.raises(ConfigError) as caught:
        check(doc, text(doc))
    return caught.value.problems


@pytest.mark.parametrize("pointer", [*COMMON, *LINUX])
def test_a_required_member_that_is_missing_is_named(pointer: str) -> None:
    (problem,) = refused(drop(pointer))
    assert problem.pointer == pointer
    assert "required, but missing" in problem.message


# config.md, "Annotations"; config-linux.md, "Block IO", "IntelRdt", "Seccomp"
FORBIDDEN: dict[str, tuple[Patch, str]] = {
    "annotations in a list": (put("/annotations", ["a=b"]), "/annotations"),
    "an annotation that is an object": (put("/annotations/a", {"b": "c"}), "/annotations/a"),
    "a weight of a device without a weight": (
        both(*(drop(f"/linux/resources/blockIO/weightDevice/0/{name}") for name in ("weight", "leafWeight"))),
        "/linux/resources/blockIO/weightDevice/0",
    ),
    "two lines of schemata in one": (put("/linux/intelRdt/schemata", ["L3:0=f\nMB:0=5"]), "/linux/intelRdt/schemata/0"),
    "two lines of memory bandwidth": (put("/linux/intelRdt/memBwSchema", "MB:0=5\n"), "/linux/intelRdt/memBwSchema"),
    "an error number for a rule whose action has none": (
        both(put("/linux/seccomp/syscalls/0/action", "SCMP_ACT_KILL"), put("/linux/seccomp/syscalls/0/errnoRet", 1)),
        "/linux/seccomp/syscalls/0/errnoRet",
    ),
}


@pytest.mark.parametrize(("patch", "pointer"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_a_value_that_the_text_forbids_is_refused(patch: Patch, pointer: str) -> None:
    assert [problem.pointer for problem in refused(patch)] == [pointer]


KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("member", "value"), [("path", "bin/true"), ("path", ""), ("timeout", 0), ("timeout", -1)])
def test_a_hook_of_any_kind_has_an_absolute_path_and_time(kind: str, member: str, value: Any) -> None:
    pointer = f"/hooks/{kind}/0/{member}"
    assert [problem.pointer for problem in refused(put(pointer, value))] == [pointer]


def test_group_mappings_of_a_mount_alone_are_refused() -> None:
    (problem,) = refused(drop("/mounts/1/uidMappings"))
    assert problem.pointer == "/mounts/1/uidMappings"
    assert "gidMappings needs it" in problem.message


@pytest.mark.parametrize("word", ["idmap", "ridmap"])
def test_an_idmapped_mount_without_any_mappings_is_refused(word: str) -> None:
    entry = {"destination": "/a", "source": "/b", "options": ["rbind", word]}
    doc = changed(base(), put("/mounts", [entry]))
    with pytest.raises(ConfigError) as caught:
        check(doc, text(doc))
    assert [problem.pointer for problem in caught.value.problems] == ["/mounts/0/options/1"]


UNKNOWN: list[Any] = [None, 1.5, "x", [{"a": None}], {"terminal": 5}]


@pytest.mark.parametrize("value", UNKNOWN, ids=repr)
def test_unknown_members_are_passed_over_wherever_they_are(value: Any) -> None:
    places = ("", "/root", "/process", "/process/user", "/mounts/0", "/hooks", "/hooks/poststop/0", "/linux")
    doc = changed(full(), both(*(put(f"{place}/com.example.unknown", value) for place in places)))
    assert check(doc, text(doc)) is None
