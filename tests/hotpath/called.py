"""Which functions of ocirt's the happy path of create, run and exec calls: what ocirt/launcher/hot.txt lists.

    python -m tests.hotpath.called [--fresh]

writes it. What is listed already and still exists stays, for it may be called on another host's cgroup layout, unless
--fresh is given. Needs root, busybox and Python 3.11.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ocirt.config import default
from ocirt.launcher import pack

PROJECT = Path(__file__).parent.parent.parent
LIST = PROJECT / "ocirt/launcher/hot.txt"

# Cgroups are the host's: a run of another checkout must not meet this one's.
NAME = f"called-{os.getpid()}"

Functions = dict[str, set[str]]

# Runs the verb in an interpreter as bare as the launcher's, then tells what of the package has been called. The launch
# is to be kept under a key that is believed; no launcher carries it out, so what is done without is called as well.
PROBE = """
import sys
class Key(bytes):
    def endswith(self, part):
        return True
    def __contains__(self, part):
        return True
called = set()
def note(frame, event, argument):
    if event == "call":
        called.add((frame.f_globals.get("__name__", ""), frame.f_code.co_qualname))
sys.path += sys.argv[2].split(":")
from ocirt.container import creation, entry
asked = b'{"process":{"args":["true"]}}'
creation.kept = entry.kept = (b"probe.launch", Key(), (b"",) * 4, b"", asked)
sys.setprofile(note)
from ocirt.cli.main import main
code = main(sys.argv[3:])
sys.setprofile(None)
with open(sys.argv[1], "w") as report:
    report.writelines(f"{module} {name}\\n" for module, name in called if module.startswith("ocirt"))
sys.exit(code)
"""


def defined(module: str) -> set[str]:
    """The functions of a module and of its classes; none where there is no such module."""
    path = PROJECT / module.replace(".", "/")
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(path.read_text() if path.exists() else "")
    names = set()
    for node in tree.body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        names |= {prefix + function.name for function in inner if isinstance(function, ast.FunctionDef)}
    return names


def called(work: Path, *argv: str) -> Functions:
    """What one successful command calls."""
    paths = ":".join([str(PROJECT), *(path for path in sys.path if path.endswith("-packages"))])
    report = work / "report"
    command = [sys.executable, "-I", "-S", "-B", "-c", PROBE, str(report), paths, *argv]
    # No pipe: the container keeps what it inherits.
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60, check=True)
    found: Functions = {}
    for line in report.read_text().splitlines():
        module, name = line.split()
        if name in defined(module):
            found.setdefault(module, set()).add(name)
    return found


def documents() -> list[dict[str, Any]]:
    """The document of `ocirt spec`, and what an engine adds to it for nearly every container."""
    plain = default.document(rootless=False)
    plain["process"].update(terminal=False)
    engine = json.loads(json.dumps(plain))
    engine["linux"]["resources"] = {"memory": {"limit": 1 << 28}, "cpu": {"shares": 512}, "pids": {"limit": 1000}}
    engine["annotations"] = {"a": "b"}
    return [plain, engine]


def make_bundle(directory: Path, document: dict[str, Any]) -> str:
    """A bundle with `document` and static programs."""
    for name in ("bin", "proc", "sys", "dev"):
        (directory / "rootfs" / name).mkdir(parents=True)
    for name in ("true", "sleep"):
        shutil.copy(str(shutil.which("busybox")), directory / "rootfs/bin" / name)
    (directory / "config.json").write_text(json.dumps(document))
    return str(directory)


def called_by_all(work: Path) -> dict[str, Functions]:
    """What create, run and exec of all documents call."""
    functions: dict[str, Functions] = {verb: {} for verb in ("create", "run", "exec")}
    root = ["--root", str(work / "root")]
    for number, document in enumerate(documents()):
        for verb, args in (("create", ["sleep", "100"]), ("run", ["true"])):
            document["process"]["args"] = args
            bundle = make_bundle(work / f"{verb}{number}", document)
            words = [*root, verb, "--bundle", bundle, "--pid-file", str(work / "pid"), f"{NAME}-{verb}"]
            for module, names in called(work, *words).items():
                functions[verb].setdefault(module, set()).update(names)
        launcher = PROJECT / "ocirt/_bin/ocirt"
        subprocess.run([launcher, *root, "start", f"{NAME}-create"], check=True)
        for module, names in called(work, *root, "exec", f"{NAME}-create", "true").items():
            functions["exec"].setdefault(module, set()).update(names)
        delete = [launcher, *root, "delete", "--force", f"{NAME}-create"]
        subprocess.run(delete, check=True)
    return functions


def listed() -> dict[str, Functions]:
    """What hot.txt lists."""
    return pack.read_hot(LIST)


def main() -> None:
    """Write the list."""
    with tempfile.TemporaryDirectory(prefix="ocirt-called-") as work:
        functions = called_by_all(Path(work))
    if "--fresh" not in sys.argv:
        for verb, modules in listed().items():
            for module, names in modules.items():
                functions[verb][module] = functions[verb].get(module, set()) | names & defined(module)
    lines = [
        f"{verb} {module}: {' '.join(sorted(names))}\n"
        for verb, modules in functions.items()
        for module, names in sorted(modules.items())
        if names
    ]
    LIST.write_text("".join(lines))


if __name__ == "__main__":
    main()
