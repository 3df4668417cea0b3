"""The code that finds the packed modules."""

from __future__ import annotations

import importlib
import marshal
import sys
from pathlib import Path
from typing import Any

import pytest

BOOT = Path(__file__).parents[3] / "ocirt" / "launcher" / "boot.py"
NAME = "ocirt_test_packed"


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Its names, as where one module is packed."""
    attic = marshal.dumps(compile("loaded = True", NAME, "exec"))
    names: dict[str, Any] = {
        "__name__": "boot",
        "pack": memoryview(attic),
        "complete": None,
        "hold": None,
        "offer": None,
        "launch": None,
    }
    names["parts"] = (None, {}, {NAME: (0, "module")}, len(attic))
    exec(compile(BOOT.read_text(), str(BOOT), "exec"), names)
    monkeypatch.setattr(sys, "meta_path", [names["Demanded"], *sys.meta_path])
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    return names


def test_a_module_whose_import_was_interrupted_is_imported_the_next_time(
    boot: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any moment: right after it was made, too."""
    create = boot["Demanded"].create_module

    def interrupted(spec: Any) -> Any:
        create(spec)
        raise KeyboardInterrupt

    monkeypatch.setattr(boot["Demanded"], "create_module", staticmethod(interrupted))
    with pytest.raises(KeyboardInterrupt):
        importlib.import_module(NAME)
    monkeypatch.setattr(boot["Demanded"], "create_module", staticmethod(create))
    assert importlib.import_module(NAME).loaded
    assert boot["module_later"](NAME).loaded


def test_an_interpreter_whose_completion_was_interrupted_is_completed_the_next_time(
    boot: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the words of that very interruption could not be found."""
    moments = ["complete", "tzset"]

    def interrupted(*_: object) -> None:
        if moments:
            moments.pop()
            raise KeyboardInterrupt

    monkeypatch.setitem(boot, "complete", interrupted)
    monkeypatch.setattr(sys, "meta_path", [boot["Completer"], *sys.meta_path])
    monkeypatch.delitem(sys.modules, "this_day", raising=False)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            importlib.import_module("this_day")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("this_day")
    assert boot["Completer"] not in sys.meta_path
