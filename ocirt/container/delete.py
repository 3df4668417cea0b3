"""Delete: everything that create made, and what a runtime killed half way has left; then the poststop hooks.

The common case is launcher/delete.c's; here is the rest: hooks, pid namespaces shared with others, frozen or stubborn
processes, leftovers, and the words of an error.
"""

from __future__ import annotations

import posix
import select

from ocirt import cgroup, notes
from ocirt.container import hooks, place, prepare, process, quick, state
from ocirt.container.ids import check_id
from ocirt.errors import ContainerError, ContainerNotFound, OcirtError, StateDamaged
from ocirt.linux.calls import Fd
from ocirt.linux.consts import SIGKILL

EXIT_DEADLINE_MS = 10_000


def delete(root: str, container_id: str, force: bool = False) -> None:
    """Remove a stopped container; with `force` kill it first, and a container that does not exist is no error.

    One whose state is damaged goes with `force`, and with it what is still known of it. A poststop hook that fails is a
    warning. Raises as state.read, ContainerError for a container that is not stopped, SystemCallError for what cannot
    be removed: deleting can be repeated then.
    """
    check_id(container_id)
    if quick.delete(root, container_id, force):
        return
    try:
        if force:
            state.sweep(root, container_id)
            _stop_first(root, container_id)
        fd = state.lock(root, container_id)
    except ContainerNotFound:
        if force:
            return
        raise
    try:
        _delete_locked(root, _known(root, container_id, fd, force), fd, force)
    except ContainerNotFound:
        if not force:
            raise
    finally:
        posix.close(fd)


def _known(root: str, container_id: str, fd: int, force: bool) -> state.State:
    """The record, or with `force` what is left of a damaged one."""
    try:
        return state.read_at(fd, container_id)
    except StateDamaged:
        if not force:
            raise
    from ocirt.container import damage

    damage.warn_of_hooks(root, container_id)
    return damage.remnant(fd, container_id)


def _stop_first(root: str, container_id: str) -> None:
    """Ahead of the lock: whoever holds it may be waiting for this very process."""
    with Fd(place.open_directory(root, container_id)) as directory:
        try:
            record = state.read_at(directory.number, container_id)
        except StateDamaged:
            return  # nobody else could do anything with it
    _stop(record)


def _delete_locked(root: str, record: state.State, fd: int, force: bool) -> None:
    if record.pid and not force:
        # Without a pid there is no process, and who was to make it would hold the lock.
        status, _ = quick.status(root, record.container_id)
        if status != "stopped":
            what = f"cannot delete a container that is {status}; stop it first, or use --force"
            raise ContainerError(f'container "{record.container_id}": {what}')
    if force:
        _stop(record)  # one that was still being made when it was looked at before
    if not (record.pid_namespace and record.pid):  # its init may hang where it does not hear that nobody makes it
        cgroup.kill(record.own_cgroups())
    if record.unit:
        _stop_unit(record)
    try:
        cgroup.remove([path for path in record.cgroups if path in record.made], made=record.made)
        prepare.remove_groups(record.python, fd, "-")
    finally:
        _run_poststop(root, record)
    state.remove(root, record.container_id, fd)


def _stop_unit(record: state.State) -> None:
    """End the unit. Without systemd to talk to it ends by itself, when its cgroup is empty: that is a warning."""
    from ocirt.cgroup import systemd

    try:
        systemd.stop(record.unit)
    except OcirtError as error:
        notes.warn(f'container "{record.container_id}": unit "{record.unit}": {error}')


def _stop(record: state.State) -> None:
    """Kill the container and wait until its first process has exited. Raises ContainerError when it does not."""
    pidfd = process.open_process(record)
    if pidfd < 0:
        return
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if not poll.poll(0) and process.send(pidfd, record.pid, SIGKILL):
            cgroup.kill(record.own_cgroups())  # the others, and the frozen, which die only when they are thawed (v1)
        if not poll.poll(EXIT_DEADLINE_MS):
            raise ContainerError(
                f'container "{record.container_id}": process {record.pid} is still there '
                f"{EXIT_DEADLINE_MS // 1000} s after SIGKILL"
            )
    finally:
        posix.close(pidfd)


def _run_poststop(root: str, record: state.State) -> None:
    """runtime.md, lifecycle, step 13: each hook runs, whatever becomes of the others; failures are warnings."""
    if "poststop" not in record.python.split() or not (record.pid or record.phase == "created"):
        return  # where no pid was recorded the runtime was killed before any hook had run
    from ocirt.container.start import recorded_hooks

    try:
        found = recorded_hooks(root, record, "poststop")
    except OcirtError as error:
        hooks.warn_not_run(record.container_id, str(error))
        return
    hooks.run_poststop(record.container_id, found, record.bundle, state.document(record, "stopped", 0))
