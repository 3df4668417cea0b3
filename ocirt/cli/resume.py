"""`ocirt resume`: → container.resume."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.cli.main import Global
    from ocirt.cli.options import Options


def run(globals_: Global, _options: Options, arguments: list[str]) -> int:
    """Let the processes of a paused container go on; return 0."""
    from ocirt.container.resume import resume

    resume(globals_.root, arguments[0])
    return 0
