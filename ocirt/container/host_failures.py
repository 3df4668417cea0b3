"""What becomes of an operation of the host plan that C was refused: another way, or why it failed, in words; cold."""

# ruff: noqa: PLR0913, PLR0917 - another way takes the arguments of the operation

from __future__ import annotations

import posix
from errno import E2BIG, EBUSY, ECONNRESET, EEXIST, ENOTEMPTY, EOVERFLOW, EPROTO, EREMOTEIO, ETIMEDOUT
from typing import TYPE_CHECKING

from ocirt import cgroup
from ocirt.cgroup import access, refusals, v1, v2
from ocirt.cgroup.host_steps import RESOURCES
from ocirt.cgroup.resources import in_config
from ocirt.container import state
from ocirt.errors import ContainerNotRunning, OcirtError, PlanError, SystemCallError, UnsupportedError, failed
from ocirt.linux._kernel import lib
from ocirt.plan import host_ops
from ocirt.plan.describe import host as describe
from ocirt.spawn import failures, idmap
from ocirt.spawn.performance import carry_out

if TYPE_CHECKING:
    from collections.abc import Callable

    from ocirt.container.performer import Performer
    from ocirt.plan.ops import Op

    Another = Callable[..., None]

# Whose errors name the field that the operation comes from
BY_FIELD = frozenset(("make_cgroup", "fill_cpuset", "refuse_frozen", "open_tree"))


def take_over(p: Performer, op: Op, number: int) -> None:
    """Do it in another way, where there is one. Raises OcirtError, or OSError for what `explain` has words."""
    name, _, _, arguments = op
    if name in ANSWERS:
        answer(p, name, number)
    if number == E2BIG and name in LENDING:
        text = f"more bind mounts into a user namespace than the {lib.MSG_FDS_MAX} supported"
        raise UnsupportedError(text)
    another = ANOTHER.get((name, number)) or ANOTHER.get((name, 0))
    if not another:
        raise OSError(number, posix.strerror(number))
    another(p, number, *arguments)


def explain(p: Performer, op: Op, error: OSError) -> OcirtError:
    """The error for `op`, which the kernel refused."""
    name, pointer, _, arguments = op
    number = error.errno or 0
    if name == "write_limit":
        path, file, text, version = arguments
        write = (version, file.partition(".")[0], file, text, pointer.removeprefix(RESOURCES), ())
        return refusals.explain(path, write, error, p.name_limit or in_config)
    if name == "send_plan" and p.numbers[lib.PERFORM_DETAIL]:
        return failed("start ocirt-init", error)
    if name in WORDS:
        failure = failed(WORDS[name](*arguments), error)
        return failure.at(pointer) if name in BY_FIELD and pointer else failure
    failure = failed(describe.failure(op, number), error)
    return failure.at(pointer) if pointer else failure


# ---- what the init has said ------------------------------------------------------------------------------------------


def answer(p: Performer, name: str, number: int) -> None:
    """Raises the container's failure, or what is wrong with what the init has said."""
    if number == EREMOTEIO:
        raise failures.error(p.performance.message(), p.ops)
    if number == ECONNRESET:
        status = p.performance.end()
        raise failures.died(None if status < 0 else status)
    if number == EPROTO:
        raise protocol_error(p, name)


def protocol_error(p: Performer, name: str) -> PlanError:
    """The error for a message that does not belong there: of whoever has seized the process."""
    message = p.performance.message()
    if message.type == lib.MSG_PID:
        what = f"process {message.value} is not the one that it has made"
    elif name == "executed":
        what = "a message after the last point"
    else:
        what = f"message {message.type}, {message.value}"
    return PlanError(f"protocol error from ocirt-init: {what}")


# ---- other ways ------------------------------------------------------------------------------------------------------


def claim(p: Performer, _: int, root: str, container_id: str) -> None:
    """A directory that a killed claim or delete left behind is taken; else it says what is in the way."""
    p.numbers[lib.PERFORM_DIRECTORY] = state.claim_left(root, container_id)


def untrusted(_: Performer, number: int, root: str, container_id: str) -> None:
    """Raises StateUntrusted with whose it is, SystemCallError."""
    raise state.unclaimed(root, container_id, number)


def too_large(*_: object) -> None:
    """Raises UnsupportedError: nobody would read such a state, and the container could not be deleted."""
    raise UnsupportedError(f"make a state of more than {state.LIMIT >> 20} MiB", "/annotations")


def no_state(p: Performer, number: int, _: str) -> None:
    """Raises SystemCallError."""
    raise SystemCallError(f'write the state of container "{p.container_id}"', number)


