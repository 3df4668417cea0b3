"""linux.cgroupsPath as systemd's words, slice:prefix:name, and where the unit's cgroup is then; pure.

    system.slice:docker:4f2a          docker-4f2a.scope in system.slice       system.slice/docker-4f2a.scope
    a-b.slice:cri:4f2a                cri-4f2a.scope in a-b.slice             a.slice/a-b.slice/cri-4f2a.scope
    a.slice::a-b.slice                the slice a-b.slice itself              a.slice/a-b.slice

Sources: systemd.slice(5), systemd.unit(5), runc's docs/systemd.md.
"""

from __future__ import annotations

from ocirt.errors import ConfigError, Problem

DEFAULT_PREFIX = "ocirt"
SCOPE, SLICE = ".scope", ".slice"
ROOT = "-.slice"

NAME_MAX = 255  # systemd.unit(5)
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.-\\@"


class Unit:
    """A unit by name, in a slice. `cgroup`: its path below the manager's own, with a slash."""

    __slots__ = ("cgroup", "name", "slice")

    def __init__(self, name: str, slice_: str) -> None:
        self.name = name
        self.slice = slice_
        self.cgroup = path_of(slice_) + ("/" + name if self.is_scope else path_below(slice_, name))

    def __repr__(self) -> str:
        return f"Unit({self.name!r}, {self.slice!r})"

    @property
    def is_scope(self) -> bool:
        """Whether it is a scope, which is made for the container, or a slice, which may be there already."""
        return not self.name.endswith(SLICE)


def unit_for(cgroups_path: str | None, container_id: str, rootless: bool) -> Unit:
    """Return the unit of a container; without a path ocirt-<id>.scope in the default slice.

    Raises ConfigError for what systemd would not take.
    """
    default = "user.slice" if rootless else "system.slice"
    if not cgroups_path:
        return Unit(f"{DEFAULT_PREFIX}-{escaped(container_id)}{SCOPE}", default)
    parts = cgroups_path.split(":")
    if len(parts) != 3:
        raise refused(f'"{cgroups_path}" is not of the form slice:prefix:name, which the systemd cgroup manager needs')
    slice_, prefix, name = parts
    if not name:
        raise refused(f'"{cgroups_path}" has no name behind its last colon')
    if not name.endswith(SLICE):
        name = (f"{prefix}-{name}" if prefix else name) + SCOPE
    check_name(name)
    if name.endswith(SLICE):
        check_slice(name)
        default = parent_of(name)
    slice_ = slice_ or default
    if slice_ != ROOT:
        check_slice(slice_)
    return Unit(name, slice_)


def refused(text: str) -> ConfigError:
    """The error for cgroupsPath."""
    return ConfigError([Problem("/linux/cgroupsPath", text)])


def escaped(container_id: str) -> str:
    """A container's id in a unit's name: "+" alone is not allowed there (systemd.unit(5), "String Escaping")."""
    return container_id.replace("+", "\\x2b")


def check_name(name: str) -> None:
    """Raise ConfigError for a name that no unit can have."""
    if len(name) > NAME_MAX:
        raise refused(f'"{name[:40]}…" is longer than {NAME_MAX} characters, no unit can be named so')
    wrong = [letter for letter in name if letter not in LETTERS]
    if wrong:
        raise refused(f'"{name}" has the character "{wrong[0]}", no unit can be named so')


def check_slice(name: str) -> None:
    """Raise ConfigError for what is not the name of a slice: each dash must join two parts."""
    check_name(name)
    parts = name[: -len(SLICE)].split("-")
    if not name.endswith(SLICE) or "" in parts:
        raise refused(f'"{name}" is not the name of a slice, as "a.slice" or "a-b.slice"')


def path_of(slice_: str) -> str:
    """The cgroup of a slice: "a-b.slice" is below "a.slice" (systemd.slice(5)); "" for the root slice."""
    parts = slice_[: -len(SLICE)].split("-") if slice_ != ROOT else []
    return "".join(["/" + "-".join(parts[: count + 1]) + SLICE for count in range(len(parts))])


def parent_of(slice_: str) -> str:
    """The slice that holds another one."""
    above, dash, _ = slice_.rpartition("-")
    return above + SLICE if dash else ROOT


def path_below(slice_: str, name: str) -> str:
    """The rest of the cgroup of the slice `name`, whose place is in its name; ConfigError if `slice_` disagrees."""
    above, whole = path_of(slice_), path_of(name)
    if above and not whole.startswith(above + "/"):
        raise refused(f'the slice "{name}" is not in "{slice_}", its place is "{whole[1:]}"')
    return whole[len(above) :]
