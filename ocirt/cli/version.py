"""`ocirt --version`: the lines that engines parse, then those for people."""

from __future__ import annotations

import os
import sys

from ocirt import __version__
from ocirt.cli.output import say
from ocirt.config.default import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.cli.main import Global
    from ocirt.cli.options import Options


def run(_globals: Global, _options: Options, _arguments: list[str]) -> int:
    """Print the version; return 0."""
    say(text())
    return 0


def text() -> str:
    """Return the lines. Docker takes the last one with the word "version" in it: there must be no second."""
    lines = [f"ocirt version {__version__}", f"commit: {commit()}", f"spec: {VERSION}"]
    lines.append("python: " + ".".join(map(str, sys.version_info[:3])))
    try:
        from ocirt.linux.seccomp import version

        lines.append(f"libseccomp: {version()}")
    except ImportError:  # built without it
        pass
    return "\n".join(lines)


def commit() -> str:
    """Return the commit that this was built from, or that the checkout is at; "unknown" where neither is told."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    try:
        return _read(os.path.join(package, "COMMIT"))
    except OSError:
        pass
    try:
        return _checked_out(os.path.join(os.path.dirname(package), ".git"))
    except OSError:
        return "unknown"


def _checked_out(git: str) -> str:
    head = _read(os.path.join(git, "HEAD"))
    if not head.startswith("ref: "):
        return head
    name = head[5:]
    try:
        return _read(os.path.join(git, name))
    except OSError:
        packed = [line.split(" ", 1) for line in _read(os.path.join(git, "packed-refs")).splitlines() if " " in line]
        return {ref: number for number, ref in packed}.get(name, "unknown")


def _read(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as file:
        return file.read().strip()
