"""What a `create` or `run` that failed has made is removed again; packed, for descriptors may be what has run out."""

from __future__ import annotations

import posix

from ocirt import cgroup, notes
from ocirt.container import announce, hooks, state
from ocirt.container.prepare import absolute, remove_groups
from ocirt.errors import OcirtError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocirt.container.birth import Birth


def undo(birth: Birth) -> None:
    """Remove all of it; a failure to remove one thing does not keep the others."""
    birth.init.reap()
    birth.init.close()  # descriptors may be what has run out
    if birth.recorded:
        for step in _steps(birth):
            try:
                step()
            except OcirtError as error:  # the one that led here is the one to report
                notes.warn(f'container "{birth.container_id}": not removed: {error}')
    if birth.pid_file_written:
        announce.unlink(absolute(birth.options.pid_file or ""))
    if posix.fstat(birth.directory.number).st_nlink:
        state.remove(birth.root, birth.container_id, birth.directory.number)


def _steps(birth: Birth) -> list[Any]:
    """What the state names; of the cgroups only those made here: what was there before is somebody else's."""
    record = birth.record
    steps: list[Any] = [
        lambda: cgroup.kill([path for path in record.cgroups if path in record.made]),
        lambda: cgroup.remove([path for path in birth.paths if path in record.made], made=record.made),
        lambda: remove_groups(record, birth.directory.number, "-+"),
        lambda: _poststop(birth),
    ]
    if birth.scope and birth.scope.ours and record.pid:
        steps.insert(1, birth.scope.stop)
    return steps


def _poststop(birth: Birth) -> None:
    """runtime.md, lifecycle: a failed hook leads to step 12 and 13, poststop's."""
    if birth.hooks_ran:
        found = birth.config["hooks"].get("poststop")
        hooks.run_poststop(birth.container_id, found, birth.bundle, birth.hook_state("stopped", 0))
