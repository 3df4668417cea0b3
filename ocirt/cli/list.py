"""`ocirt list`: → container.list, as a table, as JSON, or as bare ids."""

from __future__ import annotations

from ocirt.cli.log import printable, tell
from ocirt.cli.output import say, say_json
from ocirt.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocirt.cli.main import Global
    from ocirt.cli.options import Options

_COLUMNS = ("id", "pid", "status", "bundle", "created", "owner")


def run(globals_: Global, options: Options, _arguments: list[str]) -> int:
    """Print the containers; return 0. Raises UsageError for an unknown format."""
    from ocirt.container.list import containers

    form = options.get("format") or "table"
    if form not in ("table", "json"):
        raise UsageError(f'flag --format: "{form}" is not one of table, json', "list")
    found = containers(globals_.root, lambda text: tell(globals_, text))
    if options.get("quiet"):
        if found:
            say("\n".join(container["id"] for container in found))
    elif form == "json":
        say_json(found)
    else:
        say(table(found))
    return 0


def table(found: list[dict[str, Any]]) -> str:
    """Return the containers in columns, each as wide as its widest cell; what is not printable is escaped."""
    rows = [[column.upper() for column in _COLUMNS]]
    rows += [[printable(str(container.get(column, ""))) for column in _COLUMNS] for container in found]
    widths = [max(12, *(len(row[index]) + 2 for row in rows)) for index in range(len(_COLUMNS))]
    lines = ("".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
