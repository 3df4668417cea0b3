"""--regex of kill and delete: the same action on every container whose id matches. Cold."""

from __future__ import annotations

import re

from ocirt.errors import OcirtError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def for_each(root: str, pattern: str, action: Callable[[str], object]) -> None:
    """Call `action` with every id in which `pattern` is found, as regexec(3) would, all of them even when one fails.

    Raises UsageError for a bad pattern, else OcirtError with what went wrong, joined by "; ".
    """
    from ocirt.container.list import containers

    try:
        expression = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(f'regular expression "{pattern}": {error}') from None
    failures = []
    for container in containers(root):
        if expression.search(container["id"]):
            try:
                action(container["id"])
            except OcirtError as error:
                failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise OcirtError("; ".join(map(str, failures)))
