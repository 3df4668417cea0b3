"""The flags that the launcher reads by itself are those of the one table: name, letter, whether they take a value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ocirt.cli.options import GLOBAL, VERBS

LAUNCHER = Path(__file__).parents[3] / "ocirt" / "launcher"


def table(file: str, name: str) -> list[list[str]]:
    """The rows of a table in C, each as its fields."""
    text = (LAUNCHER / file).read_text()
    body = re.search(rf" {name}\[\] = \{{\n(.*?)\n\}};", text, re.DOTALL)
    assert body is not None
    return [re.split(r",\s*", row) for row in re.findall(r"\{ (\".*?) \}", body[1])]


def of(flags: Sequence[Any]) -> dict[str, tuple[str, bool]]:
    """Name → letter, whether it takes a value."""
    return {name: (letter, takes_value) for name, letter, takes_value, *_ in flags}


@pytest.mark.parametrize(("verb", "file"), [("exec", "exec_words.c"), ("run", "launch_key.c")])
def test_the_flags_of_launches_that_are_kept(verb: str, file: str) -> None:
    known = of(VERBS[verb][2])
    rows = table(file, "flags")
    assert len(rows) > 6
    for name, letter, takes_value, *_ in rows:
        assert known[name.strip('"')] == (letter.strip('"'), takes_value == "true")


def test_the_global_flags() -> None:
    known = of(GLOBAL)
    rows = table("main.c", "options")
    assert len(rows) > 4
    for name, takes_value, *_ in rows:
        assert known[name.strip('"')] == ("", takes_value == "true")


@pytest.mark.parametrize("verb", ["kill", "delete"])
def test_the_flags_of_the_quick_verbs(verb: str) -> None:
    """Those that are taken in a `take_flag`; any other word with a dash is left to Python."""
    text = (LAUNCHER / "main.c").read_text()
    body = re.search(rf"^static int {verb}_?\(.*?^}}", text, re.DOTALL | re.MULTILINE)
    assert body is not None
    known = of(VERBS[verb][2])
    found = re.findall(r'take_flag\(&arguments, "--([\w-]+)", "-(\w)"\)( && arguments\[0\])?', body[0])
    assert found
    for name, letter, takes_value in found:
        assert known[name] == (letter, bool(takes_value))
