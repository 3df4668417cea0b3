"""The C decoder of plans as a host program under sanitizers (decode.c)."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from tests.kernel import harness

SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
FLAGS = ["-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", *SANITIZERS, f"-I{harness.SOURCES}"]
HERE = Path(__file__).parent


def decode(plans: list[bytes]) -> str:
    """One character a plan: "." accepted, "x" refused."""
    program = harness.build("decode", FLAGS, [HERE / "decode.c", harness.SOURCES / "plan.c"])
    data = b"".join(struct.pack("<I", len(plan)) + plan for plan in plans)
    done = subprocess.run([program], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()
