"""Reads a bundle's config.json: bytes → plain dict, by the C scanner alone.

What the document means is left to check.py; where a syntax error is, to syntax.py.
"""

from __future__ import annotations

import posix
from _json import make_scanner

from ocirt.config.lenient import drop_nulls, settle
from ocirt.errors import BundleError
from ocirt.linux.consts import S_IFCHR, S_IFIFO, S_IFMT, S_IFREG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "config.json"
LIMIT = 64 << 20  # bytes; a config.json of 64 MiB is a mistake or an attack
BLANK = " \t\n\r"  # RFC 8259, section 2
FILES = (S_IFREG,)
STREAMS = (S_IFREG, S_IFIFO, S_IFCHR)


class NotANumber(ValueError):
    """NaN, an infinity, or a number that a double cannot hold: JSON has none of them."""


def _constant(name: str) -> float:
    raise NotANumber(name)


def _float(text: str) -> float:
    number = float(text)
    if number - number != 0:  # only an infinity: 1e999
        raise NotANumber(text)
    return number


class _Scanning:
    """What the C scanner asks of a decoder; the defaults of json.JSONDecoder but for the numbers."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    array_hook = None
    parse_float = staticmethod(_float)
    parse_int = int
    parse_constant = staticmethod(_constant)


def load(bundle: str, config: str | None = None, *, strict: bool = False) -> tuple[dict[str, Any], bytes]:
    """The parsed config.json of a bundle, and its bytes.

    bundle    the bundle's directory
    config    a file to read in place of <bundle>/config.json, relative to the working directory
    strict    as it is written, without what lenient.py makes of it

    Duplicate names: the last one wins. Raises BundleError where the file cannot be read, is no regular file, is larger
    than 64 MiB, is not UTF-8 or not JSON (RFC 8259), or does not hold an object.
    """
    path = f"{bundle}/{NAME}" if config is None else config
    raw = read(path, stream=config is not None)
    return of(raw, path, strict=strict), raw


def of(raw: bytes, path: str, *, strict: bool = False) -> dict[str, Any]:
    """What the bytes of a config stand for. Raises BundleError as `load`."""
    doc = (parse if strict else settled)(raw, path.rpartition("/")[2])
    if type(doc) is not dict:
        raise BundleError(f'"{path}" must hold a JSON object')
    return doc


def settled(raw: bytes, name: str) -> object:
    """What the text of a config stands for, as lenient.py takes it. Raises as `parse`."""
    doc = without_nulls(raw, name)
    if type(doc) is dict:
        settle(doc)
    return doc


def without_nulls(raw: bytes, name: str) -> object:
    """As `parse`, but a member that is null is absent (lenient.py)."""
    doc = parse(raw, name)
    # most have none but those of "/dev/null", which a quotation mark follows
    if raw.count(b"null") != raw.count(b'null"'):
        drop_nulls(doc)
    return doc


def read(path: str, *, stream: bool = False) -> bytes:
    """The bytes of a regular file of at most 64 MiB; with `stream` of a pipe or terminal too. Raises BundleError."""
    try:
        # a fifo in the bundle must not stop the runtime; one that the command names is waited for
        wait = 0 if stream else posix.O_NONBLOCK
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOCTTY | wait)
        try:
            return _read_all(fd, path, STREAMS if stream else FILES)
        finally:
            posix.close(fd)
    except OSError as error:
        raise BundleError(f'cannot read "{path}": {posix.strerror(error.errno or 0).lower()}') from None
    except ValueError:
        raise BundleError(f"cannot read {path!r}: the path has a nul byte") from None


def _read_all(fd: int, path: str, kinds: tuple[int, ...]) -> bytes:
    status = posix.fstat(fd)
    if status.st_mode & S_IFMT not in kinds:
        what = "not a regular file" if kinds is FILES else "neither a regular file nor a pipe"
        raise BundleError(f'"{path}" is {what}')
    if status.st_size > LIMIT:
        raise BundleError(f'"{path}" is larger than {LIMIT >> 20} MiB')
    blocks = [posix.read(fd, status.st_size + 1)]
    size = len(blocks[0])
    while block := posix.read(fd, 1 << 16):
        blocks.append(block)
        size += len(block)
        if size > LIMIT:
            raise BundleError(f'"{path}" is larger than {LIMIT >> 20} MiB')
    return b"".join(blocks)


def parse(raw: bytes, name: str = "config.json") -> object:
    """The value that a JSON text stands for. `name` is the file's name for messages.

    Raises BundleError with line and column, both from 1.
    """
    try:
        text = raw.decode()
        start = len(text) - len(text.lstrip(BLANK))
        doc, end = make_scanner(_Scanning)(text, start)  # type: ignore[arg-type]
        if text[end:].strip(BLANK):
            raise ValueError("more follows")
    except RecursionError:
        raise BundleError(f"{name}: arrays and objects are nested too deep") from None
    except (ValueError, StopIteration, SystemError) as error:
        # SystemError: until Python 3.12 the scanner has no error to raise where json.decoder is not loaded
        from ocirt.config.syntax import explained

        raise BundleError(explained(raw, name, error)) from None
    return doc
