"""The schemas of spec/ against those that come with the specification, which are not part of this project.

They are looked for at $OCIRT_REFERENCE_SPEC, or at ../shared/runtime-spec beside the checkout.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema.validators import Draft4Validator, Draft202012Validator

from ocirt.config import schemas
from ocirt.config._schema import valid
from ocirt.config.default import document
from tests.unit.config.changes import Doc, changed, drop, places, put
from tests.unit.config.documents import base, full, others

PROJECT = Path(__file__).parents[3]
REFERENCE = Path(os.environ.get("OCIRT_REFERENCE_SPEC", PROJECT.parent / "shared" / "runtime-spec"))
SAMPLES = REFERENCE / "schema/test"

pytestmark = pytest.mark.skipif(
    not (REFERENCE / "schema/config-schema.json").is_file(),
    reason="needs the reference's schemas: set OCIRT_REFERENCE_SPEC to a checkout of runtime-spec",
)

KINDS = {"config": "config-schema.json", "state": "state-schema.json", "features": "features-schema.json"}

# Where the reference's schema and the specification's text disagree: id → (document, place, keyword) of each error that
# one of the two schemas raises there. spec/README.md has the same ids, with their sections and reasons.
EXEMPT: dict[str, list[tuple[str, str, str]]] = {
    "annotation-name": [("", r"/annotations", "minLength")],
    "map-value": [("", r"(/annotations|/linux/sysctl|/linux/resources/unified)/\n*", "type")],
    "mount-mappings": [("config", r"/mounts/\d+", "dependentRequired")],
    "io-priority": [
        ("config", r"/process/ioPriority", "required"),
        ("config", r"/process/ioPriority/priority", "m..imum"),
    ],
    "personality-domain": [("config", r"/linux/personality", "required")],
    "memory-policy-mode": [("config", r"/linux/memoryPolicy", "required")],
    "listener-metadata": [("config", r"/linux/seccomp", "dependentRequired")],
    "device-rule": [("config", r"/linux/resources/devices/\d+/(type|access)", "enum|pattern")],
    "swappiness": [("config", r"/linux/resources/memory/swappiness", "maximum")],
    "throttle-rate": [("config", r"/linux/resources/blockIO/throttle\w+/\d+", "required")],
    "weight-device": [("config", r"/linux/resources/blockIO/weightDevice/\d+", "anyOf")],
    "rdma": [("config", r"/linux/resources/rdma/\w+", "anyOf")],
    "schemata": [("config", r"/linux/intelRdt/schemata/\d+", "pattern")],
    "state-pid": [("state", "", "required")],
    "features-unchecked": [("features", r"/linux/(memoryPolicy|intelRdt).*", "type|enum")],
    "pids-limit": [("config", r"/linux/resources/pids", "required")],
    "file-mode": [("config", r"/linux/devices/\d+/fileMode", "maximum")],
    "state-status": [("state", r"/status", "enum")],
    "features-null": [("features", r"/.+", "type")],
    "recursive-propagation": [("config", r"/linux/rootfsPropagation", "enum")],
}

VALUES: list[Any] = [
    None,
    True,
    0,
    1,
    -1,
    8,
    101,
    512,
    65536,
    2**32,
    2**63,
    2**64,
    1.0,
    0.5,
    "",
    "x",
    "c",
    "1",
    "a\nb",
    "rprivate",
    [],
    [""],
    [1],
    {},
    {"": 1},
    {"\n": 1},
    {"": "x"},
    {"a": "b"},
    {"a": 1},
]


def reference(kind: str) -> Draft4Validator:
    return Draft4Validator(schemas.joined(KINDS[kind], REFERENCE / "schema"))


def ours(kind: str) -> Draft202012Validator:
    return Draft202012Validator(schemas.joined(f"{kind}.json"))


def samples(kind: str, verdict: str) -> Iterator[Path]:
    yield from sorted((SAMPLES / kind / verdict).glob("*.json"))


def read(path: Path) -> Any:
    """The document; None for a file that is no JSON, which every schema refuses."""
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError:
        return None


def corpus() -> Iterator[tuple[str, Doc]]:
    """Named documents: the reference's samples, ours, and each of them with one change."""
    documents = {path.name: read(path) for verdict in ("good", "bad") for path in samples("config", verdict)}
    documents |= {"base": base(), "others": others(), "default": document(), "rootless": document(rootless=True)}
    chance = random.Random(1)
    for name, doc in {**documents, "full": full()}.items():
        if doc is None:
            continue
        yield name, doc
        spots = [pointer for pointer, _ in places(doc)]
        # "full" has every member, so that all of it is changed; of the others, whose members it shares, a part
        for pointer in spots if name in ("full", "others") else chance.sample(spots, min(15, len(spots))):
            yield f"{name} without {pointer}", changed(doc, drop(pointer))
            value = chance.choice(VALUES)
            yield f"{name} with {pointer} {value!r}", changed(doc, put(pointer, value))


