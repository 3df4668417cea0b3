"""The compiler alone on mutated documents: load, check, compile, encode; and the plans for the C decoder. No root.

    python -m tests.fuzz.compiler [--seed N] [--count N] [--jobs N] [--keep DIRECTORY]

What ends in an error of ocirt's own classes, with words, is right. Anything else is printed, and kept as a file.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ocirt.config import check, lenient, load
from ocirt.container import command, record, update
from ocirt.errors import ConfigError, OcirtError
from ocirt.plan import show
from ocirt.plan.describe import host as describe
from ocirt.spawn import wire
from tests.fuzz import documents
from tests.fuzz.mutate import Mutator, Stock
from tests.kernel.decoder import decode
from tests.oracle import records
from tests.unit.plan.support import both, translated

HOSTS: list[dict[str, Any]] = [
    {"hierarchies": [["", "/sys/fs/cgroup", 2]]},
    {"hierarchies": [["cpu,cpuacct", "/sys/fs/cgroup/cpu", 1], ["freezer", "/sys/fs/cgroup/freezer", 1]]},
    {"hierarchies": [["", "/sys/fs/cgroup/unified", 2], ["memory", "/sys/fs/cgroup/memory", 1]]},
    {"hierarchies": []},
    {"euid": 1000, "hierarchies": []},
    {"lsm": ["apparmor", "selinux"]},
]
BATCH = 2000
EXPLAINED = 25  # one refusal in so many is explained in words, which takes as long as some forty compilations
WORDS_MAX = 200_000


class Finding(NamedTuple):
    """What went wrong, and the document that it went wrong with."""

    what: str
    document: bytes


def words_of(error: OcirtError) -> str:
    """The words of an error, which must be fit for a person; else AssertionError."""
    text = str(error)
    assert text.strip(), f"{type(error).__name__} without words"
    assert "Traceback" not in text, text
    assert "internal error" not in text, text
    assert not isinstance(error, ConfigError) or all(problem.message for problem in error.problems)
    assert not isinstance(error, ConfigError) or error.problems[0].message != "is invalid", "no reason is given"
    assert len(text) < WORDS_MAX, f"{len(text)} characters of error"
    return text


class Compiler:
    """Takes documents one by one; the plans that came of them go to the C decoder together, by `settle`."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.counts: Counter[str] = Counter()
        self.plans: list[tuple[bytes, bytes]] = []

    def config(self, data: bytes) -> None:
        """All that is made of a config.json without touching the host."""
        document: Any = load.without_nulls(data, "config.json")
        if type(document) is not dict:
            return
        lenient.settle(document)
        self.checked(lambda: check.check(document, data), check.valid(document))
        translated(document)
        host = self.rng.choice(HOSTS)
        linux = document.get("linux") or {}
        v1 = sum(version == 1 for _, _, version in host.get("hierarchies", ()))
        launch = {"start": self.rng.choice(("create", "run", "exec")), "tasks": self.rng.choice((0, v1))}
        seccomp = 2 if linux.get("seccomp") else 0
        made = both(copy.deepcopy(document), launch=launch, seccomp=seccomp, **host)
        self.counts["compiled"] += 1
        self.plans.append((wire.encode(made.plan.ops), data))
        if self.rng.randrange(8) == 0:
            assert all(show.describe(op) and show.failure(op, 1, "none", "") for op in made.plan.ops)
            assert all(describe.describe(op) and describe.failure(op, 22) for op in made.runtime)

    def checked(self, judge: Callable[[], None], valid: bool) -> None:
        """Raise what the check raises; of most that is refused by the schema already, without the words."""
        if not valid and self.rng.randrange(EXPLAINED):
            raise OcirtError("refused")
        try:
            judge()
        except OcirtError:
            assert not valid or self.counts.update(["refused by rules"]) is None
            raise
        assert valid, "the schema refuses it, and no problem was found"

    def process(self, data: bytes) -> None:
        """A process file of exec, and what it lacks from a container's."""
        document: Any = load.without_nulls(data, "process.json")
        made = command.process(command.Command(process=document), self.rng.choice(self.own))
        self.checked(lambda: check.check_process(made, "process.json"), check.valid_process(made))
        whole = check.around(process=made, linux={"namespaces": [{"type": "pid"}, {"type": "mount"}]})
        entered = both(whole, launch={"start": "exec"}, lsm=["apparmor", "selinux"])
        self.counts["compiled"] += 1
        self.plans.append((wire.encode(entered.plan.ops), data))

    def resources(self, data: bytes) -> None:
        """A document of `update`."""
        wanted: Any = load.without_nulls(data, "resources.json")
        if type(wanted) is not dict:
            return
        lenient.settle_resources(wanted, self.rng.choice(("1.0.2", "1.3.0")))
        if self.rng.randrange(EXPLAINED) == 0 or check.valid(check.around(linux={"resources": wanted})):
            update.check_resources(wanted, update.in_resources)
            translated({"linux": {"resources": wanted}})
            self.counts["translated"] += 1

    def state(self, data: bytes) -> None:
        """A state.json; ValueError is how its reader says no."""
        try:
            found = record.decode(data)
        except ValueError:
            raise OcirtError("no state of ours") from None
        again = record.decode(records.encode(found))
        assert all(getattr(again, slot) == getattr(found, slot) for _, _, slot, _ in record.MEMBERS)
        self.counts["states"] += 1

    own: tuple[dict[str, Any], ...] = ({}, *documents.processes())

    def take(self, kind: str, data: bytes) -> Finding | None:
        """Whether anything but a result or an error with words came of it."""
        self.counts["tried"] += 1
        try:
            getattr(self, kind)(data)
        except OcirtError as error:
            self.counts["refused"] += 1
            try:
                words_of(error)
            except AssertionError as wrong:
                return Finding(f"{kind}: {wrong}", data)
        except Exception:
            return Finding(f"{kind}: {traceback.format_exc()}", data)
        return None

    def settle(self) -> list[Finding]:
        """Have C decode all plans since the last time: each must be accepted."""
        plans, self.plans = self.plans, []
        verdicts = decode([plan for plan, _ in plans]) if plans else ""
        self.counts["decoded"] += verdicts.count(".")
        return [
            Finding("the decoder refuses the plan", data)
            for verdict, (_, data) in zip(verdicts, plans, strict=True)
            if verdict != "."
        ]


