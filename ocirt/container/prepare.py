"""What `create` and `run` need before anything exists: options, paths, the fds to pass on, the seccomp program."""

from __future__ import annotations

import fcntl
import posix

from ocirt.errors import BundleError, ConfigError, OcirtError, Problem, StateDamaged, UnsupportedError, failed
from ocirt.linux import sysctl
from ocirt.linux.consts import S_IFDIR, S_IFMT
from ocirt.plan import holes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


SECCOMP_LIMIT = 1 << 20  # bytes; BPF_MAXINSNS is 4096, of 8 bytes each
# Of the state directory, launcher/delete.c has it too: flags and size (4 bytes each), struct sock_filter …
SECCOMP_FILE = "seccomp.bpf"

OWN_FDS = 64  # more than the runtime has open at any one moment
DIGITS_MAX = 10  # of a number of descriptors


# Types of namespaces whose file in /proc/PID/ns (namespaces(7)) has another name
NAMESPACE_FILES = {"mount": "mnt", "network": "net"}


class Options:
    """How to create, beyond what the bundle says. Paths are relative to the current directory.

    config           this file in place of <bundle>/config.json
    pid_file         where to write the process's pid (no newline)
    console_socket   unix socket that gets the terminal's master (process.terminal)
    no_pivot         move the root in place of pivot_root(2): for a root on ramfs
    new_keyring      give the container a session keyring of its own
    preserve_fds     pass fds 3 … 2+n on to the process
    manager          "cgroupfs", "systemd" or "disabled"
    pidfd_socket     unix socket that gets a pidfd of the process
    """

    __slots__ = (
        "config", "console_socket", "manager", "new_keyring", "no_pivot", "pid_file", "pidfd_socket", "preserve_fds",
    )  # fmt: skip

    def __init__(  # noqa: PLR0913 - a record: every field has a default and is passed by name
        self,
        *,
        config: str | None = None,
        pid_file: str | None = None,
        console_socket: str | None = None,
        no_pivot: bool = False,
        new_keyring: bool = True,
        preserve_fds: int = 0,
        manager: str = "cgroupfs",
        pidfd_socket: str | None = None,
    ) -> None:
        self.config = config
        self.pid_file = pid_file
        self.console_socket = console_socket
        self.no_pivot = no_pivot
        self.new_keyring = new_keyring
        self.preserve_fds = preserve_fds
        self.manager = manager
        self.pidfd_socket = pidfd_socket


class Given:
    """What the plans of a command are made from; where its launch is to be kept, with holes.

    config          config.json as a document; of `exec` with the process to run in place of its own
    container_id    and
    bundle          of the container, an absolute path
    paths           of its cgroups
    pid_file        an absolute path, "" for none
    console_socket  of whom the terminal is for, "" for nobody
    raw             the bytes of config.json, for the state of a container that is made
    tasks           those of the paths that the process of `exec` enters by itself
    """

    __slots__ = ("bundle", "config", "console_socket", "container_id", "paths", "pid_file", "raw", "tasks")

    def __init__(  # noqa: PLR0913 - the members
        self,
        config: dict[str, Any],
        container_id: str,
        bundle: str,
        paths: list[str],
        pid_file: str,
        console_socket: str,
        *,
        raw: bytes = b"",
        tasks: Sequence[str] = (),
    ) -> None:
        self.config = config
        self.container_id = container_id
        self.bundle = bundle
        self.paths = paths
        self.pid_file = pid_file
        self.console_socket = console_socket
        self.raw = raw
        self.tasks = tasks


class Named:
    """Used as a context: an error inside speaks of the configuration by the name of the file `config`, where given."""

    __slots__ = ("config",)

    def __init__(self, config: str | None) -> None:
        self.config = config

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if self.config and isinstance(error, OcirtError):
            error.name_document(self.config.rpartition("/")[2])


def absolute(path: str) -> str:
    """`path` made absolute by the current directory, without "." components and doubled slashes.

    Raises SystemCallError where that directory has been removed.
    """
    try:
        joined = path if path.startswith("/") else posix.getcwd() + "/" + path
    except OSError as error:
        raise failed(f'find "{path}" in the current directory, which has been removed', error) from None
    return "/" + "/".join([part for part in joined.split("/") if part not in {"", "."}])


def absolute_below(bundle: str, path: str) -> str:
    """`path` as an absolute one, relative to the bundle (config.md "Root")."""
    if isinstance(path, holes.Opaque):  # normal
        return path if holes.is_absolute(path) else holes.concat(bundle, "/", path)
    return absolute(path if path.startswith("/") else f"{bundle}/{path}")


def bundle_path(bundle: str) -> str:
    """The bundle's absolute path. Raises BundleError where it is no directory."""
    path = absolute(bundle)
    try:
        is_directory = posix.stat(path).st_mode & S_IFMT == S_IFDIR
    except OSError as error:
        raise BundleError(f'bundle "{path}": {posix.strerror(error.errno or 0).lower()}') from None
    if not is_directory:
        raise BundleError(f'bundle "{path}": not a directory')
    return path


def no_process(config: dict[str, Any]) -> UnsupportedError:
    """The error for a config without a process to run."""
    from ocirt.config.explain import meant

    return UnsupportedError(f"is missing, there is nothing to run{meant(config, '/process')}", "/process")


