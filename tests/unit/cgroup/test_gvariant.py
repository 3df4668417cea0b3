"""Values of annotations, as GVariant text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocirt.cgroup.gvariant import parse
from ocirt.cgroup.signature import split

GOOD: list[tuple[str, str, Any]] = [
    ("true", "b", True),
    (" false ", "b", False),
    ("42", "i", 42),
    ("-1", "i", -1),
    ("0x10", "i", 16),
    ("010", "i", 8),
    ("1.5", "d", 1.5),
    ("1e3", "d", 1000.0),
    ("double 2", "d", 2.0),
    ("uint64 18446744073709551615", "t", 2**64 - 1),
    ("int16 -5", "n", -5),
    ("byte 0xff", "y", 255),
    ("boolean true", "b", True),
    ("'it''s'", "", None),
    ("'a \"b\"'", "s", 'a "b"'),
    (r"'a\n\'\u00e9\\'", "s", "a\n'é\\"),
    ('"text"', "s", "text"),
    ("objectpath '/a'", "o", "/a"),
    ("b'xy'", "ay", b"xy\0"),
    ("['a', 'b']", "as", ["a", "b"]),
    ("[uint32 1, 2]", "au", [1, 2]),
    ("[[1], [2, 3]]", "aai", [[1], [2, 3]]),
    ("@as []", "as", []),
    ("@a(ss) [('a', 'b')]", "a(ss)", [("a", "b")]),
    ("('/dev/null', uint64 5)", "(st)", ("/dev/null", 5)),
    ("('a',)", "(s)", ("a",)),
    ("()", "()", ()),
]


@pytest.mark.parametrize(("text", "signature", "value"), [entry for entry in GOOD if entry[1]])
def test_a_value_has_its_type(text: str, signature: str, value: Any) -> None:
    assert parse(text) == (signature, value)


@pytest.mark.parametrize(
    "text",
    [
        "", "text", "'a", "'it''s'", "1 2", "[", "[1", "[1 2]", "[1, 'a']", "[]", "(1", "uint32 -1", "byte 256",
        "uint64 'a'", "4294967296", "true false", "@as [1]", "@s 1", "{'a': 1}", "<1>", "1x", "0x", "08", "'\\0'",
        "uint32", "@", "[" * 99, "@(ss) ('a', 'b', 'c')", "nothing", "just 1",
    ],
)  # fmt: skip
def test_what_is_no_value_says_why(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w+"):
        parse(text)


@pytest.mark.parametrize("text", ["1e999", "double 0x" + "f" * 400, "[1.0, -1e999]"])
def test_a_number_larger_than_a_double_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="too large for its type"):
        parse(text)


def test_half_a_surrogate_pair_is_no_character() -> None:
    assert parse(r"'\ud800\U0000dfffx\U00110000'") == ("s", "\ufffd\ufffdx\ufffd")


@given(st.text(alphabet="[](),'\"\\@<>{}: x1.0btuint64true" + "é\0\n", max_size=24))
def test_no_text_does_worse_than_a_value_error(text: str) -> None:
    try:
        signature, _ = parse(text)
    except ValueError:
        return
    assert signature


@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_string_can_be_written(text: str) -> None:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    assert parse(f"'{escaped}'") == ("s", text)


def test_a_signature_is_taken_apart_into_complete_types() -> None:
    assert split("ssa(sv)a(sa(sv))") == ["s", "s", "a(sv)", "a(sa(sv))"]
    assert split("aayu(st)v") == ["aay", "u", "(st)", "v"]
    assert split("") == []