def exempt(kind: str, errors: list[Any]) -> set[str]:
    """The ids that excuse these errors; empty where one error has no excuse."""
    found: set[str] = set()
    for error in errors:
        place = "".join(f"/{part}" for part in error.absolute_path)
        ids = {
            name
            for name, rules in EXEMPT.items()
            for what, where, keyword in rules
            if what in ("", kind) and re.fullmatch(where, place) and re.fullmatch(keyword, error.validator)
        }
        if not ids:
            return set()
        found |= ids
    return found


def compared(
    kind: str, doc: Any, theirs: Draft4Validator, mine: Draft202012Validator, verdict: bool
) -> set[str] | None:
    """None where the verdicts are equal; else the ids that excuse it, none being a failure."""
    if verdict == theirs.is_valid(doc):
        return None
    return exempt(kind, list(theirs.iter_errors(doc) if verdict else mine.iter_errors(doc)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_samples_of_the_reference_pass_as_their_folders_say(kind: str) -> None:
    for path in samples(kind, "good"):
        assert ours(kind).is_valid(read(path)), path
        assert kind != "config" or valid(read(path)), path
    for path in samples(kind, "bad"):
        assert not ours(kind).is_valid(read(path)), path
        assert kind != "config" or not valid(read(path)), path


def test_on_a_corpus_of_configs_the_verdict_is_that_of_the_reference_but_where_its_text_disagrees() -> None:
    theirs, mine, count, differ, wrong = reference("config"), ours("config"), 0, 0, []
    for name, doc in corpus():
        count += 1
        ids = compared("config", doc, theirs, mine, valid(doc))
        differ += ids is not None
        if ids == set():
            wrong.append(name)
    assert not wrong
    assert count >= 300
    assert differ < count / 10


# One document for each exemption, so that none stays in the list without a difference.
DIFFERENCES: list[tuple[str, str, Any]] = [
    ("annotation-name", "config", {"ociVersion": "1.0.0", "annotations": {"": "x"}}),
    ("map-value", "config", {"ociVersion": "1.0.0", "linux": {"sysctl": {"\n": 1}}}),
    ("mount-mappings", "config", {"ociVersion": "1.0.0", "mounts": [{"destination": "/", "uidMappings": []}]}),
    ("io-priority", "config", changed(full(), drop("/process/ioPriority/priority"))),
    ("io-priority", "config", changed(full(), put("/process/ioPriority/priority", 8))),
    ("personality-domain", "config", changed(full(), drop("/linux/personality/domain"))),
    ("memory-policy-mode", "config", changed(full(), drop("/linux/memoryPolicy/mode"))),
    ("listener-metadata", "config", changed(full(), drop("/linux/seccomp/listenerPath"))),
    ("device-rule", "config", changed(full(), put("/linux/resources/devices/0/type", "p"))),
    ("device-rule", "config", changed(full(), put("/linux/resources/devices/0/access", "rwx"))),
    ("swappiness", "config", changed(full(), put("/linux/resources/memory/swappiness", 101))),
    ("throttle-rate", "config", changed(full(), drop("/linux/resources/blockIO/throttleReadBpsDevice/0/rate"))),
    (
        "weight-device",
        "config",
        changed(full(), put("/linux/resources/blockIO/weightDevice", [{"major": 1, "minor": 1}])),
    ),
    ("rdma", "config", changed(full(), put("/linux/resources/rdma/mlx5_1", {}))),
    ("schemata", "config", changed(full(), put("/linux/intelRdt/schemata/0", "a\nb"))),
    ("state-pid", "state", {"ociVersion": "1.0.0", "id": "a", "status": "running", "bundle": "/b"}),
    ("features-unchecked", "features", {"ociVersionMin": "1", "ociVersionMax": "1", "linux": {"memoryPolicy": 1}}),
    ("pids-limit", "config", changed(full(), put("/linux/resources/pids", {}))),
    ("file-mode", "config", changed(full(), put("/linux/devices/0/fileMode", 8630))),
    ("state-status", "state", {"ociVersion": "1.0.0", "id": "a", "status": "paused", "bundle": "/b"}),
    (
        "features-null",
        "features",
        {"ociVersionMin": "1", "ociVersionMax": "1", "linux": {"seccomp": None}, "hooks": None},
    ),
    ("recursive-propagation", "config", changed(base(), put("/linux/rootfsPropagation", "rshared"))),
]


@pytest.mark.parametrize(("name", "kind", "doc"), DIFFERENCES, ids=[case[0] for case in DIFFERENCES])
def test_each_difference_on_the_list_is_one(name: str, kind: str, doc: Any) -> None:
    mine = ours(kind)
    assert name in (compared(kind, doc, reference(kind), mine, mine.is_valid(doc)) or set())


def test_the_list_of_differences_is_that_of_the_readme() -> None:
    rows = re.findall(r"^\| ([a-z-]+) \| [a-z-]+\.md, ", (PROJECT / "spec/README.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(EXEMPT)
    assert {case[0] for case in DIFFERENCES} == set(EXEMPT)
