"""Container ids: what they may look like."""

from __future__ import annotations

from ocirt.errors import InvalidID

ALLOWED = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-"
LIMIT = 255  # NAME_MAX of limits.h: the id is the name of a directory


def check_id(text: str) -> str:
    """Return `text`, an id of `[A-Za-z0-9_+.-]`, 1 to 255 bytes, not "." or ".."; else raises InvalidID."""
    if not text:
        raise InvalidID("the container ID is empty")
    if len(text) > LIMIT:
        raise InvalidID(f"the container ID has {len(text)} characters, at most {LIMIT} are allowed")
    if wrong := text.strip(ALLOWED) or text.translate(_DROP):
        raise InvalidID(f'container ID {text!r}: {wrong[0]!r} is not a letter, a digit or one of "_+.-"')
    if text in {".", ".."}:
        raise InvalidID(f'container ID "{text}" is the name of a directory')
    return text


_DROP = dict.fromkeys(map(ord, ALLOWED))
