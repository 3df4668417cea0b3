"""The resctrl groups of a container through its life: noted down before they are made, removed when it is deleted.

The note is a file of the state directory, one path a line, the inner first: "-" before those that go with the
container, "+" before a class of service that stays, and goes only where the container could not be created.
"""

from __future__ import annotations

from ocirt.cgroup import resctrl
from ocirt.container import place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WORD = "resctrl"  # of State.python: `delete` has to look at the note
NOTE = "resctrl"


def make(directory: int, container_id: str, section: dict[str, Any]) -> None:
    """Make the groups that are missing. Raises UnsupportedError, SystemCallError; `undo` removes them."""
    groups = resctrl.Groups(section, container_id, resctrl.root())
    groups.look()
    note = "".join([f"{'-' if path in groups.removed else '+'}{path}\n" for path in groups.missing])
    place.write_file(directory, NOTE, note.encode("utf-8", "surrogateescape"))
    groups.make()


def enter(section: dict[str, Any], container_id: str, pid: int) -> None:
    """Put a process into the groups, which are there. Raises UnsupportedError, SystemCallError."""
    resctrl.Groups(section, container_id, resctrl.root()).enter(pid)


def remove(directory: int, signs: str) -> None:
    """Remove the groups that the note has with one of `signs`. Raises SystemCallError."""
    try:
        note = place.read_file(directory, NOTE, 1 << 20).decode("utf-8", "surrogateescape")
    except OSError:
        return  # killed before it was written: nothing was made
    resctrl.remove([line[1:] for line in note.split("\n") if line[:1] in signs and line])
