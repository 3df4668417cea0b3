"""What perform/directory.c does, in Python: the oracle that it is compared with."""

from __future__ import annotations

import posix
from errno import ELOOP, ENOENT, ENOTDIR

from ocirt.container import place, record
from ocirt.container.ids import check_id
from ocirt.container.state import LIMIT, PLAIN, STATE, UNFINISHED, State, _take, _taken, sweep
from ocirt.errors import UnsupportedError, failed
from ocirt.linux.calls import Fd


def claim(root: str, container_id: str, into: Fd | None = None) -> int:
    """Take the id: the fd of its new directory, locked and marked. Makes the root where it is missing.

    `into` has the fd before this returns: whoever is interrupted then finds it there.
    Raises ContainerExists, InvalidID, SystemCallError, StateUntrusted for a root that is not ours alone.
    """
    check_id(container_id)
    made, fd = False, -1
    with Fd(place.open_root(root, make=True)) as directory:
        try:
            made = _mkdir(container_id, directory.number)
            fd = posix.open(container_id, place.OPEN_DIRECTORY, dir_fd=directory.number)
            if _take(fd):
                if into:
                    into.number = fd
                return fd
        except OSError as error:
            _give_up(directory.number, container_id if made else "", fd)
            if fd < 0 and error.errno in {ENOENT, ENOTDIR, ELOOP}:  # no directory; or somebody is removing it
                raise _taken(root, container_id) from None
            raise failed(f'make the state directory "{root}/{container_id}"', error) from None
        except KeyboardInterrupt:
            if into:
                into.number = -1  # it may have been handed over just now, and is closed here
            if fd >= 0:
                posix.close(fd)
            sweep(root, container_id)
            raise
    posix.close(fd)
    raise _taken(root, container_id)


def claim_into(directory: Fd, root: str, container_id: str) -> None:
    """`claim`, whose fd is in `directory` before anything can come between; interrupted, nothing is left."""
    try:
        claim(root, container_id, directory)
    except KeyboardInterrupt:
        directory.close()
        sweep(root, container_id)
        raise


def write(directory: int, state: State) -> None:
    """Write state.json, and into the mark what `delete` needs of it.

    Raises SystemCallError, UnsupportedError for one that is too large.
    """
    data = record.encode(state)
    if len(data) > LIMIT:  # nobody would read it: the container could not be deleted
        raise UnsupportedError(f"make a state of more than {LIMIT >> 20} MiB", "/annotations")
    try:
        place.replace_file(directory, place.MARK, record.mark(state))
        place.replace_file(directory, STATE, data)
        posix.fchmod(directory, PLAIN)
    except OSError as error:
        raise failed(f'write the state of container "{state.container_id}"', error) from None


def _give_up(root: int, made: str, fd: int) -> None:
    """After an error on the way of `claim`: what it has made and opened is undone, as far as that is possible."""
    try:
        if made and fd >= 0:
            place.empty(fd, [place.MARK])  # by name: there may be no descriptor left to list it with
        if fd >= 0:
            posix.close(fd)
        if made:
            posix.rmdir(made, dir_fd=root)
    except OSError:
        pass  # `delete --force` knows it by its mode


def _mkdir(name: str, root: int) -> bool:
    """Whether it was missing, and is made."""
    try:
        posix.mkdir(name, UNFINISHED, dir_fd=root)
    except FileExistsError:
        return False  # another claim was faster; or the id is taken, or left behind: _take tells
    posix.chmod(name, UNFINISHED, dir_fd=root)  # whatever the caller's umask is
    return True
