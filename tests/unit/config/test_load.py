"""Reading config.json: what is refused before anyone looks at its meaning, and the place that the message names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ocirt.config import load as loading
from ocirt.config.load import load, parse
from ocirt.config.syntax import Lines
from ocirt.errors import BundleError
from tests.unit.config.changes import places, text
from tests.unit.config.documents import full

BROKEN: list[tuple[str, bytes, str]] = [
    ("nothing", b"", "config.json:1:1: the file is empty"),
    ("blanks", b" \n\t\r\n", "config.json:1:1: the file is empty"),
    ("an object that does not end", b'{"a": 1', "config.json:1:8: expecting ',' delimiter"),
    ("a bracket for a brace", b"{]", "config.json:1:2: expecting property name enclosed in double quotes"),
    ("a comma too many", b'{\n  "a": 1,\n}', "config.json:2:9: illegal trailing comma"),
    ("a colon too few", b'{\n  "a" 1}', "config.json:2:7: expecting ':' delimiter"),
    ("a comma after the last member", b'{"a": 1,\n}', "config.json:1:8: illegal trailing comma before end of object"),
    ("a comma after the last entry", b"[1, 2, ]", "config.json:1:6: illegal trailing comma before end of array"),
    ("a value too few", b'{"a": }', "config.json:1:7: expecting value"),
    ("single quotes", b"{'a': 1}", "config.json:1:2: expecting property name"),
    ("a comment", b"// x\n{}", "config.json:1:1: expecting value"),
    ("something after the end", b"{}\n{}", "config.json:2:1: extra data"),
    ("a line break in a string", b'{"a\n": 1}', "config.json:1:4: invalid control character"),
    ("an unknown escape", b'{"a": "\\x"}', "config.json:1:8: invalid \\escape"),
    ("half an escape", b'{"a": "\\u12"}', "config.json:1:9: invalid \\uXXXX escape"),
    ("NaN", b'{"a": NaN}', "config.json:1:7: NaN is not JSON"),
    ("an infinity", b'{"a":\n-Infinity}', "config.json:2:1: -Infinity is not JSON"),
    ("a number above all doubles", b'{"a": [1e308, 1e999]}', "config.json:1:15: 1e999 is too large for a number"),
    (
        "a number of 5000 digits",
        b'{"a": 1' + b"0" * 4999 + b"}",
        "config.json:1:7: a number of 5000 digits is too long",
    ),
    ("a bad number ahead of a comma too many", b'{"a": NaN,}', "config.json:1:7: NaN is not JSON"),
    ("a comma too many ahead of a bad number", b"[1,,NaN]", "config.json:1:4: expecting value"),
    ("a number that starts with 0", b'{"a": 01}', "config.json:1:8: expecting ',' delimiter"),
    ("a byte order mark", b"\xef\xbb\xbf{}", "config.json:1:1: begins with a byte order mark"),
    ("UTF-16", '{"a": 1}'.encode("utf-16"), "config.json:1:1: is UTF-16, must be UTF-8"),
    ("Latin-1", b'{\n "\xc3\xa9": "\xe9"}', "config.json:2:8: byte 0xe9 is not UTF-8"),
    ("a surrogate in UTF-8", b'{"a": "\xed\xa0\x80"}', "config.json:1:8: byte 0xed is not UTF-8"),
    ("a hundred thousand brackets", b"[" * 100000, "config.json: arrays and objects are nested too deep"),
]


@pytest.mark.parametrize(("raw", "words"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_broken_json_is_refused_with_line_and_column(raw: bytes, words: str) -> None:
    with pytest.raises(BundleError) as caught:
        parse(raw)
    assert str(caught.value).startswith(words)
    assert str(caught.value).isprintable()


VALUES: list[tuple[bytes, Any]] = [
    (
        b' {"a": [1, -2, 3.5, 1e2, true, false, null, "\\u00e9\\n"]}\r\n\t',
        {"a": [1, -2, 3.5, 100.0, True, False, None, "é\n"]},
    ),
    (b'{"a": 1, "a": 2}', {"a": 2}),
    (b'"\\ud800"', "\ud800"),
    (b"18446744073709551615", 18446744073709551615),
    (b"[]", []),
]


@pytest.mark.parametrize(("raw", "value"), VALUES)
def test_json_is_read_as_it_stands(raw: bytes, value: Any) -> None:
    assert parse(raw) == value


def test_a_bundle_gives_the_document_and_its_bytes(tmp_path: Path) -> None:
    raw = text(full())
    (tmp_path / "config.json").write_bytes(raw)
    assert load(str(tmp_path)) == (full(), raw)


def test_another_file_can_take_the_place_of_config_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other.json").write_bytes(b'{"a": 1}')
    (tmp_path / "config.json").write_bytes(b"{")
    monkeypatch.chdir(tmp_path)
    assert load("/nowhere", "other.json")[0] == {"a": 1}
    (tmp_path / "other.json").write_bytes(b"{")
    with pytest.raises(BundleError, match=r"^other\.json:1:2: "):
        load("/nowhere", "other.json")


def test_a_symbolic_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"{}")
    (tmp_path / "config.json").symlink_to("real")
    assert load(str(tmp_path)) == ({}, b"{}")


def make_directory(path: Path) -> None:
    path.mkdir()


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(loading.LIMIT + 1)


def make_list(path: Path) -> None:
    path.write_bytes(b"[]")


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)


def make_nothing(path: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (make_nothing, 'cannot read "{}": no such file or directory'),
        (make_directory, '"{}" is not a regular file'),
        (make_fifo, '"{}" is not a regular file'),
        (make_large, '"{}" is larger than 64 MiB'),
        (make_list, '"{}" must hold a JSON object'),
        (make_loop, 'cannot read "{}": too many levels of symbolic links'),
    ],
)
def test_a_bundle_that_cannot_be_read_is_refused_by_its_path(tmp_path: Path, make: Any, words: str) -> None:
    path = tmp_path / "config.json"
    make(path)
    with pytest.raises(BundleError) as caught:
        load(str(tmp_path))
    assert str(caught.value) == words.format(path)


def test_a_file_that_grows_while_it_is_read_has_the_same_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_bytes(b"{}" + b" " * 100)
    monkeypatch.setattr(loading, "LIMIT", 101)
    with pytest.raises(BundleError, match="larger than"):
        load(str(tmp_path))


def test_what_is_named_may_be_read_but_once_and_has_the_same_limit(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b'{"a": null, "b": 1}')
    os.close(writer)
    assert load(str(tmp_path), f"/dev/fd/{reader}") == ({"b": 1}, b'{"a": null, "b": 1}')
    os.close(reader)
    with pytest.raises(BundleError, match='"/dev/zero" is larger than 64 MiB'):
        load(str(tmp_path), "/dev/zero")
    with pytest.raises(BundleError, match="is neither a regular file nor a pipe"):
        load(str(tmp_path), str(tmp_path))


def test_a_path_with_a_nul_is_refused() -> None:
    with pytest.raises(BundleError, match="nul byte"):
        load("a\0b")


def test_reading_leaves_no_descriptor_open(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"{}")
    before = os.listdir("/proc/self/fd")
    load(str(tmp_path))
    with pytest.raises(BundleError):
        load(str(tmp_path / "none"))
    assert os.listdir("/proc/self/fd") == before


def test_every_value_has_the_line_on_which_it_stands() -> None:
    raw = text(full())
    lines, source = Lines(raw), raw.decode().splitlines()
    for pointer, value in places(full()):
        name = pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")
        line = source[lines.lines[pointer] - 1]
        assert f'"{name}":' in line or (name.isdigit() and (isinstance(value, dict | list) or str(value) in line))


def test_lines_are_right_whatever_strings_hold() -> None:
    raw = b'{"a\\"{":\n[\n"x\\\\", "],\\u0022",\n[[\n1]]],\n"~/": {}\n}'
    assert Lines(raw).lines == {
        "": 1,
        '/a"{': 1,
        '/a"{/0': 3,
        '/a"{/1': 3,
        '/a"{/2': 4,
        '/a"{/2/0': 4,
        '/a"{/2/0/0': 5,
        "/~0~1": 6,
    }
    assert Lines(raw).find('/a"{/1/7/8') == 3
