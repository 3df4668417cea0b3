"""A stand-in for systemd's manager on a message bus: `python fake_systemd.py DIRECTORY CONTROL_GROUP MOUNT…`.

It notes each call in DIRECTORY/calls, a JSON list a line, makes and removes the cgroup of each unit below CONTROL_GROUP
in every MOUNT, and does as the file DIRECTORY/behaviour says at that moment:

    done                    what systemd does
    failed                  the job of a unit to start ends as "failed"
    hang                    it never ends
    exists                  a unit of every name is there already
    exists until reset      …, a failed one, which ResetFailedUnit removes
    refuse PROPERTY         does not know it
    deaf                    answers nothing
"""

# ruff: noqa: N802 - methods are called as on the bus

import asyncio
import json
import os
import sys
from pathlib import Path

from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

SERVICE = "org.freedesktop.systemd1"
MANAGER = f"{SERVICE}.Manager"
OBJECT = "/org/freedesktop/systemd1"


def plain(value):
    """A D-Bus value as JSON has it; a variant is [signature, value]."""
    if isinstance(value, Variant):
        return [value.signature, plain(value.value)]
    if isinstance(value, bytes):
        return list(value)
    if isinstance(value, (list, tuple)):
        return [plain(member) for member in value]
    return value


class Systemd:
    def __init__(self, bus, directory, control_group, mounts):
        self.bus = bus
        self.directory = directory
        self.control_group = control_group
        self.mounts = mounts
        self.units = {}
        self.reset = False
        self.jobs = 0

    @property
    def behaviour(self):
        return (self.directory / "behaviour").read_text().strip()

    def handle(self, message):
        if message.message_type is not MessageType.METHOD_CALL or message.path != OBJECT:
            return None
        with (self.directory / "calls").open("a") as file:
            file.write(json.dumps([message.member, plain(message.body)]) + "\n")
        if self.behaviour == "deaf" and message.member != "Get":
            return True
        try:
            signature, body = getattr(self, message.member)(*message.body)
        except KeyError as error:
            name, text = error.args
            return Message.new_error(message, f"{SERVICE}.{name}", text)
        return Message.new_method_return(message, signature, body)

    def job(self, unit, result):
        """A job that is over as soon as its caller knows of it."""
        self.jobs += 1
        path = f"{OBJECT}/job/{self.jobs}"
        signal = Message.new_signal(OBJECT, MANAGER, "JobRemoved", "uoss", [self.jobs, path, unit, result])
        if result:
            asyncio.get_running_loop().call_later(0.01, self.bus.send, signal)
        return "o", [path]

    def Get(self, _interface, name):
        assert name == "ControlGroup"
        return "v", [Variant("s", self.control_group)]

    def Subscribe(self):
        return "", []

    def StartTransientUnit(self, name, _mode, properties, _units):
        known = dict(properties)
        behaviour, _, argument = self.behaviour.partition(" ")
        if name in self.units or (behaviour == "exists" and not (argument and self.reset)):
            raise KeyError("UnitExists", f"Unit {name} was already loaded or has a fragment file.")
        if behaviour == "refuse" and argument in known:
            raise KeyError("PropertyReadOnly", f"Cannot set property {argument}, or unknown property.")
        if behaviour in {"failed", "hang"}:
            return self.job(name, "failed" if behaviour == "failed" else "")
        self.units[name] = self.place(name, known)
        for path in self.units[name]:
            path.mkdir(parents=True, exist_ok=True)
            for pid in known["PIDs"].value if "PIDs" in known else ():
                (path / "cgroup.procs").write_text(str(pid))
        return self.job(name, "done")

    def place(self, name, properties):
        above = properties["Slice"].value if "Slice" in properties else name
        parts = above.removesuffix(".slice").split("-") if above != "-.slice" else []
        slices = ["-".join(parts[: count + 1]) + ".slice" for count in range(len(parts))]
        below = "/".join([*slices, name] if name.endswith(".scope") else slices)
        return [Path(mount + self.control_group, below) for mount in self.mounts]

    def StopUnit(self, name, _mode):
        if name not in self.units:
            raise KeyError("NoSuchUnit", f"Unit {name} not loaded.")
        for path in self.units.pop(name):
            if path.exists():
                os.rmdir(path)
        return self.job(name, "done")

    def ResetFailedUnit(self, name):
        self.reset = True
        if name not in self.units:
            raise KeyError("NoSuchUnit", f"Unit {name} not loaded.")
        return "", []

    def SetUnitProperties(self, name, _runtime, _properties):
        if name not in self.units:
            raise KeyError("NoSuchUnit", f"Unit {name} not loaded.")
        return "", []


async def main(directory, control_group, *mounts):
    bus = await MessageBus(bus_address=f"unix:path={directory}/bus").connect()
    bus.add_message_handler(Systemd(bus, Path(directory), control_group, mounts).handle)
    await bus.request_name(SERVICE)
    Path(directory, "ready").touch()
    await bus.wait_for_disconnect()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
