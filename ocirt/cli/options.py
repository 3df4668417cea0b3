"""The command line as one table, and the loop that reads it; what flags mean is left to the verbs.

The parser, --help, usage errors, shell completions and the manual page all read VERBS and GLOBAL, so they agree.
A new verb is one entry here and one module beside this one.
"""

from __future__ import annotations

from ocirt.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    # (long name, short letters, takes a value, key in the options, help, metavar); a metavar that ends in "..." is that
    # of a flag whose values are collected, each time that it is given
    Flag = tuple[str, str, bool, str, str, str]
    # (module, summary, flags, positional arguments); "[X]" is optional, "X..." takes the rest as it stands
    Verb = tuple[str, str, tuple[Flag, ...], tuple[str, ...]]
    Value = str | bool | list[str]
    Options = dict[str, Value]

HELP: tuple[Flag, ...] = (
    ("help", "h?", False, "help", "show this help", ""),
    ("usage", "", False, "usage", "show the short usage", ""),
)

VERSION: tuple[Flag, ...] = (("version", "vV", False, "version", "show the version", ""),)

# Also read after the verb, as runc does since its 1.5; the verb's own flag of the same name goes first.
GLOBAL: tuple[Flag, ...] = (
    (
        "root",
        "",
        True,
        "root",
        "directory for the state of containers (default: /run/ocirt; not as root: $XDG_RUNTIME_DIR/ocirt)",
        "DIR",
    ),
    (
        "log",
        "",
        True,
        "log",
        "append the fatal error, and with --debug each step, to FILE; journald:NAME or syslog:NAME: to the host's log",
        "FILE",
    ),
    ("log-format", "", True, "log_format", "text or json (default: text)", "FORMAT"),
    ("log-level", "", True, "log_level", "error, warning or debug (default: error)", "LEVEL"),
    ("debug", "", False, "debug", "tell each step, and the traceback of an internal error", ""),
    (
        "systemd-cgroup",
        "",
        False,
        "systemd_cgroup",
        "let systemd manage cgroups: cgroupsPath is slice:prefix:name",
        "",
    ),
    (
        "cgroup-manager",
        "",
        True,
        "cgroup_manager",
        "cgroupfs, disabled (makes none) or systemd (default: cgroupfs)",
        "MANAGER",
    ),
    ("rootless", "", True, "rootless", "accepted and ignored: ocirt finds out by itself", "WHEN"),
    ("criu", "", True, "criu", "accepted and ignored", "PATH"),
    ("kept", "", True, "kept", "carry launches out again that were compiled before: on, off, verify", "WHEN"),
)

_BUNDLE: Flag = ("bundle", "b", True, "bundle", "path of the bundle (default: the current directory)", "DIR")
_CONFIG: Flag = ("config", "f", True, "config", "read the configuration from FILE, not from the bundle", "FILE")
_STRICT: Flag = ("strict", "", False, "strict", "also refuse what other runtimes accept against the specification", "")
_DETACH: Flag = ("detach", "d", False, "detach", "do not wait for the process: return once it is started", "")
_REGEX: Flag = ("regex", "r", False, "regex", "ID is a regular expression; act on every container that it matches", "")
_NO_PIVOT: Flag = (
    "no-pivot",
    "",
    False,
    "no_pivot",
    "move the root mount, for a host whose root is a ramdisk",
    "",
)
_KEYRING: Flag = ("no-new-keyring", "", False, "no_new_keyring", "keep the caller's session keyring", "")
_FDS: Flag = (
    "preserve-fds",
    "",
    True,
    "preserve_fds",
    "hand on the N descriptors from 3 up to the process (default: 0)",
    "N",
)
_TOLD: tuple[Flag, ...] = (
    ("console-socket", "", True, "console_socket", "unix socket that receives the terminal's master side", "SOCKET"),
    ("pidfd-socket", "", True, "pidfd_socket", "unix socket that receives a pidfd of the process", "SOCKET"),
    ("pid-file", "", True, "pid_file", "write the process's id to FILE, without a newline", "FILE"),
)
_CREATE: tuple[Flag, ...] = (
    _BUNDLE,
    _CONFIG,
    *_TOLD,
    _NO_PIVOT,
    _KEYRING,
    _FDS,
    ("no-subreaper", "", False, "no_subreaper", "leave orphans of the container to the caller's subreaper", ""),
)
_RUN: tuple[Flag, ...] = (_DETACH, ("keep", "", False, "keep", "keep the container after its process has exited", ""))
_EXEC: tuple[Flag, ...] = (
    _DETACH,
    ("tty", "t", False, "tty", "give the process a terminal", ""),
    ("process", "p", True, "process", "read the process, as of config.json, from FILE; -: from standard input", "FILE"),
    ("user", "u", True, "user", "run as UID or UID:GID (default: those of the container's process)", "USER"),
    ("additional-gids", "g", True, "additional_gids", "be in group GID too; may be repeated", "GID..."),
    ("cwd", "", True, "cwd", "working directory (default: that of the container's process)", "DIR"),
    ("env", "e", True, "env", "set a variable besides the container's; may be repeated", "NAME=VALUE..."),
    ("cap", "c", True, "cap", "have a capability besides the container's; may be repeated", "CAPABILITY..."),
    ("no-new-privs", "", False, "no_new_privs", "let no program give privileges to the process", ""),
    ("apparmor", "", True, "apparmor", "AppArmor profile (default: the container's)", "PROFILE"),
    ("process-label", "", True, "process_label", "SELinux label (default: the container's)", "LABEL"),
    (
        "cgroup",
        "",
        True,
        "cgroup",
        "put it into a cgroup below the container's; on v1 CONTROLLER:PATH too; may be repeated",
        "PATH...",
    ),
    ("ignore-paused", "", False, "ignore_paused", "enter a paused container: it runs when that is resumed", ""),
    *_TOLD,
    _FDS,
)
_FORCE: Flag = ("force", "f", False, "force", "kill what still runs; succeed if there is no such container", "")

