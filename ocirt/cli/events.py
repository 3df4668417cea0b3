"""`ocirt events`: → container.events, one line of JSON for each. Cold."""

from __future__ import annotations

import json
import re

from ocirt.cli.output import say
from ocirt.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.cli.main import Global
    from ocirt.cli.options import Options

_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}

_LONGEST = 1e9  # s: some thirty years, for poll's arithmetic
_NUMBER = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
_UNIT = "(" + "|".join(sorted(_SECONDS, reverse=True)) + ")"


def run(globals_: Global, options: Options, arguments: list[str]) -> int:
    """Print events until the container ends, or its figures once; return 0. Raises UsageError for a bad interval."""
    from ocirt.container.events import events, stats

    interval = seconds(str(options.get("interval", "5s")))
    if options.get("stats"):
        found = iter([stats(globals_.root, arguments[0])])
    else:
        found = events(globals_.root, arguments[0], interval)
    try:
        for event in found:
            say(json.dumps(event, ensure_ascii=False, separators=(",", ":")))
    except BrokenPipeError:
        pass  # the reader has had enough
    return 0


def seconds(text: str) -> float:
    """Return a duration as of Go, "1m30s" or "500ms", or a number of seconds. Raises UsageError unless above 0."""
    if not (re.fullmatch(_NUMBER, text) or re.fullmatch(f"({_NUMBER}{_UNIT})+", text)):
        raise UsageError(f'flag --interval: "{text}" is not a duration (examples: 5s, 500ms, 1m30s)', "events")
    parts = re.findall(f"([0-9.]+){_UNIT}?", text)
    total = sum(float(value) * _SECONDS[unit or "s"] for value, unit in parts)
    if total <= 0:
        raise UsageError(f'flag --interval: "{text}" is not greater than 0', "events")
    return min(total, _LONGEST)
