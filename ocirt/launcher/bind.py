"""Build time: the shim's functions as a module of the program, for an interpreter that is frozen into it (freeze.h).

    python bind.py OUTPUT

A shared object is at another address each time, so the module that cffi makes of the same declarations cannot be
frozen; and cffi's own start takes a tenth of a `create`. Callers give buffers (calls.py), which both take. The C that
this writes is a function for each declaration, which binding.c gives the arguments for, and a table of the constants.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[2])]

from ocirt.linux import _build

FUNCTION = """
static PyObject *bound_{name}(PyObject *module, PyObject *const *given, Py_ssize_t count)
{{
	struct argument arguments[{size}];
	int result;

	(void)module;
	if (!take_arguments(arguments, "{kinds}", given, count))
		return NULL;
	result = {name}({passed});
	release_arguments(arguments, {count});
	return PyLong_FromLong(result);
}}
"""
HEAD = """/* Made by ocirt/launcher/bind.py. */
#include "launcher/binding.h"
#include "launcher/quick.h"
#include "linux/shim.h"
#include "perform/perform.h"
#include "perform/shape.h"
#include "spawn/init/wire.h"
"""
HEADERS = (
    *(_build.HERE / "shim.h", _build.LAUNCHER / "quick.h"),
    *(_build.PERFORM / "perform.h", _build.PERFORM / "shape.h"),
)


def kind(declared: str) -> str:
    """What binding.c makes of an argument: i a number, r and w memory to read and to write, v a list of numbers."""
    if not re.search(r"[*\[]", declared):
        return "i"
    if "const" not in declared:
        return "w"
    return "v" if "int " in declared else "r"


def passed(kinds: str, declared: list[str]) -> str:
    """The arguments of the call."""
    types = [re.sub(r"\w+$", "", text).strip() for text in declared]
    numbers = [f"({type_})arguments[{index}].number" for index, type_ in enumerate(types)]
    return ", ".join(
        number if kind == "i" else f"arguments[{index}].data"
        for index, (kind, number) in enumerate(zip(kinds, numbers, strict=True))
    )


def function(name: str, declared: list[str]) -> str:
    """One function that Python calls."""
    kinds = "".join(map(kind, declared))
    return FUNCTION.format(
        name=name, kinds=kinds, passed=passed(kinds, declared), count=len(kinds), size=max(len(kinds), 1)
    )


def functions(text: str) -> dict[str, list[str]]:
    """Name → declared arguments, of the functions in a header's text; all give an int."""
    found = re.findall(r"^int (\w+)\(([^)]*)\);", text, re.MULTILINE)
    return {name: [] if words == "void" else words.split(", ") for name, words in found}


def source() -> str:
    """The C."""
    text = "".join(_build.between_marks(header) for header in HEADERS)
    found = functions(text)
    enumerators = ", ".join(re.findall(r"enum \{ (.*?) \};", text)).split(", ")
    numbers = _build.wire_names() + enumerators
    methods = [f'\t{{ "{name}", (PyCFunction)(void (*)(void))bound_{name}, METH_FASTCALL, NULL }},' for name in found]
    constants = [f'\t{{ "{name}", {name} }},' for name in numbers]
    return "\n".join([
        HEAD, *(function(name, declared) for name, declared in found.items()),
        "PyMethodDef bound_functions[] = {", *methods, "\t{ NULL, NULL, 0, NULL },", "};", "",
        "const struct constant bound_constants[] = {", *constants, '\t{ "ocirt_plan_magic", PLAN_MAGIC },',
        "\t{ NULL, 0 },", "};", "", f'const char bound_operations[] = "{_build.operations()}";',
        f'const char bound_host_operations[] = "{_build.operations("host_ops.def")}";',
        f'const char bound_state_members[] = "{_build.state_members()}";', "",
    ])  # fmt: skip


if __name__ == "__main__":
    target, text = Path(sys.argv[1]), source()
    if not target.exists() or target.read_text(encoding="ascii") != text:  # else what is compiled from it is new enough
        target.write_text(text, encoding="ascii")