# The key is the property of linux.resources, "part.name".
_LIMITS = (
    ("blkio-weight", "blockIO.weight", "weight of block I/O, 10 to 1000"),
    ("cpu-burst", "cpu.burst", "microseconds that may be saved up beyond the quota"),
    ("cpu-idle", "cpu.idle", "1: run only when nobody else wants the processors; 0: as others"),
    ("cpu-period", "cpu.period", "microseconds over which the quota is counted"),
    ("cpu-quota", "cpu.quota", "microseconds of CPU time in each period, -1 for no limit"),
    ("cpu-rt-period", "cpu.realtimePeriod", "as the period, for real-time processes (cgroup v1)"),
    ("cpu-rt-runtime", "cpu.realtimeRuntime", "as the quota, for real-time processes (cgroup v1)"),
    ("cpu-share", "cpu.shares", "share of the CPU time in relation to other cgroups, 2 to 262144"),
    ("cpuset-cpus", "cpu.cpus", "processors to use, such as 0-3,7"),
    ("cpuset-mems", "cpu.mems", "memory nodes to use, such as 0-1"),
    ("kernel-memory", "memory.kernel", "bytes of kernel memory (cgroup v1, ignored since Linux 6.1)"),
    ("kernel-memory-tcp", "memory.kernelTCP", "bytes of TCP buffers (cgroup v1)"),
    ("memory", "memory.limit", "bytes of memory, such as 50M, -1 for no limit"),
    ("memory-reservation", "memory.reservation", "bytes of memory to leave to the container when there is little"),
    ("memory-swap", "memory.swap", "bytes of memory and swap together, -1 for no limit"),
    ("pids-limit", "pids.limit", "number of processes and threads, 0 or -1 for no limit"),
)
_UPDATE: tuple[Flag, ...] = (
    ("resources", "r", True, "resources", "read limits from FILE, - for stdin, as in linux.resources: JSON", "FILE"),
    *((flag, "", True, key, help, "LIMIT") for flag, key, help in _LIMITS),
    ("l3-cache-schema", "", True, "l3_cache_schema", "line for the L3 cache of Intel RDT", "SCHEMA"),
    ("mem-bw-schema", "", True, "mem_bw_schema", "line for the memory bandwidth of Intel RDT", "SCHEMA"),
)

VERBS: dict[str, Verb] = {
    "create": ("ocirt.cli.create", "create a container; its process waits for start", _CREATE, ("ID",)),
    "start": ("ocirt.cli.start", "execute the process of a created container", (), ("ID",)),
    "run": ("ocirt.cli.run", "create and start a container, wait for it and delete it", _CREATE + _RUN, ("ID",)),
    "exec": ("ocirt.cli.exec", "run one more process in a container", _EXEC, ("ID", "[COMMAND...]")),
    "state": ("ocirt.cli.state", "print the state of a container as JSON", (), ("ID",)),
    "kill": (
        "ocirt.cli.kill",
        "send a signal to the container's process",
        (
            ("all", "a", False, "all", "signal every process of the container", ""),
            ("signal", "s", True, "signal", "the signal, by name or number, as after ID (default: TERM)", "SIGNAL"),
            _REGEX,
        ),
        ("ID", "[SIGNAL]"),
    ),
    "ps": (
        "ocirt.cli.ps",
        "list the processes of a container",
        (("format", "f", True, "format", "table, of ps(1), or json, the ids alone (default: table)", "FORMAT"),),
        ("ID", "[PS ARGUMENT...]"),
    ),
    "events": (
        "ocirt.cli.events",
        "print what a container uses, and when it runs out of memory, as lines of JSON",
        (
            (
                "interval",
                "",
                True,
                "interval",
                "time between two lines of figures, as 5s or 1m30s (default: 5s)",
                "TIME",
            ),
            ("stats", "", False, "stats", "print the figures once", ""),
        ),
        ("ID",),
    ),
    "pause": ("ocirt.cli.pause", "stop every process of a container where it stands", (), ("ID",)),
    "resume": ("ocirt.cli.resume", "let the processes of a paused container go on", (), ("ID",)),
    "update": ("ocirt.cli.update", "change the limits of a container", _UPDATE, ("ID",)),
    "delete": ("ocirt.cli.delete", "remove a stopped container and all that it held", (_FORCE, _REGEX), ("ID",)),
    "list": (
        "ocirt.cli.list",
        "list the containers",
        (
            ("format", "f", True, "format", "table or json (default: table)", "FORMAT"),
            ("quiet", "q", False, "quiet", "print the ids alone", ""),
        ),
        (),
    ),
    "spec": (
        "ocirt.cli.spec",
        "write a config.json to start from",
        (
            _BUNDLE,
            ("file", "f", True, "file", "name of the file in the bundle (default: config.json)", "FILE"),
            ("rootless", "", False, "for_rootless", "for a container of a user other than root", ""),
        ),
        (),
    ),
    "validate": ("ocirt.cli.validate", "check a bundle's config.json", (_BUNDLE, _CONFIG, _STRICT), ("[BUNDLE]",)),
    "explain": (
        "ocirt.cli.explain",
        "print every step that create would take",
        (
            _BUNDLE,
            _CONFIG,
            _NO_PIVOT,
            _KEYRING,
            _FDS,
            ("json", "", False, "json", "print JSON", ""),
            ("kept", "", False, "kept_launch", "whether a launch of it can be kept, and what is left open", ""),
        ),
        ("[BUNDLE]",),
    ),
    "features": ("ocirt.cli.features", "print what this runtime supports, as JSON", (), ()),
    "completion": ("ocirt.cli.completion", "print the completion of a shell: bash, zsh or fish", (), ("SHELL",)),
    "man": ("ocirt.cli.man", "print the manual page, in troff", (), ()),
    "version": ("ocirt.cli.version", "print the version", (), ()),
    "help": ("ocirt.cli.help", "show the help of the program or of a verb", (), ("[VERB]",)),
}

