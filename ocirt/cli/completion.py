"""`ocirt completion SHELL`: completion of verbs, flags and container ids, written from the table of options."""

from __future__ import annotations

from ocirt.cli.options import GLOBAL, HELP, VERBS, VERSION
from ocirt.cli.output import say
from ocirt.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocirt.cli.main import Global
    from ocirt.cli.options import Flag, Options

# What follows a flag or an argument, by its metavar.
_FILES = ("FILE", "PATH", "SOCKET")
_DIRECTORIES = ("DIR", "BUNDLE")
_NEW = ("create", "run")  # their ID is one that no container has yet
_WORDS = {
    "MANAGER": "cgroupfs systemd disabled",
    "LEVEL": "error warning debug",
    "SHELL": "bash zsh fish",
    "WHEN": "true false auto",
}


def run(_globals: Global, _options: Options, arguments: list[str]) -> int:
    """Print the script; return 0. Raises UsageError for a shell that has none."""
    shells = {"bash": bash, "zsh": zsh, "fish": fish}
    if arguments[0] not in shells:
        raise UsageError(f'no completion for the shell "{arguments[0]}", only for {", ".join(shells)}', "completion")
    say(shells[arguments[0]]())
    return 0


def _name(argument: str) -> str:
    return argument.strip("[].")


def _values(flag: Flag, verb: str) -> str:
    """Return the words that may follow `flag`, "" where they are not a fixed few."""
    if flag[5] == "FORMAT":
        return "table json" if verb else "text json"
    return _WORDS.get(flag[5], "")


def _long(flags: Sequence[Flag]) -> str:
    return " ".join(f"--{flag[0]}" for flag in flags)


def bash() -> str:
    """Return the script for bash: one case for the word before, one for the verb."""
    lines = [
        "# bash completion for ocirt",
        "_ocirt() {",
        "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} verb= index",
        "    for ((index = 1; index < COMP_CWORD; index++)); do",
        "        case ${COMP_WORDS[index]} in",
        f"            {'|'.join(VERBS)}) verb=${{COMP_WORDS[index]}}; break ;;",
        "        esac",
        "    done",
        "    case $verb:$before in",
    ]
    for verb, flags in [("", GLOBAL), *((name, entry[2]) for name, entry in VERBS.items())]:
        lines += [_bash_value(verb, flag) for flag in flags if flag[2]]
    lines += ["    esac", "    case $verb in"]
    words = f"{' '.join(VERBS)} {_long(GLOBAL + VERSION + HELP)}"
    lines.append(f'        "") COMPREPLY=($(compgen -W "{words}" -- "$word")) ;;')
    lines += [_bash_verb(verb) for verb in VERBS]
    return "\n".join([*lines, "    esac", "}", "complete -F _ocirt ocirt"])


def _bash_value(verb: str, flag: Flag) -> str:
    names = "|".join([f"{verb}:--{flag[0]}", *(f"{verb}:-{letter}" for letter in flag[1])])
    kind = "-d" if flag[5] in _DIRECTORIES else "-f" if flag[5] in _FILES else f'-W "{_values(flag, verb)}"'
    return f'        {names}) COMPREPLY=($(compgen {kind} -- "$word")); return ;;'


def _bash_verb(verb: str) -> str:
    _, _, flags, positionals = VERBS[verb]
    words, more = _long(flags + HELP), ""
    for argument in map(_name, positionals):
        if argument == "ID":
            words += "" if verb in _NEW else " $(ocirt list --quiet 2>/dev/null)"
        elif argument == "VERB":
            words += " " + " ".join(VERBS)
        elif argument in _DIRECTORIES:
            more = " -d"
        else:
            words += " " + _WORDS.get(argument, "")
    return f'        {verb}) COMPREPLY=($(compgen{more} -W "{words.rstrip()}" -- "$word")) ;;'


