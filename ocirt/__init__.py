"""ocirt, a low-level OCI container runtime: the public names, loaded on first touch.

Runtime, Container, Process, Bundle, Options, Command and ExecOptions come from container/, OcirtError and its kinds
from errors.py.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.container.api import Bundle, Container, Process, Runtime
    from ocirt.container.command import Command
    from ocirt.container.exec import ExecOptions
    from ocirt.container.prepare import Options
    from ocirt.errors import (
        BundleError,
        ConfigError,
        ContainerError,
        ContainerExists,
        ContainerNotFound,
        ContainerNotRunning,
        ExecError,
        HookError,
        InvalidID,
        OcirtError,
        PlanError,
        Problem,
        SystemCallError,
        UnsupportedError,
        UsageError,
    )

__version__ = "0.1.0"

__all__ = [
    "Bundle", "BundleError", "Command", "ConfigError", "Container", "ContainerError", "ContainerExists",
    "ContainerNotFound", "ContainerNotRunning", "ExecError", "ExecOptions", "HookError", "InvalidID", "OcirtError",
    "Options", "PlanError", "Problem", "Process", "Runtime", "SystemCallError", "UnsupportedError", "UsageError",
    "__version__",
]  # fmt: skip

_HOMES = {
    "Bundle": "ocirt.container.api",
    "Container": "ocirt.container.api",
    "Process": "ocirt.container.api",
    "Runtime": "ocirt.container.api",
    "Command": "ocirt.container.command",
    "ExecOptions": "ocirt.container.exec",
    "Options": "ocirt.container.prepare",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'ocirt' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOMES.get(name, "ocirt.errors")), name)


def __dir__() -> list[str]:
    return __all__
