"""Build time: packs the hot modules of create, run and exec into one file, so that the launcher need not look for any.

    python -I -S pack.py PARENT SITE-PACKAGES OUTPUT

PARENT holds the package ocirt, SITE-PACKAGES its dependencies. The output is one marshalled tuple, and the attic:

    (code of boot.py, {verb: place of its entries}, {module: (place, kind)}, attic's size)

    entry: (module, kind, body, links), in the order of import; kind and body are
        "module" | "package"    code object
        "extension"             name of the shared object, relative to a directory of the search path
        "builtin"               nothing
    link: (name, module, its attribute or "" for itself), in place of an import statement

It fits the interpreter that packed it and no other: the launcher beside it is built for that one. Sources that change
take a build, as C does; a copy of the tree, whose files have other times, is as good as the original.

What a successful command does not call costs memory and time all the same, so it goes to the attic and is fetched from
there when it is needed: hot.txt names the functions that are called. In place of any other there is a stub, one code
object for all; a module none of whose functions is called is imported at the first use of a name of its own, and those
of ON_DEMAND are imported by a container that asks for what they do.
"""

from __future__ import annotations

import ast
import importlib
import marshal
import sys
from copy import deepcopy
from importlib import machinery
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from ocirt.launcher import trees
else:  # not the package's: that is PARENT's, which has no launcher/
    sys.path.insert(0, str(Path(__file__).parent))
    import trees

CREATE = ("ocirt.cli.main", "ocirt.cli.create", "ocirt.container.create")
EXEC = ("ocirt.cli.main", "ocirt.cli.exec", "ocirt.container.exec")
VERBS = {
    "create": CREATE,
    "run": (*CREATE, "ocirt.cli.run", "ocirt.container.run", "ocirt.spawn.console"),
    "exec": (*EXEC, "ocirt.spawn.console"),
}
ON_DEMAND = (
    "ocirt.cgroup.mounts", "ocirt.cgroup.resources", "ocirt.container.host_actions", "ocirt.container.profiles",
    "ocirt.container.undo", "ocirt.linux.seccomp", "ocirt.plan.scheduling",
)  # fmt: skip

Entry = tuple[str, str, "CodeType | str", "tuple[trees.Link, ...]"]
Found = tuple[str, str, "Path | str"]  # an entry before it is compiled


class Recorder:
    """Notes each module when its import has ended: those that it needs come before it."""

    def __init__(self, search: list[str]) -> None:
        self.search = search
        self.entries: list[Found] = []
        self.packed: dict[str, Found] = {}
        for loader in (machinery.SourceFileLoader, machinery.ExtensionFileLoader):
            self.watch(loader)

    def watch(self, loader: type) -> None:
        """Wrap a loader's exec_module."""
        inner = loader.exec_module  # type: ignore[attr-defined]

        def exec_module(this: object, module: ModuleType) -> None:
            inner(this, module)
            self.note(module)

        loader.exec_module = exec_module  # type: ignore[attr-defined]

    def note(self, module: ModuleType) -> None:
        """One entry for a module that was just imported."""
        if module.__name__ == "__future__":
            return
        path = Path(str(module.__file__))
        if path.suffix == ".so":
            parent = max((d for d in self.search if path.is_relative_to(d)), key=len)
            self.entries.append((module.__name__, "extension", str(path.relative_to(parent))))
            return
        kind = "package" if hasattr(module, "__path__") else "module"
        if module.__name__ not in self.packed:
            self.packed[module.__name__] = (module.__name__, kind, path)
        self.entries.append(self.packed[module.__name__])

    def take(self, names: tuple[str, ...]) -> list[Found]:
        """Import `names` as if none of ours had been before; the entries that this brought.

        A shared object is imported once: it is among the entries of the first that need it.
        """
        self.entries.clear()
        for name in self.packed:
            sys.modules.pop(name, None)
        for name in names:
            importlib.import_module(name)
        return list(self.entries)


def trees_of(found: list[Found]) -> dict[str, ast.Module]:
    """The lean trees of those that have a source."""
    return {name: trees.lean_tree(path) for name, _, path in found if isinstance(path, Path)}


