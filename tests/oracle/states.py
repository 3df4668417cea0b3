"""What perform/directory.c does, in Python: the oracle that it is compared with."""

from __future__ import annotations

import posix
from errno import ELOOP, ENOENT, ENOTDIR

from ocirt.container import announce, place
from ocirt.container.ids import check_id
from ocirt.container.state import LIMIT, PLAIN, STATE, UNFINISHED, State, _take, _taken, sweep
from ocirt.errors import UnsupportedError, failed
from ocirt.linux import calls
from ocirt.linux.calls import Fd
from tests.oracle import records


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
    data = records.encode(state)
    if len(data) > LIMIT:  # nobody would read it: the container could not be deleted
        raise UnsupportedError(f"make a state of more than {LIMIT >> 20} MiB", "/annotations")
    try:
        place.replace_file(directory, place.MARK, records.mark(state))
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


def write_pid_file(path: str, pid: int) -> None:
    """Write the pid, decimal and without newline; whoever finds the file finds it whole. Raises SystemCallError."""
    directory, _, name = path.rpartition("/")
    temporary = f"{directory}/.{name}.tmp"
    announce.unlink(temporary)  # a killed create's; or somebody's symlink to a file that is to be overwritten
    try:
        fd = posix.open(temporary, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o644)
        try:
            posix.write(fd, b"%d" % pid)
        finally:
            posix.close(fd)
        posix.rename(temporary, path)
    except OSError as error:
        announce.unlink(temporary)
        raise failed(f'write the pid file "{path}"', error) from None


def send_pidfd(path: str, pid: int) -> None:
    """Send a pidfd of the process to the unix socket at `path` (pidfd_open(2)). Raises SystemCallError."""
    with calls.Fd(posix.pidfd_open(pid)) as pidfd, calls.connect(path, "the pidfd socket") as socket:
        calls.send(socket.number, b"pidfd", [pidfd.number])
