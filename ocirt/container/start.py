"""Start: the waiting process is executed, then come the poststart hooks. The exchange itself is launcher/quick.c's."""

from __future__ import annotations

import posix
from errno import EINVAL

from ocirt import notes
from ocirt.container import delete, hooks, place, quick, state
from ocirt.container.ids import check_id
from ocirt.errors import ContainerError, HookError, OcirtError, StateUntrusted, SystemCallError
from ocirt.linux._kernel import lib


def start(root: str, container_id: str) -> None:
    """Let the process of a created container be executed; return once it is, and poststart hooks have run.

    Raises ContainerNotFound, InvalidID, ContainerError for a container that is not created or has no process, ExecError
    or PlanError for what kept the process from being executed, HookError, SystemCallError.
    """
    check_id(container_id)
    result, report = quick.start(root, container_id)
    if result == 1:
        raise _refused(root, container_id, report)
    if result == -EINVAL:
        raise _not_created(root, container_id)
    if result < 0:
        raise SystemCallError(f'start container "{container_id}"', -result)
    _run_poststart(root, container_id)


def _run_poststart(root: str, container_id: str) -> None:
    """runtime.md, lifecycle, step 9: a failure stops and destroys the container."""
    record = state.read(root, container_id)
    if "poststart" not in record.python.split():
        return
    try:
        found = recorded_hooks(root, record, "poststart")
        hooks.run("poststart", found, record.bundle, state.document(record, "running", record.pid))
    except HookError:
        _destroy(root, container_id)
        raise


def recorded_hooks(root: str, record: state.State, kind: str) -> list[dict[str, object]]:
    """The hooks of one kind, from the config as it was at create. Raises as state.config."""
    found = state.config(root, record.container_id, locked=True).get("hooks")
    return found.get(kind) or [] if isinstance(found, dict) else []


def _not_created(root: str, container_id: str) -> OcirtError:
    status, _ = quick.status(root, container_id)
    if status == "stopped" and (report := _kept_report(root, container_id)):
        return _refused(root, container_id, report)
    if status == "created" and "noprocess" in state.read(root, container_id).python.split():
        text = f'container "{container_id}": cannot start, its config.json has no process'
        return ContainerError(text + _what_is_meant(root, container_id))
    return ContainerError(f'container "{container_id}": cannot start a container that is {status}')


def _what_is_meant(root: str, container_id: str) -> str:
    from ocirt.config import explain, load

    try:
        return explain.meant(load.load(f"{root}/{container_id}")[0], "/process")
    except OcirtError:
        return ""  # the file has gone: it is not what this error is about


def _kept_report(root: str, container_id: str) -> bytes:
    """What the init said to a quick start, which had no words for it; said once."""
    fd = state.lock(root, container_id)
    try:
        report = place.read_file(fd, "start.failure", 1 << 16)
        if not report.strip(b"\0"):  # the init has not failed
            return b""
        posix.unlink("start.failure", dir_fd=fd)
    except (OSError, ValueError, StateUntrusted):
        return b""
    finally:
        posix.close(fd)
    return report


def _refused(root: str, container_id: str, report: bytes) -> OcirtError:
    from ocirt.spawn import failures, wire

    try:
        plan = state.kept_file(root, container_id, "plan.bin", lib.PLAN_MAX * 2)
    except (OSError, ValueError, OcirtError):
        plan = b""  # the message alone says less
    error = failures.explain(wire.Message(report), plan)
    if isinstance(error, HookError):
        _destroy(root, container_id)  # runtime.md, lifecycle, step 7: a failed startContainer hook
    return error


def _destroy(root: str, container_id: str) -> None:
    try:
        delete.delete(root, container_id, force=True)
    except OcirtError as error:  # the one that led here is the one to report, and delete can be called again
        notes.warn(f'container "{container_id}": not removed: {error}')
