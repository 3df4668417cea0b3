"""Is a config fit to be compiled? Yes costs little; no is explained by explain.py.

First the schema of spec/, compiled to code; then what only the specification's text demands (rules.py and
rules_linux.py). The host is not asked: what its kernel lacks shows later.
"""

from __future__ import annotations

from ocirt.config import rules, rules_linux
from ocirt.config._schema import valid, valid_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.config.rules import Found


def check(doc: object, raw: bytes = b"") -> None:
    """Nothing where the config is valid.

    doc    config.json as load.load returns it
    raw    the bytes that it comes from, so that messages can name lines; b"" where it comes from none

    Raises ConfigError with every problem.
    """
    # a NUL or a surrogate can come into a JSON text by an escape alone
    if valid(doc) and ((raw and b"\\u" not in raw) or plain(doc)):
        found: list[Found] = []
        judge(doc, found)  # type: ignore[arg-type]
        if not found:
            return
    from ocirt.config.explain import problems
    from ocirt.errors import ConfigError, Problem

    # no is no, even if the explanation should find nothing
    raise ConfigError(problems(doc, raw) or [Problem("", "is invalid")])


# Those of rules.py that are about the process alone; rules_linux.py has one more.
PROCESS_RULES = (rules.arguments, rules.surroundings, rules.rlimits, rules.scheduler, rules.user)


def around(**part: object) -> dict[str, object]:
    """The smallest config that has this part, for one that is to be checked alone."""
    return {"ociVersion": "1.3.0", "root": {"path": "/"}, **part}


def check_process(process: object, name: str) -> None:
    """Nothing where this is the process of a valid config (config.md, "Process").

    name    what it comes from, for messages

    Raises ConfigError with every problem.
    """
    if valid_process(process) and plain(process):
        found: list[Found] = []
        alone = {"process": process}
        for rule in PROCESS_RULES:
            rule(alone, found)
        rules_linux.cpus(alone, {}, found)
        if not found:
            return
    from ocirt.config.explain import problems
    from ocirt.errors import ConfigError, Problem

    found_by_all = problems(around(process=process))
    listed = [Problem(one.pointer.removeprefix("/process"), one.message, 0, name) for one in found_by_all]
    raise ConfigError(listed or [Problem("", "is invalid", 0, name)])


def judge(doc: rules.Doc, found: list[Found]) -> None:
    """Appends what each rule finds; the document has passed the schema."""
    kinds = rules_linux.namespaces(doc)
    for rule in rules.RULES:
        rule(doc, found)
    for linux_rule in rules_linux.RULES:
        linux_rule(doc, kinds, found)


def plain(doc: object) -> bool:
    """True where no string, be it a name or a value, has a NUL or a lone surrogate.

    The schema takes both. A NUL would cut the string short in C, and a surrogate has no UTF-8.
    """
    pending = [doc]
    for value in pending:  # grows as it goes: no recursion, whatever the depth
        kind = type(value)
        if kind is str:
            if not sound(value):  # type: ignore[arg-type]
                return False
        elif kind is dict:
            for name in value:  # type: ignore[attr-defined]
                if not sound(name):
                    return False
            pending += value.values()  # type: ignore[attr-defined]
        elif kind is list:
            pending += value  # type: ignore[arg-type]
    return True


def sound(text: str) -> bool:
    """True for a string without NUL that UTF-8 can write."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
