"""Every config under tests/golden compiles to the plan that stands beside it, and to nothing malformed.

OCIRT_UPDATE_GOLDEN=1 writes the plans anew; read the difference before you commit it.
"""

from __future__ import annotations

import builtins
import os
import re
import socket
import time
from typing import Any

import pytest

from ocirt.plan import show
from tests.unit.plan import support

NAMES = sorted(path.name for path in support.GOLDEN.iterdir() if (path / "config.json").exists())


def definitions() -> dict[str, str]:
    text = (support.DEFINITIONS / "ops.def").read_text()
    return dict(re.findall(r'^OP\((\w+),\s*"(\w*)"\)', text, re.MULTILINE))


KINDS = {"u": int, "f": int, "s": str, "b": bytes, "v": list}


def test_there_are_enough_goldens_to_cover_the_compiler() -> None:
    assert len(NAMES) >= 25


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_config_compiles_to_its_plan(name: str) -> None:
    found = support.rendered(support.golden(name))
    path = support.GOLDEN / name / "plan.txt"
    if os.environ.get("OCIRT_UPDATE_GOLDEN"):
        path.write_text(found)
    assert found == path.read_text()


@pytest.mark.parametrize("name", NAMES)
def test_every_operation_is_as_the_vocabulary_defines_it(name: str) -> None:
    known = definitions()
    plan = support.golden(name)
    for place, (operation, pointer, guard, arguments) in enumerate(plan.ops):
        kinds = known[operation]
        assert len(kinds) == len(arguments), operation
        for kind, value in zip(kinds, arguments, strict=True):
            assert type(value) is KINDS[kind], (operation, value)
            assert not isinstance(value, int) or 0 <= value < 1 << 64, (operation, value)
            assert not isinstance(value, list) or all(type(word) is str for word in value), (operation, value)
        assert pointer == "" or pointer.startswith("/")
        assert guard >> 32 <= len(plan.ops) - place - 1, "a plan does not skip past its end"


@pytest.mark.parametrize("name", NAMES)
def test_a_slot_is_filled_before_it_is_used(name: str) -> None:
    plan = support.golden(name)
    filled = {slot for slot, *_ in plan.trees} | {4, 5, 251}  # what the runtime sends with the plan
    if name.startswith("exec"):
        filled |= {8, 9, 10, 252}
    lent = {slot for name, _, given in plan.errands if name == "seccomp_listener" for slot in given[2]}
    for operation, _, _, arguments in plan.ops:
        if operation in {"open_namespace", "open_proc", "open_tree", "tree_fs"}:
            filled.add(arguments[0])
        elif operation in {"rootfs", "root_dir"}:
            filled.add(0)
        elif operation == "sync" and arguments[0] == 3:
            filled |= {6, 7}
        elif operation == "sync" and arguments[0] == 2:
            filled |= lent | set(plan.tasks)
        kinds = definitions()[operation]
        used = {value for kind, value in zip(kinds, arguments, strict=True) if kind == "f"}
        assert used <= filled | {0xFFFFFFFF}, operation
        if operation == "close":
            filled.discard(arguments[0])
        if operation in {"write_proc", "setns_proc"}:
            assert 1 in filled, f"{operation} needs a procfs"


@pytest.mark.parametrize("name", NAMES)
def test_every_operation_can_be_told_in_one_line(name: str) -> None:
    for op in support.golden(name).ops:
        for text in (show.describe(op), show.failure(op, 1, "none", "")):
            assert text
            assert "\n" not in text
        assert op[0] == "root_attr" or show.syscalls(op)


def test_compiling_asks_nothing_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, environment, clock and system calls are out of reach; all goldens compile all the same."""
    documents = [(support.GOLDEN / name, name) for name in NAMES]
    given = [(support.json.loads((path / "config.json").read_text()), path / "host.json") for path, _ in documents]
    hosts = [support.json.loads(path.read_text()) if path.exists() else {} for _, path in given]

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("the compiler is pure")

    monkeypatch.setattr(builtins, "open", forbidden)
    for module in (os, time, socket):
        for attribute in dir(module):
            if callable(getattr(module, attribute)) and attribute.islower() and not attribute.startswith("_"):
                monkeypatch.setattr(module, attribute, forbidden)
    import posix

    for attribute in dir(posix):
        if attribute.islower() and callable(getattr(posix, attribute)) and attribute != "fspath":
            monkeypatch.setattr(posix, attribute, forbidden)
    plans = [support.compiled(document, **host) for (document, _), host in zip(given, hosts, strict=True)]
    monkeypatch.undo()
    assert all(plan.ops for plan in plans)
