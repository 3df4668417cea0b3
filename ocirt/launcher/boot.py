"""The first code in an interpreter that the launcher has started half: no search path, no codecs, no stdio yet.

Executes the packed modules in their order (pack.py). Whatever else is imported later, because something went wrong
or a person is reading, completes the interpreter first. The launcher gives

    common, own    entries of every verb, {verb: its own, marshalled}
    demanded       {module: entry} of those that are imported when a container asks for them
    verb           the verb
    parent         directory of the package
    search         directories of extension modules
    complete       function that does what is left of the interpreter's start
    offer          function that gives (socket, doorbell, pid) of an ocirt-init that waits already, or 0
"""

from __future__ import annotations

import _codecs
import _frozen_importlib
import _imp
import marshal
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType
    from typing import Any

    Entry = tuple[str, str, Any, int]
    # What the launcher gives.
    common: Sequence[Entry] = ()
    own: dict[str, bytes] = {}
    demanded: dict[str, Entry] = {}
    verb: str = ""
    parent: str = ""
    search: list[str] = []

    def complete() -> None: ...
    def offer() -> tuple[int, int, int] | int: ...


Module = type(sys)


class Stale(Exception):
    """A source is newer than the pack."""


class Spec:
    """As much of a module's spec as the import of a shared object needs."""

    def __init__(self, name: str, origin: str) -> None:
        self.name = name
        self.origin = origin


def search_codec(name: str) -> Any:
    """What `encodings` would say, once it can be imported."""
    import encodings

    return encodings.search_function(name)


class Demanded:
    """Finder and loader of packed modules that a container asks for."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        """None where the module is not packed or its source is newer: then the next finder looks for the source."""
        _, kind, _, mtime = demanded.get(name, ("", "", "", 0))
        if not kind or (mtime and posix.stat(f"{parent}/{name.replace('.', '/')}.py").st_mtime_ns != mtime):
            return None
        return _frozen_importlib.ModuleSpec(name, Demanded)  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: Any) -> ModuleType:
        """The module, executed already where it is a shared object."""
        name, kind, body, _ = demanded[spec.name]
        return load_extension(name, body) if kind == "extension" else make_module(name, kind)

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Execute a packed module."""
        _, kind, body, _ = demanded[module.__name__]
        if kind != "extension":
            exec(marshal.loads(body), module.__dict__)  # noqa: S102, S302 - our own code, packed by our build


class Completer:
    """The last finder: a module that is neither packed nor builtin needs the whole interpreter."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        """Complete the interpreter, then ask the finder that this brought."""
        sys.meta_path.remove(Completer)
        if name == "encodings":
            # A codec's error got here, and Python believes its codecs to be there already: complete() asks for one.
            _codecs.register(search_codec)
        complete()
        return sys.meta_path[-1].find_spec(name, path, target)


def load_extension(name: str, relative: str) -> ModuleType:
    """Load a shared object from the first directory that has it."""
    for directory in search:
        path = f"{directory}/{relative}"
        if posix.access(path, posix.R_OK):
            module: ModuleType = _imp.create_dynamic(Spec(name, path))  # type: ignore[arg-type]
            sys.modules[name] = module
            _imp.exec_dynamic(module)
            return module
    raise ImportError(name)


def make_module(name: str, kind: str) -> ModuleType:
    """A module as the import system makes it, not executed yet."""
    module = sys.modules[name] = Module(name)
    path = f"{parent}/{name.replace('.', '/')}"
    if kind == "package":
        module.__path__ = [path]
        module.__package__ = name
        path += "/__init__"
    else:
        module.__package__ = name.rpartition(".")[0]
    module.__file__ = path + ".py"
    return module


def load_source(name: str, kind: str, code: CodeType, mtime: int) -> ModuleType:
    """Execute a packed module. Raises Stale."""
    module = sys.modules[name] if kind == "package" else make_module(name, kind)
    if mtime and posix.stat(str(module.__file__)).st_mtime_ns != mtime:
        raise Stale(name)
    exec(code, module.__dict__)  # noqa: S102 - our own code, packed by our build
    return module


def load(entries: Sequence[Entry]) -> None:
    """Load entries in their order, each made known to its package, which may have been begun before them."""
    for name, kind, _, _ in entries:
        if kind == "package":
            make_module(name, kind)
    for name, kind, body, mtime in entries:
        module = load_extension(name, body) if kind == "extension" else load_source(name, kind, body, mtime)
        package, _, short = name.rpartition(".")
        if package:
            setattr(sys.modules[package], short, module)


def boot() -> None:
    """Load what the verb needs; where that fails, start afresh, in the way of every interpreter."""
    sys.meta_path += [Demanded, Completer]
    try:
        load(common)
        load(marshal.loads(own[verb]))  # noqa: S302 - our own code, packed by our build
        sys.modules["ocirt.spawn.parent"].offer = offer  # type: ignore[attr-defined]
    except Exception:
        for name in [name for name in sys.modules if name.partition(".")[0] == "ocirt"]:
            del sys.modules[name]
        sys.meta_path.remove(Demanded)
        if Completer in sys.meta_path:
            sys.meta_path.remove(Completer)
            complete()


boot()
