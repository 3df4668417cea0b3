"""What perform/cgroup.c and limit.c do, in Python, step by step: the oracle that they are compared with."""

from __future__ import annotations

import posix
from collections.abc import Callable, Iterator, Sequence
from errno import EBUSY, EINVAL, ENOENT, EPERM
from typing import Any

from ocirt import cgroup
from ocirt.cgroup import devices, tree
from ocirt.cgroup.access import LACKING, _does_without
from ocirt.cgroup.v2 import _keeps
from ocirt.errors import SystemCallError, UnsupportedError, failed
from ocirt.linux import calls

DEFAULT_PARENT = cgroup.DEFAULT_PARENT
TRIES = 20  # against others who change the device programs of the same cgroup
CPUSET = "/cpuset.cpu_exclusive"


def missing(paths: Sequence[str]) -> list[str]:
    """Return the directories that `make` would make, children before parents, to be recorded ahead of it.

    The default parent is always among them, for a container that found it there may be the last to leave it. One of
    `paths` that is not among them was there before: if the runtime dies before `make` has refused a cgroup in use, its
    processes may be anybody's, and only those of paths that are among them may be killed.
    """
    found: list[str] = []
    for path in paths:
        directory = path
        while directory and not posix.access(directory, posix.F_OK):
            found.append(directory)
            directory = tree.parent(directory)
        _claim_default_parent(path, found)
    return found


def make(path: str, made: list[str], pid: int = 0) -> bool:
    """Make the cgroup `path` and its parents, and add them to `made`; False where the hierarchy is not ours to write.

    `pid` may be in it already. Raises ContainerError where it holds other processes, SystemCallError.
    """
    try:
        new = make_directories(path, made)
    except OSError as error:
        if error.errno in tree.DENIED and tree.not_ours(path):
            return False
        raise failed(f'mkdir "{path}"', error) from None
    if not new:
        cgroup.refuse_used(path, pid)
    return True


def make_directories(path: str, made: list[str]) -> bool:
    """Make `path` and the parents that it lacks; False if it was there. Raises OSError.

    What was made is appended to `made`, parents before children, even where an error follows. No check comes before
    mkdir, so that nothing can change between the two; a parent that another runtime removes meanwhile, because it
    became empty, is made again.
    """
    todo = [path]
    for _ in range(4096):
        try:
            posix.mkdir(todo[-1], 0o755)
        except FileExistsError:
            if len(todo) == 1:
                return False
            todo.pop()
        except FileNotFoundError:
            above = tree.parent(todo[-1])
            if not above:
                raise
            todo.append(above)
        else:
            made.append(todo.pop())
            if not todo:
                return True
    raise FileNotFoundError(ENOENT, "its parents vanish as often as they are made", path)


def claimed(made: list[str], paths: Sequence[str]) -> list[str]:
    """`made`, and the default parents of `paths`: those were there before, and are removed by whoever leaves last."""
    found = list(made)
    for path in paths:
        _claim_default_parent(path, found)
    return found


def opened(path: str) -> int:
    """Open a v2 cgroup for clone3(2) to make a process in, the caller's to close; -1 for one that `make` passed over.

    Raises SystemCallError.
    """
    return _open(path, tree.DIRECTORY)


def entrance(path: str) -> int:
    """Open the file by which a process enters the v1 cgroup `path` by itself; as `opened`."""
    return _open(path + "/tasks", posix.O_WRONLY)


def attach(paths: Sequence[str], pid: int) -> None:
    """Move process `pid`, with all its threads, into each cgroup that `make` could make. Raises SystemCallError."""
    text = b"%d" % pid
    for path in paths:
        procs = path + "/cgroup.procs"
        try:
            tree.write(procs, text)
        except OSError as error:
            if not (error.errno in {ENOENT, *tree.DENIED} and tree.not_ours(procs)):
                from ocirt.cgroup import refusals

                raise refusals.moving(path, pid, error) from None


def _open(path: str, flags: int) -> int:
    try:
        return posix.open(path, flags)
    except OSError as error:
        if error.errno in {ENOENT, *tree.DENIED} and tree.not_ours(path):
            return -1
        raise failed(f'open "{path}"', error) from None


def _claim_default_parent(path: str, made: list[str]) -> None:
    above = tree.parent(path)
    if above.endswith(f"/{DEFAULT_PARENT}") and above not in made:
        made.append(above)


def inherit_cpuset(path: str) -> None:
    """Give `path`, if it is in a cpuset hierarchy, and each empty cgroup above it, the cpus and mems of its parent.

    Without, no process can enter: ENOSPC. A value that is set is kept. Raises SystemCallError.
    """
    if posix.access(path + CPUSET, posix.F_OK):
        for name in ("/cpuset.cpus", "/cpuset.mems"):
            try:
                _inherit(path, name)
            except OSError as error:
                if error.errno not in tree.DENIED:
                    raise failed(f'copy cpuset to "{path}{name}"', error) from None


