"""create, run or exec by the steps of its host plan, and SIGKILL to itself when a number of them is done.

    python -m tests.integration.killed_at_step VERB ROOT ID BUNDLE STEPS

With a number beyond the last step it prints how many there are.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from ocirt.container import performer as performer_module
from ocirt.container.command import Command
from ocirt.container.creation import Creation
from ocirt.container.entry import Entry
from ocirt.container.exec import ExecOptions
from ocirt.container.performer import Performer
from ocirt.container.prepare import Options
from ocirt.linux._kernel import lib
from ocirt.spawn.performance import Performance

Half = Callable[[], Sequence[Any]]


class Counted(Performance):
    """Carries out one step at a time, and is killed when a number of them is done."""

    steps = done = 0

    def go_on(self) -> int:
        if self.numbers[lib.PERFORM_NEXT] >= self.steps - self.done:
            os.kill(os.getpid(), signal.SIGKILL)
        self.numbers[lib.PERFORM_STEPPING] = 1
        return super().go_on()


def perform(performer: Performer, halves: Sequence[Half], steps: int) -> int:
    """Carry out that many steps of both halves; each is compiled when the one before it is done."""
    Counted.steps = steps
    for half in halves:
        ops = half()
        performer.perform(ops)
        Counted.done += len(ops)
    return Counted.done


def create(verb: str, root: str, container_id: str, bundle: str) -> tuple[Performer, list[Half]]:
    """Both halves of `create`, or of `run` in the foreground."""
    creation = Creation(root, container_id, bundle, Options(), foreground=verb == "run")
    creation.__enter__()  # left by the signal
    creation.read(verb)
    creation.compile()
    creation.performer.oci_version = creation.config["ociVersion"]
    creation.performer.ops = creation.host.compilation.first

    def rest() -> Sequence[Any]:
        ops = creation.rest(creation.root)
        creation.performer.ops = creation.plan.ops
        return ops

    return creation.performer, [creation.first, rest]


def execute(root: str, container_id: str) -> tuple[Performer, list[Half]]:
    """All of `exec`, which has no halves."""
    entry = Entry(root, container_id, Command(["sleep", "600"]), ExecOptions())
    entry.__enter__()  # left by the signal
    entry.read()
    entry.compile()
    return entry.performer, [entry.steps]


def main(verb: str, root: str, container_id: str, bundle: str, steps: str) -> None:
    performer_module.Performance = Counted  # type: ignore[misc]
    performer, halves = execute(root, container_id) if verb == "exec" else create(verb, root, container_id, bundle)
    print(perform(performer, halves, int(steps)))


if __name__ == "__main__":
    main(*sys.argv[1:])
