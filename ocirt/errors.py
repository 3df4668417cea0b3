"""What can go wrong, as exceptions that carry their exit code; imports nothing.

    OcirtError                     exit 1
    ├── UsageError                 exit 2    the command line is wrong
    ├── BundleError                          the bundle or its config.json cannot be read
    ├── ConfigError                          config.json is invalid; one Problem per finding
    ├── UnsupportedError                     valid, but this host or build lacks the means
    ├── ContainerError                       the state of the container forbids the operation
    │   ├── ContainerNotFound                "container does not exist"
    │   ├── ContainerExists                  "container with given ID already exists"
    │   ├── ContainerNotRunning              "container not running"
    │   ├── StateUntrusted                   somebody else could have written its state
    │   ├── StateDamaged                     its state cannot be read
    │   ├── StateUnknown                     its state has a format of another version
    │   └── InvalidID
    ├── PlanError                            an operation of the plan failed in the container
    │   ├── InitKilled                       by SIGKILL, before the process was executed
    │   └── ExecError                        the process cannot be executed
    ├── HookError                            a hook failed or ran out of time
    └── SystemCallError                      a system call of the runtime itself failed

The words in quotes are matched by engines; they never change.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


# What an error about the configuration begins with, until somebody says that it was another file
DOCUMENT = "config.json"

# What ENOSYS means to a person
OLD_KERNEL = "ocirt needs Linux 5.14 or newer, and no sandbox around it that hides system calls"


class OcirtError(Exception):
    """Base of every error that a user is meant to read. `str(error)` is one line unless a class says so."""

    exit_code = 1

    def name_document(self, name: str, part: str = "") -> None:
        """Say that the configuration, or `part` of it (JSON pointer), was not read from config.json but from `name`."""
        text, gap = str(self), ": " if part else ":"
        if text.startswith(f"{DOCUMENT}{gap}{part}"):
            self.args = (name + gap + text[len(DOCUMENT + gap + part) :],)


class UsageError(OcirtError):
    """The command line is wrong. `verb` is the command whose usage helps, or "" for the program's own."""

    exit_code = 2

    def __init__(self, message: str, verb: str = "") -> None:
        super().__init__(message)
        self.verb = verb


class BundleError(OcirtError):
    """The bundle directory or its config.json cannot be read or parsed."""


class Problem:
    """One finding in config.json.

    pointer   JSON pointer (RFC 6901) of the offending value, "" for the document
    message   what was found and what is allowed, one line, without the pointer
    line      line in the file, from 1; 0 where unknown
    document  what the pointer is about
    """

    __slots__ = ("document", "line", "message", "pointer")

    def __init__(self, pointer: str, message: str, line: int = 0, document: str = DOCUMENT) -> None:
        self.pointer = pointer
        self.message = message
        self.line = line
        self.document = document

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Problem) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __repr__(self) -> str:
        return f"Problem({str(self)!r})"

    def __str__(self) -> str:
        where = f"{self.document}:{self.line}" if self.line else self.document
        return f"{where}: {self.pointer or '/'}: {self.message}"


def step(name: str) -> str:
    """One step of a JSON pointer to the member `name` (RFC 6901, section 3)."""
    return name.replace("~", "~0").replace("/", "~1")


