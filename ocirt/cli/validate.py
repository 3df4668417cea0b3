"""`ocirt validate`: the checks of config.json alone, and warnings for what is likely a mistake."""

from __future__ import annotations

from ocirt.cli.create import bundle_option, path_option
from ocirt.cli.log import printable
from ocirt.cli.output import say
from ocirt.container.prepare import Named
from ocirt.errors import DOCUMENT, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.cli.main import Global
    from ocirt.cli.options import Options


def run(_globals: Global, options: Options, arguments: list[str]) -> int:
    """Print the verdict and the warnings; return 0. Raises ConfigError with every problem, BundleError."""
    from ocirt.config.check import check
    from ocirt.config.explain import problems, warnings
    from ocirt.config.load import load, parse

    take_bundle(options, arguments, "validate")
    config = path_option(options, "config")
    with Named(config):
        document, raw = load(bundle_option(options), config, strict=bool(options.get("strict")))
        check(document, raw)
    name = (config or DOCUMENT).rpartition("/")[2]
    taken = problems(parse(raw), raw)
    for problem in taken:
        problem.message += "; taken all the same, but not by --strict"
    for warning in [*taken, *warnings(document, raw)]:
        warning.document = name
        say(f"warning: {printable(str(warning))}")
    say(f"{printable(name)} is valid")
    return 0


def take_bundle(options: Options, arguments: list[str], verb: str) -> None:
    """Put the bundle given as an argument where --bundle would be; raises UsageError where both are given."""
    if arguments and options.get("bundle"):
        raise UsageError("the bundle is given twice", verb)
    if arguments:
        options["bundle"] = arguments[0]
