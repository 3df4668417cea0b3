"""The log of the host: --log=journald:NAME and --log=syslog:NAME, which crun has too, and warnings. Cold."""

from __future__ import annotations

import os
import socket

PRIORITIES = {"error": 3, "warning": 4, "debug": 7}  # syslog(3)
FACILITY = 1 << 3  # LOG_USER

JOURNAL = "/run/systemd/journal/socket"
SYSLOG = "/dev/log"


def send(log: str, level: str, message: str) -> None:
    """Send one line without control characters to the log that `log` names, "journald:NAME". Raises OSError."""
    backend, _, name = log.partition(":")
    path, words = (JOURNAL, _journal) if backend == "journald" else (SYSLOG, _syslog)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as out:
        out.sendto(words(name or "ocirt", PRIORITIES[level], message).encode("utf-8", "replace"), path)


def note(message: str) -> None:
    """Send a warning to syslog, else to the journal; on a host without either nobody is told."""
    for log in ("syslog:", "journald:"):
        try:
            send(log, "warning", message)
        except OSError:
            continue
        return


def _journal(name: str, priority: int, message: str) -> str:
    """The journal's own protocol, a field on each line; ID is what crun calls the name."""
    return f"PRIORITY={priority}\nSYSLOG_IDENTIFIER={name}\nID={name}\nMESSAGE={message}\n"


def _syslog(name: str, priority: int, message: str) -> str:
    """RFC 3164 without time and host, which the receiver of a local message adds."""
    return f"<{FACILITY | priority}>{name}[{os.getpid()}]: {message}"
