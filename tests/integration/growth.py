"""Python programs that use the package again and again, and may not grow by it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# What such a program begins with. measure(): its descriptors, its threads, its memory in KiB
BEGIN = """
import os, sys, ocirt

def measure():
    with open("/proc/self/status") as file:
        status = dict(line.split(":", 1) for line in file)
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), int(status["VmRSS"].split()[0])
"""


def run_program(program: str, *argv: str | Path, project: Path, seconds: float) -> None:
    """Run the program, which asserts by itself that it does not grow."""
    environment = {**os.environ, "PYTHONPATH": str(project)}
    command = [sys.executable, "-c", BEGIN + program, *argv]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=seconds)
    assert done.returncode == 0, done.stdout + done.stderr
