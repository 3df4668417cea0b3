"""`ocirt explain`: every step of the plan in words, as system calls, and the field of config.json it came from."""

from __future__ import annotations

from errno import errorcode

from ocirt.cli.create import bundle_option, create_options, path_option
from ocirt.cli.log import printable
from ocirt.cli.output import say, say_json
from ocirt.cli.validate import take_bundle
from ocirt.container.prepare import Named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocirt.cli.main import Global
    from ocirt.cli.options import Options
    from ocirt.container.birth import Birth
    from ocirt.plan.compile import Plan
    from ocirt.plan.ops import Op

# Stands for the ID: it only shows in the default cgroup's path.
EXAMPLE_ID = "explained"


def run(globals_: Global, options: Options, arguments: list[str]) -> int:
    """Print the steps; return 0. Raises what create raises for the bundle."""
    take_bundle(options, arguments, "explain")
    birth = birth_of(globals_, options, bundle_option(options))
    plan = birth.plan
    steps = [step_of(number, op) for number, op in enumerate(plan.ops, 1)]
    with Named(path_option(options, "config")):
        errands = [*limits_of(birth), *devices_of(birth), *errands_of(plan)]
    if options.get("json"):
        say_json({"steps": steps, "errands": errands, "warnings": list(plan.warnings)})
        return 0
    lines = [f"warning: {printable(warning)}" for warning in plan.warnings]
    for step in steps:
        lines += paragraph(step)
    if errands:
        lines.append("By the runtime meanwhile:")
    for errand in errands:
        lines += paragraph({"step": "*", "skips": 0, **errand})
    say("\n".join(lines))
    return 0


def birth_of(globals_: Global, options: Options, bundle: str) -> Birth:
    """Compile the bundle as create would; raises BundleError, ConfigError, UnsupportedError."""
    from ocirt.container.birth import Birth

    birth = Birth(globals_.root, EXAMPLE_ID, bundle, create_options(globals_, options))
    with Named(path_option(options, "config")):
        birth.read("create")
        birth.compile()
    return birth


def limits_of(birth: Birth) -> list[dict[str, Any]]:
    """Return the limits of linux.resources as JSON objects: words, syscalls, pointer. Raises UnsupportedError."""
    from ocirt.cgroup import resources

    homes = resources.homes_of(birth.paths, birth.hierarchies)
    wanted = (birth.config.get("linux") or {}).get("resources") or {}
    found = []
    for write in resources.writes(wanted, homes):
        _, _, file, text, pointer, otherwise = write
        words = f'set {file} of the cgroup to "{text}"'
        if otherwise and otherwise[0][0]:
            words += f', or {otherwise[0][0]} to "{otherwise[0][1]}" where there is no such file'
        elif otherwise:
            words += ", if there is such a file"
        call = f'write("{resources.home(homes, write)}/{file}", "{text}")'
        found.append({"words": words, "syscalls": call, "pointer": f"/linux/resources{pointer}"})
    return found


def devices_of(birth: Birth) -> list[dict[str, Any]]:
    """Return the device rules as one JSON object in a list; [] without cgroups. Raises UnsupportedError."""
    from ocirt.cgroup import access, devices

    path, version = access.home(birth.paths, birth.hierarchies)
    if not path:
        return []
    listed = ((birth.config.get("linux") or {}).get("resources") or {}).get("devices") or ()
    default, kept = devices.rules(listed)
    files = devices.writes(default, kept)
    exceptions = ", ".join(f"{'' if rule[0] is not default else 'not '}{devices.line(rule)}" for rule in kept)
    words = f"let {'every' if default else 'no'} device be used{f' but {exceptions}' if kept else ''}"
    if version == 1:
        access.refuse_holes(default, kept)
        call = ", ".join(f'write("{path}/{file}", …)' + (f" {len(x)} times" if len(x) > 1 else "") for file, x in files)
    else:
        size = len(devices.program(default, kept)) // 8
        call = f'bpf(BPF_PROG_LOAD, {size} instructions), bpf(BPF_PROG_ATTACH, "{path}")'
    return [{"words": words, "syscalls": call, "pointer": devices.POINTER}]


def errands_of(plan: Plan) -> list[dict[str, Any]]:
    """Return what the runtime does for the container as JSON objects: words, syscalls, pointer."""
    if not (plan.errands or plan.idmaps):
        return []
    from ocirt.plan import errand_words

    return errand_words.lines(plan)


def step_of(number: int, op: Op) -> dict[str, Any]:
    """Return one operation as a JSON object: step, operation, words, syscalls, pointer, ignores, skips, arguments."""
    from ocirt.plan import show

    name, pointer, guard, arguments = op
    ignored = (guard & 0xFFFF, guard >> 16 & 0xFFFF)
    return {
        "step": number,
        "operation": name,
        "words": show.describe(op),
        "syscalls": show.syscalls(op),
        "pointer": pointer,
        "ignores": [errorcode.get(error, str(error)) for error in ignored if error],
        "skips": guard >> 32,
        "arguments": [argument.hex() if isinstance(argument, bytes) else argument for argument in arguments],
    }


def paragraph(step: dict[str, Any]) -> list[str]:
    """Return the lines of one step for people; no control character reaches a terminal."""
    lines = [f"{step['step']:>3}. {step['words']}"]
    if step["syscalls"]:
        lines.append(f"       {step['syscalls']}")
    if step["skips"]:
        last = step["step"] + step["skips"]
        lines.append(f"       when it succeeds, goes on at step {last + 1}")
    if step["pointer"]:
        lines.append(f"       config.json: {step['pointer']}")
    return [printable(line) for line in lines]
