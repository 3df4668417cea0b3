"""Build time: modules as syntax trees, and what pack.py takes out of them.

What nobody calls goes to the attic. Behaviour stays as it is: where that is not certain, the code stays too.
"""

from __future__ import annotations

import ast
import marshal
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import cast

Link = tuple[str, str, str]  # pack.py


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


def lean_tree(path: Path) -> ast.Module:
    """The syntax of a source file without what Lean takes out."""
    return cast("ast.Module", Lean().visit(ast.parse(path.read_text(encoding="utf-8"))))


def compiled(tree: ast.Module, name: str) -> CodeType:
    """The code of a module, without docstrings and assertions.

    Its file is none: a traceback would quote one of that name in the working directory.
    """
    return compile(ast.fix_missing_locations(tree), f"<{name}>", "exec", optimize=2, dont_inherit=True)


def inner_code(code: CodeType) -> CodeType:
    """The first code object in another."""
    return next(constant for constant in code.co_consts if isinstance(constant, CodeType))


class Outside(ast.NodeVisitor):
    """The names that a module reads while it is imported, and the names that its functions bind."""

    def __init__(self, tree: ast.Module) -> None:
        self.read: set[str] = set()
        self.bound: set[str] = set()
        self.visit(tree)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Of a function, only decorators and defaults are evaluated at once."""
        for part in (*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(part)
        for inner in ast.walk(node):
            if isinstance(inner, ast.Name) and not isinstance(inner.ctx, ast.Load):
                self.bound.add(inner.id)
            elif isinstance(inner, (ast.arg, ast.alias, ast.ExceptHandler)):
                names = (getattr(inner, field, None) for field in ("arg", "asname", "name"))
                self.bound |= set(filter(None, names))

    def visit_Name(self, node: ast.Name) -> None:
        """Evaluated at once."""
        self.read.add(node.id)

    def visit_Constant(self, node: ast.Constant) -> None:
        """What __all__ lists is read by others."""
        if isinstance(node.value, str):
            self.read.add(node.value)


def imports(tree: ast.Module) -> Iterator[tuple[ast.ImportFrom, ast.alias, str, str]]:
    """Each `from module import name`: the nodes, the module, the name in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield node, alias, node.module, alias.name


def targets(tree: ast.Module, later: set[str]) -> dict[str, tuple[str, str]]:
    """The names that a module's own imports bind to something of `later`: name → (module, its attribute or "")."""
    found = {}
    for node, alias, module, name in imports(tree):
        if node not in tree.body:
            continue
        if f"{module}.{name}" in later:
            found[alias.asname or name] = (f"{module}.{name}", "")
        elif module in later:
            found[alias.asname or name] = (module, name)
    return found


def put_off(trees: dict[str, ast.Module], later: set[str]) -> set[str]:
    """The modules of `later` whose import can wait in all of `trees`: nobody needs, binds or passes on their names."""
    passed_on = {(module, name) for tree in trees.values() for _, _, module, name in imports(tree)}
    while True:
        needed = set()
        for name, tree in trees.items():
            if name in later:
                continue
            outside = Outside(tree)
            for bound, (module, _) in targets(tree, later).items():
                if bound in outside.read | outside.bound or (name, bound) in passed_on:
                    needed.add(module)
        if not needed:
            return later
        later = later - needed


