"""A kept launch is sound: whatever fills its holes, the plans are those that a fresh compile makes."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocirt.config import check
from ocirt.container import launches, launches_create
from ocirt.errors import OcirtError
from ocirt.plan import holes
from tests.unit.plan import support
from tests.unit.plan.test_mutations import mutate

NAMES = sorted(path.name for path in support.GOLDEN.iterdir() if (path / "config.json").exists())
EXAMPLES = int(os.environ.get("OCIRT_PAIRS") or 30)  # of each config
TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=20)
COMPONENT = TEXT.filter(lambda text: text not in {"", ".", ".."} and "/" not in text)
PATH = st.lists(COMPONENT, min_size=1, max_size=3).map("/".join)
BY_CLASS = {
    "a": PATH.map(lambda path: f"/{path}"),
    "r": PATH,
    "n": TEXT.filter(lambda text: 0 < len(text.encode()) <= 64),
    "s": st.tuples(TEXT, TEXT).map("/".join),
    "w": TEXT.filter(lambda text: text and "/" not in text),
    "x": TEXT,
    "t": TEXT,
}


def parts(name: str) -> tuple[Any, dict[str, Any]]:
    """A golden config, and what its host and launch are."""
    directory = support.GOLDEN / name
    host = directory / "host.json"
    given_ = json.loads(host.read_text()) if host.exists() else {}
    return json.loads((directory / "config.json").read_text()), given_


def holed(given_: dict[str, Any]) -> dict[str, Any]:
    """The same with an id and a bundle that nobody knows."""
    unknown = {"container_id": holes.Hole(launches.ID, holes.WORD), "bundle": holes.Hole(launches.BUNDLE, "a")}
    return {**given_, "launch": {**given_.get("launch", {}), **unknown}}


def shape(raw: bytes) -> bytes:
    return launches.shape_of(raw)[0]


def lines(value: Any, values: dict[int, str]) -> Any:
    """An argument of an operation with its holes filled in."""
    if isinstance(value, list):
        return [lines(item, values) for item in value]
    if isinstance(value, holes.Opaque):
        return "".join([values[piece.number] if isinstance(piece, holes.Hole) else piece for piece in value.pieces])
    return value


def filled(ops: Any, values: dict[int, str]) -> Any:
    return [(name, pointer, guard, tuple(lines(value, values) for value in args)) for name, pointer, guard, args in ops]


def put(config: Any, pointer: str, value: str) -> str:
    """Replace what the pointer names; what was there."""
    *way, last = [word.replace("~1", "/").replace("~0", "~") for word in pointer.split("/")[1:]]
    for word in way:
        config = config[int(word) if isinstance(config, list) else word]
    key = int(last) if isinstance(config, list) else last
    before = config[key]
    assert isinstance(before, str)
    config[key] = value
    return before


HITS = {"whatever fills the holes": 0, "one token apart": 0}


@pytest.fixture(scope="module", autouse=True)
def counted() -> Iterator[None]:
    """With OCIRT_PAIRS: how many pairs had one shape, and so one plan."""
    yield
    if os.environ.get("OCIRT_PAIRS"):
        with Path("/dev/stderr").open("w") as stderr:
            print(f"hits: {HITS}", file=stderr)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_fills_the_holes_decides_nothing_else(name: str, data: st.DataObject) -> None:
    config, given_ = parts(name)
    raw = json.dumps(config).encode()
    found = launches.shape_of(raw)[1]
    other = json.loads(raw)
    values = {launches.ID: "box", launches.BUNDLE: "/bundle"}
    for number, (letter, pointer) in enumerate(found, launches.FIRST):
        name_ = put(json.loads(raw), pointer, "").partition("=")[0]
        strategy = TEXT.map(f"{name_}=".__add__) if letter == "e" else BY_CLASS[letter]
        if pointer == "/linux/cgroupsPath":  # of two components
            strategy = PATH.map("/above/".__add__)
        if pointer.startswith("/mounts/"):  # no class has that name: test_shape.py
            strategy = strategy.filter(lambda text: text != "cgroup")
        values[number] = data.draw(strategy)
        put(other, pointer, values[number])
    assert shape(json.dumps(other).encode()) == shape(raw)
    try:
        check.check(json.loads(raw), raw)
    except OcirtError:
        return
    check.check(
        json.loads(json.dumps(other)), json.dumps(other).encode()
    )  # what fits the class is as right as what was there
    opened = launches.with_holes(raw, launches.shape_of(raw)[1])
    try:
        kept = support.both(opened, **holed(given_))
    except holes.Unkeepable:
        return
    fresh = support.both(other, **given_)
    assert filled(kept.plan.ops, values) == fresh.plan.ops
    assert filled(kept.runtime, values) == fresh.runtime
    assert kept.plan.warnings == fresh.plan.warnings
    HITS["whatever fills the holes"] += 1


@pytest.mark.parametrize("name", NAMES)
def test_of_one_token_apart_a_hit_is_what_a_fresh_compile_makes(name: str) -> None:
    config, given_ = parts(name)
    raw, hits = json.dumps(config).encode(), 0
    try:
        check.check(json.loads(raw), raw)
        kept = support.both(launches.with_holes(raw, launches.shape_of(raw)[1]), **holed(given_))
    except (OcirtError, holes.Unkeepable):
        return
    for seed in range(EXAMPLES):
        other = json.loads(raw)
        mutate(other, random.Random(f"{name} {seed}"))
        text = json.dumps(other).encode()
        try:
            same = launches.shape_of(text)[0] == shape(raw)
        except holes.Unkeepable:
            continue
        if not same:
            continue
        hits += 1
        HITS["one token apart"] += 1
        check.check(json.loads(text), text)
        found = enumerate(launches.shape_of(text)[1], launches.FIRST)
        values = {number: put(json.loads(text), pointer, "") for number, (_, pointer) in found}
        values |= {launches.ID: "box", launches.BUNDLE: "/bundle"}
        fresh = support.both(other, **given_)
        assert filled(kept.plan.ops, values) == fresh.plan.ops, text
        assert filled(kept.runtime, values) == fresh.runtime, text
        assert kept.plan.warnings == fresh.plan.warnings
    assert hits or EXAMPLES < 1000 or not launches.shape_of(raw)[1]


def test_a_config_that_has_changed_since_the_launcher_has_read_it_is_not_kept_for_that() -> None:
    raw = (support.GOLDEN / "run" / "config.json").read_bytes()
    own = Path("/proc/self/cgroup").read_bytes()
    found = shape(raw)
    key = own + len(found).to_bytes(4, "little") + found
    assert launches_create.is_of(key, found)
    assert not launches_create.is_of(key, shape(raw.replace(b'"ociVersion"', b'"ociVersioN"')))
    assert not launches_create.is_of(key.replace(own, b""), found)
    assert not launches_create.is_of(key + b"x", found)
