"""The layer below the command line, replaced: what the verbs ask of it is remembered."""

from __future__ import annotations

import sys
import types

import pytest

from ocirt import errors


class Layer:
    """Stands in for ocirt.container: remembers calls, raises `error` where one is set."""

    def __init__(self):
        self.calls = []
        self.error = None
        self.result = None
        self.containers = []

    def note(self, *args, **kwargs):
        self.calls.append((args, kwargs))
        if self.error:
            raise self.error
        return self.result

    def listed(self, root, note=None):
        if note:
            note("skipped a foreign entry")
        if self.error:
            raise self.error
        return self.containers


def module(name, **members):
    made = types.ModuleType(f"ocirt.container.{name}")
    made.__dict__.update(members)
    return made


@pytest.fixture
def layer(monkeypatch):
    layer = Layer()

    def signal_number(text):
        if text not in ("TERM", "KILL", "9"):
            raise errors.UsageError(f'unknown signal "{text}"', "kill")
        return {"TERM": 15}.get(text, 9)

    for name, made in {
        "create": module("create", create=layer.note),
        "run": module("run", run=layer.note),
        "start": module("start", start=layer.note),
        "state": module("state", public=layer.note),
        "kill": module("kill", kill=layer.note, signal_number=signal_number),
        "update": module("update", update=layer.note),
        "delete": module("delete", delete=layer.note),
        "list": module("list", containers=layer.listed),
    }.items():
        monkeypatch.setitem(sys.modules, f"ocirt.container.{name}", made)
    return layer
