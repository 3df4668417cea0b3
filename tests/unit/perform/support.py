"""What the tests of texts and of directories say of a container, to C and to Python."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ocirt.container import place, record
from ocirt.linux._kernel import lib
from ocirt.plan import host_ops
from ocirt.spawn.performance import Performance
from tests.oracle import records

if TYPE_CHECKING:
    from ocirt.plan.ops import Op


def recorded(**members: Any) -> Op:
    """The operation `record` of a plain container, but for these."""
    values = {
        "oci_version": "1.3.0",
        "bundle": "/srv/bundle",
        "rootfs": "/srv/bundle/rootfs",
        "annotations": {},
        "owner": "root",
        "manager": "cgroupfs",
        "words": "",
        "pid_namespace": 0,
        **members,
    }
    values["annotations"] = [text for pair in values["annotations"].items() for text in pair]
    return host_ops.record("", **values)


def state_of(performance: Performance, container_id: str, **members: Any) -> record.State:
    """The State that Python would have; what C has found out by itself is taken from what it has written."""
    written = record.decode(place.read_file(directory(performance), "state.json", 1 << 30))
    made = records.State(container_id, "1.3.0", "/srv/bundle", "/srv/bundle/rootfs")
    made.owner, made.created = "root", written.created
    for name, value in members.items():
        setattr(made, name, value)
    return made


def directory(performance: Performance) -> int:
    """The descriptor of the state directory."""
    return int(performance.numbers[lib.PERFORM_DIRECTORY])


def kept(performance: Performance, name: str) -> bytes:
    """A file of the state directory."""
    with open(os.open(name, os.O_RDONLY, dir_fd=directory(performance)), "rb") as file:
        return file.read()
