"""All containers below a state root. Entries of other runtimes, and those that vanish meanwhile, are passed over."""

from __future__ import annotations

import posix
from errno import ENOENT

from ocirt.container import place, state
from ocirt.errors import (
    ContainerError,
    ContainerNotFound,
    InvalidID,
    OcirtError,
    StateDamaged,
    StateUnknown,
    StateUntrusted,
    SystemCallError,
    failed,
)
from ocirt.linux.calls import Fd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


def containers(root: str, note: Callable[[str], None] | None = None) -> list[dict[str, Any]]:
    """The state of each container, by id. One that cannot be read is passed over; `note` is told why.

    One of ours whose state is not in order is there too, with a status of damage.py's. Raises SystemCallError when the
    root cannot be read, StateUntrusted; one that does not exist holds nothing.
    """
    try:
        names = sorted(_names(root))
    except SystemCallError as error:
        if error.errno == ENOENT:
            return []
        raise
    found = []
    for name in names:
        try:
            found.append(state.public(root, name))
        except (ContainerNotFound, InvalidID):
            pass  # another runtime's, or deleted since
        except (StateDamaged, StateUnknown, StateUntrusted) as error:
            from ocirt.container import damage

            found.append(damage.entry(name, error))
            if note:
                note(str(error))
        except OcirtError as error:
            if note:
                note(str(error))
    return found


def refuse_shared(root: str, cgroups: Sequence[str], container_id: str) -> None:
    """Raise ContainerError where another container of this root, running or not, has one of these cgroups."""
    for name in _names(root):
        try:
            taken = [path for path in _cgroups(root, name) if path in cgroups]
        except OcirtError:
            continue
        if taken and name != container_id:
            raise ContainerError(f'cgroup "{taken[0]}" is that of container "{name}", delete it first')


def _cgroups(root: str, name: str) -> list[str]:
    """Those of a container, of a damaged one as far as they are known. Raises as state.read."""
    try:
        return state.read(root, name).cgroups
    except StateDamaged:
        from ocirt.container import damage

        with Fd(place.open_directory(root, name)) as directory:
            return damage.remnant(directory.number, name).cgroups


def _names(root: str) -> list[str]:
    """The entries of the root. Raises SystemCallError, StateUntrusted."""
    with Fd(place.open_root(root)) as directory:
        try:
            with Fd(posix.open(".", place.OPEN_DIRECTORY, dir_fd=directory.number)) as readable:
                return posix.listdir(readable.number)
        except OSError as error:
            raise failed(f'list "{root}"', error) from None