class ConfigError(OcirtError):
    """config.json is invalid. `str` gives one line per problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = list(problems)

    def name_document(self, name: str, part: str = "") -> None:
        """Say that the configuration, or `part` of it (JSON pointer), was not read from config.json but from `name`."""
        for problem in self.problems:
            if problem.document == DOCUMENT and problem.pointer.startswith(part):
                problem.document, problem.pointer = name, problem.pointer[len(part) :]
        self.args = ("\n".join(map(str, self.problems)),)

    @property
    def pointer(self) -> str:
        """JSON pointer of the first problem."""
        return self.problems[0].pointer if self.problems else ""


class UnsupportedError(OcirtError):
    """The request is valid, but this host, kernel or build lacks the means. `pointer` as in Problem."""

    def __init__(self, message: str, pointer: str = "") -> None:
        super().__init__(f"config.json: {pointer}: {message}" if pointer else message)
        self.pointer = pointer


class ContainerError(OcirtError):
    """The state of the container forbids the operation."""


class ContainerNotFound(ContainerError):
    """No container has this ID under this root."""

    def __init__(self, container_id: str) -> None:
        super().__init__(f'container "{container_id}": container does not exist')


class ContainerExists(ContainerError):
    """The ID is taken; `what` tells what is in the way, where that is no container in order."""

    def __init__(self, container_id: str, what: str = "") -> None:
        text = f'container "{container_id}": container with given ID already exists'
        super().__init__(f"{text}: {what}" if what else text)


class ContainerNotRunning(ContainerError):
    """The container has no process to act on."""

    def __init__(self, container_id: str, status: str = "stopped") -> None:
        super().__init__(f'container "{container_id}": container not running (it is {status})')


class StateUntrusted(ContainerError):
    """Somebody else than root and the caller could have written `what`, the state or what is on the way to it."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"cannot trust {what}: {why}")


class StateDamaged(ContainerError):
    """What is in the state directory of a container of ours cannot be read: `reason`."""

    def __init__(self, container_id: str, directory: str, reason: str) -> None:
        text = f'its state directory "{directory}" is damaged: {reason}'
        super().__init__(f'container "{container_id}": {text} (delete --force frees the ID)')
        self.reason = reason


class StateUnknown(ContainerError):
    """The state has a format that this version does not know; it is left alone."""

    def __init__(self, container_id: str, directory: str, number: object) -> None:
        text = f'its state directory "{directory}" has format {number}, which this version of ocirt does not know'
        super().__init__(f'container "{container_id}": {text}')
        self.reason = f"format {number}"


class InvalidID(ContainerError):
    """The ID breaks the rules of `[A-Za-z0-9_+.-]`, 1 to 255 bytes, not "." or ".."."""


class SystemCallError(OcirtError):
    """A system call of the runtime failed.

    what    the action in words, with its object: 'mkdir "/run/ocirt"'
    errno   the kernel's error number
    """

    def __init__(self, what: str, errno: int) -> None:
        from errno import ENOSYS
        from posix import strerror

        words = f"{what}: {strerror(errno).lower()}"
        super().__init__(f"{words} ({OLD_KERNEL})" if errno == ENOSYS else words)
        self.what = what
        self.errno = errno

    def at(self, pointer: str) -> SystemCallError:
        """The same, with the config field that it is about (JSON pointer)."""
        return SystemCallError(f"config.json: {pointer}: {self.what}", self.errno)


def failed(what: str, error: OSError) -> SystemCallError:
    """Return the SystemCallError for an OSError of Python's own; `what` was tried, as of SystemCallError."""
    return SystemCallError(what, error.errno or 0)


class PlanError(OcirtError):
    """An operation of the plan failed inside the new container.

    pointer   JSON pointer of the config field that the operation came from, "" where none
    errno     the kernel's error number
    """

    def __init__(self, message: str, pointer: str = "", errno: int = 0) -> None:
        super().__init__(message)
        self.pointer = pointer
        self.errno = errno


class InitKilled(PlanError):
    """The init was killed before the container's process was executed."""


class ExecError(PlanError):
    """The container's process cannot be executed: not found, not executable, no interpreter …"""


class LaunchDiffers(OcirtError):
    """A launch that is kept is not what would be compiled: a fault of ocirt's."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"the kept launch {name} differs from what is compiled: {what}")


class HookError(OcirtError):
    """A hook failed, was killed or ran out of time. `pointer` is its place in config.json."""

    def __init__(self, message: str, pointer: str = "") -> None:
        super().__init__(message)
        self.pointer = pointer
