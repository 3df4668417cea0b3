"""Values written as GVariant text (glib, "GVariant Text Format") → D-Bus signature and value; pure.

    true   42   0x10   1.5   uint64 9000000   'text'   b'bytes'   [1, 2]   ('a', uint32 1)   @as []

As much of the format as units have properties for: no maybes, dictionaries and variants.
"""

from __future__ import annotations

import re
from math import inf, isinf

from ocirt.cgroup.signature import split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Typed = tuple[str, Any]  # D-Bus signature, value

# Words that give the number or string after them a type
KEYWORDS = {
    "boolean": "b", "byte": "y", "int16": "n", "uint16": "q", "int32": "i", "handle": "i", "uint32": "u", "int64": "x",
    "uint64": "t", "double": "d", "string": "s", "objectpath": "o", "signature": "g",
}  # fmt: skip
RANGES = {
    "y": (0, 2**8), "n": (-(2**15), 2**15), "q": (0, 2**16), "i": (-(2**31), 2**31), "u": (0, 2**32),
    "x": (-(2**63), 2**63), "t": (0, 2**64),
}  # fmt: skip
BOOLEANS = {"true": True, "false": False}
ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
DEPTH = 8

NO_VALUE = "is no value; text needs quotes, as in 'text'"

TOKEN = re.compile(
    r"""\s*(?: (?P<string>b?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"))
           | (?P<number>[-+]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))(?![\w.])
           | @(?P<type>[a-z()]+)
           | (?P<word>[a-z0-9]+)
           | (?P<mark>[][(),]) )""",
    re.VERBOSE | re.DOTALL,
)
ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{1,3}|.)", re.DOTALL)


def parse(text: str) -> tuple[str, Any]:
    """Return (D-Bus signature, value). Raises ValueError that says what is wrong, in words for a user."""
    tokens: list[tuple[str, str]] = []
    position = 0
    while text[position:].strip():
        match = TOKEN.match(text, position)
        if match is None:
            raise ValueError(f'"{text[position:].strip()}" {NO_VALUE}')
        tokens.append((str(match.lastgroup), match[str(match.lastgroup)]))
        position = match.end()
    value = _value(tokens, "", 0)
    if tokens:
        raise ValueError(f'"{tokens[0][1]}" is more than one value')
    return value


def _value(tokens: list[tuple[str, str]], wanted: str, depth: int) -> Typed:
    """Take one value off `tokens`; `wanted` is the type it must have, "" for any."""
    if not tokens:
        raise ValueError("a value is missing")
    if depth > DEPTH:
        raise ValueError("too many brackets in brackets")
    kind, text = tokens.pop(0)
    typed = text if kind == "type" else KEYWORDS.get(text) if kind == "word" else None
    if typed:
        return _agreed(wanted, _value(tokens, typed, depth + 1))
    if text in BOOLEANS:
        return _agreed(wanted, ("b", BOOLEANS[text]))
    if kind in {"number", "string"}:
        return _number(text, wanted) if kind == "number" else _string(text, wanted)
    if text in {"[", "("}:
        return (_array if text == "[" else _tuple)(tokens, wanted, depth)
    raise ValueError(f'"{text}" {NO_VALUE}')


def _agreed(wanted: str, found: Typed) -> Typed:
    if wanted and found[0] != wanted:
        raise ValueError(f'a value of type "{found[0]}" stands where "{wanted}" belongs')
    return found


def _number(text: str, wanted: str) -> Typed:
    whole = re.fullmatch(r"[-+]?(0[xX][0-9a-fA-F]+|\d+)", text)
    code = wanted or ("i" if whole else "d")
    if code == "d":
        return code, _double(text)
    if not whole or code not in RANGES:
        raise ValueError(f'{text} is no value of type "{code}"')
    base = 16 if "x" in text.lower() else 8 if re.match(r"[-+]?0\d", text) else 10  # as in C
    try:
        value = int(text, base)
    except ValueError:
        raise ValueError(f"{text} is no octal number, which a leading 0 makes it") from None
    low, high = RANGES[code]
    if not low <= value < high:
        raise ValueError(f'{text} is too large for its type, "{code}"; a larger one is written as in uint64 {text}')
    return code, value


def _double(text: str) -> float:
    try:
        value = float(int(text, 16)) if "x" in text.lower() else float(text)
    except OverflowError:
        value = inf
    if isinf(value):
        raise ValueError(f'{text} is too large for its type, "d"')
    return value


def _string(text: str, wanted: str) -> Typed:
    if text[0] == "b":
        content = ESCAPE.sub(_unescaped, text[2:-1]).encode("utf-8", "surrogateescape") + b"\0"
        return _agreed(wanted, ("ay", content))
    code = wanted or "s"
    if code not in "sog":
        raise ValueError(f'{text} is no value of type "{code}"')
    value = ESCAPE.sub(_unescaped, text[1:-1])
    if "\0" in value:
        raise ValueError("a string holds no NUL character")
    return code, value


def _unescaped(match: re.Match[str]) -> str:
    escape = match[1]
    if escape[0] in "uU" and len(escape) > 1:
        code = int(escape[1:], 16)
        return "\ufffd" if code >= 0x110000 or 0xD800 <= code < 0xE000 else chr(code)  # no character, no UTF-8
    if escape[0] in "01234567":
        return chr(int(escape, 8))
    return "" if escape == "\n" else ESCAPES.get(escape, escape)


def _array(tokens: list[tuple[str, str]], wanted: str, depth: int) -> Typed:
    if wanted and wanted[0] != "a":
        raise ValueError(f'an array stands where "{wanted}" belongs')
    inner = wanted[1:]
    values: list[Any] = []
    while not _taken(tokens, "]"):
        if values and not _taken(tokens, ","):
            raise ValueError("an array needs a comma between its values, and a bracket at its end")
        inner, value = _value(tokens, inner, depth + 1)
        values.append(value)
    if not inner:
        raise ValueError("the type of an empty array is not known; it is written as in @as []")
    return "a" + inner, values


def _tuple(tokens: list[tuple[str, str]], wanted: str, depth: int) -> Typed:
    types = split(wanted[1:-1])
    codes = ""
    values: list[Any] = []
    while not _taken(tokens, ")"):
        if values and not _taken(tokens, ","):
            raise ValueError("a tuple needs a comma between its values, and a bracket at its end")
        if values and _taken(tokens, ")"):
            break  # ('a',): a tuple of one
        code, value = _value(tokens, types[len(values)] if len(values) < len(types) else "", depth + 1)
        codes += code
        values.append(value)
    return _agreed(wanted, (f"({codes})", tuple(values)))


def _taken(tokens: list[tuple[str, str]], mark: str) -> bool:
    if tokens and tokens[0] == ("mark", mark):
        tokens.pop(0)
        return True
    return False
