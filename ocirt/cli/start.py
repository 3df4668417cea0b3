"""`ocirt start`: → container.start."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.cli.main import Global
    from ocirt.cli.options import Options


def run(globals_: Global, _options: Options, arguments: list[str]) -> int:
    """Start a created container; return 0 once its process is executed."""
    from ocirt.container.start import start

    start(globals_.root, arguments[0])
    return 0
