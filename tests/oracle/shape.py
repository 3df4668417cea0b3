"""What perform/json.c and shape.c do, in Python: json judges the text, and tokens are what one pattern finds in it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

SIZE = 256 << 10
DEPTH = 64
MEMBERS = 256
NUMBER = 64
# Of a text that is JSON, so that it need not tell what is none
TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
READ_NAMES = ("run.oci.", "org.systemd.", "org.criu.", "org.opencontainers.")

Path = tuple[str | int, ...]
Pairs = list[tuple[str, Any]]


class Refused(Exception):
    """One of the reasons of json.h."""


class Members(list[tuple[str, Any]]):
    """An object, in the order of its text."""


@dataclass
class Hole:
    """A string that is carried, where it stands in the text."""

    head: str  # "KC POINTER"
    value: str
    span: tuple[int, int]


@dataclass
class Shape:
    """The shape, its holes, and the places of the tokens that are literal: names, values and what is between."""

    data: bytes = b""
    holes: list[Hole] = field(default_factory=list)
    literals: list[tuple[int, int]] = field(default_factory=list)

    def records(self) -> list[str]:
        return [hole.head for hole in self.holes]


def _members(pairs: Pairs) -> Members:
    names = [name for name, _ in pairs]
    for name in names:
        _whole(name)
    if len(names) > MEMBERS:
        raise Refused("too many members")
    if len(set(names)) < len(names):
        raise Refused("a name twice")
    return Members(pairs)


def _whole(text: str) -> None:
    if "\0" in text:
        raise Refused("nul")
    if re.search("[\ud800-\udfff]", text):
        raise Refused("a lone surrogate")


def _number(text: str) -> None:
    """None, for a number is never asked what it is."""
    if len(text) > NUMBER or re.search(r"[eE][+-]?\d{3}", text):
        raise Refused("a large number")


def _constant(text: str) -> None:
    raise Refused(f"not JSON: {text}")


def parsed(raw: bytes) -> Any:
    """The document, its objects as Members. Raises Refused."""
    if len(raw) > SIZE:
        raise Refused("too large")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise Refused("not UTF-8") from None
    if text.startswith("\ufeff"):
        raise Refused("a BOM")
    hooks = {"parse_int": _number, "parse_float": _number, "parse_constant": _constant}
    try:
        document = json.loads(text, object_pairs_hook=_members, **hooks)
    except RecursionError:
        raise Refused("too deep") from None
    except ValueError as error:
        raise Refused(f"not JSON: {error}") from None
    _check(document, 0)
    return document


def _check(value: Any, depth: int) -> None:
    if isinstance(value, str):
        _whole(value)
    if isinstance(value, list):
        if depth == DEPTH:
            raise Refused("too deep")
        for item in value:
            _check(item[1] if isinstance(value, Members) else item, depth + 1)


def normal(path: str) -> bool:
    return not {"", ".", ".."} & set(path.split("/"))


def path_class(value: str) -> str:
    if value.startswith("/"):
        return "a" if normal(value[1:]) else ""
    return "r" if normal(value) else ""


def absolute(value: str) -> str:
    return path_class(value).replace("r", "")


def label(value: str) -> str:
    return "n" if 1 <= len(value.encode()) <= 200 else ""


def variable(value: str) -> str:
    name, separator, _ = value.partition("=")
    return "e" if separator and name not in {"", "PATH", "HOME"} and not name.startswith("LISTEN_") else ""


def source(value: str, mount: Members) -> str:
    options = dict(mount).get("options")
    if type(options) is not list or value == "cgroup" or not ("bind" in options or "rbind" in options):
        return ""
    return path_class(value)


def kind_and_class(path: Path, value: str, holder: Any) -> str:
    """Two letters, or one or none for what is no hole. `holder`: the object or array that it is in."""
    match path:
        case ("hostname",) | ("domainname",):
            return "N" + ("n" if 1 <= len(value.encode()) <= 64 else "")
        case ("root", "path"):
            return "P" + path_class(value)
        case ("process", "args", 0):
            return "A" + (("s" if "/" in value else "w") if value else "")
        case ("process", "args", int()):
            return "Xx"
        case ("process", "env", int()):
            return "E" + variable(value)
        case ("mounts", int(), "source"):
            return "S" + source(value, holder)
        case ("linux", "cgroupsPath"):
            return "G" + (absolute(value) if value.count("/") > 1 else "")
        case ("linux", "namespaces", int(), "path"):
            return "M" + absolute(value)
        case ("process", "selinuxLabel"):
            return "L" + label(value)
        case ("linux", "mountLabel"):
            return "K" + label(value)
        case ("hooks", str(), int(), "args", int()):
            return "Hx"
        case ("hooks", str(), int(), "env", int()):
            return "V" + variable(value)
        case ("annotations", str(name)):
            return "T" + ("" if name.startswith(READ_NAMES) else "t")
    return ""


def pointer(path: Path) -> str:
    """RFC 6901."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


class Walk:
    """The document and the tokens of its text, side by side."""

    def __init__(self, raw: bytes) -> None:
        self.tokens = TOKEN.finditer(raw)
        self.made = Shape()

    def literal(self) -> bytes:
        token = next(self.tokens)
        self.made.data += token[0]
        self.made.literals.append(token.span())
        return token[0]

    def value(self, value: Any, path: Path, holder: Any) -> None:
        if isinstance(value, list):
            self.literal()
            for number, item in enumerate(value):
                if number:
                    self.literal()
                if isinstance(value, Members):
                    self.literal()
                    self.literal()
                    self.value(item[1], (*path, item[0]), value)
                else:
                    self.value(item, (*path, number), value)
            self.literal()
        else:
            self.scalar(value, path, holder)

    def scalar(self, value: Any, path: Path, holder: Any) -> None:
        letters = kind_and_class(path, value, holder) if isinstance(value, str) else ""
        before = self.made.data
        self.literal()
        if len(letters) != 2:
            return
        span = self.made.literals.pop()
        name = value.partition("=")[0] + "=\1" if letters[1] == "e" else ""
        self.made.data = before + f"\1{letters}{name}".encode()
        self.made.holes.append(Hole(f"{letters} {pointer(path)}", value, span))


def shape(raw: bytes) -> Shape:
    """The shape of a config.json. Raises Refused."""
    document = parsed(raw)
    walk = Walk(raw)
    walk.value(document, (), None)
    assert next(walk.tokens, None) is None
    return walk.made
