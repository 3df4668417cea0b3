"""Strings that a plan only carries: who compiles may put them somewhere, and not look into them.

A launch is kept for configs that differ in such strings alone (docs/why.md, "A launch is kept"). So what the compiler
asks of one it asks by the functions here, whose answers follow from the class that its place and form have put it in
(perform/holes.def); any other look raises Unkeepable. For a plain str they are what their names say.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, NoReturn

ABSOLUTE, RELATIVE = "a", "r"  # and both normal: without empty, "." and ".." components
SLASH, WORD = "s", "w"  # args[0] with a slash, and without
MAYBE_EMPTY = frozenset("xt")


class Unkeepable(Exception):
    """What a plan depends on is more than the class of a string."""


def _refuse(text: Opaque, *_: Any, **__: Any) -> NoReturn:
    places = [piece.place for piece in text.pieces if isinstance(piece, Hole)]
    raise Unkeepable(f"something depends on {' and '.join(places)}")


class Opaque(str):
    """A string that nobody looks into; its text is none that a config can hold."""

    __slots__ = ("letter", "pieces")

    letter: str
    pieces: tuple[str | Hole, ...]


for _name in (
    "__add__", "__contains__", "__eq__", "__format__", "__ge__", "__getitem__", "__gt__", "__hash__", "__iter__",
    "__le__", "__len__", "__lt__", "__mod__", "__mul__", "__ne__", "__radd__", "__rmod__", "__str__", "capitalize",
    "casefold", "count", "encode", "endswith", "expandtabs", "find", "format", "index", "isalnum", "isalpha", "isascii",
    "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric", "isprintable", "isspace", "isupper", "join",
    "ljust", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rjust",
    "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "title", "translate", "upper",
):  # fmt: skip
    setattr(Opaque, _name, _refuse)


class Raw(bytes):
    """Bytes that are those of a hole: the text of config.json."""

    number: int


class Hole(Opaque):
    """One string of the config or the command line.

    number  which
    letter  its class, of those that holes.def names
    name    of an environment variable, which is known
    place   its JSON pointer, or what it is, for people
    """

    __slots__ = ("name", "number", "place")

    def __new__(cls, number: int, letter: str, name: str = "", place: str = "") -> Hole:
        made = str.__new__(cls, f"\0{number}\0")
        made.number, made.letter, made.name, made.place = number, letter, name, place
        made.pieces = (made,)
        return made

    number: int
    name: str
    place: str


def concat(*pieces: str) -> str:
    """The pieces, one after the other."""
    if not any(isinstance(piece, Opaque) for piece in pieces):
        return "".join(pieces)
    made = str.__new__(Opaque, "\0" + "".join([str.__str__(piece) for piece in pieces]))
    found: list[str | Hole] = []
    for piece in pieces:
        found += piece.pieces if isinstance(piece, Opaque) else [piece] if piece else []
    first = found[0]
    made.pieces = tuple(found)
    made.letter = first.letter if isinstance(first, Hole) else ABSOLUTE if first[:1] == "/" else ""
    return made


def is_absolute(path: str) -> bool:
    """Whether it begins with a slash."""
    if isinstance(path, Opaque):
        if path.letter not in {ABSOLUTE, RELATIVE}:
            _refuse(path)
        return path.letter == ABSOLUTE
    return path[:1] == "/"


def is_top(path: str) -> bool:
    """Whether it is "/", which is of no class."""
    if isinstance(path, Opaque):
        is_absolute(path)  # refuses one that may be anything
        return False
    return path == "/"


def has_slash(name: str) -> bool:
    """Of args[0]."""
    if isinstance(name, Opaque):
        if name.letter not in {SLASH, WORD}:
            _refuse(name)
        return name.letter == SLASH
    return "/" in name


def is_given(text: str | None) -> bool:
    """Whether it is there, and not empty."""
    if isinstance(text, Opaque):
        if text.letter in MAYBE_EMPTY:
            _refuse(text)
        return True
    return bool(text)


def given(text: str | None) -> str:
    """The text, "" where there is none."""
    return text if text is not None and is_given(text) else ""


def variable(entry: str) -> str:
    """The name of NAME=value."""
    return entry.name if isinstance(entry, Hole) else entry.partition("=")[0]


def variables(entries: Iterable[str]) -> list[str]:
    """An environment: of those with one name the last."""
    return list({variable(entry): entry for entry in entries}.values())
