"""The shape of a config: what C makes of any text, against json and one pattern (tests/oracle/shape.py)."""

from __future__ import annotations

import ctypes
import json
import random
import shutil
import subprocess
from errno import EBADMSG, ENOSPC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocirt.config.load import parse
from ocirt.linux._kernel import ffi, lib
from tests.fuzz import documents
from tests.fuzz.mutate import TOKENS, Mutator, Stock
from tests.oracle import shape as oracle

REFUSED = "refused"
FILES = sorted([*documents.CORPUS.glob("*.json"), *documents.GOLDEN.glob("*/config.json")])
NAMES = [path.stem if path.parent == documents.CORPUS else path.parent.name for path in FILES]
# Another value for a hole of this class
OTHERS = {
    "n": 'other "host"',
    "a": "/ä/…/..c/.d/e f",
    "r": "..a/b",
    "s": "./program",
    "w": ".",
    "x": "\1Xx\\ \t",
    "t": "",
    "e": "==\1\n𝄞",
}


def config_shape(raw: bytes, size: int, data: bytearray, room: int, found: bytearray, holes_room: int) -> int:
    """As C has it, but for the types."""
    memory = [ffi.from_buffer(buffer) for buffer in (raw, data, found)]
    return int(lib.config_shape(memory[0], size, memory[1], room, memory[2], holes_room))


def made(raw: bytes) -> tuple[bytes, list[str]] | str:
    """The shape and the records of the holes, by C."""
    data, holes = bytearray(2 * len(raw) + 8), bytearray(16 * len(raw) + 8)
    size = config_shape(raw, len(raw), data, len(data), holes, len(holes))
    if size == -EBADMSG:
        return REFUSED
    assert size >= 0
    records = holes[: 0 if holes[0] == 0 else holes.index(b"\0\0")].split(b"\0")
    return bytes(data[:size]), [record.decode() for record in records if record]


def judged(raw: bytes) -> oracle.Shape | None:
    """The same by Python, after C was found to say so too; None where both refuse it."""
    expected, reason = None, None
    try:
        expected = oracle.shape(raw)
    except oracle.Refused as error:
        reason = error
    assert made(raw) == (REFUSED if expected is None else (expected.data, expected.records())), reason
    if expected is not None:
        parse(raw)
    return expected


def holes(document: Any) -> list[str]:
    """The records of a document's holes."""
    found = judged(json.dumps(document).encode())
    assert found is not None
    return found.records()


# ---- texts ----

STRINGS = st.one_of(
    st.text(),
    st.sampled_from(["", "/", "/a", "a/b", "/a/b", "/a//b", "/a/", "..", "/a/..", "./a", "cgroup", "A=b", "=", "bind"]),
    st.sampled_from(["PATH=/bin", "HOME=", "LISTEN_FDS=1", "PATHS=", "a" * 64, "ä" * 33, "host", "a" * 201]),
)
SECTIONS = "hostname domainname root process mounts linux annotations hooks"
WORDS = f"{SECTIONS} path args env cwd source options cgroupsPath namespaces selinuxLabel mountLabel poststop"
MEMBERS = st.sampled_from([*WORDS.split(), "run.oci.x", "org.x", "a/b~c", "[]", "*", "0", ""])
LEAVES = st.one_of(STRINGS, st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False))
NAMED = st.one_of(MEMBERS, st.text())
VALUES = st.recursive(LEAVES, lambda inner: st.one_of(st.lists(inner), st.dictionaries(NAMED, inner)))
LISTS = st.one_of(st.lists(STRINGS), VALUES)
MOUNT = st.fixed_dictionaries({}, optional={"source": LEAVES, "options": LISTS, "type": STRINGS})
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "hostname": LEAVES,
        "domainname": STRINGS,
        "root": st.dictionaries(MEMBERS, VALUES),
        "process": st.fixed_dictionaries({}, optional={"args": LISTS, "env": LISTS, "selinuxLabel": LEAVES}),
        "hooks": st.dictionaries(MEMBERS, st.lists(st.dictionaries(MEMBERS, LISTS))),
        "mounts": st.lists(MOUNT),
        "linux": st.dictionaries(MEMBERS, st.one_of(STRINGS, st.lists(st.dictionaries(MEMBERS, LEAVES)))),
        "annotations": st.dictionaries(NAMED, LEAVES),
    },
)
SEEDS = st.integers(0, 2**32)


