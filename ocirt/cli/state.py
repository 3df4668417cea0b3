"""`ocirt state`: → container.state, as JSON."""

from __future__ import annotations

from ocirt.cli.output import say_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.cli.main import Global
    from ocirt.cli.options import Options


def run(globals_: Global, _options: Options, arguments: list[str]) -> int:
    """Print the state; return 0."""
    from ocirt.container.state import public

    say_json(public(globals_.root, arguments[0]))
    return 0
