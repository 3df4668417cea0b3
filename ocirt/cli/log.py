"""How an error reaches people and engines: lines on standard error, one record in the log file. Cold.

Engines read both: containerd the last record of the log, podman the log as exactly one JSON document, conmon and
buildah standard error. So there is one record for one failure and nothing but the failure on standard error.
"""

from __future__ import annotations

import json
import os
import time
import traceback

from ocirt.cli.main import HOST_LOGS, STDERR
from ocirt.cli.output import write_all
from ocirt.errors import ConfigError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.cli.main import Global

LONGEST = 1200  # characters of a line; a hook's output (MSG_TEXT_MAX of wire.h) fits


def report(globals_: Global, error: BaseException) -> None:
    """Print `error` on standard error and, with --log, append one record; raises OSError without a standard error."""
    found = lines(error)
    if globals_.log in STDERR:
        write_all(2, format_record(globals_.log_format, "error", "; ".join(found)))
        return
    complaints = _record(globals_, "error", "; ".join(found)) if globals_.log else []
    text = [f"ocirt: {line}" for line in found + complaints] + _after(error)
    write_all(2, "".join(f"{line}\n" for line in text).encode())
    if globals_.debug and not isinstance(error, UsageError):
        _tell_traceback(globals_, error)


def tell(globals_: Global, text: str) -> None:
    """Say `text` at debug level, to the log or else to standard error; nothing without --debug."""
    if not globals_.debug:
        return
    text = printable(text)
    if not globals_.log or globals_.log in STDERR or _record(globals_, "debug", text):
        _mention(format_record(globals_.log_format, "debug", text))


def warn(globals_: Global, text: str) -> None:
    """Say `text` as a warning: with --debug or --log-level as `tell`, else to the system's log and to a terminal.

    Not to an engine's log, which Podman reads as one JSON document, nor to its standard error, which may be the
    container's or part of what it parses.
    """
    text = printable(text)
    if not (globals_.warnings or globals_.log.startswith(HOST_LOGS)):
        from ocirt.cli import hostlog

        hostlog.note(text)
        if os.isatty(2):
            _mention(f"ocirt: warning: {text}\n".encode())
        return
    if not globals_.log or globals_.log in STDERR or _record(globals_, "warning", text):
        _mention(f"ocirt: warning: {text}\n".encode())


def _mention(text: bytes) -> None:
    """Write to standard error; without one nobody is told: a warning changes nothing else (runtime.md "Warnings")."""
    try:
        write_all(2, text)
    except OSError:
        pass


def lines(error: BaseException) -> list[str]:
    """Return what to say of `error`, a line for each problem, without control characters."""
    if isinstance(error, ConfigError):
        return [shortened(printable(str(problem))) for problem in error.problems] or ["config.json is invalid"]
    return [shortened(printable(_words(error)))]


def shortened(text: str) -> str:
    """Cut the middle out of a line that repeats more of its input than a person reads: reasons stand at the end."""
    if len(text) <= LONGEST:
        return text
    left, right = text[: LONGEST // 2], text[-LONGEST // 2 :]
    return f"{left} [{len(text) - len(left) - len(right)} characters left out] {right}"


def printable(text: str) -> str:
    """Escape what could break a line apart or drive a terminal: ids, paths and config strings are others' input."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def format_record(log_format: str, level: str, message: str) -> bytes:
    """Return one line for the log file; `time` is RFC 3339 with a zone, without which containerd drops the record."""
    now = time.time_ns()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9)) + f".{now % 10**9:09}Z"
    if log_format == "json":
        return json.dumps({"level": level, "msg": message, "time": stamp}).encode() + b"\n"
    return f'time="{stamp}" level={level} msg={json.dumps(message, ensure_ascii=False)}\n'.encode()


def _words(error: BaseException) -> str:
    from ocirt.errors import OcirtError

    if isinstance(error, UsageError):
        return f"{error.verb}: {error}" if error.verb else str(error)
    if isinstance(error, OcirtError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        where = f'"{os.fsdecode(error.filename)}": ' if isinstance(error.filename, (str, bytes)) else ""
        return where + error.strerror.lower()
    if isinstance(error, ImportError):
        return f"the installation is incomplete: {error}"
    known = {KeyboardInterrupt: "interrupted", MemoryError: "out of memory", RecursionError: "nested too deeply"}
    return known.get(type(error)) or f"internal error: {type(error).__name__}: {error}"


def _after(error: BaseException) -> list[str]:
    if not isinstance(error, UsageError):
        return []
    from ocirt.cli.help import usage

    command = f"ocirt {error.verb}" if error.verb else "ocirt"
    return [usage(error.verb), f"more: {command} --help"]


def _record(globals_: Global, level: str, message: str) -> list[str]:
    """Put one record into the log; return complaints where that cannot be done."""
    try:
        if globals_.log.startswith(HOST_LOGS):
            from ocirt.cli import hostlog

            hostlog.send(globals_.log, level, message)
        else:
            _append(globals_.log, format_record(globals_.log_format, level, message))
    except (OSError, ValueError) as error:
        reason = printable(getattr(error, "strerror", None) or str(error)).lower()
        return [f'log "{printable(globals_.log)}": {reason}']
    return []


def _append(path: str, record: bytes) -> None:
    """Append `record` in one write, so that runtimes sharing the file don't mix lines. Raises OSError, ValueError."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, 0o644)
    try:
        write_all(fd, record)
    finally:
        os.close(fd)


def _tell_traceback(globals_: Global, error: BaseException) -> None:
    for line in "".join(traceback.format_exception(type(error), error, error.__traceback__)).splitlines():
        tell(globals_, line)