def spelled(value: Any, rng: random.Random) -> str:
    """JSON with white space, escapes and the order of members as chance has them."""
    blank = lambda: rng.choice(("", "", "", " ", "\n\t", "\r "))  # noqa: E731
    if isinstance(value, dict):
        names = list(value)
        rng.shuffle(names)
        inner = (f"{spelled(name, rng)}{blank()}:{spelled(value[name], rng)}" for name in names)
        text = "{" + blank() + ",".join(inner) + "}"
    elif isinstance(value, list):
        text = "[" + ",".join(spelled(item, rng) for item in value) + blank() + "]"
    elif isinstance(value, str) and rng.randrange(3) == 0:
        units = value.encode("utf-16-be")
        text = '"' + "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)) + '"'
    else:
        text = json.dumps(value, ensure_ascii=rng.randrange(2) == 0)
    return blank() + text + blank()


@given(st.one_of(CONFIGS, VALUES), SEEDS)
def test_any_document_has_the_shape_that_python_finds(document: Any, seed: int) -> None:
    judged(spelled(document, random.Random(seed)).encode())


@given(st.one_of(CONFIGS, VALUES), SEEDS)
def test_a_text_is_refused_for_a_reason_alone(document: Any, seed: int) -> None:
    rng = random.Random(seed)
    judged(Mutator(Stock([]), rng).bytes(spelled(document, rng).encode()))


PARTS = [b"{", b"}", b"[", b"]", b'"a"', b'"b"', b":", *TOKENS]


@given(st.lists(st.one_of(st.sampled_from(PARTS), st.binary())))
def test_bytes_are_refused_for_a_reason_alone(parts: list[bytes]) -> None:
    judged(b"".join(parts))


@pytest.mark.parametrize("seed", range(8))
def test_mutated_configs_have_the_shape_that_python_finds(seed: int) -> None:
    rng = random.Random(seed)
    configs = list(documents.configs().values())
    mutator = Mutator(Stock(configs), rng)
    accepted = sum(judged(mutator.text(rng.choice(configs))) is not None for _ in range(150))
    assert accepted > 75


class Hole(ctypes.Structure):
    """struct hole."""

    _fields_ = (("head", ctypes.c_char_p), ("value", ctypes.c_char_p))


