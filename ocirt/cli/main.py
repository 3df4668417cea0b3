"""From the words of the command line to one verb, and the one place where errors become text and an exit code.

    ocirt [global flags] VERB [flags] [arguments]
      └─ parse → Global → VERBS[verb] → its module's run(globals, options, arguments) → exit code

What verbs do is left to their modules.
"""

from __future__ import annotations

import posix

from ocirt import notes
from ocirt.cli.options import BOOLEANS, GLOBAL, HELP, VERBS, VERSION, check_count, parse
from ocirt.errors import OcirtError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ocirt.cli.options import Flag, Options

_CHOICES = {
    "log_format": ("text", "json"),
    "log_level": ("error", "warning", "debug"),
    "cgroup_manager": ("cgroupfs", "systemd", "disabled"),
    "rootless": ("true", "false", "auto", *BOOLEANS),
    "kept": ("on", "off", "verify"),
}

HOST_LOGS = ("journald:", "syslog:")
STDERR = ("/dev/stderr", "/dev/fd/2", "/proc/self/fd/2")
_APPEND = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC | posix.O_NOCTTY


class Global:
    """The global options.

    root            state root, absolute; the default where none was given
    log             path of the log file, or as HOST_LOGS with a name; "" for none
    log_format      "text" or "json"
    debug           whether to tell each step
    warnings        whether warnings go where errors go; else to the system's log
    systemd_cgroup  whether --systemd-cgroup was given
    rootless        what --rootless said, "auto" where nothing; ocirt needs no hint
    cgroup_manager  "cgroupfs", "systemd" or "disabled"
    """

    __slots__ = ("_root", "cgroup_manager", "debug", "log", "log_format", "rootless", "systemd_cgroup", "warnings")

    def __init__(self) -> None:
        self._root = ""
        self.log = ""
        self.log_format = "text"
        self.debug = False
        self.warnings = False
        self.systemd_cgroup = False
        self.rootless = "auto"
        self.cgroup_manager = "cgroupfs"

    @property
    def root(self) -> str:
        """State root; found out only when a verb needs it, for that may fail."""
        if not self._root:
            self._root = _default_root()
        return self._root

    def take_log(self, options: Options) -> None:
        """Take over where errors go; ahead of all else, so that they get there. Raises UsageError, OcirtError."""
        if options.get("log_format") in _CHOICES["log_format"]:
            self.log_format = str(options["log_format"])
        if options.get("log"):
            log = _log_path(str(options["log"]))
            _open_log(log)
            self.log = log

    def take(self, options: Options) -> None:
        """Take over the other global ones of `options`; raises UsageError for values out of their choices."""
        for key in _CHOICES:
            _check_choice(options, key)
        if "root" in options:
            self._root = absolute(str(options["root"]), "root")
        self.debug = bool(options.get("debug", self.debug)) or options.get("log_level") == "debug"
        self.warnings = self.warnings or self.debug or options.get("log_level") == "warning"
        self.systemd_cgroup = bool(options.get("systemd_cgroup", self.systemd_cgroup))
        self.rootless = str(options.get("rootless") or self.rootless)
        default = "systemd" if options.get("systemd_cgroup") else self.cgroup_manager
        self.cgroup_manager = str(options.get("cgroup_manager") or default)
        notes.steps = self._tell if self.debug else None
        notes.warnings = self._warn

    def _tell(self, text: str) -> None:
        from ocirt.cli.log import tell

        tell(self, text)

    def _warn(self, text: str) -> None:
        from ocirt.cli.log import warn

        warn(self, text)


def _check_choice(options: Options, key: str) -> None:
    value, choices = options.get(key), _CHOICES[key]
    if value and value not in choices:
        raise UsageError(f'flag --{key.replace("_", "-")}: "{value}" is not one of {", ".join(choices[:3])}')


