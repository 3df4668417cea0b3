"""Run: create and start in one, and in the foreground the company of the process until it ends."""

from __future__ import annotations

from ocirt.container import delete, launches_create, place
from ocirt.container.creation import Creation
from ocirt.container.prepare import Named, no_process
from ocirt.linux import calls
from ocirt.linux._kernel import lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.container.prepare import Options


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
    creation = Creation(root, container_id, bundle, options, foreground=not detach)
    ours = -1
    with Named(options.config), creation:
        creation.read("run")
        if not creation.config.get("process"):
            raise no_process(creation.config)
        creation.check_console()
        if not detach:
            if subreaper:
                calls.become_subreaper()
            creation.performer.hold_signals()
        launches_create.hand_over(creation)
        creation.compile()
        creation.perform()
        if detach:
            return 0
        ours = place.hold(creation.performer.numbers[lib.PERFORM_DIRECTORY])
    with creation.performer.signals as signals:
        from ocirt.spawn import console

        code = console.attend(creation.performer.pid, signals, creation.performer.relay, subreaper)
    if not keep and place.is_named(creation.root, container_id, ours):
        delete.delete(creation.root, container_id, force=True)
    return code
