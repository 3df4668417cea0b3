"""What goes to standard output, all of it at once; the only writer there."""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def write_all(fd: int, data: bytes) -> None:
    """Write `data` to `fd` whole; raises OSError. A pipe may take less than it is given: write(2)."""
    while data:
        data = data[posix.write(fd, data) :]


def say(text: str) -> None:
    """Write `text` and a newline to standard output; raises OSError.

    A path that is not UTF-8 comes out as an escape of its surrogate, which is how JSON spells it too.
    """
    write_all(1, f"{text}\n".encode("utf-8", "backslashreplace"))


def say_json(document: Any) -> None:
    """Write `document` to standard output as indented JSON; raises OSError."""
    from json import dumps

    say(dumps(document, indent=2, ensure_ascii=False))
