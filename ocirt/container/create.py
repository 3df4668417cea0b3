"""Create: a checked config becomes a container whose process waits for start; or nothing, and an error."""

from __future__ import annotations

from ocirt.container.birth import Birth
from ocirt.container.prepare import Named, Options
from ocirt.linux._kernel import lib
from ocirt.spawn import parent

__all__ = ["Options", "create"]


def create(root: str, container_id: str, bundle: str, *, options: Options) -> None:
    """Create the container; its process waits for `start` (runtime.md "Create").

    Raises BundleError, ConfigError, UnsupportedError, ContainerExists, InvalidID, PlanError, HookError and
    SystemCallError; then nothing is left behind.
    """
    birth = Birth(root, container_id, bundle, options)
    with Named(options.config):
        birth.read("create")
    with Named(options.config), birth:
        birth.connect_console()
        birth.bring_up(lib.SYNC_CREATED)
        birth.settle()
        parent.complete()
        birth.init.go(lib.SYNC_CREATED)
