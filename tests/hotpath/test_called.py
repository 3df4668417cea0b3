"""ocirt/launcher/hot.txt is about what create and run call: the rest is fetched one by one, which takes its time."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("ocirt.linux._kernel", reason="the shim is not built: make build")

from tests.hotpath.called import called_by_all, listed

# A fetched function costs some ten microseconds. More than that: python -m tests.hotpath.called
TOLERATED = 10


def test_the_list_names_what_create_and_run_call(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not shutil.which("busybox") or sys.version_info < (3, 11):
        pytest.skip("needs root, busybox and Python 3.11")
    known = listed()
    missing = [
        f"{verb}: {module}.{name}"
        for verb, modules in called_by_all(tmp_path).items()
        for module, names in modules.items()
        for name in sorted(names - known[verb].get(module, set()))
    ]
    assert len(missing) <= TOLERATED, missing


def test_a_function_that_is_not_listed_works_when_it_is_called() -> None:
    """What goes to the attic comes back with its defaults, its globals and its class's private names."""
    from ocirt.launcher import trees

    source = """
LIMIT = 3
def add(first, second=2, *, third=LIMIT_IS_NOT_CONSTANT, **rest): return first
def take(first, second=2, *, third=3, **rest): return (first, second, third, rest, LIMIT)
class Thing:
    def __init__(self, value): self.__value = value
    @property
    def value(self): return self.__value
    def __secret(self): return self.__value + 1
    def secret(self): return self.__secret()
"""
    import ast
    import marshal
    from types import FunctionType

    source = source.replace("LIMIT_IS_NOT_CONSTANT", "LIMIT")
    attic = trees.Attic()
    tree = trees.Stubs({"Thing.__init__"}, attic).visit(ast.parse(source))
    fetched = []

    def function_later(where: int, names: dict[str, object]) -> FunctionType:
        fetched.append(where)
        code, defaults, keywords = marshal.loads(attic.data[where:])
        function = FunctionType(code, names, code.co_name, defaults)
        function.__kwdefaults__ = keywords
        return function

    names: dict[str, object] = {"function_later": function_later}
    exec(trees.with_one_stub(trees.compiled(tree, "test")), names)
    take, thing = names["take"], names["Thing"](5)  # type: ignore[operator]
    assert take(1, other=4) == (1, 2, 3, {"other": 4}, 3)  # type: ignore[operator]
    assert (thing.value, thing.secret()) == (5, 6)
    assert len(fetched) == 4