class Packer:
    """Compiles what was found: all but what can wait for its first use."""

    def __init__(self, found: list[Found], hot: dict[str, set[str]], attic: trees.Attic) -> None:
        self.hot = hot
        self.attic = attic
        self.trees = trees_of(found)
        # Those that have something to call: one of constants is never called.
        idle = {
            name
            for name, kind, _ in found
            if kind == "module" and name not in hot and "def " in ast.unparse(self.trees[name])
        }
        self.later_names = trees.put_off(self.trees, idle)
        self.later: dict[str, tuple[int, str]] = {}

    def tree(self, name: str) -> ast.Module:
        """The tree of a module, without the imports that can wait."""
        names = trees.targets(self.trees[name], self.later_names)
        return cast("ast.Module", trees.PutOff(names).visit(deepcopy(self.trees[name])))

    def entry(self, found: Found, loaded: set[str]) -> Entry:
        """What to load at once, after `loaded`."""
        name, kind, path = found
        if not isinstance(path, Path):
            return (name, kind, path, ())
        linked = trees.Linked(loaded)
        tree = linked.visit(trees.Stubs(self.hot.get(name, set()), self.attic).visit(self.tree(name)))
        return (name, kind, trees.with_one_stub(trees.compiled(tree, name)), tuple(linked.links))

    def demand(self, found: Found) -> None:
        """What is loaded when it is asked for."""
        name, kind, path = found
        body = trees.compiled(self.trees[name], name) if isinstance(path, Path) else path
        self.later[name] = (self.attic.put(body), kind)

    def entries(self, found: list[Found], loaded: set[str]) -> tuple[Entry, ...]:
        """What to load at once, builtin modules first, and add to `loaded`; the others are remembered in `later`."""
        entries: list[Entry] = []
        for name, kind, path in found:
            if isinstance(path, Path) and name in self.later_names:
                self.demand((name, kind, path))
                continue
            for builtin in self.builtins(name):
                if builtin not in loaded:
                    entries.append((builtin, "builtin", "", ()))
                loaded.add(builtin)
            entries.append(self.entry((name, kind, path), loaded))
            loaded.add(name)
        return tuple(entries)

    def builtins(self, name: str) -> list[str]:
        """The builtin modules that a module imports."""
        body = self.trees[name].body if name in self.trees else []
        names = [alias.name for node in body if isinstance(node, ast.Import) for alias in node.names]
        names += [str(node.module) for node in body if isinstance(node, ast.ImportFrom)]
        return [name for name in dict.fromkeys(names) if name in sys.builtin_module_names]


def read_hot(path: Path) -> dict[str, dict[str, set[str]]]:
    """The functions that a successful command calls, by verb and module: "verb module: function …" each."""
    found: dict[str, dict[str, set[str]]] = {}
    for line in path.read_text(encoding="ascii").splitlines():
        head, names = line.split(":")
        verb, module = head.split()
        found.setdefault(verb, {})[module] = set(names.split())
    return found


def main() -> None:
    """Pack."""
    parent, site, output = sys.argv[1:]
    sys.dont_write_bytecode = True
    sys.path += [parent, site]
    here = Path(__file__).parent
    recorder = Recorder(sys.path)
    verbs = {verb: recorder.take(names) for verb, names in VERBS.items()}
    demanded = [found for found in recorder.take(ON_DEMAND) if found[0].startswith("ocirt.")]
    objects = [found for found in verbs["create"] if found[1] == "extension"]  # imported once, by the first
    hot, attic = read_hot(here / "hot.txt"), trees.Attic()
    later: dict[str, tuple[int, str]] = {}
    own = {}  # each has its own: a verb does not unmarshal what another needs
    for verb, found in verbs.items():
        packer = Packer(found, hot[verb], attic)
        every = [*(other for other in objects if other not in found), *found]
        own[verb] = attic.put(packer.entries(every, set()))
        later |= packer.later
    packer.trees |= trees_of(demanded)
    for one in demanded:
        packer.demand(one)
    later |= packer.later
    boot = trees.compiled(trees.lean_tree(here / "boot.py"), "boot")
    data = marshal.dumps((boot, own, later, len(attic.data)))
    Path(output + ".new").write_bytes(data + attic.data)
    Path(output + ".new").replace(output)


if __name__ == "__main__":
    main()
