"""The operations of the host plan that are Python's, and for some containers alone; loaded where a plan has one."""

# ruff: noqa: PLR0913, PLR0917 - an action takes the arguments of its operation

from __future__ import annotations

import posix
from _json import encode_basestring as quoted
from errno import EINVAL, EPERM

from ocirt import cgroup
from ocirt.errors import ContainerNotRunning, SystemCallError, UnsupportedError
from ocirt.linux import calls
from ocirt.linux._kernel import lib
from ocirt.linux.consts import SIGKILL, SLOT_TARGET
from ocirt.spawn import console, idmap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocirt.container.performer import Action, Performer

UNMAPPABLE = {
    EINVAL: "its filesystem, or one mounted below it, cannot be idmapped by this kernel",
    EPERM: "it is idmapped already, or its filesystem belongs to another user namespace",
}


# ---- cgroups ---------------------------------------------------------------------------------------------------------


def refuse_usage(p: Performer, path: str, member: str, limit: int) -> None:
    """As v1 does by itself; v2 would kill (config-linux.md, checkBeforeUpdate)."""
    from ocirt.cgroup import resources

    resources.refuse_usage(path, member, limit, p.name_limit or resources.in_config)


def start_unit(p: Performer, unified: int) -> None:
    """Asked early, waited for late."""
    if p.scope:
        p.scope.ours = bool(p.numbers[lib.PERFORM_OURS])
        p.scope.start(p.pid, bool(unified))


def wait_unit(p: Performer) -> None:
    """What it brought is made; one that is not ours is somebody else's whole."""
    if not p.scope:
        return
    try:
        p.scope.wait()
    finally:
        p.numbers[lib.PERFORM_OURS] = int(p.scope.ours)
        p.numbers[lib.PERFORM_BROUGHT] = 1


# ---- trees -----------------------------------------------------------------------------------------------------------


def map_tree(
    p: Performer, slot: int, host: str, uids: list[str], gids: list[str], namespace: str, recursive: int
) -> None:
    """mount_setattr(2), with the kernel's reasons in words."""
    key = str((uids, gids, namespace))
    if key not in p.user_namespaces:
        p.user_namespaces[key] = user_namespace(uids, gids, namespace, p.pointer)
    try:
        calls.idmap(p.performance.lent(slot), p.user_namespaces[key].number, bool(recursive))
    except SystemCallError as error:
        if error.errno not in UNMAPPABLE:
            raise error.at(p.pointer) from None
        what = f'"{host}" cannot be idmapped: {UNMAPPABLE[error.errno]}: {posix.strerror(error.errno).lower()}'
        raise UnsupportedError(what, p.pointer) from None


def user_namespace(uids: list[str], gids: list[str], path: str, pointer: str) -> calls.Fd:
    """A user namespace with these mappings, or the one at the path."""
    if path:
        return open_namespace(path, "/linux/namespaces")
    keeper = calls.user_namespace()
    try:
        idmap.write(keeper, uids, gids, setgroups=True, section=pointer)
        return open_namespace(f"/proc/{keeper}/ns/user", pointer)
    finally:
        posix.kill(keeper, SIGKILL)
        posix.waitpid(keeper, 0)


def open_namespace(path: str, pointer: str) -> calls.Fd:
    """The namespace's file; by the path of a config, which may be anything."""
    try:
        return calls.opened(path, posix.O_NONBLOCK)
    except SystemCallError as error:
        raise error.at(pointer) from None


# ---- done to the process by its pid ----------------------------------------------------------------------------------


def seccomp_listener(p: Performer, path: str, metadata: str, given: int, agent: int, state: int, status: str) -> None:
    """config-linux.md, "The Container Process State": the init adds the descriptor and sends it over the connection."""
    said = f'"metadata": {quoted(metadata)}, ' if given else ""
    version = quoted(p.oci_version)
    head = f'{{"ociVersion": {version}, "fds": ["seccompFd"], "pid": {p.pid}, {said}"state": '
    pid = p.record.pid if p.record else p.pid
    text = head.encode("utf-8", "surrogateescape") + p.document(status, pid) + b"}"
    p.lend(agent, calls.connect(path, "the seccomp agent"))
    with calls.sealed_memfd("seccomp-state", text) as fd:
        p.lend(state, fd)


def net_device(p: Performer, host: str, name: str) -> None:
    """By netlink(7)."""
    from ocirt.container import net_devices

    net_devices.move(p.pid, host, name)


def resctrl(p: Performer, name: str, monitored: int, lines: list[str], make: int) -> None:
    """config-linux.md, "IntelRdt"."""
    from ocirt.container import resctrl as groups

    section = {"closID": name, "enableMonitoring": bool(monitored), "schemata": lines}
    if make:
        groups.make(p.numbers[lib.PERFORM_DIRECTORY], p.container_id, section)
    groups.enter(section, p.container_id, p.pid)


# ---- who is told, exec -----------------------------------------------------------------------------------------------


def console_pair(p: Performer, slot: int, _: str) -> None:
    """Without a console socket the other end stays here."""
    ours, theirs = calls.socketpair()
    p.console.number = ours.take()
    p.lend(slot, theirs)


def receive_console(p: Performer) -> None:
    """In the foreground."""
    p.relay = console.receive(p.console)


def open_root(p: Performer, slot: int) -> None:
    """Where no namespace is joined by the pidfd, its root alone is entered: of this process, and no later one."""
    pid = p.record.pid if p.record else 0
    p.lend(slot, calls.opened(f"/proc/{pid}/root", posix.O_PATH | posix.O_DIRECTORY))
    if calls.wait_readable(p.performance.lent(SLOT_TARGET), 0):
        raise ContainerNotRunning(p.container_id)


def worded(name: str, act: Action) -> Action:
    """`act`, whose errors say what was tried, and what is known to help."""

    def action(p: Performer, *arguments: Any) -> None:
        try:
            act(p, *arguments)
        except SystemCallError as error:
            from ocirt.plan.describe import host as describe

            words = describe.failure((name, p.pointer, 0, arguments), error.errno)
            raise SystemCallError(words, error.errno).at(p.pointer) from None

    return action


BY_PID: dict[str, Action] = {
    "seccomp_listener": seccomp_listener,
    "net_device": net_device,
    "resctrl": resctrl,
}
ACTIONS: dict[str, Action] = {
    "refuse_usage": refuse_usage,
    "delegate": lambda _, path, uid: cgroup.delegate(path, uid),
    "start_unit": start_unit,
    "wait_unit": wait_unit,
    "map_tree": map_tree,
    "receive_console": receive_console,
    "connect_console": console_pair,
    "open_root": open_root,
    **{name: worded(name, act) for name, act in BY_PID.items()},
}
