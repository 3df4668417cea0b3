"""The linters, as tests: the same here, in `make check` and in CI. Their settings are in pyproject.toml."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
TOOLS = Path(sys.executable).parent
GENERATED = {PROJECT / "ocirt/config/_schema.py", PROJECT / "ocirt/linux/_systemd.py"}

MAX_FUNCTION = 40
MAX_FILE = 400
# What may be longer, each with the reason: "path" or "path:function".
LONGER: dict[str, str] = {}


def clean(*command: str | Path) -> None:
    """The command must succeed; what it says is the test's message."""
    done = subprocess.run([str(word) for word in command], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def tool(name: str) -> str:
    """A program of Debian's, or the test is skipped."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}")
    return found


def c_files() -> list[Path]:
    return sorted(path for path in (PROJECT / "ocirt").rglob("*.c") if not path.name.startswith("_"))


def python_files() -> list[Path]:
    return sorted(set((PROJECT / "ocirt").rglob("*.py")) - GENERATED)


def test_ruff_has_nothing_to_say() -> None:
    clean(sys.executable, "-m", "ruff", "check", "--quiet", ".")


def test_the_types_are_right() -> None:
    clean(sys.executable, "-m", "mypy", "--no-error-summary")


def test_imports_go_one_way() -> None:
    clean(TOOLS / "lint-imports", "--no-logo", "--cache-dir", ".cache/import_linter")


@pytest.mark.parametrize("architecture", ["__x86_64__", "__aarch64__"])
def test_cppcheck_has_nothing_to_say(architecture: str) -> None:
    options = ["--enable=warning,performance,portability", "--inline-suppr", "--error-exitcode=1", "--quiet"]
    macros = re.findall(r'"(OCIRT_\w+)": ', (PROJECT / "setup.py").read_text())
    options += ["--std=c11", "-Iocirt", f"-D{architecture}", *[f'-D{name}="x"' for name in macros]]
    suppressed = [
        "missingIncludeSystem",
        "normalCheckLevelMaxBranches",  # newer versions say so of every file
        # The init's system calls are assembler: cppcheck does not see that they fill buffers and results.
        "uninitvar:ocirt/spawn/init/*",
        "ctuuninitvar:ocirt/spawn/init/*",
    ]
    options += [f"--suppress={name}" for name in suppressed]
    options += ["-D__asm__(x)="]  # `register long r __asm__("r10")` is a syntax error to newer versions
    clean(tool("cppcheck"), *options, *[path.relative_to(PROJECT) for path in c_files()])


def test_shell_scripts_parse() -> None:
    for script in [PROJECT / ".ci/run", PROJECT / ".ci/packages", *PROJECT.rglob("tests/**/*.sh")]:
        clean("bash" if "bash" in script.read_text().splitlines()[0] else "sh", "-n", script)


def test_conformance_knows_nothing_of_ocirt() -> None:
    files = list((PROJECT / "conformance").rglob("*.py"))
    if not files:
        pytest.skip("conformance/ holds nothing yet")
    for path in files:
        assert not re.search(r"^\s*(from|import) ocirt\b", path.read_text(), re.MULTILINE), path


def python_functions(path: Path) -> Iterator[tuple[str, int]]:
    """(name, lines without the docstring) of each function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first, last = node.body[0], node.end_lineno or 0
            documented = ast.get_docstring(node) is not None
            yield node.name, last - node.lineno + 1 - ((first.end_lineno or 0) - first.lineno + 1 if documented else 0)


def c_functions(path: Path) -> Iterator[tuple[str, int]]:
    """(name, lines) of each function: the brace in the first column opens and closes it."""
    name, start = "", 0
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if (found := re.match(r"[a-z].*?(\w+)\(", line)) and not line.endswith(";"):
            name = found[1]
        elif line == "{":
            start = number
        elif line == "}" and start:
            yield name, number - start + 1
            start = 0


def too_long() -> Iterator[str]:
    """What breaks the rules of size and is not excused in LONGER."""
    for path in [*python_files(), *c_files(), *(PROJECT / "tests").rglob("*.py"), PROJECT / "setup.py"]:
        where = str(path.relative_to(PROJECT))
        if (lines := len(path.read_text().splitlines())) > MAX_FILE and where not in LONGER:
            yield f"{where}: {lines} lines"
    for path in [*python_files(), *c_files()]:
        where = str(path.relative_to(PROJECT))
        for name, lines in python_functions(path) if path.suffix == ".py" else c_functions(path):
            if lines > MAX_FUNCTION and f"{where}:{name}" not in LONGER:
                yield f"{where}: {name} has {lines} lines"


def test_functions_and_files_are_short() -> None:
    found = list(too_long())
    assert not found, "\n".join(found)
