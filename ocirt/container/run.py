"""Run: create and start in one, and in the foreground the company of the process until it ends."""

from __future__ import annotations

from ocirt.container import delete, hooks
from ocirt.container.birth import Birth
from ocirt.container.prepare import Named, no_process
from ocirt.linux import calls
from ocirt.linux._kernel import lib
from ocirt.spawn import parent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from ocirt.container.prepare import Options
    from ocirt.spawn.console import Relay


def run(  # noqa: PLR0913 - the flags of one command, by name
    root: str,
    container_id: str,
    bundle: str,
    *,
    options: Options,
    detach: bool = False,
    keep: bool = False,
    subreaper: bool = True,
) -> int:
    """Create and start; in the foreground, wait, delete (unless `keep`) and return the exit code, 128+n for signal n.

    Detached, it returns 0 once the process has been executed.
    Raises as `create`, and ExecError.
    """
    birth = Birth(root, container_id, bundle, options)
    with Named(options.config):
        birth.read("run")
        if not birth.config.get("process"):
            raise no_process(birth.config)
    if detach:
        bring_to_life(birth, None)
        return 0
    from ocirt.spawn import console

    if subreaper:
        calls.become_subreaper()
    # Before there is a process: a signal that arrives meanwhile waits for it.
    with console.catch() as signals:
        relay = bring_to_life(birth, console)
        code = console.attend(birth.init.pid, signals, relay, subreaper)
    birth.init.pid = 0
    if not keep:
        delete.delete(birth.root, container_id, force=True)
    return code


def bring_to_life(birth: Birth, console: ModuleType | None) -> Relay | None:
    """Create and let execute; undone whole on failure. With `console`, the relay of a terminal in the foreground."""
    ours = calls.Fd(-1)
    with Named(birth.options.config), birth, ours:
        ours.number = birth.connect_console(foreground=console is not None).take()
        birth.bring_up(lib.SYNC_START)
        relay: Relay | None = console.receive(ours) if console else None
        birth.settle()
        birth.init.go(lib.SYNC_START)
        birth.init.executed()
        poststart(birth)
        if not console:
            parent.complete()
        return relay


def poststart(birth: Birth) -> None:
    """runtime.md, lifecycle, step 9: a failure stops the container and leads to steps 12 and 13."""
    entries = (birth.config.get("hooks") or {}).get("poststart")
    if entries:
        birth.hooks_ran = True
        hooks.run("poststart", entries, birth.bundle, birth.hook_state("running", birth.init.pid))
