"""`ocirt explain`: every step of both plans in the order of time, in words, as system calls, and with its field."""

from __future__ import annotations

from errno import errorcode
from typing import TYPE_CHECKING, NamedTuple

from ocirt.cli.create import bundle_option, create_options, path_option
from ocirt.cli.log import printable
from ocirt.cli.output import say, say_json
from ocirt.cli.validate import take_bundle
from ocirt.container.creation import Creation
from ocirt.container.prepare import Named
from ocirt.plan import show
from ocirt.plan.describe import host
from ocirt.plan.describe.host import MANY
from ocirt.plan.ops import ignored

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ocirt.cli.main import Global
    from ocirt.cli.options import Options
    from ocirt.plan.ops import Op

HEADINGS = {"runtime": "The runtime:", "init": "The init, meanwhile:"}

# Stands for the ID: it only shows in the default cgroup's path.
EXAMPLE_ID = "explained"


def run(globals_: Global, options: Options, arguments: list[str]) -> int:
    """Print the steps; return 0. Raises what create raises for the bundle."""
    take_bundle(options, arguments, "explain")
    creation = Creation(globals_.root, EXAMPLE_ID, bundle_option(options), create_options(globals_, options))
    with Named(path_option(options, "config")):
        creation.read("create")
        creation.compile()
        creation.host.console_socket = (
            creation.host.console_socket or "SOCKET"
        )  # where there is a terminal, one is given
        runtime = creation.first() + creation.rest()
    if options.get("kept_launch"):
        from ocirt.cli import explain_kept

        return explain_kept.run(creation, bool(options.get("json")))
    steps = in_time(runtime, creation.plan.ops)
    if options.get("json"):
        say_json({"steps": [step_of(step) for step in steps], "warnings": list(creation.plan.warnings)})
        return 0
    lines = [f"warning: {printable(warning)}" for warning in creation.plan.warnings]
    side = ""
    for group in folded(steps):
        if group[0].side != side:
            side = group[0].side
            lines.append(HEADINGS[side])
        lines += paragraph(group)
    say("\n".join(lines))
    return 0


class Step(NamedTuple):
    """One operation: whose it is, "runtime" or "init"; its number there, from 1; and itself."""

    side: str
    number: int
    op: Op


def in_time(runtime: Sequence[Op], init: Sequence[Op]) -> list[Step]:
    """Both sides in the order of time.

    The init is at work from when it is sent its plan on; what it does is put where the runtime waits for it.
    """
    found: list[Step] = []
    done = sent = 0
    for number, op in enumerate(runtime, 1):
        name, arguments = op[0], op[3]
        end = done
        if name == "wait_process":
            end = next((index for index in range(done, sent) if init[index][0] == "clone"), done - 1) + 1
        elif name == "wait":
            end = point(init, arguments[0]) + 1
        elif name == "executed":
            end = sent
        found += [Step("init", index + 1, init[index]) for index in range(done, end)]
        done = max(done, end)
        found.append(Step("runtime", number, op))
        if name == "send_plan":
            sent = arguments[0] + arguments[1]
    return found + [Step("init", index + 1, init[index]) for index in range(done, len(init))]


def point(init: Sequence[Op], wanted: int) -> int:
    """Where the init waits at that point."""
    return next(index for index, op in enumerate(init) if op[0] == "sync" and op[3][0] == wanted)


def folded(steps: Sequence[Step]) -> list[list[Step]]:
    """The steps, those of one kind that follow each other together."""
    found: list[list[Step]] = []
    for step in steps:
        last = found[-1][-1] if found else None
        if last and last.op[0] == step.op[0] in MANY and last.side == step.side:
            found[-1].append(step)
        else:
            found.append([step])
    return found


def step_of(step: Step) -> dict[str, Any]:
    """Return one operation as a JSON object."""
    name, pointer, guard, arguments = step.op
    return {
        "side": step.side,
        "step": step.number,
        "operation": name,
        "words": words([step]),
        "syscalls": calls(step),
        "pointer": pointer,
        "ignores": [errorcode.get(error, str(error)) for error in ignored(step.op)],
        "skips": guard >> 32,
        "arguments": [shown(name, argument) for argument in arguments],
    }


def shown(name: str, argument: Any) -> Any:
    """An argument as JSON has it: bytes in hexadecimal, but for a file's, which may be large and have secrets."""
    if not isinstance(argument, bytes):
        return argument
    return f"{len(argument)} bytes" if name == "keep_file" else argument.hex()


def words(group: Sequence[Step]) -> str:
    """What the steps do, in one line."""
    ops = [step.op for step in group]
    if len(group) > 1:
        return MANY[ops[0][0]](len(group), *ops[0][3])
    return show.describe(ops[0]) if group[0].side == "init" else host.describe(ops[0])


def calls(step: Step) -> str:
    """The system calls of a step."""
    return show.syscalls(step.op) if step.side == "init" else host.syscalls(step.op)


def paragraph(group: Sequence[Step]) -> list[str]:
    """Return the lines of steps for people; no control character reaches a terminal."""
    first, last = group[0], group[-1]
    pointer, skips = last.op[1], last.op[2] >> 32
    numbers = str(first.number) if len(group) == 1 else f"{first.number}-{last.number}"
    lines = [f"{numbers:>5}. {words(group)}"]
    if syscalls := calls(first):
        lines.append(f"         {syscalls}{', …' if len(group) > 1 else ''}")
    if skips:
        lines.append(f"         when it succeeds, goes on at step {last.number + skips + 1}")
    if pointer:
        lines.append(f"         config.json: {pointer}")
    return [printable(line) for line in lines]
