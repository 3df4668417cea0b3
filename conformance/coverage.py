"""Which clauses of the specification have a test that shows them: reads requirements/*.json and the tests they name.

A clause is covered when it names at least one test, every test that it names is there and, where reports of runs are
given, each of them ran in one and passed. A test is named by its file and function, without parameters.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

PROJECT = Path(__file__).resolve().parents[1]
REQUIREMENTS = Path(__file__).with_name("requirements")
LEVELS = ("MUST", "MUST NOT", "SHOULD", "SHOULD NOT")
MEMBERS = {"id", "section", "level", "says", "tests"}
ID = re.compile(r"^[a-z]+(-[a-z]+)*(\.[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*)+$")
# What anchors of a document begin with, where it is not the document's name.
PREFIX = {"config-linux.md": "configLinux", "runtime-linux.md": "runtimeLinux", "features-linux.md": "linuxFeatures"}
# A report of tests that ran elsewhere has the place in front: tests/guest/USER/tests/…
ELSEWHERE = re.compile(r"^tests\.guest\.[^.]+\.(?=tests\.)")


@dataclass
class Clause:
    """One demand of the specification, and what is wrong with its coverage."""

    id: str
    section: str
    level: str
    says: str
    tests: list[str]
    problems: list[str] = field(default_factory=list)


@dataclass
class Document:
    """One document of the specification: its clauses, and the sections that were looked at and left out, with why."""

    name: str
    clauses: list[Clause]
    left_out: dict[str, str]


def documents(directory: Path = REQUIREMENTS) -> list[Document]:
    """The list, one document a file, in the specification's order. Raises ValueError for a wrong entry."""
    found = [document(path) for path in directory.glob("*.json")]
    ids = [clause.id for one in found for clause in one.clauses]
    if twice := {name for name in ids if ids.count(name) > 1}:
        raise ValueError(f"listed twice: {', '.join(sorted(twice))}")
    order = ("bundle", "runtime", "runtime-linux", "config", "config-linux", "features", "features-linux")
    return sorted(found, key=lambda one: order.index(one.name) if one.name in order else len(order))


def document(path: Path) -> Document:
    """One file of requirements/. Raises ValueError."""
    content = json.loads(path.read_text(encoding="utf-8"))
    clauses = [clause(entry, path) for entry in content["clauses"]]
    return Document(path.stem, clauses, {entry["section"]: entry["why"] for entry in content["left-out"]})


def clause(entry: dict[str, Any], path: Path) -> Clause:
    """One entry. Raises ValueError."""
    name = str(entry.get("id"))
    if set(entry) != MEMBERS or not all(entry[member] for member in MEMBERS - {"tests"}):
        raise ValueError(f"{path.name}: {name}: must have {', '.join(sorted(MEMBERS))}")
    if not ID.match(name) or not name.startswith(f"{path.stem}."):
        raise ValueError(f'{path.name}: {name}: is no name such as "{path.stem}.section.what"')
    if entry["level"] not in LEVELS:
        raise ValueError(f"{path.name}: {name}: level must be one of {', '.join(LEVELS)}")
    return Clause(**entry)


