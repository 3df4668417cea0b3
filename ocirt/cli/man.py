"""`ocirt man`: the manual page, in man(7) macros, written from the table of options."""

from __future__ import annotations

from ocirt import __version__
from ocirt.cli.options import GLOBAL, HELP, VERBS, VERSION
from ocirt.cli.output import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocirt.cli.main import Global
    from ocirt.cli.options import Flag, Options

_EXIT = (
    ("0", "success"),
    ("1", "the operation failed"),
    ("2", "the command line is wrong"),
    ("run, exec", "without --detach: that of the process, or 128 plus the number of the signal that ended it"),
    ("255", "exec could not run the process"),
)
_FILES = (
    ("/run/ocirt", "state of the containers of root"),
    ("$XDG_RUNTIME_DIR/ocirt", "state of the containers of other users"),
    ("config.json", "the configuration, in the bundle; ocirt spec writes one to start from"),
)


def run(_globals: Global, _options: Options, _arguments: list[str]) -> int:
    """Print the page; return 0."""
    say(page())
    return 0


def page() -> str:
    """Return the page as troff source."""
    lines = [
        f'.TH OCIRT 8 "" "ocirt {__version__}"',
        ".SH NAME",
        "ocirt \\- run containers from OCI bundles",
        ".SH SYNOPSIS",
        ".B ocirt",
        "[global flags] VERB [flags] [arguments]",
        ".SH DESCRIPTION",
        _text("ocirt creates and runs containers as the OCI runtime specification says. A bundle is a directory"),
        _text("with a config.json and a root filesystem. Flags may have one dash or two, and their values may"),
        _text("follow a space or an equals sign; a flag that is given twice has its last value, unless"),
        _text("it says that it may be repeated."),
        ".SH GLOBAL FLAGS",
        *_flags(GLOBAL + VERSION + HELP),
        ".SH VERBS",
    ]
    for verb, (_, summary, flags, positionals) in VERBS.items():
        words = " ".join([verb, *(["[flags]"] if flags else []), *positionals])
        lines += [f".SS ocirt {_text(words)}", _text(summary[0].upper() + summary[1:] + "."), *_flags(flags)]
    lines += [".SH EXIT STATUS", *_terms(_EXIT), ".SH FILES", *_terms(_FILES)]
    lines += [".SH SEE ALSO", "https://github.com/opencontainers/runtime\\-spec"]
    return "\n".join(lines)


def _flags(flags: Sequence[Flag]) -> list[str]:
    terms = []
    for name, short, takes_value, _, words, metavar in flags:
        spelled = ", ".join([*(f"-{letter}" for letter in short), f"--{name}"])
        terms.append((f"{spelled} {metavar.rstrip('.')}" if takes_value else spelled, words))
    return _terms(terms)


def _terms(terms: Sequence[tuple[str, str]]) -> list[str]:
    return [line for term, words in terms for line in (".TP", f"\\fB{_text(term)}\\fR", _text(words))]


def _text(words: str) -> str:
    """Escape what troff would read as a request, or typeset as a hyphen."""
    escaped = words.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped
