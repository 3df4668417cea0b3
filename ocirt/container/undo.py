"""What a `create` or `run` that failed has made is removed again; packed, for descriptors may be what has run out."""

from __future__ import annotations

import posix

from ocirt import cgroup, notes
from ocirt.container import announce, hooks, state
from ocirt.container.prepare import remove_groups
from ocirt.errors import OcirtError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocirt.container.creation import Creation


def undo(creation: Creation, error: BaseException | None) -> None:
    """Remove all of it; a failure to remove one thing does not keep the others.

    `error` led here: interrupted, it may have made what was expected, and not noted it yet.
    """
    p = creation.performer
    p.init.reap()
    p.init.close()  # descriptors may be what has run out
    if not isinstance(error, KeyboardInterrupt):
        p.note_made()
    if p.recorded:
        for step in _steps(creation):
            try:
                step()
            except OcirtError as failure:  # the one that led here is the one to report
                notes.warn(f'container "{creation.container_id}": not removed: {failure}')
    if p.pid_file:
        announce.unlink(p.pid_file)
    if p.directory.number >= 0 and posix.fstat(p.directory.number).st_nlink:
        state.remove(creation.root, creation.container_id, p.directory.number)


def _steps(creation: Creation) -> list[Any]:
    """What the state names; of the cgroups only those made here: what was there before is somebody else's."""
    p = creation.performer
    record = p.record
    made = [path for path in record.cgroups if path in record.made]
    steps: list[Any] = [
        lambda: cgroup.kill(made),
        lambda: cgroup.remove(made, made=record.made),
        lambda: remove_groups(record, p.directory.number, "-+"),
        lambda: _poststop(creation),
    ]
    if p.scope and p.scope.ours and p.scope.asked:
        steps.insert(1, p.scope.stop)
    return steps


def _poststop(creation: Creation) -> None:
    """runtime.md, lifecycle: a failed hook leads to step 12 and 13, poststop's."""
    p = creation.performer
    if p.hooks_ran:
        found = creation.config["hooks"].get("poststop")
        hooks.run_poststop(creation.container_id, found, creation.bundle, p.document("stopped", 0))