def functions(path: Path) -> Iterator[tuple[str, bool]]:
    """The tests of a file, methods as Class::name, and whether it says itself that the test is never run."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        for one in inner:
            if isinstance(one, ast.FunctionDef) and one.name.startswith("test_"):
                marks = [ast.unparse(mark).partition("(")[0] for mark in one.decorator_list]
                yield prefix + one.name, "pytest.mark.skip" in marks


def judge(found: Iterable[Document], reports: list[Path], project: Path = PROJECT) -> None:
    """Enter what is wrong into each clause."""
    known: dict[str, dict[str, bool]] = {}
    outcomes = ran(reports)
    for one in (clause for document in found for clause in document.clauses):
        if not one.tests:
            one.problems.append("has no test")
        for test in one.tests:
            file, _, name = test.partition("::")
            if file not in known:
                path = project / file
                known[file] = dict(functions(path)) if path.is_file() else {}
            if name not in known[file]:
                one.problems.append(f"{test} does not exist")
            elif known[file][name]:
                one.problems.append(f"{test} is never run")
            elif reports and (wrong := verdict(outcomes.get(test, set()))):
                one.problems.append(f"{test} {wrong}")


def verdict(outcomes: set[str]) -> str:
    """What is wrong with a test that ended so, of all its cases in all reports; empty for nothing."""
    if "failed" in outcomes:
        return "fails"
    if "passed" in outcomes:
        return ""
    return "is skipped everywhere" if outcomes else "is in none of the reports"


def ran(reports: Iterable[Path]) -> dict[str, set[str]]:
    """Test, without its parameters → how its cases ended, by JUnit reports as pytest writes them."""
    outcomes: dict[str, set[str]] = {}
    for report in reports:
        for case in ElementTree.parse(report).iter("testcase"):
            file, name = ELSEWHERE.sub("", case.get("classname", "")), case.get("name", "").partition("[")[0]
            module, _, group = file.partition(".Test")
            inner = f"Test{group}::" if group else ""
            kinds = {child.tag for child in case}
            outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
            outcomes.setdefault(f"{module.replace('.', '/')}.py::{inner}{name}", set()).add(outcome)
    return outcomes


def rows(found: Iterable[Document]) -> Iterator[tuple[str, str, int, int, int]]:
    """(document, section, clauses, those at a level of MUST, covered) for each section."""
    for one in found:
        for section in dict.fromkeys(clause.section for clause in one.clauses):
            here = [clause for clause in one.clauses if clause.section == section]
            musts = sum(clause.level.startswith("MUST") for clause in here)
            yield f"{one.name}.md", section, len(here), musts, sum(not clause.problems for clause in here)


def table(found: list[Document]) -> str:
    """Coverage by section, for a person; below it what is wrong."""
    counted = list(rows(found))
    width = max(len(section) for _, section, *_ in counted) + 2
    lines = [f"{'section':{width}} clauses MUST covered"]
    for name in dict.fromkeys(row[0] for row in counted):
        own = [row for row in counted if row[0] == name]
        clauses, musts, covered = (sum(row[n] for row in own) for n in (2, 3, 4))
        lines.append(f"{name:{width}} {clauses:7} {musts:4} {covered:7}")
        lines += [f"  {section:{width - 2}} {clauses:7} {musts:4} {good:7}" for _, section, clauses, musts, good in own]
    lines += [f"{one.id}: {problem}" for document in found for one in document.clauses for problem in one.problems]
    clauses, musts, covered = (sum(row[n] for row in counted) for n in (2, 3, 4))
    tests = {test for document in found for clause in document.clauses for test in clause.tests}
    lines.append(f"{covered} of {clauses} clauses ({musts} MUST) are covered, by {len(tests)} tests")
    return "\n".join(lines)


def summary(found: Iterable[Document]) -> str:
    """The table of README.md: a line a document, its sections without what their names have in common."""
    counted = list(rows(found))
    lines = ["| document | clauses | MUST | covered | by section |", "|---|---|---|---|---|"]
    for name in dict.fromkeys(row[0] for row in counted):
        own = [row for row in counted if row[0] == name]
        numbers = " | ".join(str(sum(row[n] for row in own)) for n in (2, 3, 4))
        prefix = PREFIX.get(name, name.partition(".")[0])
        sections = ", ".join(f"{row[1].removeprefix(prefix) or row[1]} {row[4]}/{row[2]}" for row in own)
        lines.append(f"| {name} | {numbers} | {sections} |")
    return "\n".join(lines)


def as_json(found: list[Document]) -> str:
    """The list with what is wrong, for programs."""
    return json.dumps([asdict(one) for one in found], indent=1)