def check_console(terminal: bool, path: str | None, foreground: bool) -> None:
    """Raise UnsupportedError where a console socket is missing, or given at `path` without a terminal."""
    if terminal and not path and not foreground:
        raise UnsupportedError(
            "a detached container with a terminal needs --console-socket, or terminal set to false",
            "/process/terminal",
        )
    if path and not terminal:
        raise UnsupportedError("--console-socket was given, but the process has no terminal", "/process/terminal")


def refuse_host_sysctls(config: dict[str, Any]) -> None:
    """Raise ConfigError for kernel parameters of a joined namespace that is the runtime's own: they are the host's."""
    linux = config.get("linux") or {}
    parameters = linux.get("sysctl")
    if not parameters:
        return
    for entry in linux.get("namespaces") or ():
        kind, path = entry["type"], entry.get("path")
        keys = [key for key in parameters if sysctl.namespace(sysctl.path(key)) == kind]
        if path and keys and _same_file(path, f"/proc/self/ns/{NAMESPACE_FILES.get(kind, kind)}"):
            text = f'"{path}" is the {kind} namespace of the host, whose "{keys[0]}" would change'
            raise ConfigError([Problem("/linux/sysctl", text)])


def mounts_a_device(config: dict[str, Any]) -> bool:
    """Whether a filesystem of `mounts` may be a block device's, which is opened under the container's device rules."""
    return any(
        mount.get("type") not in {None, "", "none", "bind"} and holes.is_absolute(holes.given(mount.get("source")))
        for mount in config.get("mounts") or ()
    )


def _same_file(path: str, other: str) -> bool:
    try:
        return posix.stat(path)[1:3] == posix.stat(other)[1:3]  # st_ino, st_dev
    except OSError:
        return False  # the init says what is wrong with it


def listen_fds(process: dict[str, Any], preserve_fds: int) -> int:
    """How many fds socket activation handed to the runtime; the process is told, by its env (sd_listen_fds(3)).

    None where LISTEN_PID is another process: engines leave their own variables. None where it is not set and one of
    them is not open. None where an engine hands them on itself: it counts them in `preserve_fds` and tells the process.
    docs/why.md has the reasons.
    """
    text = posix.environ.get(b"LISTEN_FDS", b"")
    count = int(text) if text.isdigit() and len(text) <= DIGITS_MAX else 0
    named = posix.environ.get(b"LISTEN_PID", b"")
    ours = named == b"%d" % posix.getpid() if named else all(map(_is_open, range(3, 3 + count)))
    env = process.get("env") or ()
    if not (count and ours) or (preserve_fds and any(entry.startswith("LISTEN_FDS=") for entry in env)):
        return 0
    process["env"] = [*env, f"LISTEN_FDS={count}", "LISTEN_PID=1"]
    return count


def _is_open(fd: int) -> bool:
    try:
        fcntl.fcntl(fd, fcntl.F_GETFD)
    except OSError:
        return False
    return True


def inherited(count: int) -> list[int]:
    """Which of the fds 3 … 2+count are open and to be passed on; the holes between them are plugged.

    A hole's number could otherwise be taken by a descriptor of the runtime's own, which would then be passed on too.
    Raises UnsupportedError where they leave none for the runtime.
    """
    limit = posix.sysconf("SC_OPEN_MAX")
    if count and 3 + count + OWN_FDS > limit:
        raise UnsupportedError(
            f"cannot hand on {count} descriptors, RLIMIT_NOFILE is {limit} and ocirt needs a few itself"
        )
    kept = []
    for fd in range(3, 3 + count):
        if _is_open(fd):
            kept.append(fd)
        else:
            plug = posix.open("/dev/null", posix.O_RDWR | posix.O_CLOEXEC)
            if plug != fd:
                posix.dup2(plug, fd, inheritable=False)
                posix.close(plug)
    return kept


def seccomp_program(config: dict[str, Any], root: str = "") -> tuple[bytes | None, int]:
    """The BPF program of linux.seccomp and the flags to load it with; (None, 0) where there is none.

    root    where the program is kept for other containers: a state root that is known to be the caller's
    """
    profile = (config.get("linux") or {}).get("seccomp")
    if not profile:
        return None, 0
    if root:
        from ocirt.container import profiles

        return profiles.compiled(root, profile)
    from ocirt.linux import seccomp

    return seccomp.compile(profile), seccomp.flags(profile)


def kept_program(config: dict[str, Any], root: str, container_id: str) -> tuple[bytes | None, int]:
    """The same for a container that is there, as it was kept. Raises as `seccomp_program`, and as state.kept_file."""
    if not (config.get("linux") or {}).get("seccomp"):
        return None, 0
    from ocirt.container import state

    try:
        data = state.kept_file(root, container_id, SECCOMP_FILE, SECCOMP_LIMIT)
    except FileNotFoundError:
        return seccomp_program(config)  # a container of a version that kept none
    except (OSError, ValueError) as error:
        raise StateDamaged(container_id, f"{root}/{container_id}", f"{SECCOMP_FILE}: {error}") from None
    size, flags = divmod(int.from_bytes(data[:8], "little"), 1 << 32)
    if len(data) <= 8 or size not in {0, len(data) - 8}:  # 0: the first format had none
        raise StateDamaged(container_id, f"{root}/{container_id}", f"{SECCOMP_FILE} is cut off")
    return data[8:], flags


def remove_groups(words: str, directory: int, signs: str) -> None:
    """Remove what linux.intelRdt had made, noted in the state directory.

    words   State.python
    signs   as of container/resctrl.py
    """
    if "resctrl" in words.split():
        from ocirt.container import resctrl

        resctrl.remove(directory, signs)
