"""Container ids: why one is refused; the rule is launcher/trust.c's."""

from __future__ import annotations

from ocirt.errors import InvalidID
from ocirt.linux._kernel import lib

ALLOWED = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-"
LIMIT = 255  # NAME_MAX of limits.h: the id is the name of a directory


def check_id(text: str) -> str:
    """Return `text`, an id of `[A-Za-z0-9_+.-]`, 1 to 255 bytes, not "." or ".."; else raises InvalidID."""
    if "\0" not in text and lib.container_id_is_valid(text.encode("utf-8", "surrogateescape")):
        return text
    raise InvalidID(_reason(text))


def _reason(text: str) -> str:
    if not text:
        return "the container ID is empty"
    if len(text) > LIMIT:
        return f"the container ID has {len(text)} characters, at most {LIMIT} are allowed"
    if wrong := text.strip(ALLOWED) or text.translate(_DROP):
        return f'container ID {text!r}: {wrong[0]!r} is not a letter, a digit or one of "_+.-"'
    return f'container ID "{text}" is the name of a directory'


_DROP = dict.fromkeys(map(ord, ALLOWED))
