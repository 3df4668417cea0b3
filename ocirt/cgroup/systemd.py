"""The systemd manager: asks systemd for a unit with the container's process in it, and ends the unit.

    scope = Scope(config, container_id)     connects; the unit's name and place are known
    paths = scope.paths(hierarchies)
    scope.start(pid, v2)                    asks, and returns at once
    scope.wait()                            until systemd has moved the process into the unit's cgroups
    …
    stop(unit)                              at delete

What systemd does not make (v1 hierarchies that it does not use) and what it does not set is left to the package, as
without it: the unit is delegated, its cgroups are the container's. Names are left to units.py, limits to properties.py,
the bus to dbus.py. Loaded only for containers with this manager.
"""

from __future__ import annotations

import posix
from errno import ETIMEDOUT
from time import monotonic

from ocirt.cgroup import dbus, devices, properties, units
from ocirt.errors import SystemCallError
from ocirt.linux import facts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ocirt.cgroup.hierarchies import Hierarchy
    from ocirt.cgroup.properties import Property

JOB_DEADLINE_S = 30.0
CALL_DEADLINE_S = 25.0  # what sd-bus takes by itself

# After a job that came too late, systemd is not waited for as long again.
HURRY_S = 2.0

SERVICE = "org.freedesktop.systemd1"
MANAGER = f"{SERVICE}.Manager"
UNIT_EXISTS = f"{SERVICE}.UnitExists"
NO_SUCH_UNIT = f"{SERVICE}.NoSuchUnit"

SYSTEM_PRIVATE = "/run/systemd/private"
SYSTEM_BUS = "/run/dbus/system_bus_socket"

# Jobs that ended in what was wanted: a unit that is stopped already is skipped (org.freedesktop.systemd1(5)).
DONE = ("done", "skipped")


class Scope:
    """A unit on its way: `unit` says which, `rootless` whose manager's; the connection is kept until `close`.

    strict    whether device rules may be in force as soon as the process is in the unit
    ours      whether the unit is nobody else's: as far as is known until `wait` has returned, then for certain
    asked     whether the request is, or may be, out: there may be a unit to end

    Raises ConfigError for cgroupsPath and annotations, UnsupportedError where there is no systemd, BusError,
    SystemCallError.
    """

    __slots__ = (
        "annotated", "asked", "bus", "container_id", "cookie", "deadline", "ours", "request", "resources", "root",
        "rootless", "unit",
    )  # fmt: skip

    def __init__(self, config: dict[str, Any], container_id: str, strict: bool = True) -> None:
        linux = config.get("linux") or {}
        self.container_id = container_id
        self.rootless = rootless()
        self.unit = units.unit_for(linux.get("cgroupsPath"), container_id, self.rootless)
        self.resources = dict(linux.get("resources") or {})
        if not strict:
            self.resources.pop("devices", None)
        self.annotated = properties.of_annotations(config.get("annotations") or {})
        self.request: list[Property] = []
        self.cookie = 0
        self.ours = self.asked = False
        self.deadline = 0.0
        self.bus = connect(self.rootless)
        self.root = control_group(self.bus)

    def close(self) -> None:
        """Let go of the connection."""
        self.bus.close()

    def paths(self, hs: Sequence[Hierarchy]) -> list[str]:
        """The absolute directory that the unit has, or would have, in each hierarchy."""
        return [h.mount + self.root + self.unit.cgroup for h in hs]

    def start(self, pid: int, v2: bool) -> None:
        """Ask for the unit, with process `pid` in it; `v2`: whether the layout is v2 alone. Raises SystemCallError."""
        self.deadline = monotonic() + JOB_DEADLINE_S
        self.request = [*self.identity(pid), *properties.accounting(v2), *limits(self.resources, v2, self.rootless)]
        self.request += self.annotated  # the user's is the last word
        subscribe(self.bus)
        self.asked = True
        self.ask()

    def identity(self, pid: int) -> list[Property]:
        """What the unit is, and where."""
        found: list[Property] = [("Description", "s", f"ocirt container {self.container_id}")]
        if self.unit.is_scope:
            # CollectMode: one that failed is to go by itself; it would keep its name until somebody resets it.
            found += [("Slice", "s", self.unit.slice), ("Delegate", "b", True), ("PIDs", "au", [pid])]
            found.append(("CollectMode", "s", "inactive-or-failed"))
        else:
            found.append(("Wants", "as", [self.unit.slice]))
        # By default a scope conflicts with shutdown.target: it would be stopped when a shutdown begins, not by its
        # engine.
        found.append(("DefaultDependencies", "b", False))
        return found

    def ask(self) -> None:
        """Send the request."""
        wanted = [(name, (signature, value)) for name, signature, value in self.request]
        target, signature = manager("StartTransientUnit"), "ssa(sv)a(sa(sv))"
        self.cookie = self.bus.send(target, signature, self.unit.name, "replace", wanted, [])

    def wait(self) -> None:
        """Wait until the unit is there. Raises BusError with systemd's reason, SystemCallError."""
        what = f'start the unit "{self.unit.name}"'
        try:
            self.ours = self.started()
        except dbus.BusError as error:
            raise refused(self.blamed(what, error), error) from None
        except SystemCallError as error:
            if error.errno != ETIMEDOUT:
                raise
            self.deadline = 0.0
            raise SystemCallError(f"{what} within {JOB_DEADLINE_S:g} s", ETIMEDOUT) from None

    def started(self) -> bool:
        """`wait`, with the errors as they come; whether the unit was made for us."""
        try:
            job = self.bus.answer(self.cookie, self.deadline)
        except dbus.BusError as error:
            if error.name != UNIT_EXISTS:
                raise
            self.ours = False
            if not self.unit.is_scope:
                return False  # engines make the slice of a pod before its containers
            # What a former container of this name left if it failed; one that is alive is not affected.
            reset(self.bus, self.unit.name, self.deadline)
            self.ask()
            job = self.bus.answer(self.cookie, self.deadline)
        self.ours = True
        result = finished(self.bus, job[0], self.deadline)
        if result not in DONE:
            reset(self.bus, self.unit.name, self.deadline)
            raise dbus.BusError("", f"its job ended as {result}; `systemctl status {self.unit.name}` may tell more")
        return True

    def blamed(self, what: str, error: dbus.BusError) -> str:
        """`what`, with the place of the annotations if systemd names a property that they ask for."""
        named = [name for name, _, _ in self.annotated if name in str(error)]
        return f"config.json: /annotations: property {named[0]}: {what}" if named else what

    def recorded(self) -> str:
        """What to remember the unit by; "" for one that is not ours to end."""
        return self.unit.name if self.ours else ""

    def stop(self) -> None:
        """End the unit, to undo `start`. Raises BusError, SystemCallError."""
        end(self.bus, self.unit.name, max(self.deadline, monotonic() + HURRY_S))


