"""`ocirt kill`: → container.kill, of one container or of all whose id matches."""

from __future__ import annotations

from ocirt.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.cli.main import Global
    from ocirt.cli.options import Options


def run(globals_: Global, options: Options, arguments: list[str]) -> int:
    """Send the signal, TERM where none is given; return 0. Raises UsageError for a signal that does not exist."""
    from ocirt.container.kill import kill, signal_number

    if len(arguments) > 1 and "signal" in options:
        raise UsageError("the signal is given twice", "kill")
    signal = signal_number(arguments[1] if len(arguments) > 1 else str(options.get("signal", "TERM")))
    everyone = bool(options.get("all"))
    if not options.get("regex"):
        kill(globals_.root, arguments[0], signal, all=everyone)
        return 0
    from ocirt.cli.matching import for_each

    for_each(globals_.root, arguments[0], lambda found: kill(globals_.root, found, signal, all=everyone))
    return 0
