"""`ocirt exec`: flags → container.exec."""

from __future__ import annotations

import posix

from ocirt.cli.create import path_option, preserved_fds
from ocirt.config import load
from ocirt.config.rules import LAST_ID
from ocirt.container.command import Command
from ocirt.container.exec import ExecOptions
from ocirt.errors import OcirtError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.cli.main import Global
    from ocirt.cli.options import Options

# What engines take for the runtime's own failure, not the process's: runc's.
FAILURE = 255
# What errors call the document of --process
PROCESS = "process"


def run(globals_: Global, options: Options, arguments: list[str]) -> int:
    """Run the process; return its exit code, 128 + signal, or 0 with --detach."""
    from ocirt.container import exec as container_exec

    try:
        wanted, how = command(options, arguments[1:]), exec_options(options)
        if options.get("detach"):
            container_exec.detach(globals_.root, arguments[0], wanted, how)
            return 0
        return container_exec.execute(globals_.root, arguments[0], wanted, how)
    except UsageError:
        raise
    except OcirtError as error:
        error.exit_code = FAILURE
        raise


def exec_options(options: Options) -> ExecOptions:
    """Translate the flags about how to run it. Raises UsageError."""
    return ExecOptions(
        pid_file=path_option(options, "pid_file"),
        console_socket=path_option(options, "console_socket"),
        pidfd_socket=path_option(options, "pidfd_socket"),
        preserve_fds=preserved_fds(options),
        cgroups=listed(options, "cgroup"),
        ignore_paused=bool(options.get("ignore_paused")),
    )


def command(options: Options, words: list[str]) -> Command:
    """Translate the flags about what to run. Raises UsageError, BundleError."""
    if options.get("process"):
        path = str(options["process"])
        raw = process_file(path)
        # Not by the file's name: an engine's has a random one, and is gone when somebody reads of it.
        return Command(process=load.without_nulls(raw, PROCESS), name=PROCESS, raw=raw)  # type: ignore[arg-type]
    uid, gid = user(str(options.get("user") or ""))
    return Command(
        words[1:] if words[:1] == ["--"] else words,
        cwd=str(options.get("cwd") or ""),
        env=listed(options, "env"),
        uid=uid,
        gid=gid,
        groups=[number(word, "additional-gids") for word in listed(options, "additional_gids")],
        capabilities=listed(options, "cap"),
        apparmor=str(options.get("apparmor") or ""),
        label=str(options.get("process_label") or ""),
        no_new_privileges=bool(options.get("no_new_privs")),
        terminal=bool(options.get("tty")),
    )


def process_file(path: str) -> bytes:
    """Read the process file. "-" is standard input. Raises BundleError."""
    if path != "-":
        return load.read(path, stream=True)
    data = b""
    while block := posix.read(0, 1 << 16):
        data += block
    return data


def listed(options: Options, key: str) -> list[str]:
    """Return the values of a flag that may be repeated."""
    value = options.get(key)
    return value if isinstance(value, list) else []


def user(text: str) -> tuple[int | None, int | None]:
    """Return UID and GID of --user, None for one that is not given.

    Numbers alone: names would be looked up in a file of the container's (CVE-2016-3697). Raises UsageError.
    """
    if not text:
        return None, None
    uid, colon, gid = text.partition(":")
    return number(uid, "user"), number(gid, "user") if colon else None


def number(text: str, flag: str) -> int:
    """Return a user or group id; anything but digits could end up as root's (CVE-2026-30892). Raises UsageError."""
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > LAST_ID:
        raise UsageError(f'flag --{flag}: "{text}" is not a number from 0 to {LAST_ID}')
    return int(text)
