"""Hooks that run in the runtime's namespace: prestart, createRuntime, poststart, poststop. The others are the init's.

Source: config.md "POSIX-platform Hooks", runtime.md "Lifecycle".
"""

from __future__ import annotations

import posix
from errno import EINTR, ETIMEDOUT

from ocirt import notes
from ocirt.errors import HookError
from ocirt.linux import calls
from ocirt.linux._kernel import ffi, lib
from ocirt.linux.consts import INT_MAX
from ocirt.plan import holes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

OUTPUT_SHOWN = 1024


def run(kind: str, hooks: Sequence[dict[str, Any]], bundle: str, state: bytes) -> None:
    """Run the hooks of one kind in order, in `bundle`, with `state` (JSON) on stdin; the first failure ends it.

    Raises HookError for a hook that cannot be started, exits non-zero, is killed or runs out of time.
    """
    for position, hook in enumerate(hooks):
        run_one(hook, bundle, state, f"/hooks/{kind}/{position}")


def run_poststop(container_id: str, hooks: Sequence[dict[str, Any]] | None, bundle: str, state: bytes) -> None:
    """Run each poststop hook, whatever the others do; a failure is a warning (runtime.md, lifecycle, step 13)."""
    for position, hook in enumerate(hooks or ()):
        try:
            run_one(hook, bundle, state, f"/hooks/poststop/{position}")
        except HookError as error:
            notes.warn(f'container "{container_id}": {error}')


def warn_not_run(container_id: str, reason: str) -> None:
    """Warn that the poststop hooks, which nobody can tell, did not run."""
    notes.warn(f'container "{container_id}": poststop hooks did not run: {reason}')


def run_one(hook: dict[str, Any], bundle: str, state: bytes, pointer: str) -> None:
    """Run one hook in a process group of its own, in the bundle, or / where that is gone. Raises HookError."""
    notes.step(f"run {name(hook['path'], pointer)}")
    memory = bytearray(lib.hook_size())
    view = ffi.from_buffer(memory)
    path, timeout = hook["path"], min(hook.get("timeout") or 0, INT_MAX)
    argv, words = vector(hook.get("args") or [path])
    env, settings = vector(holes.variables(hook.get("env") or ()))
    own = ffi.NULL if hook.get("env") is None else env
    result = lib.hook_begin(view, calls.raw(path), calls.raw(bundle), argv, own, state, len(state), timeout)
    del words, settings
    if result:
        raise not_started(path, pointer, -result)
    try:  # when the runtime is interrupted, the hook does not outlive what it was for
        result = -EINTR
        while result == -EINTR:
            result = lib.hook_wait(view)
        if result:
            raise failure(path, pointer, timeout, result, int.from_bytes(memory[:4], "little"))
    finally:
        lib.hook_end(view)


def name(path: str, pointer: str) -> str:
    """Which hook, in words."""
    return f'config.json: {pointer}: hook "{path}"'


def vector(texts: Sequence[str]) -> tuple[Any, list[Any]]:
    """What execve(2) takes; and what it points to, for the caller to hold."""
    strings = [ffi.new("char[]", calls.raw(text)) for text in texts]
    return ffi.new("char *[]", [*strings, ffi.NULL]), strings


def failure(path: str, pointer: str, timeout: int, result: int, output: int) -> HookError:
    """The error for a hook that has ended so: a wait status, or -ETIMEDOUT; `output`: fd of what it has said."""
    where = name(path, pointer)
    if result == -ETIMEDOUT:
        return HookError(f"{where} did not finish within {timeout} s{_said(output)}", pointer)
    if result < 0:
        return HookError(f"{where}: {posix.strerror(-result).lower()}", pointer)
    code = posix.waitstatus_to_exitcode(result)
    ended = f"exited with status {code}" if code > 0 else f"was killed by signal {-code}"
    return HookError(f"{where} {ended}{_said(output)}", pointer)


def not_started(path: str, pointer: str, number: int) -> HookError:
    """The error for a hook that could not be executed, with what is known of a program that is there."""
    from errno import EACCES, ENOENT, errorcode

    from ocirt.plan.hints import EXEC_HINTS, NOT_EXECUTABLE

    words = EXEC_HINTS.get(errorcode.get(number, ""), "")
    if number == EACCES:
        words = NOT_EXECUTABLE
    elif number == ENOENT and not posix.access(path, posix.F_OK):
        words = ""
    return HookError(
        f"{name(path, pointer)}: {posix.strerror(number).lower()}{f' ({words})' if words else ''}", pointer
    )


def _said(output: int) -> str:
    text = posix.pread(output, OUTPUT_SHOWN, 0).decode("utf-8", "replace").strip()
    return ": " + "; ".join(text.splitlines()) if text else ""