class Shape(ctypes.Structure):
    """struct shape."""

    _fields_ = (
        ("bytes", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("holes", ctypes.POINTER(Hole)),
        ("count", ctypes.c_size_t),
        ("words", ctypes.c_void_p),
    )


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """shape_of() and shape_free(), which the module of cffi does not offer."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    target = tmp_path_factory.mktemp("shape") / "shape.so"
    names = ("perform/shape.c", "perform/json.c", "perform/text.c", "perform/strings.c", "launcher/lines.c")
    sources = [f"ocirt/{name}" for name in names]
    command = ["gcc", "-shared", "-fPIC", "-std=gnu11", "-Iocirt", "-o", str(target), *sources]
    subprocess.run(command, cwd=documents.HERE.parents[1], check=True)
    return ctypes.CDLL(str(target))


def test_a_hole_has_the_value_that_the_string_stands_for(library: ctypes.CDLL) -> None:
    rng = random.Random(1)
    texts = [spelled(json.loads(path.read_bytes()), rng).encode() for path in FILES]
    args = ["\1", "ä\n\\", "𝄞", "\U0010ffff\ud7ff\ue000", '"/\b\f\r\t', "", "\x7f\x80\u07ff\u0800\uffff\U00010000"]
    texts += [spelled({"process": {"args": args}}, rng).encode() for _ in range(20)]
    for raw in texts:
        shape = Shape()
        assert library.shape_of(raw, ctypes.c_size_t(len(raw)), ctypes.byref(shape)) == 0
        expected = [(hole.head.encode(), hole.value.encode()) for hole in oracle.shape(raw).holes]
        assert [(hole.head, hole.value) for hole in shape.holes[: shape.count]] == expected
        library.shape_free(ctypes.byref(shape))


# ---- what changes it ----


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_hole_may_have_any_value_of_its_class(path: Any) -> None:
    raw = path.read_bytes()
    shape = judged(raw)
    assert shape is not None
    assert bool(shape.holes) == (not path.name.startswith("process-"))
    for hole in shape.holes:
        value = OTHERS[hole.head[1]]
        if hole.head[1] == "e":
            value = hole.value.partition("=")[0] + value
        start, end = hole.span
        changed = raw[:start] + json.dumps(value).encode() + raw[end:]
        assert made(changed) == (shape.data, shape.records()), hole
        assert judged(changed) is not None


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_anything_else_is_the_shape(path: Any) -> None:
    raw = path.read_bytes()
    shape = judged(raw)
    assert shape is not None
    for start, end in random.Random(1).sample(shape.literals, min(100, len(shape.literals))):
        text = raw[start:end]
        others = {b"true": b"false", b"false": b"null", b"null": b"true"}
        other = text[:-1] + b'x"' if text[:1] == b'"' else others.get(text, text + b"1")
        for changed in (other, b"", b'"\\u0078"', b"0", b"[]"):
            found = made(raw[:start] + changed + raw[end:])
            assert changed == text or found == REFUSED or found[0] != shape.data, (start, changed)


def test_another_spelling_is_another_shape_of_the_same_holes() -> None:
    plain, escaped = b'{"hostname":"a","x":"a"}', b'{"h\\u006fstname":"\\u0061","x":"\\u0061"}'
    assert made(plain) == (b'{"hostname":\1Nn,"x":"a"}', ["Nn /hostname"])
    assert made(escaped) == (b'{"h\\u006fstname":\1Nn,"x":"\\u0061"}', ["Nn /hostname"])
    assert made(b' {\n"hostname"\t: "b" ,\r\n"x":"a" } ') == made(plain)


def test_a_variable_is_known_by_its_name() -> None:
    raw = b'{"process":{"env":["A=b","\\u0042=","PATH=/","\\u0001==","A","=","LISTEN_A=","HOME=",1]}}'
    shape = b'{"process":{"env":[\1EeA=\1,\1EeB=\1,"PATH=/",\1Ee\1=\1,"A","=","LISTEN_A=","HOME=",1]}}'
    assert made(raw) == (shape, ["Ee /process/env/0", "Ee /process/env/1", "Ee /process/env/3"])


# ---- holes and classes ----


@pytest.mark.parametrize("name", ["hostname", "domainname"])
@pytest.mark.parametrize(
    ("value", "found"),
    [("a", "n"), ("ä" * 32, "n"), ("", ""), ("ä" * 33, ""), ("/", "n"), (None, ""), (1, ""), (["a"], "")],
)
def test_names(name: str, value: Any, found: str) -> None:
    assert holes({name: value}) == ([f"N{found} /{name}"] if found else [])


PATHS = [
    ("/a", "a"), ("/a/.b/..c/...", "a"), ("a", "r"), ("a/b", "r"), ("...", "r"), ("", ""), ("/", ""), ("/a/", ""),
    ("//a", ""), ("/a//b", ""), ("/.", ""), ("/a/..", ""), ("/../a", ""), ("/a/./b", ""), (".", ""), ("..", ""),
    ("a/", ""), ("a/../b", ""), ("./a", ""), (None, ""), ({}, ""),
]  # fmt: skip


@pytest.mark.parametrize(("value", "found"), PATHS)
def test_paths(value: Any, found: str) -> None:
    absolute = found if found == "a" else ""
    expected = [f"P{found} /root/path"] if found else []
    assert holes({"root": {"path": value}}) == expected
    assert holes({"process": {"cwd": value}}) == [], "which mounts lie above it decides what is kept open"
    namespaces = [{"type": "pid"}, {"type": "network", "path": value}]
    assert holes({"linux": {"namespaces": namespaces}}) == (["Ma /linux/namespaces/1/path"] if absolute else [])
    deep = absolute and value.count("/") > 1
    assert holes({"linux": {"cgroupsPath": value}}) == (["Ga /linux/cgroupsPath"] if deep else [])
    for option in ("bind", "rbind"):
        before, behind = ({"source": value, "options": ["ro", option]}, {"options": [option], "source": value})
        expected = [f"S{found} /mounts/{number}/source" for number in (0, 1)] if found else []
        assert holes({"mounts": [before, behind]}) == expected


@pytest.mark.parametrize("options", [None, "bind", [], ["bin", "binds"], [["bind"]], {"bind": "bind"}, [1, None]])
def test_a_source_of_what_is_no_bind_mount_is_literal(options: Any) -> None:
    assert holes({"mounts": [{"source": "/a", "options": options}, {"source": "/b", "type": "bind"}]}) == []


def test_a_source_that_may_be_a_file_system_is_literal() -> None:
    mounts = [{"source": name, "options": ["bind"]} for name in ("cgroup", "cgroup2", "/cgroup")]
    assert holes({"mounts": mounts}) == ["Sr /mounts/1/source", "Sa /mounts/2/source"]
    assert made(b'{"mounts":[{"options":["\\u0062ind"],"source":"/a"}]}')[1] == ["Sa /mounts/0/source"]


@pytest.mark.parametrize(("program", "found"), [("sh", "w"), ("/bin/sh", "s"), ("a/", "s"), ("", ""), (0, "")])
def test_arguments(program: Any, found: str) -> None:
    first = [f"A{found} /process/args/0"] if found else []
    args = [program, "", None, "a/b", *map(str, range(9))]
    expected = [f"Xx /process/args/{number}" for number in (1, *range(3, 13))]
    assert holes({"process": {"args": args}}) == first + expected


def test_annotations() -> None:
    given = {"": "", "a/b~c": "1", "ä\n": "2", "org": "", "org.opencontainers": "", "run.oci": "", "x.run.oci.": ""}
    read = {f"{prefix}{rest}": "x" for prefix in oracle.READ_NAMES for rest in ("", "x")}
    names = ["", "a~1b~0c", "ä\n", "org", "org.opencontainers", "run.oci", "x.run.oci."]
    assert holes({"annotations": {**given, **read, "none": None}}) == [f"Tt /annotations/{name}" for name in names]


def test_a_path_through_objects_is_none_through_arrays() -> None:
    assert holes({"process": {"args": {"0": "a", "[0]": "b", "[]": "c"}, "env": {"[]": "A=b"}}}) == []
    assert holes([{"hostname": "a"}]) == []
    assert holes({"annotations": ["a"], "mounts": {"source": "/a", "options": ["bind"]}}) == []
    assert holes({"linux": {"hostname": "a", "root": {"path": "/a"}}, "process": [{"cwd": "/a"}]}) == []
    assert holes({"process": {"args": [["a"], "b"]}}) == ["Xx /process/args/1"]


# ---- what is refused ----

GOOD = {
    "the most of members": b"{" + b",".join(b'"%d":0' % number for number in range(256)) + b"}",
    "the deepest": b"[" * 64 + b"]" * 64,
    "the largest": b"[0]" + b" " * ((256 << 10) - 3),
    "the longest number": b"1" * 64,
    "a double's exponent": b"[1e99,-1E-99,0.0e+0,-0]",
    "a pair": b'"\\ud834\\uDD1e\\uFFFF\\udbff\\udfff"',
    "the last characters": '["\x7f\u0080\ud7ff\ue000\U0010ffff"]'.encode(),
    "escapes": b'"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0001"',
    "one name in two objects": b'{"a":{"a":0},"b":{"a":0}}',
    "a name that another begins with": b'{"a":0,"ab":0,"\\u0061c":0,"":0}',
    "words": b"[true,false,null]",
    "empty ones": b'[{},[],"",{"":{}}]',
}  # fmt: skip
BAD = {
    "too many members": b"{" + b",".join(b'"%d":0' % number for number in range(257)) + b"}",
    "too deep": b"[" * 65 + b"]" * 65,
    "too deep, of objects": b'{"a":' * 65 + b"0" + b"}" * 65,
    "too large": b"[0]" + b" " * ((256 << 10) - 2),
    "a number too long": b"1" * 65,
    "an exponent too large": b"1e100",
    "infinity": b"1e999",
    "nul escaped": b'"\\u0000"',
    "nul": b'"a\0b"',
    "nul behind": b"0\0",
    "no half of a pair": b'"\\ud834"',
    "no second half": b'"\\ud834\\u0041"',
    "the second half alone": b'"\\udd1e"',
    "half an escape": b'"\\ud834\\udd1',
    "a name of half a pair": b'{"\\ud834":0}',
    "a name twice": b'{"a":0,"b":1,"a":0}',
    "a name twice in two spellings": b'{"ab":0,"\\u0061b":0}',
    "a pair twice": '{"𝄞":0,"\\ud834\\udd1e":0}'.encode(),
    "a BOM": b"\xef\xbb\xbf{}",
    "more behind": b"{} {}",
    "Latin-1": b'"\xe4"',
    "a surrogate": b'"\xed\xa0\x80"',
    "an overlong character": b'"\xc0\x80"',
    "a character too large": b'"\xf4\x90\x80\x80"',
    "a character cut off": b'"\xf0\x9d\x84',
    "a control character": b'"\t"',
    "an array too deep to be read": b"[" * 9000,
    "another kind of space": b"\xa01",
    **{f"no JSON: {text}": text.encode() for text in [
        *("", " ", "[", "]", "{", "}", "[1,]", "[,1]", "[1 2]", "[}", "{]", "[1]]", "[1", ",", ":", '["a":1]'),
        *('{"a"}', '{"a":}', '{"a":1,}', "{1:2}", '{"a" 1}', '{"a":1:2}', '{"a":1', '{"a"', '{,}', '{"a":1 "b":2}'),
        *("01", "-", "+1", ".5", "1.", "1e", "1e+", "0x1", "-a", "NaN", "Infinity", "-Infinity", "1.e1"),
        *("tru", "truee", "nul", "True", "'a'", "/**/1", "\f1"),
        *('"', '"\\', '"\\"', '"\\u12"', '"\\u12g4"', '"\\x41"', '"a" "b"'),
    ]},
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_what_is_taken(name: str) -> None:
    assert judged(GOOD[name]) is not None


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(name: str) -> None:
    assert judged(BAD[name]) is None


@pytest.mark.parametrize(("raw", "size", "shape"), [(b"123", 2, b"12"), (b"truest", 4, b"true"), (b"[] ]", 3, b"[]")])
def test_a_text_ends_where_it_is_said_to(raw: bytes, size: int, shape: bytes) -> None:
    data, found = bytearray(8), bytearray(8)
    assert config_shape(raw, size, data, 8, found, 8) == len(shape)
    assert data.startswith(shape)
    for less in range(size):
        expected = -EBADMSG if made(raw[:less]) == REFUSED else less
        assert config_shape(raw, less, data, 8, found, 8) == expected


def test_no_more_is_written_than_there_is_room_for() -> None:
    raw = b'{"hostname":"a"}'
    shape, records = b'{"hostname":\1Nn}', b"Nn /hostname\0\0"
    for less_shape, less_holes in ((0, 0), (1, 0), (0, 1), (0, 2), (0, len(records)), (len(shape), len(records))):
        data, found = bytearray(b"x" * 40), bytearray(b"x" * 40)
        room, holes_room = len(shape) - less_shape, len(records) - less_holes
        size = config_shape(raw, len(raw), data, room, found, holes_room)
        assert size == (-ENOSPC if less_shape or less_holes else len(shape))
        assert set(data[room:] + found[holes_room:]) == {ord("x")}
        if size > 0:
            assert data.startswith(shape)
            assert found.startswith(records)
