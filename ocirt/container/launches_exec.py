"""A launch of `exec` is kept, as launches.py keeps those of create.

The holes are strings of the container's config, of what is asked for, and the container's cgroups. The launcher's side
is launcher/launch_exec.c.
"""

from __future__ import annotations

from ocirt.config import load
from ocirt.container import command, launches, state
from ocirt.container import entry as entering
from ocirt.container.prepare import SECCOMP_FILE, SECCOMP_LIMIT, Given
from ocirt.linux._kernel import lib
from ocirt.plan import exec as plan
from ocirt.plan import holes
from ocirt.spawn import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocirt.container.entry import Entry


def hand_over(entry: Entry) -> None:
    """Keep the launch, and have the launcher carry it out; returns where either cannot be done."""
    kept = entering.kept
    launches.hand_over(entry.root, kept, lambda: launch(entry, kept[1], kept[4]), entry.performer)


def launch(entry: Entry, key: bytes, document: bytes) -> bytes:
    """The file. Raises Unkeepable, and what compiling raises."""
    refuse(entry)
    raw = state.kept_file(entry.root, entry.container_id, state.CONFIG, load.LIMIT)
    (own, found), (asked, more) = launches.shape_of(raw), launches.shape_of(document)
    if not is_asked(entry.command, document) or not key.endswith(tail(entry, own, asked)):
        raise holes.Unkeepable("what it depends on has changed in between")
    config = launches.with_holes(raw, found)
    made = launches.with_holes(document, more, launches.FIRST + len(found))["process"]
    config["process"] = command.process(entry.command.of(made), config.get("process") or {})
    return launches.file(key, halves(entry.host_of(opened(entry, config))), b"")


def refuse(entry: Entry) -> None:
    """Raise Unkeepable for one that needs more of the runtime than to attach it."""
    own = entry.config["process"]
    reasons = {
        "it has a terminal, which is relayed": own.get("terminal") and not entry.options.console_socket,
        "execCPUAffinity is about the moment of its move": own.get("execCPUAffinity"),
        "its cgroups are others than the container's": entry.paths != entry.record.cgroups,
        "it has no mount namespace of its own": plan.chroots(entry.config),
    }
    for reason, holds in reasons.items():
        if holds:
            raise holes.Unkeepable(reason)


def is_asked(wanted: command.Command, document: bytes) -> bool:
    """Whether the launcher has read the same command, or the same file: an engine may have changed it in between."""
    if wanted.process is not None:
        return document == b'{"process":' + wanted.raw + b"}"
    parsed: Any = load.settled(document, "exec")
    asked = parsed["process"]
    return (asked["args"], asked.get("env") or []) == (wanted.args, wanted.env)


def tail(entry: Entry, *shapes: bytes) -> bytes:
    """The end of the key: what the container has to do with it. `shapes`: of its config, and of what is asked for."""
    letters = "".join(["t" if path in entry.tasks else "p" for path in entry.paths])
    options = entry.options
    old = "oldkeyring" in entry.record.python.split()
    said = bytes([old, bool(options.pid_file), bool(options.console_socket)])
    try:
        kept = state.kept_file(entry.root, entry.container_id, SECCOMP_FILE, SECCOMP_LIMIT)
    except FileNotFoundError:
        kept = b""
    if bool(kept) != (entry.program[0] is not None):
        raise holes.Unkeepable("the container has no filter of its own")
    return b"".join([launches.part(data) for data in (letters.encode(), said, kept, *shapes)])


def opened(entry: Entry, config: dict[str, Any]) -> Given:
    """What the plans are made from, of a config with holes."""
    paths: list[str] = [
        holes.Hole(launches.CGROUP + index, holes.ABSOLUTE, place="a cgroup") for index in range(len(entry.paths))
    ]
    return Given(
        config,
        launches.hole(launches.ID),
        launches.hole(launches.BUNDLE),
        paths,
        launches.hole(launches.PID_FILE, entry.options.pid_file),
        launches.hole(launches.CONSOLE, entry.options.console_socket),
        tasks=[ours for ours, path in zip(paths, entry.paths, strict=True) if path in entry.tasks],
    )


def halves(host: plan.Host) -> list[launches.Half]:
    """What is performed, as launches.halves: there is but one of each side."""
    if host.plan.errands:
        raise holes.Unkeepable("it needs Python for what is done to the process")
    runtime = plan.enter(host) + plan.finish(host)
    launches.refuse(runtime, host.plan.warnings)
    return [
        ("host plan", runtime, wire.host_kinds(), lib.HOST_PLAN_MAX),
        ("init's plan", host.plan.ops, wire.KINDS, lib.PLAN_MAX),
        ("", [], wire.KINDS, 0),
        ("", [], wire.KINDS, 0),
    ]
