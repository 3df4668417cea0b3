"""Why a config is invalid, and what in a valid one looks like a slip. Cold: jsonschema, difflib and the text's lines.

check.py and the code compiled from spec/ decide; this module finds the place and the words.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import Any

from ocirt.config import rules, rules_linux, schemas
from ocirt.config._schema import valid
from ocirt.config.check import sound
from ocirt.config.rules import MISSING, quoted
from ocirt.config.syntax import Lines
from ocirt.errors import Problem, step
from ocirt.linux.consts import CAPABILITIES

Finding = tuple[str, str]

QUESTION = "did you mean"
TYPES = {"string": "a string", "boolean": "true or false", "array": "an array", "object": "an object", "null": "null"}


def problems(doc: object, raw: bytes = b"") -> list[Problem]:
    """Every problem of a document, in the order of its lines; none where it is valid.

    raw    the text that the document comes from; without it, lines are 0
    """
    broken = list(dict.fromkeys(schema_findings(doc)))
    places = {pointer for pointer, _ in broken}
    ruled = list(rule_findings(doc, places))
    # a rule that knows what was meant says more than the schema does
    better = {pointer for pointer, message in ruled if QUESTION in message}
    ruled = [finding for finding in ruled if not within(finding[0], places - better)]
    broken = [finding for finding in broken if finding[0] not in better]
    return located([*broken, *text_findings(doc), *ruled], Lines(raw))


def warnings(doc: object, raw: bytes = b"") -> list[Problem]:
    """What a valid document has that is ignored, or that looks like a slip. To be logged, not raised.

    Unknown names close to a known one, unknown capabilities (each once), names that occur twice, relative mount
    destinations.
    """
    lines = Lines(raw)
    root = schemas.joined("config.json")
    found = [*misspelt(doc, root, root, ""), *unknown_capabilities(doc), *relative_destinations(doc)]
    listed = located(found, lines)
    for pointer, line in lines.duplicates:
        listed.append(Problem(printable(pointer), "occurs more than once, the last one counts", line))
    return sorted(listed, key=lambda problem: problem.line)


def located(found: Iterable[Finding], lines: Lines) -> list[Problem]:
    """Findings as problems: each once, printable, by line."""
    once = dict.fromkeys(found)
    listed = [Problem(printable(pointer), printable(message), lines.find(pointer)) for pointer, message in once]
    return sorted(listed, key=lambda problem: problem.line)


def printable(text: str) -> str:
    """The text on one line, whatever a hostile name or value holds."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def within(pointer: str, places: Collection[str]) -> bool:
    """True where the pointer, or a value around it, is among the places."""
    return any(pointer == place or pointer.startswith(f"{place}/") for place in places)


# The schema


def schema_findings(doc: object) -> Iterator[Finding]:
    """What breaks the schema of spec/, with one finding per value."""
    try:
        from jsonschema.validators import Draft202012Validator, extend
    except ImportError:
        if not valid(doc):
            yield "", "does not match the schema; install jsonschema to read where"
        return
    # as in the compiled schema, 1.0 is no integer
    strict = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    validator = extend(Draft202012Validator, type_checker=strict)(schemas.joined("config.json"))
    mistyped: set[str] = set()
    for error in sorted(validator.iter_errors(doc), key=lambda error: error.validator != "type"):
        pointer = "".join(f"/{step(str(part))}" for part in error.absolute_path)
        if error.validator == "type":
            mistyped.add(pointer)
        elif pointer in mistyped:
            continue
        yield from WORDS.get(error.validator, value_words)(pointer, error)


def value_words(pointer: str, error: Any) -> Iterator[Finding]:
    """A value that is not among the allowed ones."""
    question = hint(error.instance, error.schema.get("enum", ()))
    yield pointer, f"found {described(error.instance)}, must be {expected(error.schema)}{question}"


def required_words(pointer: str, error: Any) -> Iterator[Finding]:
    """Members that are missing, and what may be meant to be one of them."""
    strangers = [name for name in error.instance if name not in error.schema.get("properties", ())]
    for name in error.validator_value:
        if name not in error.instance:
            near = nearest(name, strangers)
            yield f"{pointer}/{step(name)}", MISSING + meant_question(near)


