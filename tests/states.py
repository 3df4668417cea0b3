"""Containers' state directories as `create` makes them, without a container."""

from __future__ import annotations

import os

from ocirt.container import place, state
from ocirt.container.performer import Performer
from ocirt.linux._kernel import lib
from ocirt.plan import host_ops
from tests.oracle import records


def claim(root: str, container_id: str) -> int:
    """Take the id: the fd of its directory, locked and marked. Raises what `create` does."""
    performer = Performer(root, container_id, "/bundle")
    try:
        performer.perform([host_ops.claim("", root, container_id)])
        fd = int(performer.numbers[lib.PERFORM_DIRECTORY])
        performer.numbers[lib.PERFORM_DIRECTORY] = -1
    finally:
        performer.close()
    return fd


def write(directory: int, found: state.State) -> None:
    """Write it, whatever it is, as the C does."""
    place.replace_file(directory, place.MARK, records.mark(found))
    place.replace_file(directory, state.STATE, records.encode(found))
    os.fchmod(directory, state.PLAIN)