def used(p: Performer, _: int, path: str) -> None:
    """A cgroup that was there holds processes, or cgroups: with systemd the process is in it already."""
    cgroup.refuse_used(path, p.pid if p.scope else 0)


def frozen(_: Performer, __: int, path: str, version: int) -> None:
    """Raises ContainerError."""
    cgroup.refuse_frozen(path, v2 if version == 2 else v1)


def shared(p: Performer, _: int, paths: list[str]) -> None:
    """One that is empty may be another container's: its deletion would kill ours."""
    from ocirt.container import list as listing

    made = p.performance.made()
    found = [path for path in paths if path not in made and posix.access(path, posix.F_OK)]
    listing.refuse_shared(p.root, found, p.container_id)


def not_attached(p: Performer, number: int, path: str, _: int) -> None:
    """Raises SystemCallError, with what cgroups(7) knows of it."""
    raise refusals.moving(path, p.process_id, OSError(number, posix.strerror(number)))


def beside(p: Performer, number: int, path: str, below: int) -> None:
    """exec: where the container's first process is, if that has gone below."""
    from ocirt.cgroup import inside

    if not below or not p.record:
        not_attached(p, number, path, below)
        return
    try:
        place = inside.beside([path], p.record.pid)
    except OSError:
        raise ContainerNotRunning(p.container_id) from None
    result = carry_out([host_ops.attach("", place[0], 0)], p.process_id)
    if result < 0:
        not_attached(p, -result, place[0], below)
    p.elsewhere = True


def map_ids(p: Performer, number: int, uids: list[str], gids: list[str], setgroups: int) -> None:
    """By newuidmap(1) and newgidmap(1), where there are any and the kernel does not let us."""
    idmap.finish(p.pid, uids, gids, bool(setgroups), number, p.numbers[lib.PERFORM_DETAIL])


def rules_refused(
    p: Performer, number: int, path: str, file: str, lines: list[str], fields: list[str], asked: int
) -> None:
    """Who may not restrict devices does without, where that is no weaker."""
    access.rules_refused(path, file, lines, fields, asked, p.numbers[lib.PERFORM_DETAIL], number)


def hook_failed(
    p: Performer, number: int, path: str, argv: list[str], env: list[str], given: int, timeout: int, status: str
) -> None:
    """Raises HookError."""
    from ocirt.container import hooks

    if number not in {EREMOTEIO, ETIMEDOUT}:
        raise hooks.not_started(path, p.pointer, number)
    result = -number if number == ETIMEDOUT else p.numbers[lib.PERFORM_DETAIL]
    raise hooks.failure(path, p.pointer, timeout, result, p.numbers[lib.PERFORM_OUTPUT])


LENDING = frozenset((
    "connect_console", "listen", "open_cgroup", "open_process", "open_root", "open_tasks", "open_tree", "report_file",
    "send_plan",
))  # fmt: skip
ANSWERS = frozenset(("wait_process", "wait", "executed"))

# Operation, errno (0: any other) → another way
ANOTHER: dict[tuple[str, int], Another] = {
    ("claim", EEXIST): claim,
    ("claim", 0): untrusted,
    ("write_state", EOVERFLOW): too_large,
    ("write_state", 0): no_state,
    ("make_cgroup", ENOTEMPTY): used,
    ("refuse_frozen", EBUSY): frozen,
    ("refuse_shared", EEXIST): shared,
    ("attach", EBUSY): beside,
    ("attach", 0): not_attached,
    ("map_ids", 0): map_ids,
    ("hook", 0): hook_failed,
    ("device_rules", 0): rules_refused,
    ("device_program", 0): lambda _, number, path, __, asked: access.program_refused(path, asked, number),
}
# Operation → what was tried, where the words for `explain` are not those for errors
WORDS: dict[str, Callable[..., str]] = {
    "make_cgroup": 'mkdir "{}"'.format,
    "fill_cpuset": 'copy cpuset to "{}"'.format,
    "refuse_frozen": lambda *_: "read the state of the freezer",
    "open_cgroup": lambda _, path: f'open "{path}"',
    "open_tasks": lambda _, path: f'open "{path}/tasks"',
    "open_tree": lambda _, path, __: f'open_tree "{path}"',
    "connect_console": lambda _, path: f'connect to the console socket "{path}"',
    "send_pidfd": 'connect to the pidfd socket "{}"'.format,
    "write_pid_file": 'write the pid file "{}"'.format,
}
