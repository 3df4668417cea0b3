"""`ocirt ps`: → container.ps, as the rows of ps(1) that are the container's, or as JSON. Cold."""

from __future__ import annotations

import os
import shutil
import subprocess

from ocirt.cli.output import say, say_json
from ocirt.errors import OcirtError, UnsupportedError, UsageError
from ocirt.plan.process import DEFAULT_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocirt.cli.main import Global
    from ocirt.cli.options import Options


def run(globals_: Global, options: Options, arguments: list[str]) -> int:
    """Print the container's processes; return 0. Raises UsageError for an unknown format."""
    from ocirt.container.ps import pids

    form = options.get("format") or "table"
    if form not in ("table", "json"):
        raise UsageError(f'flag --format: "{form}" is not one of table, json', "ps")
    found = pids(globals_.root, arguments[0])
    if form == "json":
        say_json(found)
    else:
        words = arguments[1:] or ["-ef"]
        if len(words) == 1:  # containerd's go-runc hands all of them on as one
            words = words[0].split()
        say(table(_listing(words), found))
    return 0


def table(listing: str, pids: Sequence[int]) -> str:
    """Return the header of `listing`, which has a column PID, and the rows of `pids`. Raises OcirtError without it."""
    header, *rows = listing.splitlines() or [""]
    if "PID" not in (names := header.split()):
        raise OcirtError("ps printed no column PID, ask it for one: -o pid,…")
    column = names.index("PID")
    wanted = {str(pid) for pid in pids}
    return "\n".join([header, *(row for row in rows if wanted.intersection(row.split()[column : column + 1]))])


def _listing(arguments: list[str]) -> str:
    """What ps(1) says; of a fixed path, for engines call with hardly an environment."""
    program = shutil.which("ps", path=DEFAULT_PATH)
    if not program:
        raise UnsupportedError("this host has no ps program (package procps); --format json does without")
    # In the C locale the column has the name that is looked for.
    done = subprocess.run(
        [program, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        env=os.environ | {"LC_ALL": "C"},
    )
    output = (done.stdout or done.stderr).decode("utf-8", "replace")
    if done.returncode and not done.stdout:
        raise OcirtError(f"ps: {' '.join(output.split())}")
    return output