def stop(unit: str) -> None:
    """End a unit of a container that is to be deleted; one that is gone is no error.

    Raises UnsupportedError, BusError, SystemCallError.
    """
    bus = connect(rootless())
    try:
        end(bus, unit, monotonic() + JOB_DEADLINE_S)
    finally:
        bus.close()


def update(unit: str, resources: dict[str, Any], v2: bool) -> None:
    """Tell systemd about changed limits, linux.resources; forgotten when the unit ends.

    Raises UnsupportedError, BusError, SystemCallError.
    """
    user = rootless()
    changed = [(name, (signature, value)) for name, signature, value in limits(resources, v2, user)]
    if not changed:
        return
    bus = connect(user)
    try:
        bus.call(monotonic() + CALL_DEADLINE_S, manager("SetUnitProperties"), "sba(sv)", unit, True, changed)
    except dbus.BusError as error:
        raise refused(f'change the unit "{unit}"', error) from None
    finally:
        bus.close()


def limits(resources: dict[str, Any], v2: bool, user: bool) -> list[Property]:
    """All properties for linux.resources. A user's manager has no say in devices: it may not load the program."""
    found = properties.of_resources(resources, v2)
    if not user and "devices" in resources:
        found += properties.of_devices(*devices.rules(resources["devices"] or ()))
    return found


# -- whose manager, and where ------------------------------------------------------------------------------------------


def rootless() -> bool:
    """Whether the user's manager is the one to ask: without root, and in a user namespace whose system is not its own.

    Podman runs as the root of a namespace that has nothing but its ids; a container with a systemd of its own is
    another matter, there the system's socket belongs to the namespace's root.
    """
    if posix.geteuid() != 0:
        return True
    if not facts.in_user_namespace():
        return False
    try:
        return posix.stat(SYSTEM_PRIVATE).st_uid != 0
    except OSError:
        return True


