"""Create: a checked config becomes a container whose process waits for start; or nothing, and an error."""

from __future__ import annotations

from ocirt.container import launches_create
from ocirt.container.creation import Creation
from ocirt.container.prepare import Named, Options

__all__ = ["Options", "create"]


def create(root: str, container_id: str, bundle: str, *, options: Options) -> None:
    """Create the container; its process waits for `start` (runtime.md "Create").

    Raises BundleError, ConfigError, UnsupportedError, ContainerExists, InvalidID, PlanError, HookError and
    SystemCallError; then nothing is left behind.
    """
    creation = Creation(root, container_id, bundle, options)
    with Named(options.config), creation:
        creation.read("create")
        creation.check_console()
        launches_create.hand_over(creation)
        creation.compile()
        creation.perform()
