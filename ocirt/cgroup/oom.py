"""Who tells that memory ran out, on either version: a descriptor to poll, and what its waking means. Cold.

v1: an eventfd that cgroup.event_control ties to memory.oom_control (cgroup-v1/memory.rst, 10). v2: memory.events, which
polls as POLLPRI when one of its counts has changed (cgroup-v2.rst): no inotify is needed for one file.
"""

from __future__ import annotations

import posix
import select

from ocirt.cgroup import stats, tree
from ocirt.errors import failed
from ocirt.linux.calls import Fd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Watch:
    """Used as a context. `fd` is to be polled for `mask`, -1 where no hierarchy counts memory."""

    fd = -1
    mask = select.POLLIN

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def fired(self) -> bool:
        """Whether memory ran out since the last call."""
        return False


def watch(paths: Sequence[str]) -> Watch:
    """The watch over the container's cgroups, a silent one without the memory controller. Raises SystemCallError."""
    for path in paths:
        for kind in (Events, Control):
            if posix.access(path + kind.FILE, posix.R_OK):
                try:
                    return kind(path)
                except OSError as error:
                    raise failed(f'watch "{path}{kind.FILE}"', error) from None
    return Watch()


def kills(paths: Sequence[str]) -> int:
    """How many processes of these cgroups the OOM killer has killed; 0 where nothing counts them."""
    for path in paths:
        for kind in (Events, Control):
            try:
                counts = tree.read(path + kind.FILE).decode()
            except OSError:
                continue
            return stats.pairs(counts).get("oom_kill", 0)
    return 0


class Events(Watch):
    """v2. Of a process killed in a cgroup below, too: the counts are hierarchical."""

    FILE = "/memory.events"
    mask = select.POLLPRI

    def __init__(self, path: str) -> None:
        self._file = Fd(posix.open(path + self.FILE, posix.O_RDONLY | posix.O_CLOEXEC))
        self.fd = self._file.number
        self._kills = self._count()  # reading arms the poll as well

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def fired(self) -> bool:
        """Whether the OOM killer has killed; the file changes for other reasons, too."""
        before, self._kills = self._kills, self._count()
        return self._kills > before

    def _count(self) -> int:
        try:
            return stats.pairs(posix.pread(self.fd, 4096, 0).decode()).get("oom_kill", 0)
        except OSError:
            return 0  # ENODEV: removed


class Control(Watch):
    """v1. Told before the OOM killer acts; and when the cgroup is removed, which is no news."""

    FILE = "/memory.oom_control"

    def __init__(self, path: str) -> None:
        self._path = path
        self._event = Fd(posix.eventfd(0, posix.EFD_CLOEXEC | posix.EFD_NONBLOCK))
        self.fd = self._event.number
        try:
            with Fd(posix.open(path + self.FILE, posix.O_RDONLY | posix.O_CLOEXEC)) as control:
                tree.write(f"{path}/cgroup.event_control", b"%d %d" % (self.fd, control.number))
        except OSError:
            self._event.close()
            raise

    def __exit__(self, *_: object) -> None:
        self._event.close()

    def fired(self) -> bool:
        """Whether the eventfd was rung, and not for the end of the cgroup."""
        try:
            posix.eventfd_read(self.fd)
        except BlockingIOError:
            return False
        return posix.access(self._path, posix.F_OK)
