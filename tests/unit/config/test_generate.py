"""The code compiled from spec/ gives the verdict of a JSON Schema validator."""

from __future__ import annotations

import copy
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema.validators import Draft202012Validator, extend

from ocirt.config import _generate, explain, schemas
from ocirt.config._schema import valid, valid_process
from ocirt.config.check import check
from ocirt.errors import ConfigError
from tests.unit.config.changes import places, put, text
from tests.unit.config.documents import base, full, others

SCHEMA = schemas.joined("config.json")
LOOSE = Draft202012Validator(SCHEMA)
STRICT = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int),
)(SCHEMA)

settings.register_profile("short", deadline=None, max_examples=80, suppress_health_check=list(HealthCheck))
settings.load_profile("short")


def compiled(whole_floats: bool) -> Any:
    """The function `valid` of code that takes 1.0 for an integer, or does not."""
    namespace: dict[str, Any] = {}
    exec(_generate.generate(whole_floats=whole_floats), namespace)
    return namespace["valid"]


LOOSE_CODE = compiled(whole_floats=True)

# what put raises where the change before has taken the place away
GONE = (AttributeError, TypeError, KeyError, IndexError, ValueError)

DOCUMENTS = [base(), full(), others(), {"ociVersion": "1.0.0"}, {}]
PLACES = [(index, pointer) for index, doc in enumerate(DOCUMENTS) for pointer, _ in places(doc)]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 9),
    st.sampled_from(
        [
            -(2**63) - 1,
            -(2**63),
            2**15,
            65535,
            65536,
            100,
            101,
            511,
            512,
            2**31,
            2**32 - 1,
            2**32,
            2**63,
            2**64 - 1,
            2**64,
        ]
    ),
    st.sampled_from([0.0, -0.0, 1.0, 7.0, 4294967295.0, 4294967296.0, 18446744073709551616.0, 1e300, 0.5, -1.0]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from(
        [
            "",
            "c",
            "rwm",
            "rwx",
            "RLIMIT_A",
            "RLIMIT_",
            "RLIMIT_A\n",
            "2MB",
            "2MB\n",
            "02MB",
            "10KB",
            "MB",
            "MB:",
            "MB:\n",
            "MB:x",
            "0-3,7",
            "0-3\n",
            "0;1",
            "SCMP_ACT_LOG",
            "mount",
        ]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)


def agree(doc: Any) -> None:
    """Both codes against both validators."""
    assert LOOSE_CODE(doc) == LOOSE.is_valid(doc)
    assert valid(doc) == STRICT.is_valid(doc)


def test_the_schemas_are_schemas() -> None:
    for name in ("config.json", "state.json", "features.json"):
        Draft202012Validator.check_schema(schemas.joined(name))


@pytest.mark.parametrize("doc", DOCUMENTS[:4])
def test_valid_documents_are_valid_for_both(doc: Any) -> None:
    assert valid(doc)
    agree(doc)


@given(values)
def test_any_json_gets_the_same_verdict(doc: Any) -> None:
    agree(doc)


@given(st.dictionaries(st.sampled_from(sorted(SCHEMA["$defs"]["config.json"]["properties"])), values, max_size=4))
def test_any_json_under_known_names_gets_the_same_verdict(doc: Any) -> None:
    agree({"ociVersion": "1.0.0", **doc})


@given(st.lists(st.tuples(st.integers(0, len(PLACES) - 1), values), min_size=1, max_size=2))
def test_a_document_with_other_values_gets_the_same_verdict(changes: list[tuple[int, Any]]) -> None:
    index = PLACES[changes[0][0]][0]
    doc = copy.deepcopy(DOCUMENTS[index])
    for place, value in changes:
        if PLACES[place][0] == index:
            try:
                put(PLACES[place][1], value)(doc)
            except GONE:
                continue
    agree(doc)


@given(st.integers(0, len(PLACES) - 1))
def test_a_document_without_one_member_gets_the_same_verdict(place: int) -> None:
    index, pointer = PLACES[place]
    doc = copy.deepcopy(DOCUMENTS[index])
    above, _, name = pointer.rpartition("/")
    node: Any = doc
    for part in above.split("/")[1:]:
        node = node[int(part)] if isinstance(node, list) else node[part.replace("~1", "/").replace("~0", "~")]
    del node[int(name) if isinstance(node, list) else name.replace("~1", "/").replace("~0", "~")]
    agree(doc)


@given(scalars, st.sampled_from(["pageSize", "access", "schemata", "memBwSchema", "initial", "type"]))
def test_patterns_get_the_same_verdict(value: Any, name: str) -> None:
    where = {
        "pageSize": "/linux/resources/hugepageLimits/0/pageSize",
        "access": "/linux/resources/devices/0/access",
        "schemata": "/linux/intelRdt/schemata/0",
        "memBwSchema": "/linux/intelRdt/memBwSchema",
        "initial": "/process/execCPUAffinity/initial",
        "type": "/process/rlimits/0/type",
    }
    doc = copy.deepcopy(DOCUMENTS[1])
    put(where[name], value)(doc)
    agree(doc)


@pytest.mark.parametrize(
    "pattern",
    [
        r"^[0-9, -]*$(?!\n)",
        r"^RLIMIT_[A-Z]+$(?!\n)",
        r"^[1-9][0-9]*[KMG]B$(?!\n)",
        r"^MB:[^\n]*$(?!\n)",
        r"^[^a-c]+x$(?!\n)",
    ],
)
@given(st.text("0129aAbBcxZMKGRLIT_:,- \n", max_size=9) | st.from_regex(r"\A(RLIMIT_[A-Z]*|[0-9]+[KMG]B|MB:.*)\n?\Z"))
def test_a_compiled_pattern_matches_as_re_does(pattern: str, text: str) -> None:
    test = eval(f"lambda v: bool({_generate.pattern_test(pattern)})")
    assert test(text) == bool(re.search(pattern, text))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "maxLength": 3},
        {"type": "string", "pattern": "a"},
        {"type": "string", "pattern": "^(a|b)*$(?!\\n)"},
        {"type": "string", "pattern": "^abc$(?!\\n)"},
        {"type": ["string", "null"]},
        {"enum": ["a"]},
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}},
        {"type": "object", "anyOf": [{"properties": {}}]},
        {"type": "object", "propertyNames": {"minLength": 2}},
        {"$ref": "#/$defs/x", "minLength": 2},
    ],
)
def test_what_the_compiler_does_not_know_stops_the_build(schema: dict[str, Any]) -> None:
    writer = _generate.Writer({"$defs": {"x": {"type": "string"}}}, whole_floats=False)
    with pytest.raises((ValueError, TypeError)):
        writer.function(writer.expanded(schema), "x")


@given(st.lists(st.tuples(st.integers(0, len(PLACES) - 1), values), max_size=3))
def test_whatever_a_config_holds_check_ends_in_yes_or_in_printable_problems(changes: list[tuple[int, Any]]) -> None:
    doc = full()
    for place, value in changes:
        if PLACES[place][0] == 1:
            try:
                put(PLACES[place][1], value)(doc)
            except GONE:
                continue
    raw = text(doc)
    problems = explain.problems(doc, raw)
    assert all(str(problem).isprintable() and problem.line for problem in problems)
    if problems:
        with pytest.raises(ConfigError) as caught:
            check(doc, raw)
        assert caught.value.problems == problems
    else:
        assert valid(doc)
        check(doc, raw)
    explain.warnings(doc, raw)


def test_a_process_alone_can_be_judged() -> None:
    assert valid_process(full()["process"])
    assert not valid_process({"args": ["sh"]})


def test_the_compiled_code_imports_nothing() -> None:
    assert not re.search(r"^\s*(import|from) ", _generate.generate(), re.MULTILINE)


def test_the_schemas_work_in_any_validator() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"ociVersion": 1}, SCHEMA)
