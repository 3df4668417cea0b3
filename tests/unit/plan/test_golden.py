"""Every config under tests/golden compiles to the plan that stands beside it, and to nothing malformed.

OCIRT_UPDATE_GOLDEN=1 writes the plans anew; read the difference before you commit it.
"""

from __future__ import annotations

import builtins
import os
import re
import socket
import time
import types
from typing import Any

import pytest

from ocirt.container import host_actions, performer
from ocirt.plan import host_ops, show
from ocirt.plan.describe import host as describe
from tests.unit.plan import support

NAMES = sorted(path.name for path in support.GOLDEN.iterdir() if (path / "config.json").exists())


def definitions(file: str = "ops.def") -> dict[str, str]:
    text = (support.DEFINITIONS / file).read_text()
    return dict(re.findall(r'^OP\((\w+),\s*"(\w*)"\)', text, re.MULTILINE))


# Those that no golden config asks for, and why
ELSEWHERE: dict[str, str] = {}
SHARED = {"commit", "connect_console", "open_process"}  # C's in one form, Python's in another
KINDS = {"u": int, "f": int, "s": str, "b": bytes, "v": list}


def test_there_are_enough_goldens_to_cover_the_compiler() -> None:
    assert len(NAMES) >= 25


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_config_compiles_to_its_plans(name: str) -> None:
    made = support.golden(name)
    texts = {"plan.txt": support.rendered(made.plan), "runtime.txt": support.rendered_runtime(made.runtime)}
    for file, found in texts.items():
        path = support.GOLDEN / name / file
        if os.environ.get("OCIRT_UPDATE_GOLDEN"):
            path.write_text(found)
        assert found == path.read_text()


@pytest.mark.parametrize("name", NAMES)
def test_every_operation_is_as_the_vocabulary_defines_it(name: str) -> None:
    made = support.golden(name)
    for known, ops in ((definitions(), made.plan.ops), (definitions("host_ops.def"), made.runtime)):
        for place, (operation, pointer, guard, arguments) in enumerate(ops):
            kinds = known[operation]
            assert len(kinds) == len(arguments), operation
            for kind, value in zip(kinds, arguments, strict=True):
                assert type(value) is KINDS[kind], (operation, value)
                assert not isinstance(value, int) or 0 <= value < 1 << 64, (operation, value)
                assert not isinstance(value, list) or all(type(word) is str for word in value), (operation, value)
            assert pointer == "" or pointer.startswith("/")
            assert guard >> 32 <= len(ops) - place - 1, "a plan does not skip past its end"


def test_every_operation_of_the_host_plan_has_its_places() -> None:
    """A constructor, words, and somebody who carries it out."""
    known = set(definitions("host_ops.def"))
    constructors = {name for name, value in vars(host_ops).items() if isinstance(value, types.FunctionType)}
    assert constructors == known
    assert set(describe.TABLE) == known
    in_c = set(re.findall(r"\[HOST_(\w+)\] = ", (support.PERFORM / "perform.c").read_text()))
    assert {*in_c, *performer.ACTIONS, *host_actions.ACTIONS} == known
    assert not set(performer.ACTIONS) & set(host_actions.ACTIONS)
    assert in_c & {*performer.ACTIONS, *host_actions.ACTIONS} == SHARED
    assert {name for name, _ in describe.HINTS} <= known


def test_every_operation_of_the_host_plan_is_in_a_golden_one() -> None:
    found = {op[0] for name in NAMES for op in support.golden(name).runtime}
    assert set(definitions("host_ops.def")) - found == set(ELSEWHERE)


def lent_before(runtime: list[Any]) -> list[set[int]]:
    """What the runtime has lent until each part of the init's plan, up to a point at which that waits, goes on."""
    known = definitions("host_ops.def")
    lent: set[int] = set()
    found = []
    for name, _, _, arguments in runtime:
        lent |= {value for kind, value in zip(known[name], arguments, strict=True) if kind == "f"}
        if name in {"send_plan", "go"}:
            found.append((name, arguments[0], set(lent)))
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("name", NAMES)
def test_a_slot_is_filled_before_it_is_used(name: str) -> None:
    made = support.golden(name)
    stages: Any = lent_before(made.runtime)
    sent = {first: slots for kind, first, slots in stages if kind == "send_plan"}
    passed = {point: slots for kind, point, slots in stages if kind == "go"}
    filled: set[int] = {support.NONE}
    for index, (operation, _, _, arguments) in enumerate(made.plan.ops):
        filled |= sent.get(index, set())
        if operation in {"open_namespace", "open_proc", "open_tree", "tree_fs"}:
            filled.add(arguments[0])
        elif operation in {"rootfs", "root_dir"}:
            filled.add(0)
        elif operation == "sync":
            filled |= passed[arguments[0]]
        kinds = definitions()[operation]
        used = {value for kind, value in zip(kinds, arguments, strict=True) if kind == "f"}
        assert used <= filled, operation
        if operation == "close":
            filled.discard(arguments[0])
        if operation in {"write_proc", "setns_proc"}:
            assert 1 in filled, f"{operation} needs a procfs"


@pytest.mark.parametrize("name", NAMES)
def test_the_runtime_waits_at_each_point_of_the_init_once_and_in_order(name: str) -> None:
    made = support.golden(name)
    points = [op[3][0] for op in made.plan.ops if op[0] == "sync"]
    assert [op[3][0] for op in made.runtime if op[0] == "wait"] == points
    assert [op[3][0] for op in made.runtime if op[0] == "go"] == points
    sent = [op[3][:2] for op in made.runtime if op[0] == "send_plan"]
    assert sum(count for _, count in sent) == len(made.plan.ops)


@pytest.mark.parametrize("name", NAMES)
def test_every_operation_can_be_told_in_one_line(name: str) -> None:
    made = support.golden(name)
    for op in made.plan.ops:
        for text in (show.describe(op), show.failure(op, 1, "none", "")):
            assert text
            assert "\n" not in text
        assert op[0] == "root_attr" or show.syscalls(op)
    for op in made.runtime:
        for text in (describe.describe(op), describe.failure(op, 1)):
            assert text
            assert "\n" not in text
        assert op[0] == "try_again" or describe.syscalls(op)


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
    plans = [support.both(document, **host) for (document, _), host in zip(given, hosts, strict=True)]
    monkeypatch.undo()
    assert all(made.plan.ops and made.runtime for made in plans)