class PutOff(ast.NodeTransformer):
    """Takes out imports, and has each use of their names import them."""

    def __init__(self, names: dict[str, tuple[str, str]]) -> None:
        self.names = names

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        """Keep the others."""
        node.names = [alias for alias in node.names if (alias.asname or alias.name) not in self.names]
        return node if node.names else ast.copy_location(ast.Pass(), node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """`name` → `module_later("module").name`."""
        if node.id not in self.names:
            return node
        module, attribute = self.names[node.id]
        text = f"module_later({module!r})" + (f".{attribute}" if attribute else "")
        return ast.copy_location(ast.parse(text, mode="eval").body, node)


class Linked(ast.NodeTransformer):
    """Takes out a module's imports of what is loaded before it: a statement costs more than a link (boot.py)."""

    def __init__(self, loaded: set[str]) -> None:
        self.loaded = loaded
        self.links: list[Link] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Leave it as it is."""
        return node

    def visit_Import(self, node: ast.Import) -> ast.AST:
        """`import module`."""
        return self.without_links(node, [(alias.name, "") for alias in node.names])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        """`from module import name`."""
        inner = [(f"{node.module}.{alias.name}", "") for alias in node.names]
        names = [(str(node.module), alias.name) for alias in node.names]
        return self.without_links(node, [a if a[0] in self.loaded else b for a, b in zip(inner, names, strict=True)])

    def without_links(self, node: ast.Import | ast.ImportFrom, found: list[tuple[str, str]]) -> ast.AST:
        """The statement with what cannot be linked."""
        pairs = list(zip(node.names, found, strict=True))
        self.links += [(alias.asname or alias.name, *what) for alias, what in pairs if what[0] in self.loaded]
        node.names = [alias for alias, what in pairs if what[0] not in self.loaded]
        return node if node.names else ast.copy_location(ast.Pass(), node)


class Attic:
    """Code that is read when it is needed."""

    def __init__(self) -> None:
        self.data = b""
        self.places: dict[bytes, int] = {}

    def put(self, value: object) -> int:
        """The place of `value`."""
        data = marshal.dumps(value)  # type: ignore[arg-type]
        if data not in self.places:
            self.places[data] = len(self.data)
            self.data += data
        return self.places[data]


STUB = """
def stub(*arguments, _where=0, **keywords):
    return function_later(_where, globals())(*arguments, **keywords)
"""
# The one code object of all stubs: marshal writes it once.
STUB_CODE = inner_code(compiled(ast.parse(STUB), "attic"))


class Stubs(ast.NodeTransformer):
    """Puts a stub in place of each function of a module or of a class in it that is not of `hot`."""

    def __init__(self, hot: set[str], attic: Attic) -> None:
        self.hot = hot
        self.attic = attic
        self.scope: list[ast.ClassDef] = []

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Visit its methods."""
        self.scope.append(node)
        self.generic_visit(node)
        self.scope.pop()
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """A stub, where one can do."""
        name = ".".join([*(scope.name for scope in self.scope), node.name])
        defaults = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
        constant = all(isinstance(default, ast.Constant) for default in defaults)
        names = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
        if name in self.hot or not constant or names & {"super", "__class__"}:
            return node
        stub = cast("ast.FunctionDef", ast.parse(STUB).body[0])
        stub.name = node.name
        stub.decorator_list = node.decorator_list
        stub.args.kw_defaults = [ast.Constant(self.attic.put(self.whole(node)))]
        return ast.copy_location(stub, node)

    def whole(self, node: ast.FunctionDef) -> tuple[CodeType, object, object]:
        """Its code and its defaults; compiled in its class, which has a part in private names."""
        bare = ast.FunctionDef(node.name, node.args, node.body, [], lineno=node.lineno)
        body: list[ast.stmt] = [ast.copy_location(bare, node)]
        for scope in reversed(self.scope):
            body = [ast.copy_location(ast.ClassDef(scope.name, [], [], body, []), scope)]
        code = compiled(ast.Module(body, []), "attic")
        for _ in [*self.scope, node]:
            code = inner_code(code)
        pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        keywords = {argument.arg: default.value for argument, default in pairs if isinstance(default, ast.Constant)}
        positional = tuple(default.value for default in node.args.defaults if isinstance(default, ast.Constant))
        return code, positional or None, keywords or None


def with_one_stub(code: CodeType) -> CodeType:
    """`code` with the same code object for all its stubs."""
    if "_where" in code.co_varnames:
        return STUB_CODE
    constants = (with_one_stub(constant) if isinstance(constant, CodeType) else constant for constant in code.co_consts)
    return code.replace(co_consts=tuple(constants))
