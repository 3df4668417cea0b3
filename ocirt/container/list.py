"""All containers below a state root. Entries of other runtimes, and those that vanish meanwhile, are passed over."""

from __future__ import annotations

import posix

from ocirt.container import state
from ocirt.errors import ContainerError, ContainerNotFound, InvalidID, OcirtError, failed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


def containers(root: str, note: Callable[[str], None] | None = None) -> list[dict[str, Any]]:
    """The state of each container, by id. One that cannot be read is passed over; `note` is told why.

    Raises SystemCallError when the root cannot be read; one that does not exist holds nothing.
    """
    try:
        names = sorted(posix.listdir(root))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise failed(f'list "{root}"', error) from None
    found = []
    for name in names:
        try:
            found.append(state.public(root, name))
        except (ContainerNotFound, InvalidID):
            pass  # another runtime's, or deleted since
        except OcirtError as error:
            if note:
                note(str(error))
    return found


def refuse_shared(root: str, cgroups: Sequence[str], container_id: str) -> None:
    """Raise ContainerError where another container of this root, running or not, has one of these cgroups."""
    for name in posix.listdir(root):
        try:
            taken = [path for path in state.read(root, name).cgroups if path in cgroups]
        except OcirtError:
            continue
        if taken and name != container_id:
            raise ContainerError(f'cgroup "{taken[0]}" is that of container "{name}", delete it first')
