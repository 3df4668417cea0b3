"""Build time: packs the hot modules of create, run and exec into one file, so that the launcher need not look for any.

    python -I -S pack.py PARENT SITE-PACKAGES OUTPUT [--in-tree]

PARENT holds the package ocirt, SITE-PACKAGES its dependencies. The output is one marshalled tuple:

    (code of boot.py, entries of every verb, {verb: its own, marshalled}, {module: entry, its code marshalled})

    entry: (module, kind, body, source's mtime), in the order of import; kind and body are
        "module" | "package"    code object
        "extension"             name of the shared object, relative to a directory of the search path

The last are imported by a container that asks for what they do; to the others they cost nothing but their bytes.

It fits the interpreter that packed it and no other: the launcher beside it is built for that one. With --in-tree the
modification times are kept, and boot.py takes a pack that is older than a source for none.
"""

from __future__ import annotations

import ast
import importlib
import marshal
import sys
from importlib import machinery
from pathlib import Path
from types import CodeType, ModuleType

CREATE = ("ocirt.cli.main", "ocirt.cli.create", "ocirt.container.create")
VERBS = {
    "create": CREATE,
    "run": (*CREATE, "ocirt.cli.run", "ocirt.container.run", "ocirt.spawn.console"),
    "exec": ("ocirt.cli.main", "ocirt.cli.exec", "ocirt.container.exec", "ocirt.spawn.console"),
}
ON_DEMAND = (
    "ocirt.cgroup.resources", "ocirt.container.errands", "ocirt.linux.seccomp", "ocirt.plan.scheduling",
)  # fmt: skip

Entry = tuple[str, str, "CodeType | str", int]


class Lean(ast.NodeTransformer):
    """Takes out what is there for readers and type checkers: annotations and the branches that only they see."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Drop a function's annotations."""
        self.generic_visit(node)
        node.returns = None
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        for argument in filter(None, every):
            argument.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Keep the assignment of an annotated one."""
        self.generic_visit(node)
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return ast.copy_location(ast.Assign(targets=[node.target], value=node.value), node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        """Drop what only concerns annotations, and would be a module to load."""
        return ast.copy_location(ast.Pass(), node) if node.module == "__future__" else node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        """Keep the branch that is taken at run time."""
        self.generic_visit(node)
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.orelse or ast.copy_location(ast.Pass(), node)
        return node


def compiled(path: Path) -> CodeType:
    """The code of a source file, without docstrings and assertions."""
    tree = ast.fix_missing_locations(Lean().visit(ast.parse(path.read_text(encoding="utf-8"))))
    code = compile(tree, path.name, "exec", optimize=2, dont_inherit=True)
    assert isinstance(code, CodeType)  # noqa: S101 - what compile's types leave open
    return code


class Recorder:
    """Notes each module when its import has ended: those that it needs come before it."""

    def __init__(self, search: list[str], in_tree: bool) -> None:
        self.search = search
        self.in_tree = in_tree
        self.entries: list[Entry] = []
        self.packed: dict[str, Entry] = {}
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
            self.entries.append((module.__name__, "extension", str(path.relative_to(parent)), 0))
            return
        kind = "package" if hasattr(module, "__path__") else "module"
        mtime = path.stat().st_mtime_ns if self.in_tree else 0
        if module.__name__ not in self.packed:
            self.packed[module.__name__] = (module.__name__, kind, compiled(path), mtime)
        self.entries.append(self.packed[module.__name__])

    def take(self, names: tuple[str, ...]) -> tuple[Entry, ...]:
        """Import `names` as if none of ours had been before; the entries that this brought.

        A shared object is imported once: it is among the entries of the first that need it.
        """
        self.entries.clear()
        for name in self.packed:
            sys.modules.pop(name, None)
        for name in names:
            importlib.import_module(name)
        return tuple(self.entries)


def main() -> None:
    """Pack."""
    parent, site, output, *flags = sys.argv[1:]
    sys.dont_write_bytecode = True
    sys.path += [parent, site]
    recorder = Recorder(sys.path, "--in-tree" in flags)
    verbs = {verb: recorder.take(names) for verb, names in VERBS.items()}
    shared = set.intersection(*({entry[0] for entry in entries} for entries in verbs.values()))
    # The shared objects are in the first list alone.
    common = tuple(entry for entry in verbs["create"] if entry[0] in shared or entry[1] == "extension")
    # Each in a piece of its own: a verb does not unmarshal what another needs.
    own = {
        verb: marshal.dumps(tuple(entry for entry in entries if entry not in common)) for verb, entries in verbs.items()
    }
    demanded = {
        name: (name, kind, body if isinstance(body, str) else marshal.dumps(body), mtime)
        for name, kind, body, mtime in recorder.take(ON_DEMAND)
        if name.startswith("ocirt.")
    }
    boot = compiled(Path(__file__).with_name("boot.py"))
    Path(output + ".new").write_bytes(marshal.dumps((boot, common, own, demanded)))
    Path(output + ".new").replace(output)


if __name__ == "__main__":
    main()
