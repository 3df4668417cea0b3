"""Configs with changes at random: one that is accepted can be compiled and translated, or is refused with a reason."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

from ocirt.config import check
from ocirt.errors import OcirtError
from ocirt.plan import show
from ocirt.plan.describe import host as describe
from ocirt.spawn import wire
from tests.unit.config.changes import Doc
from tests.unit.config.documents import full
from tests.unit.plan.support import both, translated

NUMBERS = [
    0, 1, -1, 7, 255, 65536, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 2**32, 2**53, 2**63, 2**64 - 1, 2**64,
    -(2**31) - 1, -(2**63), 10**400,
]  # fmt: skip
TEXTS = [
    "", "/", "..", ".", "a/../b", "/proc", "/proc/self", "/dev/null", "a" * 300, "a" * 70000, "a\nb", "\u00e9",
    "\u2028", "%d", "a:b", "a,b", "a=b", "=", "-", "0-5", "1-0", "9" * 30, "9" * 5000, "*", "max",
    "\\", "[]:", "\x1b[31m", "2MB",
]  # fmt: skip
ROUNDS = 150


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value below."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [path for key in keys for path in ((*above, key), *places(value[key], (*above, key)))]


def changed(value: Any, rng: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice(NUMBERS)
    if isinstance(value, str):
        return rng.choice(TEXTS)
    return value * rng.choice((0, 2, 40)) if isinstance(value, list) else {}


def mutate(document: Doc, rng: random.Random) -> None:
    """Remove, rename or change one value."""
    *above, key = rng.choice(places(document))
    holder: Any = document
    for step in above:
        holder = holder[step]
    kind = rng.randrange(10)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[rng.choice(TEXTS)] = holder.pop(key)
    else:
        holder[key] = changed(holder[key], rng)


def carry_on(document: Doc) -> None:
    """All that is made of a config without touching the host. Raises OcirtError, Unmet."""
    translated(document)
    filtered = bool((document.get("linux") or {}).get("seccomp"))
    for start in ("create", "exec"):
        made = both(copy.deepcopy(document), launch={"start": start}, seccomp=filtered)
        assert wire.encode(made.plan.ops)
        assert all(show.describe(op) for op in made.plan.ops)
        assert all(describe.failure(op, 22) for op in made.runtime)


def test_no_accepted_config_fails_but_with_a_reason() -> None:
    rng = random.Random(1)
    accepted = 0
    for _ in range(ROUNDS):
        document = full()
        for _ in range(rng.choice((1, 1, 2))):
            mutate(document, rng)
        try:
            check.check(document, json.dumps(document).encode())
        except OcirtError:
            continue
        accepted += 1
        try:
            carry_on(document)
        except OcirtError:
            pass
    assert accepted > ROUNDS / 10
