"""What `features` lists is what a config may hold: each name is accepted where the specification says it belongs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ocirt.cli import features
from ocirt.config.check import check
from ocirt.errors import ConfigError
from ocirt.linux import seccomp
from ocirt.plan import options
from tests.unit.config.changes import changed, put
from tests.unit.config.documents import base
from tests.unit.plan.support import compiled, config

DOCUMENT = features.document()
LINUX = DOCUMENT["linux"]


def accepted(pointer: str, value: Any) -> None:
    """Raises where a config with this value is refused."""
    check(changed(base(), put(pointer, value)))


def profile(**more: Any) -> dict[str, Any]:
    """A linux.seccomp with one rule."""
    rule = {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": "/l",
        "syscalls": [{**rule, **more.pop("rule", {})}],
        **more,
    }


def test_both_versions_are_accepted_and_in_order() -> None:
    first, last = DOCUMENT["ociVersionMin"], DOCUMENT["ociVersionMax"]
    for version in (first, last):
        accepted("/ociVersion", version)
    assert [int(part) for part in first.split(".")] <= [int(part) for part in last.split(".")]


def values(node: Any) -> Iterator[Any]:
    yield node
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from values(value)


def test_idmapped_mounts_are_said_to_be_known() -> None:
    """As they are: a config with mappings is not passed over."""
    assert LINUX["mountExtensions"]["idmap"]["enabled"] is True
    mapping = [{"containerID": 0, "hostID": 1, "size": 1}]
    entry = {"destination": "/x", "source": "/s", "options": ["bind"], "uidMappings": mapping, "gidMappings": mapping}
    assert compiled(config(mounts=[entry])).idmaps


def test_annotations_are_texts_under_names() -> None:
    assert all(name and isinstance(value, str) for name, value in DOCUMENT["annotations"].items())
    accepted("/annotations", DOCUMENT["annotations"])


def test_it_says_how_a_call_is_answered_that_is_newer_than_the_profile() -> None:
    words = DOCUMENT["annotations"][features.NEWER_CALLS]
    assert words.startswith("ENOSYS")
    assert all(action in words for action in seccomp.PERMISSIVE)


def test_nothing_is_null() -> None:
    assert None not in list(values(DOCUMENT))


def unknown(document: Any, schema: Any, definitions: dict[str, Any], at: str = "") -> Iterator[str]:
    """Members of a document that its schema does not name."""
    schema = definitions.get(schema.get("$ref", "").rpartition("/")[2], schema)
    for name, value in document.items() if "properties" in schema else ():
        if name in schema["properties"]:
            inner = schema["properties"][name]
            yield from unknown(value, inner, definitions, f"{at}/{name}") if isinstance(value, dict) else ()
        else:
            yield f"{at}/{name}"


def test_no_member_is_of_our_own_making(project: Path) -> None:
    schema = json.loads((project / "spec/features.json").read_text())
    assert list(unknown(DOCUMENT, schema, schema["$defs"])) == []
    assert list(unknown({**DOCUMENT, "x": 1, "linux": {"y": 1}}, schema, schema["$defs"])) == ["/linux/y", "/x"]


def test_the_hooks_are_those_of_the_specification() -> None:
    kinds = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    assert tuple(DOCUMENT["hooks"]) == kinds
    for kind in kinds:
        accepted(f"/hooks/{kind}", [{"path": "/bin/true"}])


@pytest.mark.parametrize("word", DOCUMENT["mountOptions"])
def test_a_mount_option_is_recognized_and_none_of_a_filesystem(word: str) -> None:
    assert options.parse({"destination": "/x", "options": [word]}, "/mounts/0").data == []


def test_every_namespace_is_recognized() -> None:
    mapping = [{"containerID": 0, "hostID": 1, "size": 1}]
    for kind in LINUX["namespaces"]:
        maps = {"uidMappings": mapping, "gidMappings": mapping} if kind == "user" else {}
        accepted("/linux", {"namespaces": [{"type": kind}], **maps})
    assert set(LINUX["namespaces"]) == {"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"}


def test_every_capability_is_recognized() -> None:
    plan = compiled(config(process={"capabilities": {"bounding": LINUX["capabilities"]}}))
    assert plan.warnings == []
    assert compiled(config(process={"capabilities": {"bounding": ["CAP_NO_SUCH"]}})).warnings


@pytest.mark.parametrize("name", LINUX["seccomp"].get("actions", []))
def test_a_seccomp_action_is_recognized(name: str) -> None:
    section = profile(rule={"action": name})
    accepted("/linux/seccomp", section)
    assert seccomp.compile(section)


@pytest.mark.parametrize("name", LINUX["seccomp"].get("operators", []))
def test_a_seccomp_operator_is_recognized(name: str) -> None:
    section = profile(rule={"args": [{"index": 0, "value": 1, "valueTwo": 1, "op": name}]})
    accepted("/linux/seccomp", section)
    assert seccomp.compile(section)


@pytest.mark.parametrize("name", LINUX["seccomp"].get("archs", []))
def test_a_seccomp_architecture_is_recognized(name: str) -> None:
    section = profile(architectures=[name])
    accepted("/linux/seccomp", section)
    assert seccomp.compile(section)


@pytest.mark.parametrize("name", LINUX["seccomp"].get("knownFlags", []))
def test_a_seccomp_flag_is_recognized(name: str) -> None:
    accepted("/linux/seccomp", profile(flags=[name], rule={"action": "SCMP_ACT_NOTIFY"}))
    assert set(LINUX["seccomp"]["supportedFlags"]) <= set(LINUX["seccomp"]["knownFlags"])


def test_every_memory_policy_is_recognized() -> None:
    for mode in LINUX["memoryPolicy"]["modes"]:
        nodes = {} if mode in ("MPOL_DEFAULT", "MPOL_LOCAL") else {"nodes": "0"}
        accepted("/linux/memoryPolicy", {"mode": mode, **nodes})
        compiled(config(linux={"memoryPolicy": {"mode": mode, **nodes}}))
    for flag in LINUX["memoryPolicy"]["flags"]:
        policy = {"mode": "MPOL_BIND", "nodes": "0", "flags": [flag]}
        accepted("/linux/memoryPolicy", policy)
        compiled(config(linux={"memoryPolicy": policy}))


def test_what_is_not_listed_is_refused() -> None:
    """So that being accepted, above, means something."""
    for pointer, value in (
        ("/linux/namespaces", [{"type": "pit"}]),
        ("/linux/seccomp", profile(rule={"action": "SCMP_ACT_X"})),
        ("/linux/seccomp", profile(architectures=["SCMP_ARCH_X"])),
        ("/linux/seccomp", profile(flags=["SECCOMP_FILTER_FLAG_X"])),
        ("/linux/memoryPolicy", {"mode": "MPOL_X"}),
        ("/ociVersion", "2.0.0"),
    ):
        with pytest.raises(ConfigError, match=pointer):
            accepted(pointer, value)
