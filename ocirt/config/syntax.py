"""Where a JSON text is wrong, and where its values stand. Cold: for messages.

`explained` says what breaks a text; `Lines` maps JSON pointers to lines of a text that the scanner has accepted.
"""

from __future__ import annotations

import json
import re

from ocirt.errors import step

TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
DEPTH = 32  # nothing that the specification knows is nested deeper; pointers are not kept beyond


def explained(raw: bytes, name: str, error: BaseException) -> str:
    """One line "NAME:LINE:COL: …" on why load.parse refused a text with `error`."""
    if raw.startswith(b"\xef\xbb\xbf"):
        return f"{name}:1:1: begins with a byte order mark; save the file as UTF-8 without one"
    if isinstance(error, UnicodeDecodeError):
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return f"{name}:1:1: is UTF-16, must be UTF-8"
        sound = raw[: error.start]
        column = len(sound.rpartition(b"\n")[2].decode()) + 1
        return f"{name}:{sound.count(10) + 1}:{column}: byte 0x{raw[error.start]:02x} is not UTF-8"
    text = raw.decode()
    if not text.strip(" \t\n\r"):
        return f"{name}:1:1: the file is empty"
    offset, why = _fault(text)
    before = text[:offset]
    return f"{name}:{before.count(chr(10)) + 1}:{offset - (before.rfind(chr(10)) + 1) + 1}: {why}"


def _fault(text: str) -> tuple[int, str]:
    """Offset and reason of the first fault, be it of syntax or of a number."""
    number = _bad_number(text)
    try:
        # numbers stay texts: too long a one must not stop the search for a fault ahead of it
        json.loads(text, parse_int=str, parse_float=str)
    except json.JSONDecodeError as fault:
        if number is None or fault.pos <= number[0]:
            before = text[: fault.pos].rstrip(" \t\n\r")
            ended = {"}": "object", "]": "array"}.get(text[fault.pos : fault.pos + 1])
            if before.endswith(",") and ended:  # Python 3.13 finds it by itself, and in these words
                return len(before) - 1, f"illegal trailing comma before end of {ended}"
            return fault.pos, fault.msg[:1].lower() + fault.msg[1:].removesuffix(" at")
    except RecursionError:
        return 0, "arrays and objects are nested too deep"
    return number or (0, "is not JSON")


def _bad_number(text: str) -> tuple[int, str] | None:
    for match in TOKEN.finditer(text):
        symbol = match[0]
        if symbol in ("NaN", "Infinity", "-Infinity"):
            return match.start(), f"{symbol} is not JSON"
        if symbol[0] in "-0123456789":
            if len(symbol) > 4000 and symbol.lstrip("-").isdigit():
                return match.start(), f"a number of {len(symbol)} digits is too long"
            try:
                if float(symbol) - float(symbol) != 0:
                    return match.start(), f"{symbol} is too large for a number"
            except (ValueError, OverflowError):
                continue
    return None


class Lines:
    """The line of every value of a JSON text, by its JSON pointer.

    lines        pointer → line from 1, of a member's name or an array's entry
    duplicates   (pointer, line) of every name that occurs again in its object
    """

    def __init__(self, raw: bytes) -> None:
        self.lines: dict[str, int] = {}
        self.duplicates: list[tuple[str, int]] = []
        try:
            self._scan(raw.decode())
        except (UnicodeDecodeError, ValueError, IndexError):
            # the API checks documents that come from no text at all
            self.lines.clear()

    def find(self, pointer: str) -> int:
        """The line of the value, or of the nearest one around it; 0 where unknown."""
        while pointer and pointer not in self.lines:
            pointer = pointer.rpartition("/")[0]
        return self.lines.get(pointer, 0)

    def _scan(self, text: str) -> None:
        """Walks the symbols with a stack of the containers around: no recursion, whatever the depth."""
        stack: list[_Open] = []
        line, last = 1, 0
        for match in TOKEN.finditer(text):
            line += text.count("\n", last, match.start())
            last = match.start()
            symbol = match[0]
            if symbol in ("}", "]"):
                stack.pop()
            elif symbol == ",":
                stack[-1].next()
            elif symbol != ":":
                self._value(symbol, line, stack)

    def _value(self, symbol: str, line: int, stack: list[_Open]) -> None:
        inside = stack[-1] if stack else None
        if inside and inside.wants_name:
            inside.wants_name = False
            if len(stack) < DEPTH:
                self._name(inside, json.loads(symbol), line)
            return
        pointer = f"{inside.pointer}/{inside.step}" if inside and len(stack) < DEPTH else ""
        if (inside is None or inside.array) and len(stack) < DEPTH:
            self.lines[pointer] = line
        if symbol in ("{", "["):
            stack.append(_Open(pointer, symbol == "["))

    def _name(self, inside: _Open, name: str, line: int) -> None:
        inside.step = step(name)
        pointer = f"{inside.pointer}/{inside.step}"
        if pointer in self.lines:
            self.duplicates.append((pointer, line))
        self.lines[pointer] = line


class _Open:
    """A container whose end is still to come: its pointer, and the step to the value that is next."""

    def __init__(self, pointer: str, array: bool) -> None:
        self.pointer, self.array = pointer, array
        self.wants_name = not array
        self.step: str | int = 0

    def next(self) -> None:
        if isinstance(self.step, int):
            self.step += 1
        self.wants_name = not self.array
