"""`ocirt explain --kept`: whether a launch of the bundle can be kept, what it leaves open, and what is kept."""

from __future__ import annotations

import posix
from typing import TYPE_CHECKING, Any

from ocirt.cli.log import printable
from ocirt.cli.output import say, say_json
from ocirt.container import launches, launches_create, place
from ocirt.errors import OcirtError
from ocirt.plan import holes

if TYPE_CHECKING:
    from ocirt.container.creation import Creation

CLASSES = {
    "a": "an absolute path",
    "r": "a relative path",
    "n": "a name",
    "s": "a program, by path",
    "w": "a program, by name",
    "x": "any text",
    "e": "the value of a variable",
    "t": "any text",
}


def run(creation: Creation, as_json: bool) -> int:
    """Print it; return 0. `creation` is compiled."""
    why, found = "", []
    try:
        found = launches.shape_of(creation.given.raw)[1]
        launches_create.compiled(creation, found)
    except (holes.Unkeepable, OcirtError, ValueError) as error:
        why = str(error)
    counts = counted(creation.root)
    if as_json:
        open_ = [{"pointer": pointer, "class": CLASSES[letter]} for letter, pointer in found]
        say_json({"keepable": not why, "reason": why, "holes": open_, **counts})
        return 0
    lines = [f"Compiled each time: {printable(why)}." if why else "Can be kept. Left open:"]
    if not why:
        lines += [f"    {printable(pointer)}: {CLASSES[letter]}" for letter, pointer in found]
    numbers = "{launches}, carried out {uses} times; {misses} compiled".format(**counts)
    lines.append(f"Kept in {creation.root}/{launches.DIRECTORY}: {numbers}.")
    say("\n".join(lines))
    return 0


def counted(root: str) -> dict[str, Any]:
    """How many launches are kept below a state root, how often they were carried out, how many were compiled."""
    found = {"launches": 0, "uses": 0, "misses": 0}
    try:
        directory = launches.open_directory(root)
    except (OSError, OcirtError):
        return found
    try:
        for name in posix.listdir(directory):
            try:
                data = place.read_file(directory, name, launches.SIZE_MAX)
            except (OSError, OcirtError, ValueError):
                continue
            if name == launches.MISSES:
                found["misses"] = int.from_bytes(data, "little")
            elif name.endswith(".launch") and len(data) >= launches.HEAD.size:
                found["launches"] += 1
                found["uses"] += launches.HEAD.unpack_from(data)[-1]
    finally:
        posix.close(directory)
    return found
