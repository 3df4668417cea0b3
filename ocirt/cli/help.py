"""Help, usage lines and the words of usage mistakes, all read from the table of options. Cold."""

from __future__ import annotations

import argparse
import difflib

from ocirt.cli.options import GLOBAL, HELP, VERBS, VERSION
from ocirt.cli.output import say
from ocirt.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocirt.cli.main import Global
    from ocirt.cli.options import Flag, Options

# Verbs of other runtimes: the nearest of our own would be a wrong guess.
ABSENT = ("checkpoint", "mounts", "restore")

# What users of Docker and Podman may look for
ENGINES = {
    "inspect": "state", "ls": "list", "remove": "delete", "rm": "delete", "stats": "events", "status": "state",
    "stop": "kill", "top": "ps", "unpause": "resume",
}  # fmt: skip

EPILOG = (
    "A bundle is a directory with a config.json, which `ocirt spec` writes, and a root filesystem. "
    "`ocirt VERB --help` shows the flags of a verb."
)


def run(_globals: Global, _options: Options, arguments: list[str]) -> int:
    """`ocirt help [VERB]`: print help; raises UsageError for a verb that does not exist."""
    if arguments and arguments[0] not in VERBS:
        raise UsageError(unknown_verb(arguments[0]))
    say(text(arguments[0] if arguments else ""))
    return 0


def text(verb: str) -> str:
    """Return the help of `verb`, or the program's for ""."""
    parser = argparse.ArgumentParser(
        prog=f"ocirt {verb}".strip(),
        usage=usage(verb)[len("usage: ") :],
        description=(VERBS[verb][1] if verb else "run containers from OCI bundles"),
        epilog="" if verb else EPILOG,
        formatter_class=_Formatter,
        add_help=False,
    )
    if not verb:
        verbs = parser.add_argument_group("verbs")
        for name, entry in VERBS.items():
            verbs.add_argument(name, nargs="?", metavar=name, help=_escape(entry[1]))
    group = parser.add_argument_group("flags" if verb else "global flags, before the verb")
    for flag in (VERBS[verb][2] if verb else GLOBAL + VERSION) + HELP:
        _add(group, flag)
    return parser.format_help().rstrip()


def usage(verb: str) -> str:
    """Return the usage line of `verb`, or the program's for "" or an unknown one."""
    if verb not in VERBS:
        return "usage: ocirt [global flags] VERB [flags] [arguments]"
    return " ".join(["usage: ocirt", verb, "[flags]", *VERBS[verb][3]])


def unknown_flag(flags: Sequence[Flag], word: str, name: str, verb: str) -> str:
    """Return the words for a flag that `verb` does not have, with the nearest that it has."""
    given = word.partition("=")[0]
    near = difflib.get_close_matches(name, [flag[0] for flag in flags], 1, 0.6)
    if verb == "kill" and any(char.isdigit() or char.isupper() for char in name):
        return f'unknown flag "{given}"; the signal goes behind the ID: ocirt kill ID {name}'
    others = [other for other, entry in VERBS.items() if any(name == flag[0] for flag in entry[2])]
    if near:
        return f'unknown flag "{given}"; did you mean --{near[0]}?'
    if others and not verb:
        return f'unknown flag "{given}"; it goes after the verb: {", ".join(others)}'
    return f'unknown flag "{given}"'


def unknown_verb(word: str) -> str:
    """Return the words for a verb that does not exist."""
    if word in ABSENT:
        return f'command "{word}" is not part of this version'
    near = [ENGINES[word]] if word in ENGINES else difflib.get_close_matches(word, VERBS, 1, 0.6)
    return f'unknown command "{word}"' + (f'; did you mean "{near[0]}"?' if near else "")


class _Formatter(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=100)


def _add(group: argparse._ArgumentGroup, flag: Flag) -> None:
    name, short, takes_value, key, words, metavar = flag
    names = [f"-{letter}" for letter in short] + [f"--{name}"]
    if takes_value:
        group.add_argument(*names, dest=key, metavar=metavar.rstrip("."), help=_escape(words))
    else:
        group.add_argument(*names, dest=key, action="store_true", help=_escape(words))


def _escape(words: str) -> str:
    return words.replace("%", "%%")