def zsh() -> str:
    """Return the script for zsh: _arguments for the program, and again for the verb."""
    verbs = [f"        '{name}:{_quoted(entry[1])}'" for name, entry in VERBS.items()]
    lines = ["#compdef ocirt", "_ocirt() {", "    local -a verbs=(", *verbs, "    )", "    local context state line"]
    lines += ["    _arguments -C \\"]
    lines += [f"        {_zsh_flag(flag, '')} \\" for flag in GLOBAL + VERSION + HELP]
    lines += ["        '1: :->verb' '*:: :->rest'", "    case $state in", "        verb) _describe verb verbs ;;"]
    lines += ["        rest) case $line[1] in"]
    for verb, (_, _, flags, positionals) in VERBS.items():
        words = [_zsh_flag(flag, verb) for flag in flags + HELP] + [
            _zsh_argument(_name(text), verb) for text in positionals
        ]
        lines.append(f"            {verb}) _arguments {' '.join(words)} ;;")
    return "\n".join([*lines, "        esac ;;", "    esac", "}", "compdef _ocirt ocirt"])


def _zsh_flag(flag: Flag, verb: str) -> str:
    action = f":{flag[5].rstrip('.')}:{_zsh_action(flag[5], _values(flag, verb))}" if flag[2] else ""
    again = "*" if flag[5].endswith("...") else ""
    return f"'{again}--{flag[0]}[{_quoted(flag[4])}]{action}'"


def _zsh_argument(name: str, verb: str) -> str:
    if name == "ID" and verb not in _NEW:
        return "':ID:{compadd -- $(ocirt list --quiet 2>/dev/null)}'"
    return f"':{name}:{_zsh_action(name, ' '.join(VERBS) if name == 'VERB' else _WORDS.get(name, ''))}'"


def _zsh_action(metavar: str, words: str) -> str:
    if words:
        return f"({words})"
    return "_files -/" if metavar in _DIRECTORIES else "_files" if metavar in _FILES else " "


def _quoted(words: str) -> str:
    return words.replace("'", "'\\''").replace(":", "\\:").replace("[", "\\[").replace("]", "\\]")


def fish() -> str:
    """Return the script for fish: one line for each verb and each flag of it."""
    lines = ["# fish completion for ocirt", "complete -c ocirt -f"]
    bare = f"not __fish_seen_subcommand_from {' '.join(VERBS)}"
    lines += [_fish_flag(flag, bare, "") for flag in GLOBAL + VERSION + HELP]
    for verb, (_, summary, flags, positionals) in VERBS.items():
        lines.append(f"complete -c ocirt -n '{bare}' -a {verb} -d '{_fish_quoted(summary)}'")
        seen = f"__fish_seen_subcommand_from {verb}"
        lines += [_fish_flag(flag, seen, verb) for flag in flags + HELP]
        lines += [_fish_argument(_name(text), seen) for text in positionals if verb not in _NEW]
    return "\n".join(line for line in lines if line)


def _fish_flag(flag: Flag, condition: str, verb: str) -> str:
    short = "".join(f" -s {letter}" for letter in flag[1] if letter.isalpha())
    values = _values(flag, verb)
    value = "" if not flag[2] else f" -x -a '{values}'" if values else " -r -F" if flag[5] != "N" else " -x"
    return f"complete -c ocirt -n '{condition}' -l {flag[0]}{short}{value} -d '{_fish_quoted(flag[4])}'"


def _fish_argument(name: str, condition: str) -> str:
    sources = {"ID": "(ocirt list --quiet 2>/dev/null)", "VERB": " ".join(VERBS)}
    if name in _DIRECTORIES:
        sources[name] = "(__fish_complete_directories)"
    words = sources.get(name) or _WORDS.get(name, "")
    return f"complete -c ocirt -n '{condition}' -a '{words}'" if words else ""


def _fish_quoted(words: str) -> str:
    return words.replace("\\", "\\\\").replace("'", "\\'")