def _log_path(text: str) -> str:
    if text.startswith(HOST_LOGS):
        if not text.isprintable():
            raise UsageError("flag --log: the name has control characters")
        return text
    return absolute(text[5:] if text.startswith("file:") else text, "log")


def _open_log(path: str) -> None:
    """Make the log before anything else, as runc and crun do. Raises OcirtError, also for a fifo without a reader."""
    if path.startswith(HOST_LOGS) or path in STDERR:
        return
    try:
        posix.close(posix.open(path, _APPEND | posix.O_NONBLOCK, 0o644))
    except OSError as error:
        raise OcirtError(f'log "{path}": {posix.strerror(error.errno or 0).lower()}') from None
    except ValueError:
        raise UsageError("flag --log: the path has a NUL byte") from None


def _default_root() -> str:
    from ocirt.linux.calls import default_root

    return default_root()


def absolute(path: str, flag: str) -> str:
    """Make `path`, the value of --`flag`, absolute; raises UsageError where it is empty, OSError without a cwd."""
    if not path:
        raise UsageError(f"flag --{flag}: the path is empty")
    from ocirt.container.prepare import absolute as made_absolute

    return made_absolute(path)


def main(argv: Sequence[str]) -> int:
    """Carry out the command `argv`, without the program's name; return the exit code. Raises nothing."""
    globals_ = Global()
    try:
        return _run(globals_, argv)
    except OcirtError as error:
        return _fail(globals_, error, error.exit_code)
    except (Exception, KeyboardInterrupt) as error:
        return _fail(globals_, error, 1)


def _run(globals_: Global, argv: Sequence[str]) -> int:
    options, words = _parse(globals_, GLOBAL + VERSION + HELP, argv, "", False)
    verb = _verb(options, words)
    module, _, flags, positionals = VERBS[verb]
    mixed = not (positionals and "..." in positionals[-1])
    options, arguments = _parse(globals_, flags + GLOBAL + HELP, words[1:], verb, mixed)
    if options.get("help") or options.get("usage"):
        return _help(options, verb)
    check_count(positionals, arguments, verb)
    __import__(module)
    from sys import modules

    try:
        notes.step(f"started: {notes.started}")
        notes.step(f"{verb} {arguments[0]}" if arguments else verb)
        code: int = modules[module].run(globals_, options, arguments)
        notes.step(f"{verb}: exit code {code}")
    except UsageError as error:
        error.verb = error.verb or verb
        raise
    return code


def _parse(
    globals_: Global, flags: Sequence[Flag], words: Sequence[str], verb: str, mixed: bool
) -> tuple[Options, list[str]]:
    options: Options = {}
    try:
        rest = parse(flags, words, verb, options, mixed)
    finally:
        globals_.take_log(options)
    globals_.take(options)
    return options, rest


def _verb(options: Options, words: list[str]) -> str:
    """Name the verb to run; `help` and `version` where the flags ask for them, whatever follows."""
    for key, verb in (("help", "help"), ("usage", "help"), ("version", "version")):
        if options.get(key):
            words.clear()
            return verb
    if not words:
        raise UsageError("missing argument: VERB")
    if words[0] in VERBS:
        return words[0]
    from ocirt.cli.help import unknown_verb

    raise UsageError(unknown_verb(words[0]))


def _help(options: Options, verb: str) -> int:
    from ocirt.cli import help as help_
    from ocirt.cli.output import say

    say(help_.text(verb) if options.get("help") else help_.usage(verb))
    return 0


def _fail(globals_: Global, error: BaseException, code: int) -> int:
    try:
        from ocirt.cli.log import report

        report(globals_, error)
    except BaseException:  # no descriptor or memory is left to load what finds the words
        _last_words(error)
    return code


def _last_words(error: BaseException) -> None:
    try:
        posix.write(2, f"ocirt: {error}\n".encode("utf-8", "backslashreplace"))
    except Exception:  # noqa: S110 - nobody is left to tell; the exit code still says it
        pass
