"""`ocirt update`: flags or a JSON document → container.update."""

from __future__ import annotations

import re

from ocirt.cli.options import VERBS
from ocirt.errors import BundleError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocirt.cli.main import Global
    from ocirt.cli.options import Options

LARGEST_DOCUMENT = 1 << 20  # bytes
TEXTS = ("cpu.cpus", "cpu.mems")
# As Go's units.RAMInBytes, which runc reads these by: 512, 50M, 1.5gb, 64KiB
SIZE = re.compile(r"([0-9]{1,20}(?:\.[0-9]+)?) ?(?:([kmgtp])i?)?b?", re.IGNORECASE | re.ASCII)
UNITS = ("", "k", "m", "g", "t", "p")


def run(globals_: Global, options: Options, arguments: list[str]) -> int:
    """Change the limits; return 0. A document makes the flags ignored, but for those of Intel RDT."""
    from ocirt.container.update import update

    schemata = [str(options[key]) for key in ("l3_cache_schema", "mem_bw_schema") if options.get(key)]
    path = options.get("resources")
    if path:
        update(globals_.root, arguments[0], document(str(path)), schemata=schemata)
        return 0
    flags = {key: flag for flag, _, _, key, _, _ in VERBS["update"][2] if "." in key}
    limits: dict[str, dict[str, Any]] = {}
    for key, text in options.items():
        if key in flags and text != "":  # as runc, which can't tell an empty value from none
            part, _, name = key.partition(".")
            limits.setdefault(part, {})[name] = value(key, str(text), flags[key])
    if limits.get("pids") == {"limit": 0}:  # as with runc until 1.3, and crun: no flag has a runtime-spec version
        limits["pids"]["limit"] = -1

    def named(pointer: str) -> str:
        flag = flags.get(pointer.lstrip("/").replace("/", "."))
        return f"flag --{flag}" if flag else pointer

    update(globals_.root, arguments[0], limits, named, schemata)
    return 0


def value(key: str, text: str, flag: str) -> int | str:
    """The value of a flag: a list of numbers as text, bytes of memory with a unit, or a number. Raises UsageError."""
    if key in TEXTS:
        return text
    if re.fullmatch("-?[0-9]{1,20}", text, re.ASCII):
        return int(text)
    size = SIZE.fullmatch(text) if key.startswith("memory.") else None
    if not size:
        kind = "a number of bytes, such as 50M or -1" if key.startswith("memory.") else "a number"
        raise UsageError(f'flag --{flag}: "{text}" is not {kind}')
    return int(float(size[1]) * 1024 ** UNITS.index((size[2] or "").lower()))


def document(path: str) -> dict[str, Any]:
    """The JSON object in the file `path`, "-" for standard input. Raises BundleError."""
    from ocirt.config.load import without_nulls

    name = "standard input" if path == "-" else f'"{path}"'
    try:
        with open(0 if path == "-" else path, "rb", closefd=path != "-") as file:
            raw = file.read(LARGEST_DOCUMENT + 1)
    except OSError as error:
        raise BundleError(f"cannot read {name}: {(error.strerror or str(error)).lower()}") from None
    if len(raw) > LARGEST_DOCUMENT:
        raise BundleError(f"{name} is larger than {LARGEST_DOCUMENT >> 20} MiB")
    found = without_nulls(raw, name)
    if not isinstance(found, dict):
        raise BundleError(f"{name} must hold a JSON object, as linux.resources of config.json")
    return found