# The spellings of strconv.ParseBool, which engines written in Go use.
BOOLEANS = dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True)
BOOLEANS.update(dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False))


def find(flags: Sequence[Flag], word: str, verb: str) -> tuple[Flag, str | None, str]:
    """Return the flag that `word` names, the value written in the word, and what is left of a cluster of short flags.

    One dash or two make no difference, as in Go's flag package: go-runc writes -no-subreaper.
    Raises UsageError for a word that names none.
    """
    dashes = 2 if word.startswith("--") else 1
    name, equals, value = word[dashes:].partition("=")
    for flag in flags:
        if name and (name == flag[0] or (len(name) == 1 and name in flag[1])):
            return flag, value if equals else None, ""
    for flag in flags:
        if dashes == 1 and name and name[0] in flag[1]:
            return (flag, word[2:], "") if flag[2] else (flag, None, "-" + word[2:])
    from ocirt.cli.help import unknown_flag

    raise UsageError(unknown_flag(flags, word, name, verb), verb)


def parse(
    flags: Sequence[Flag], words: Sequence[str], verb: str, ret_options: Options, mixed: bool = True
) -> list[str]:
    """Split `words`: return the positional arguments, put options by key into `ret_options`; the last of a flag wins.

    mixed    flags may follow positional arguments; else the first of those ends the flags
    Raises UsageError for unknown flags and for values missing or wrong; options read until then are in `ret_options`.
    """
    rest: list[str] = []
    position, count = 0, len(words)
    while position < count:
        word = words[position]
        position += 1
        if word == "--":
            return rest + list(words[position:])
        if len(word) < 2 or word[0] != "-":
            rest.append(word)
            if not mixed:
                return rest + list(words[position:])
            continue
        while word:  # a cluster of short flags is eaten letter by letter
            flag, value, word = find(flags, word, verb)
            if flag[2] and value is None:
                value = words[position] if position < count else _missing(flag, verb)
                position += 1
            if flag[5].endswith("...") and value is not None:
                former = ret_options.get(flag[3])
                ret_options[flag[3]] = [*(former if isinstance(former, list) else ()), value]
            else:
                ret_options[flag[3]] = value if flag[2] and value is not None else _boolean(flag, value, verb)
    return rest


def _missing(flag: Flag, verb: str) -> str:
    # Podman looks for one of these two phrases to learn whether a runtime knows a flag.
    raise UsageError(f"flag needs an argument: --{flag[0]} requires an argument ({flag[5].rstrip('.')})", verb)


def _boolean(flag: Flag, value: str | None, verb: str) -> bool:
    if value is None:
        return True
    if value not in BOOLEANS:
        raise UsageError(f'flag --{flag[0]}: "{value}" is neither true nor false', verb)
    return BOOLEANS[value]


def check_count(positionals: Sequence[str], arguments: Sequence[str], verb: str) -> None:
    """Raise UsageError unless as many arguments were given as `positionals` allows."""
    required = [name for name in positionals if name[0] != "["]
    if len(arguments) < len(required):
        raise UsageError(f"missing argument: {required[len(arguments)]}", verb)
    if len(arguments) > len(positionals) and not (positionals and "..." in positionals[-1]):
        raise UsageError(f'unexpected argument "{arguments[len(positionals)]}"', verb)
