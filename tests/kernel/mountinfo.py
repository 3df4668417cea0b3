"""The mounts of a container as it sees them: proc_pid_mountinfo(5)."""

from __future__ import annotations

INFO = "cat /proc/self/mountinfo"


def entry(output: str, target: str) -> dict[str, str]:
    """The last mountinfo line of a mount point."""
    line = [line for line in output.splitlines() if " - " in line and line.split()[4] == target][-1]
    head, _, tail = line.partition(" - ")
    fields, after = head.split(), tail.split()
    return {
        "root": fields[3],
        "options": fields[5],
        "optional": " ".join(fields[6:]),
        "type": after[0],
        "super": after[2],
    }


def targets(output: str) -> set[str]:
    """Every mount point."""
    return {line.split()[4] for line in output.splitlines() if " - " in line}
