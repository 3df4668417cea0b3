"""What a `create` or `run` that failed has made is removed again; packed, for descriptors may be what has run out."""

from __future__ import annotations

import posix

from ocirt import cgroup, notes
from ocirt.container import announce, delete, hooks, state
from ocirt.container.prepare import remove_groups
from ocirt.errors import OcirtError
from ocirt.linux._kernel import lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocirt.container.creation import Creation


def undo(creation: Creation) -> None:
    """Remove all of it; a failure to remove one thing does not keep the others."""
    p = creation.performer
    p.performance.end()  # lets go of its descriptors too: they may be what has run out
    if not hasattr(creation, "host") and p.numbers[lib.PERFORM_DIRECTORY] >= 0:
        _undo_unread(creation)
        return
    if p.numbers[lib.PERFORM_RECORDED]:
        for step in _steps(creation):
            try:
                step()
            except OcirtError as failure:  # the one that led here is the one to report
                notes.warn(f'container "{creation.container_id}": not removed: {failure}')
    if p.numbers[lib.PERFORM_PID_FILE]:
        announce.unlink(creation.host.pid_file)
    directory = p.numbers[lib.PERFORM_DIRECTORY]
    if directory >= 0 and posix.fstat(directory).st_nlink:
        state.remove(creation.root, creation.container_id, directory)


def _undo_unread(creation: Creation) -> None:
    """What the launcher had begun, where there was something in the way of taking it over."""
    p = creation.performer
    if p.numbers[lib.PERFORM_PID_FILE] and creation.options.pid_file:
        announce.unlink(creation.options.pid_file)
    p.performance.close()  # the lock with it
    try:
        delete.delete(creation.root, creation.container_id, force=True)
    except OcirtError as failure:
        notes.warn(f'container "{creation.container_id}": not removed: {failure}')


def _steps(creation: Creation) -> list[Any]:
    """What the state names; of the cgroups only those made here: what was there before is somebody else's."""
    p = creation.performer
    made = p.performance.made()
    own = [path for path in creation.host.cgroups.paths if path in made]
    steps: list[Any] = [
        lambda: cgroup.kill(own),
        lambda: cgroup.remove(own, made=made),
        lambda: remove_groups(creation.host.words, p.numbers[lib.PERFORM_DIRECTORY], "-+"),
        lambda: _poststop(creation),
    ]
    if p.scope and p.scope.ours and p.scope.asked:
        steps.insert(1, p.scope.stop)
    return steps


def _poststop(creation: Creation) -> None:
    """runtime.md, lifecycle: a failed hook leads to step 12 and 13, poststop's."""
    p = creation.performer
    if p.numbers[lib.PERFORM_HOOKS_RAN]:
        found = creation.config["hooks"].get("poststop")
        hooks.run_poststop(creation.container_id, found, creation.bundle, p.document("stopped", 0))
