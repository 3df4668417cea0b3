"""The first code in an interpreter that the launcher has started half: no search path, no codecs, no stdio yet.

Executes the packed modules in their order (pack.py). Whatever else is imported later, because something went wrong
or a person is reading, completes the interpreter first. The launcher gives
    parts          what is packed: pack.py has the format
    pack           the file that it is in, with the attic at its end
    complete       function that does what is left of the interpreter's start
    hold           function after which no signal interrupts any more
    launch         function that carries out the launch that has been kept meanwhile, and comes back only where it fails
    release        function after which signals interrupt that were held since a launch has stopped half way
    take           function that gives what is left of a launch that has stopped half way (spawn/parent.py)
and calls `start`.
"""

from __future__ import annotations

import _codecs
import _frozen_importlib
import _imp
import builtins
import marshal
import posix
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, FunctionType, ModuleType
    from typing import Any

    Entry = tuple[str, str, Any, Sequence[tuple[str, str, str]]]
    Later = dict[str, tuple[int, str]]
    # What the launcher gives.
    parts: tuple[CodeType, dict[str, int], Later, int] = (compile("", "", "exec"), {}, {}, 0)
    pack = memoryview(b"")

    def complete() -> None: ...
    def hold() -> int: ...
    def launch() -> int: ...
    def release() -> int: ...
    def take() -> tuple[bytes, int, int, bytes] | int: ...


Module = type(sys)
_, own, later, attic_size = parts
attic = pack[len(pack) - attic_size :]
awake: dict[int, FunctionType] = {}
spaces: dict[str, dict[str, Any]] = {}
made: list[tuple[ModuleType, str]] = []
parent = ""
search: Sequence[str] = ()


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
    """Finder and loader of packed modules that not every command needs."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        """None where the module is not packed: then the next finder looks for its source."""
        if name not in later:
            return None
        return _frozen_importlib.ModuleSpec(name, Demanded)  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: Any) -> ModuleType:
        """The module, executed already where it is a shared object."""
        where, kind = later[spec.name]
        # Not made known yet: interrupted before the import system takes notice, it would stay there, and be empty.
        return load_extension(spec.name, fetch(where)) if kind == "extension" else new_module(spec.name, kind)

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Execute a packed module."""
        where, kind = later[module.__name__]
        if kind != "extension":
            exec(fetch(where), module.__dict__)  # noqa: S102 - our own code, packed by our build


def fetch(where: int) -> Any:
    """What the attic has at `where`."""
    return marshal.loads(attic[where:])  # noqa: S302 - our own code, packed by our build


def module_later(name: str) -> ModuleType:
    """The module `name`, whose import pack.py has put off until it is needed."""
    module = sys.modules.get(name)
    if module is None:
        __import__(name)
        module = sys.modules[name]
    return module


def function_later(where: int, names: dict[str, Any]) -> FunctionType:
    """The function whose code is in the attic at `where`; `names` are its globals."""
    function = awake.get(where)
    if function is None:
        code, defaults, keywords = fetch(where)
        function = awake[where] = Function(code, names, code.co_name, defaults)  # type: ignore[misc]
        function.__kwdefaults__ = keywords
    return function


Function = type(module_later)


class Completer:
    """The last finder: a module that is neither packed nor builtin needs the whole interpreter."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        """Complete the interpreter, then ask the finder that this brought."""
        try:
            sys.meta_path.remove(Completer)
            if name == "encodings":
                # A codec's error got here, and Python believes its codecs to be there already: complete() asks for one.
                _codecs.register(search_codec)
            complete()
            time.tzset()  # what it says of the time zone may be that of another machine
            sys.path += [path for path in search[1:] if path not in sys.path]
            for module, kind in made:
                place(module, kind)
        except BaseException:  # a signal, somewhere in it: who finds the words for that needs the rest
            sys.meta_path.append(Completer)
            raise
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


def load_builtin(name: str) -> ModuleType:
    """Load a module that is part of the interpreter, without the import system's search for it."""
    module = sys.modules.get(name)
    if module is None:
        module = sys.modules[name] = _imp.create_builtin(Spec(name, "built-in"))  # type: ignore[arg-type]
        _imp.exec_builtin(module)
    return module


def make_module(name: str, kind: str) -> ModuleType:
    """A module as the import system makes it, not executed yet, and made known."""
    module = sys.modules[name] = new_module(name, kind)
    return module


def new_module(name: str, kind: str) -> ModuleType:
    """The same, and nobody knows of it."""
    module = Module(name)
    if kind == "package":
        module.__path__ = []
        module.__package__ = name
    else:
        module.__package__ = name.rpartition(".")[0]
    made.append((module, kind))
    return module


def place(module: ModuleType, kind: str) -> None:
    """Say where a module's source is, for the search of others and for tracebacks."""
    path = parent + source(module.__name__)
    if kind == "package":
        module.__path__[:] = [path]
        path += "/__init__"
    module.__file__ = path + ".py"


def source(name: str) -> str:
    """The path of a module's source from the package's directory, without what follows in a package."""
    return "/" + name.replace(".", "/")


def load_source(entry: Entry) -> ModuleType:
    """Execute a packed module."""
    name, kind, code, links = entry
    module = sys.modules[name] if kind == "package" else make_module(name, kind)
    names = module.__dict__
    for bound, other, attribute in links:
        names[bound] = spaces[other][attribute] if attribute else sys.modules[other]
    exec(code, names)  # noqa: S102 - our own code, packed by our build
    return module


def load(entries: Sequence[Entry]) -> None:
    """Load entries in their order, each made known to its package, which may have been begun before them."""
    entries = [entry for entry in entries if entry[0] not in spaces]
    for entry in entries:
        if entry[1] == "package":
            make_module(*entry[:2])
    for entry in entries:
        name, kind, body = entry[:3]
        if kind == "builtin" or (kind == "extension" and name in sys.builtin_module_names):
            announce(name, load_builtin(name))
        elif kind != "extension":
            announce(name, load_source(entry))
        else:
            announce(name, load_extension(name, body))


def announce(name: str, module: ModuleType) -> None:
    """Make a module known to its package, and to those that link to it."""
    spaces[name] = module.__dict__
    package, _, short = name.rpartition(".")
    if package:
        setattr(sys.modules[package], short, module)


def prepare() -> None:
    """Find packed modules by our own means."""
    sys.meta_path += [Demanded, Completer]
    builtins.module_later = module_later  # type: ignore[attr-defined]
    builtins.function_later = function_later  # type: ignore[attr-defined]


def start(
    verb: str, directory: str, directories: Sequence[str], kept: tuple[bytes, bytes, tuple[bytes, ...], bytes, bytes]
) -> bool:
    """Make ready for a verb. False where that fails: then another interpreter has to be started, whole.

    directory      of the package
    directories    of extension modules, and of the package and what it depends on
    kept           as container/creation.py has it, and container/entry.py
    """
    global parent, search
    parent, search = directory, directories
    try:
        prepare()
        load(fetch(own[verb]))
    except Exception:
        return False
    sys.modules["ocirt.notes"].started = "packed modules in an interpreter"  # type: ignore[attr-defined]
    parent_of_init = sys.modules["ocirt.spawn.parent"]
    for name, function in (("hold", hold), ("launch", launch), ("release", release), ("take", take)):
        setattr(parent_of_init, name, function)
    place(parent_of_init, "module")  # it looks for a file beside itself
    sys.modules["ocirt.container." + ("entry" if verb == "exec" else "creation")].kept = kept  # type: ignore[attr-defined]
    return True
