"""Hooks that run in the runtime's namespace: prestart, createRuntime, poststart, poststop. The others are the init's.

Source: config.md "POSIX-platform Hooks", runtime.md "Lifecycle".
"""

from __future__ import annotations

import posix

from ocirt import notes
from ocirt.errors import HookError, SystemCallError
from ocirt.linux import calls, facts
from ocirt.linux.consts import INT_MAX, SIGKILL

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
    where = f'config.json: {pointer}: hook "{hook["path"]}"'
    notes.step(f"run {where}")
    # Files, not pipes: a hook that reads nothing, or leaves a daemon behind with its output open, blocks nobody.
    output = posix.memfd_create("hook-output", posix.MFD_CLOEXEC)
    try:
        with calls.sealed_memfd("hook-state", state) as stdin:
            pid = _start(hook, bundle, stdin.number, output, where)
        timeout = hook.get("timeout")
        try:
            if not _ended(pid, timeout):
                raise HookError(f"{where} did not finish within {timeout} s{_said(output)}", pointer)
        except BaseException:  # and when the runtime is interrupted: the hook does not outlive what it was for
            _kill(pid)
            raise
        code = posix.waitstatus_to_exitcode(posix.waitpid(pid, 0)[1])
        if code:
            ended = f"exited with status {code}" if code > 0 else f"was killed by signal {-code}"
            raise HookError(f"{where} {ended}{_said(output)}", pointer)
    except SystemCallError as error:
        raise HookError(f"{where}: {error}", pointer) from None
    finally:
        posix.close(output)


def _start(hook: dict[str, Any], bundle: str, stdin: int, output: int, where: str) -> int:
    if hook.get("env") is None:
        env = [name + b"=" + value for name, value in posix.environ.items()]
    else:
        env = [b"%b=%b" % item for item in dict(calls.raw(text).partition(b"=")[::2] for text in hook["env"]).items()]
    argv = [calls.raw(text) for text in hook.get("args") or [hook["path"]]]
    try:
        return calls.spawn_hook(hook["path"], _directory(bundle), argv, env, (stdin, output))
    except SystemCallError as error:
        raise HookError(f"{where}: {posix.strerror(error.errno).lower()}{_why(hook['path'], error)}") from None


def _why(path: str, error: SystemCallError) -> str:
    """What is known of a program that is there and was not executed."""
    from errno import EACCES, ENOENT, errorcode

    from ocirt.plan.hints import EXEC_HINTS, NOT_EXECUTABLE

    if error.errno == EACCES:
        return f" ({NOT_EXECUTABLE})"
    if error.errno == ENOENT and not posix.access(path, posix.F_OK):
        return ""
    words = EXEC_HINTS.get(errorcode.get(error.errno, ""), "")
    return f" ({words})" if words else ""


def _directory(bundle: str) -> str:
    """A bundle may be gone by the time of delete: its hooks run all the same."""
    try:
        posix.stat(bundle)
    except OSError:
        return "/"
    return bundle


def _kill(pid: int) -> None:
    for send in (posix.killpg, posix.kill):
        try:
            send(pid, SIGKILL)
        except ProcessLookupError:
            pass  # it has joined another group
        except PermissionError:
            return  # it has become somebody else's, by a program with the setuid bit
    posix.waitpid(pid, 0)


def _ended(pid: int, timeout: int | None) -> bool:
    """Wait for the process to end; False when `timeout` seconds have passed."""
    with calls.Fd(posix.pidfd_open(pid)) as pidfd:
        return calls.wait_readable(pidfd.number, min(timeout * 1000, INT_MAX) if timeout else -1)


def _said(output: int) -> str:
    text = posix.pread(output, OUTPUT_SHOWN, 0).decode("utf-8", "replace").strip()
    return ": " + "; ".join(text.splitlines()) if text else ""


def pid_inside(pid: int) -> int:
    """The process's id in its own pid namespace: the last of NSpid (proc_pid_status(5))."""
    for line in facts.read(f"/proc/{pid}/status").split("\n"):
        if line.startswith("NSpid:"):
            return int(line.split()[-1])
    return pid