def cases(seed: int, count: int) -> Any:
    """(kind, text) of so many mutated documents."""
    rng = random.Random(seed)
    all_of: dict[str, list[Any]] = {
        "config": list(documents.configs().values()),
        "process": documents.processes(),
        "resources": documents.resources(),
    }
    mutators = {kind: Mutator(Stock(found), rng) for kind, found in all_of.items()}
    states = documents.states()
    for _ in range(count):
        kind = rng.choice(("config",) * 7 + ("process", "resources", "state"))
        if kind == "state":
            yield kind, mutators["config"].bytes(rng.choice(states))
        else:
            yield kind, mutators[kind].text(rng.choice(all_of[kind]))


def run(seed: int, count: int) -> tuple[list[Finding], Counter[str]]:
    """So many documents; what was found, and how they fared."""
    compiler, found = Compiler(random.Random(seed + 1)), []
    for number, (kind, data) in enumerate(cases(seed, count), 1):
        begun = time.monotonic()
        finding = compiler.take(kind, data)
        if finding:
            found.append(finding)
        elif time.monotonic() - begun > 10:
            found.append(Finding(f"{kind}: took more than ten seconds", data))
        if number % BATCH == 0 or number == count:
            found += compiler.settle()
    return found, compiler.counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="where what was found is kept")
    given = parser.parse_args()
    part = 20_000
    parts = [(given.seed * 1_000_003 + n, min(part, given.count - n * part)) for n in range(-(-given.count // part))]
    counts: Counter[str] = Counter()
    seen: set[str] = set()
    with multiprocessing.Pool(given.jobs) as pool:
        for found, more in pool.imap_unordered(run_part, parts):
            counts.update(more)
            for finding in found:
                name = f"compiler-{len(seen)}"
                if finding.what not in seen:
                    seen.add(finding.what)
                    given.keep.mkdir(parents=True, exist_ok=True)
                    (given.keep / name).write_bytes(finding.document)
                    print(f"{given.keep / name}: {finding.what}", flush=True)
            print(dict(counts), flush=True)
    return int(bool(seen))


def run_part(part: tuple[int, int]) -> tuple[list[Finding], Counter[str]]:
    return run(*part)


if __name__ == "__main__":
    sys.exit(main())