def _inherit(path: str, name: str) -> None:
    empty: list[str] = []
    while not (value := tree.read(path + name).strip()):
        empty.append(path)
        path = tree.parent(path)
    for directory in reversed(empty):
        tree.write(directory + name, value)


def enable_controllers(mount: str, path: str) -> None:
    """Hand all controllers of the hierarchy at `mount` down to `path`.

    All, not those alone that a limit asks for: engines read what a container uses from each. What cannot be enabled is
    missed by the limit that needs it, if there is one; why_lacking has the words.
    """
    try:
        wanted = tree.read(mount + "/cgroup.controllers").split()
        if not set(wanted).difference(tree.read(path + "/cgroup.controllers").split()):
            return
        for directory in _above(mount, path):
            _enable(directory)
    except OSError:
        pass  # a hierarchy that is not the runtime's to read has no limits to be set


def _above(mount: str, path: str) -> Iterator[str]:
    """The cgroups above `path`, from the root of the hierarchy on."""
    directory = mount
    for name in path[len(mount) + 1 :].split("/"):
        yield directory
        directory += "/" + name


def _enable(directory: str) -> None:
    """Hand down what `directory` has; each by itself where all at once are refused. Raises OSError."""
    enabled = tree.read(directory + "/cgroup.subtree_control").split()
    lacking = [b"+" + name for name in tree.read(directory + "/cgroup.controllers").split() if name not in enabled]
    for text in (b" ".join(lacking), *lacking) if lacking and not _keeps(directory) else ():
        try:
            tree.write(directory + "/cgroup.subtree_control", text)
        except OSError:
            continue
        if text == b" ".join(lacking):
            return


def replace_device_program(path: str, code: bytes) -> None:
    """Make `code` the one device program of `path`; there is no moment without any. Raises OSError, SystemCallError."""
    with calls.Fd(posix.open(path, tree.DIRECTORY)) as cgroup, calls.load_device_program(code) as program:
        for _ in range(TRIES):
            if _swap(cgroup, program):
                return
    raise SystemCallError(f'change the device program of "{path}", which others change all the time', EBUSY)


def _swap(cgroup: calls.Fd, program: calls.Fd) -> bool:
    """A single program is replaced in one step; several are taken off when the new one is there, for all must agree."""
    before = calls.device_programs(cgroup)
    try:
        if len(before) == 1:
            with calls.open_program(before[0]) as old:
                calls.attach_device_program(cgroup, program, old)
            return True
        calls.attach_device_program(cgroup, program, None)
        for number in before:
            with calls.open_program(number) as old:
                calls.detach_device_program(cgroup, old)
    except SystemCallError as error:
        if error.errno != ENOENT:
            raise
        return False
    return True


def write_rules(path: str, file: str, lines: Sequence[str], fields: Sequence[str], asked: int) -> None:
    """Write lines, each of which comes from the field beside it, to a file of the v1 cgroup `path`.

    `asked`: whether the config denies anything. Raises UnsupportedError and SystemCallError, which name the rule.
    """
    text, pointer = "", devices.POINTER
    try:
        fd = posix.open(f"{path}/{file}", posix.O_WRONLY | posix.O_CLOEXEC)
        try:
            for text, pointer in zip(lines, fields, strict=True):  # noqa: B007 - the last one is the one that failed
                posix.write(fd, text.encode())
        finally:
            posix.close(fd)
    except OSError as error:
        # EPERM comes from a write, for a device that the cgroup above may not use: others may be written by then.
        nobodys = not asked and error.errno != EPERM and tree.not_ours(path)
        if not _does_without(path, error.errno or 0, nobodys):
            what = f'write "{text}" to' if text else "open"
            raise failed(f'{what} "{path}/{file}"', error).at(pointer) from None


def load_program(path: str, program: bytes, asked: int) -> None:
    """Let a program of v2 decide about the devices of the cgroup `path`; as `write`."""
    try:
        replace_device_program(path, program)
    except (OSError, SystemCallError) as error:
        number = error.errno or 0
        if number in LACKING:
            if asked:
                text = f"the kernel lacks eBPF programs for devices ({error})"
                raise UnsupportedError(text, devices.POINTER) from None
        elif not _does_without(path, number, not asked):
            failure = error if isinstance(error, SystemCallError) else failed(f'open "{path}"', error)
            raise failure.at(devices.POINTER) from None


def in_any_order(todo: Sequence[Any], write: Callable[[Any], None]) -> tuple[Any, OSError] | None:
    """Write in order; what is refused as EINVAL is tried again after the others, as long as any of them goes through.

    Values depend on each other: memory with swap, quota with period and burst, idle with weight. Which has to be
    changed first depends on what is set now, and the kernel knows. Returns the first of those that are refused in the
    end. Raises what `write` does for any other reason.
    """
    while todo:
        refused: list[tuple[Any, OSError]] = []
        for one in todo:
            try:
                write(one)
            except OSError as error:
                if error.errno != EINVAL:
                    raise
                refused.append((one, error))
        if refused and len(refused) == len(todo):
            return refused[0]
        todo = [one for one, _ in refused]
    return None