def connect(user: bool) -> dbus.Bus:
    """Connect to the manager of the system or of the user. Raises UnsupportedError."""
    return dbus.connect(addresses(user, posix.environ))


def addresses(user: bool, environment: Mapping[bytes, bytes]) -> list[tuple[str, bool]]:
    """Where to look for the manager: (address, whether it is a message bus), the best first.

    The manager's own socket serves hosts without a message bus, and for users it is the only one that is certainly
    theirs; engines drop DBUS_SESSION_BUS_ADDRESS from the environment.
    """
    if not user:
        named = environment.get(b"DBUS_SYSTEM_BUS_ADDRESS", b"").decode("utf-8", "surrogateescape")
        return [(unix(SYSTEM_PRIVATE), False), (named or unix(SYSTEM_BUS), True)]
    directory = environment.get(b"XDG_RUNTIME_DIR", b"").decode("utf-8", "surrogateescape") or f"/run/user/{own_uid()}"
    named = environment.get(b"DBUS_SESSION_BUS_ADDRESS", b"").decode("utf-8", "surrogateescape")
    return [(unix(f"{directory}/systemd/private"), False), (named or unix(f"{directory}/bus"), True)]


def own_uid() -> int:
    """The effective user id as the namespace above knows it (user_namespaces(7), uid_map)."""
    euid = posix.geteuid()
    for line in facts.read("/proc/self/uid_map").splitlines():
        inside, outside, count = map(int, line.split())
        if inside <= euid < inside + count:
            return outside + euid - inside
    return euid


def unix(path: str) -> str:
    """The address of a socket (D-Bus specification, "Server Addresses")."""
    plain = "-_/.*"
    encoded = [
        character if character.isascii() and (character.isalnum() or character in plain)
        else "".join([f"%{byte:02x}" for byte in character.encode("utf-8", "surrogateescape")])
        for character in path
    ]  # fmt: skip
    return "unix:path=" + "".join(encoded)


# -- what to say to it -------------------------------------------------------------------------------------------------


def manager(member: str) -> dbus.Target:
    """A method of the manager (org.freedesktop.systemd1(5))."""
    return SERVICE, "/org/freedesktop/systemd1", MANAGER, member


def control_group(bus: dbus.Bus) -> str:
    """The manager's own cgroup, above its units'; "" for the root. Raises BusError, SystemCallError."""
    target = (SERVICE, "/org/freedesktop/systemd1", "org.freedesktop.DBus.Properties", "Get")
    try:
        found = bus.call(monotonic() + CALL_DEADLINE_S, target, "ss", MANAGER, "ControlGroup")
    except dbus.BusError as error:
        bus.close()
        raise refused("ask systemd for its cgroup", error) from None
    except SystemCallError:
        bus.close()
        raise
    return str(found[0]).rstrip("/")


def subscribe(bus: dbus.Bus) -> None:
    """Ask to be told of jobs that end; a manager's own socket tells everything. Nobody waits for the answers."""
    if bus.broker:
        rule = f"type='signal',sender='{SERVICE}',interface='{MANAGER}',member='JobRemoved'"
        bus.send(("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch"), "s", rule)
        bus.send(manager("Subscribe"))


def finished(bus: dbus.Bus, job: str, deadline: float) -> str:
    """Wait until the job is removed; its result, "done" or what it failed of. Raises SystemCallError."""
    return str(bus.signal(lambda body: len(body) == 4 and body[1] == job, deadline)[3])


def end(bus: dbus.Bus, unit: str, deadline: float) -> None:
    """Stop a unit and wait for it; make systemd forget it if it failed. Raises BusError, SystemCallError."""
    subscribe(bus)
    try:
        job = bus.call(deadline, manager("StopUnit"), "ss", unit, "replace")
        finished(bus, job[0], deadline)
    except dbus.BusError as error:
        if error.name != NO_SUCH_UNIT:
            raise refused(f'stop the unit "{unit}"', error) from None
    reset(bus, unit, deadline)


def reset(bus: dbus.Bus, unit: str, deadline: float) -> None:
    """Make systemd forget that a unit failed. Raises SystemCallError."""
    try:
        bus.call(deadline, manager("ResetFailedUnit"), "s", unit)
    except dbus.BusError:
        pass  # it did not fail, or is gone


def refused(what: str, error: dbus.BusError) -> dbus.BusError:
    """The error with what was tried, for the user."""
    return dbus.BusError(error.name, f"{what}: systemd says: {str(error).rstrip('.')}")
