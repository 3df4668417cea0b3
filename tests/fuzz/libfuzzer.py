"""The C that reads what others may have written, each part with a libFuzzer target under sanitizers (targets/).

python -m tests.fuzz.libfuzzer [--seconds N] [--seed N] [--jobs N] [--keep DIRECTORY]
"""

from __future__ import annotations

import argparse
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from ocirt.container import launches, launches_create
from ocirt.linux._kernel import lib
from ocirt.plan import holes, host_ops
from ocirt.spawn import wire
from tests.fuzz import documents
from tests.unit.plan.support import GOLDEN, Both, golden

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
BUILD = PROJECT / "build/fuzz"
FLAGS = ["-std=gnu11", "-g", "-O1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all", "-Iocirt"]
FLAGS += ["-Iocirt/launcher", "-Iocirt/spawn/init", '-DOCIRT_VERSION="0"']
BELOW = ["launcher/names.c", *(f"linux/{path.name}" for path in sorted((PROJECT / "ocirt/linux").glob("*.c")))]
PERFORM = [f"perform/{path.name}" for path in sorted((PROJECT / "ocirt/perform").glob("*.c"))]
# Target → what is linked to it besides the file that it includes
TARGETS = {
    "record": ["launcher/lines.c", "launcher/trust.c", *BELOW],
    "words": [
        *(f"launcher/{name}.c" for name in ("record", "lines", "trust", "launch_key", "launch_file")),
        *("spawn/init/plan.c", *PERFORM, *BELOW),
    ],
    "launch": [*(f"launcher/{name}.c" for name in ("record", "lines", "trust")), *PERFORM, *BELOW],
    "plan": [],
    "shape": ["perform/json.c", "perform/strings.c", "perform/text.c", "launcher/lines.c"],
}


def build(name: str) -> Path:
    """Compile a target with clang. Raises CalledProcessError."""
    BUILD.mkdir(parents=True, exist_ok=True)
    program = BUILD / f"target-{name}"
    linked = [f"ocirt/{path}" for path in TARGETS[name]]
    command = ["clang", *FLAGS, "-o", str(program), str(HERE / "targets" / f"{name}.c"), *linked]
    subprocess.run(command, cwd=PROJECT, check=True)
    return program


def goldens() -> list[Both]:
    return [golden(path.name) for path in sorted(GOLDEN.iterdir()) if (path / "config.json").exists()]


def plans() -> list[bytes]:
    """The init's plan and the host plan of each golden config."""
    return [
        plan for one in goldens() for plan in (wire.encode(one.plan.ops), wire.encode(one.runtime, wire.host_kinds()))
    ]


def commands() -> list[bytes]:
    """Words of exec, and a process file behind them."""
    texts = ["-d\0--pid-file\0pid\0box\0true", "--process=process.json\0box", "-p\0process.json\0--detach\0box"]
    texts += ["--user\0001000\0-e\0A=b\0--cwd=x\0-c\0CAP_KILL\0--no-new-privs\0box\0sh\0-c\0echo"]
    texts += ["--apparmor\0x\0--process-label\0y\0-g\0007\0--\0box\0true", "-t\0box\0sh"]
    files = [path.read_text() for path in sorted(documents.CORPUS.glob("process-*.json"))]
    return [f"{text}\0\0{file}".encode() for text in texts for file in files]


def kept() -> list[bytes]:
    """The key's length, the key, and the file, whose plans have one string that is filled in."""
    found = []
    seen = launches_create.witness("/", os.stat("/")[:3])
    for number, one in enumerate(goldens()):
        key = bytes(range(number + 1))
        path = holes.concat("/", holes.Hole(launches.FIRST + number % 5, "x"), "/end")
        runtime = [*one.runtime, host_ops.attach("", path, 0)]
        halves = [("", runtime, wire.host_kinds(), lib.HOST_PLAN_MAX), ("", one.plan.ops, wire.KINDS, lib.PLAN_MAX)]
        found.append(struct.pack("<H", len(key)) + key + launches.file(key, [*halves, *halves], seen))
    return found


def configs() -> list[bytes]:
    return [path.read_bytes() for path in (*documents.CORPUS.glob("*.json"), *GOLDEN.glob("*/config.json"))]


SEEDS = {"record": documents.states, "words": commands, "launch": kept, "plan": plans, "shape": configs}


def run(name: str, limits: list[str], seed: int = 1, keep: Path = BUILD) -> tuple[int, str]:
    """Run a target in a directory of its own from its seeds; the exit code, and what libFuzzer said."""
    program = build(name)
    keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ocirt-fuzz-") as directory:
        corpus = Path(directory) / "corpus"
        corpus.mkdir()
        for number, data in enumerate(SEEDS[name]()):
            (corpus / str(number)).write_bytes(data)
        common = [f"-seed={seed}", "-max_len=65536", "-timeout=10", f"-artifact_prefix={keep.resolve()}/{name}-"]
        command = [str(program), *common, *limits, str(corpus)]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, errors="replace", check=False)
    return done.returncode, done.stderr


@cache
def available() -> bool:
    """Whether there is a clang with its libFuzzer, which Debian has in a package of its own."""
    if not shutil.which("clang"):
        return False
    empty = "int LLVMFuzzerTestOneInput(const char *data, unsigned long size) { return !data && size; }"
    with tempfile.TemporaryDirectory(prefix="ocirt-fuzz-") as directory:
        command = ["clang", "-fsanitize=fuzzer,address", "-x", "c", "-", "-o", f"{directory}/empty"]
        return subprocess.run(command, input=empty.encode(), capture_output=True, check=False).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=1800, help="for each target")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=BUILD, help="where the inputs that fail are kept")
    given = parser.parse_args()
    if not available():
        print("needs clang, and its libFuzzer")
        return 1
    limits = [f"-max_total_time={given.seconds}"]
    with ThreadPoolExecutor(given.jobs) as pool:
        results = list(pool.map(lambda name: (name, *run(name, limits, given.seed, given.keep)), TARGETS))
    for name, code, text in results:
        print(f"{name}: exit {code}\n" + "\n".join(text.splitlines()[-1 if code == 0 else -40 :]), flush=True)
    return int(any(code for _, code, _ in results))


if __name__ == "__main__":
    sys.exit(main())