def meant(doc: object, pointer: str) -> str:
    """The question whether a name beside the missing member is meant to be it; "" where none is near."""
    *above, name = pointer.split("/")[1:]
    beside = value_or_none(doc, *above)
    return meant_question(nearest(name, beside, 0.75) if isinstance(beside, dict) else "")


def meant_question(near: str) -> str:
    """The question itself, "" for no name."""
    return f"; is {quoted(near)} meant to be it?" if near else ""


def dependent_words(pointer: str, error: Any) -> Iterator[Finding]:
    """Members that another one makes necessary."""
    for name, others in error.validator_value.items():
        for other in others:
            if name in error.instance and other not in error.instance:
                yield f"{pointer}/{step(other)}", f"{MISSING}: {name} needs it"


def name_words(pointer: str, error: Any) -> Iterator[Finding]:
    """A member's name; spec/ demands of it only that it is not empty."""
    yield f"{pointer}/{step(str(error.instance))}", "the name is empty"


def any_words(pointer: str, error: Any) -> Iterator[Finding]:
    """Members of which one is necessary; elsewhere, the branch that fits best."""
    if all(set(branch) == {"required"} for branch in error.validator_value):
        names = " or ".join(quoted(name) for branch in error.validator_value for name in branch["required"])
        yield pointer, f"must have {names}"
        return
    from jsonschema.exceptions import best_match

    best = best_match(error.context)
    deeper = "".join(f"/{step(str(part))}" for part in best.absolute_path)
    yield from WORDS.get(best.validator, value_words)(deeper, best)


def size_words(pointer: str, error: Any) -> Iterator[Finding]:
    """An array that is too short."""
    least = error.validator_value
    entries = "entry" if least == 1 else "entries"
    yield pointer, f"has {len(error.instance) or 'no'} entries, must have at least {least} {entries}"


WORDS = {
    "anyOf": any_words,
    "dependentRequired": dependent_words,
    "minItems": size_words,
    "minLength": name_words,
    "required": required_words,
}


