"""linux.intelRdt: groups of the resctrl filesystem; loaded where a config asks for them.

    <resctrl>/                           the default class of service, closID "/"
    <resctrl>/<closID or id>/            a class: schemata, tasks
    …/mon_groups/<id>/                   what enableMonitoring makes: tasks, mon_data

The kernel makes the files of a group, and removes them with its directory. Source: config-linux.md "IntelRdt",
Documentation/filesystems/resctrl.rst.
"""

from __future__ import annotations

import posix
from errno import ENOENT

from ocirt.cgroup import tree
from ocirt.errors import UnsupportedError, failed
from ocirt.plan.process import schemata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

POINTER = "/linux/intelRdt"
MOUNTINFO = "/proc/self/mountinfo"


def root() -> str:
    """Where resctrl is mounted. Raises UnsupportedError where it is not."""
    from ocirt.cgroup import mounts

    for before, after in mounts.entries(MOUNTINFO):
        if after[0] == "resctrl":
            return mounts.unescaped(before[4])
    raise UnsupportedError("no resctrl filesystem is mounted on this host", POINTER)


class Groups:
    """The groups of one container.

    control, monitoring    their directories; monitoring is "" where it is not asked for
    lines                  what the config wants in schemata, in the order in which it is written
    missing                those that `make` makes, the inner one first; as of `look`
    removed                those of them that go with the container
    """

    __slots__ = ("control", "lines", "missing", "monitoring", "named", "removed", "where")

    def __init__(self, section: dict[str, Any], container_id: str, where: str) -> None:
        self.named: str = section.get("closID") or ""
        name = self.named or container_id
        self.where = where.rstrip("/")
        self.control = self.where if name == "/" else f"{self.where}/{name}"
        self.monitoring = f"{self.control}/mon_groups/{container_id}" if section.get("enableMonitoring") else ""
        self.lines = schemata(section)
        self.missing: list[str] = []
        self.removed: list[str] = []

    def look(self) -> None:
        """Find out what is missing. Raises UnsupportedError where what is there is not what the config says."""
        named = self.named
        self.missing = [self.monitoring] if self.monitoring else []
        self.removed = list(self.missing)
        if posix.access(self.control, posix.F_OK):
            if not named:
                raise UnsupportedError(f'"{self.control}" is there already, and not this container\'s', POINTER)
            self.compare()
        elif named and not self.lines:
            text = f'"{self.control}" is not there, and no schemata say how to make it'
            raise UnsupportedError(text, f"{POINTER}/closID")
        else:
            self.missing.append(self.control)
            self.removed += [] if named else [self.control]

    def compare(self) -> None:
        """A class that is there must be as the config says. Raises UnsupportedError."""
        if not self.lines:
            return
        there = parsed(read(f"{self.control}/schemata").split("\n"))
        for resource, domains in parsed(self.lines).items():
            for domain, value in domains.items():
                found = there.get(resource, {}).get(domain)
                if found != value:
                    words = f"{shown(resource, domain, found)}, not {shown(resource, domain, value)}"
                    raise UnsupportedError(f'"{self.control}" has {words}', f"{POINTER}/closID")

    def make(self) -> None:
        """Make what is missing. Raises SystemCallError; what was made then is left to `remove`."""
        for path in reversed(self.missing):
            try:
                posix.mkdir(path, 0o755)
            except OSError as error:
                raise failed(f'make the resctrl group "{path}"', error).at(POINTER) from None
            if path == self.control and self.lines:
                self.write(f"{path}/schemata", "".join([f"{line}\n" for line in self.lines]))

    def enter(self, pid: int) -> None:
        """Put a process into them. Raises SystemCallError."""
        for path in filter(None, (self.control, self.monitoring)):
            self.write(f"{path}/tasks", str(pid))

    def write(self, path: str, text: str) -> None:
        """Write a file of the filesystem, with what the kernel says of a failure."""
        try:
            tree.write(path, text.encode())
        except OSError as error:
            said = read(f"{self.where}/info/last_cmd_status").strip()
            more = f" ({said})" if said and said != "ok" else ""
            raise failed(f'write "{text.strip()}" to "{path}"{more}'.replace("\n", "; "), error).at(POINTER) from None


def remove(paths: list[str]) -> None:
    """Remove groups, the inner first; those that are gone are no error. Raises SystemCallError."""
    for path in paths:
        try:
            posix.rmdir(path)
        except OSError as error:
            if error.errno != ENOENT:
                raise failed(f'remove the resctrl group "{path}"', error) from None


def parsed(lines: list[str]) -> dict[str, dict[str, int]]:
    """Lines of schemata, "L3:0=7ff;1=1f": resource → domain → value; masks are hexadecimal, bandwidths decimal.

    Raises UnsupportedError for a line of another form.
    """
    found: dict[str, dict[str, int]] = {}
    for line in filter(None, map(str.strip, lines)):
        resource, _, rest = line.partition(":")
        base = 10 if resource in ("MB", "SMBA") else 16
        try:
            pairs = [part.split("=") for part in rest.split(";") if part.strip()]
            values = {domain.strip(): int(value, base) for domain, value in pairs}
        except ValueError:
            raise UnsupportedError(f'"{line}" is no line of schemata, such as L3:0=7f0;1=1f', POINTER) from None
        found.setdefault(resource.strip(), {}).update(values)
    return found


def shown(resource: str, domain: str, value: int | None) -> str:
    """One value as schemata has it."""
    if value is None:
        return f"no {resource}:{domain}"
    return f"{resource}:{domain}={value if resource in ('MB', 'SMBA') else format(value, 'x')}"


def read(path: str) -> str:
    """A file's text, "" where there is none. Raises SystemCallError for any other reason."""
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise failed(f'read "{path}"', error) from None
