"""With OCIRT_TEST_KEPT=on or verify the whole suite runs over kept launches: before each create one like it is made."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

KEPT = os.environ.get("OCIRT_TEST_KEPT", "")


def can_be_made_twice(argv: Sequence[str]) -> bool:
    """Whether another container of that command is to be seen by nobody."""
    try:
        file = Path(argv[argv.index("--bundle") + 1], "config.json")
        if not file.is_file():
            return False
        text = file.read_text(errors="replace")
    except (OSError, ValueError, IndexError):
        return False
    once = ("hooks", "netDevices", "listenerPath")
    return not any(word in text for word in once) and not any("-socket" in word for word in argv)


def keep_one_like(command: list[str], other: str, **popen: Any) -> None:
    """Make one like it, and delete it again: so that the next is carried out again."""
    quiet = {**popen, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*command[:4], "on", *command[5:-1], other], check=False, timeout=60, **quiet)
    said = subprocess.run([*command[:3], "state", other], capture_output=True, check=False).stdout
    subprocess.run([*command[:3], "delete", "--force", other], check=False, **quiet)
    with contextlib.suppress(ChildProcessError, ValueError):  # a zombie that is ours would keep its pid namespace
        os.waitpid(json.loads(said)["pid"], 0)