def described(value: object) -> str:
    """A value in few words."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return f"the string {quoted(value)}"
    if isinstance(value, int):
        return rules.number(value)
    if isinstance(value, float):
        return f"{value!r}, which is not written as a whole number" if value.is_integer() else repr(value)
    if isinstance(value, list):
        return "an array" if value else "an empty array"
    return "an object" if value else "an empty object"


def expected(schema: dict[str, Any]) -> str:
    """What a subschema allows, in words."""
    kind = schema.get("type")
    if "enum" in schema:
        names = [quoted(name) for name in schema["enum"]]
        return f"one of {', '.join(names)}" if len(names) > 1 else names[0]
    if kind == "integer":
        low, high = schema.get("minimum"), schema.get("maximum")
        if (low, high) == (-(1 << 63), (1 << 63) - 1):
            return "an integer"
        if low is not None and high is not None:
            return f"an integer from {low} to {high}"
        return "an integer" if low is None else f"an integer from {low} up"
    if kind == "string" and "examples" in schema:
        return f"a string such as {quoted(schema['examples'][0])}"
    return TYPES[str(kind)]


def hint(found: object, names: Collection[str]) -> str:
    """The question whether a known name was meant; "" where none is near."""
    near = nearest(found, names) if isinstance(found, str) else ""
    return f"; {QUESTION} {quoted(near)}?" if near else ""


def nearest(found: str, names: Collection[str], cutoff: float = 0.6) -> str:
    """The known name that a misspelt one is closest to, without regard to case; "" where none is near."""
    lower = {name.lower(): name for name in sorted(names)}
    text = found.lower()[:100]
    if not text:
        return ""
    close = difflib.get_close_matches(text, lower, 1, cutoff) or [
        name for name in lower if len(text) > 2 and name.endswith(f"_{text}")
    ]
    return lower[close[0]] if close else ""


# Texts and rules


def text_findings(doc: object) -> Iterator[Finding]:
    """Strings, names included, that no system call can take."""
    pending: list[tuple[str, object]] = [("", doc)]
    while pending:
        pointer, value = pending.pop()
        if isinstance(value, str) and not sound(value):
            yield pointer, f"found {quoted(value)}, which has {unsound(value)}"
        elif isinstance(value, list):
            pending += [(f"{pointer}/{index}", item) for index, item in enumerate(value)]
        elif isinstance(value, dict):
            for name, item in value.items():
                if not sound(name):
                    yield f"{pointer}/{step(name)}", f"the name has {unsound(name)}"
                pending.append((f"{pointer}/{step(name)}", item))


def unsound(text: str) -> str:
    """What makes a string unfit."""
    return "a nul character" if "\0" in text else "half of a surrogate pair"


class _Unknown(dict[str, str]):
    """The namespaces of a document that lists them wrongly: whatever a rule asks for may be meant to be there."""

    def __contains__(self, kind: object) -> bool:
        return True

    def __missing__(self, kind: str) -> str:
        return "unknown"


def rule_findings(doc: object, broken: Collection[str]) -> Iterator[Finding]:
    """What the rules find, in what the schema has left of the document.

    A rule relies on the schema. Where that has failed, a rule that trips over a wrong shape ends there: its part of
    the document has a finding already.
    """
    if not isinstance(doc, dict):
        return
    found: list[rules.Found] = []
    kinds: dict[str, str] = _Unknown()
    if not any(place.startswith("/linux/namespaces") or place == "/linux" for place in broken):
        kinds = rules_linux.namespaces(doc)
    tasks: list[Callable[[], None]] = [partial(rule, doc, found) for rule in rules.RULES]
    tasks += [partial(rule, doc, kinds, found) for rule in rules_linux.RULES]
    for task in tasks:
        try:
            task()
        except (TypeError, ValueError, KeyError, IndexError, AttributeError):
            if not broken:
                raise
    for pointer, message, names in found:
        question = meant(doc, pointer) if message == MISSING else ""
        yield pointer, message + (hint(value_at(doc, pointer), names) if names else question)


def value_at(doc: object, pointer: str) -> object:
    """The value that a pointer names; the last name itself where the pointer is about a name of a map."""
    value = doc
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        value = value[int(name)] if isinstance(value, list) else value[name]  # type: ignore[index]
    return value if isinstance(value, str) else name


# Slips


def misspelt(value: object, schema: dict[str, Any], root: dict[str, Any], pointer: str) -> Iterator[Finding]:
    """Unknown names, near to a known one that is absent."""
    while "$ref" in schema:
        schema = schemas.resolved(root, schema["$ref"])
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from misspelt(item, schema["items"], root, f"{pointer}/{index}")
    if not isinstance(value, dict):
        return
    known = schema.get("properties", {})
    for name, item in value.items():
        here = f"{pointer}/{step(name)}"
        inner = known.get(name, schema.get("additionalProperties"))
        if inner is not None:
            yield from misspelt(item, inner, root, here)
        elif known and (near := nearest(name, known.keys() - value.keys(), 0.75)):
            yield here, f"unknown, so it is ignored; {QUESTION} {quoted(near)}?"


def unknown_capabilities(doc: object) -> Iterator[Finding]:
    """config.md, capabilities: one that cannot be mapped is a warning. Each name once."""
    sets = value_or_none(doc, "process", "capabilities")
    seen: set[str] = set()
    for name, listed in sets.items() if isinstance(sets, dict) else ():
        for index, capability in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(capability, str) and capability not in CAPABILITIES and capability not in seen:
                seen.add(capability)
                message = f"{quoted(capability)} is no known capability, so it is ignored"
                yield f"/process/capabilities/{step(name)}/{index}", message + hint(capability, CAPABILITIES)


def relative_destinations(doc: object) -> Iterator[Finding]:
    """config.md, mounts: relative destinations are deprecated."""
    mounts = value_or_none(doc, "mounts")
    for index, mount in enumerate(mounts if isinstance(mounts, list) else ()):
        destination = value_or_none(mount, "destination")
        if isinstance(destination, str) and destination[:1] not in ("/", ""):
            yield f"/mounts/{index}/destination", f"{quoted(destination)} is relative, which is deprecated"


def value_or_none(value: object, *names: str) -> object:
    """The value under the names, None where there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
