"""`ocirt pause`: → container.pause."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.cli.main import Global
    from ocirt.cli.options import Options


def run(globals_: Global, _options: Options, arguments: list[str]) -> int:
    """Stop every process of the container where it stands; return 0."""
    from ocirt.container.pause import pause

    pause(globals_.root, arguments[0])
    return 0
