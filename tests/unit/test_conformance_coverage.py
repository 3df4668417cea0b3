"""The list of the specification's clauses: each has tests that are there, and what is wrong with it is found."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conformance import coverage

PROJECT = Path(__file__).resolve().parents[2]
REFERENCE = Path(os.environ.get("OCIRT_REFERENCE_SPEC", PROJECT.parent / "shared" / "runtime-spec"))

TESTS = """
import pytest

def test_one():
    assert True

@pytest.mark.skip(reason="never")
def test_never():
    assert True

class TestGroup:
    def test_two(self):
        assert True
"""


def test_every_clause_has_tests_that_are_there() -> None:
    found = coverage.documents()
    coverage.judge(found, [])
    problems = [f"{clause.id}: {problem}" for one in found for clause in one.clauses for problem in clause.problems]
    assert problems == []


def test_every_document_of_the_specification_is_listed_in_its_order() -> None:
    names = [one.name for one in coverage.documents()]
    assert names == ["bundle", "runtime", "runtime-linux", "config", "config-linux", "features", "features-linux"]
    assert all(one.clauses for one in coverage.documents())


def test_the_readme_has_the_numbers() -> None:
    found = coverage.documents()
    coverage.judge(found, [])
    assert coverage.summary(found) in (PROJECT / "README.md").read_text(encoding="utf-8")


# ---- against the specification, which is no part of this project -----------------------------------------------------

needs_reference = pytest.mark.skipif(
    not (REFERENCE / "runtime.md").is_file(),
    reason="needs the specification: set OCIRT_REFERENCE_SPEC to a checkout of runtime-spec",
)


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


@needs_reference
def test_sections_are_the_specifications() -> None:
    for one in coverage.documents():
        text = (REFERENCE / f"{one.name}.md").read_text()
        known = {*re.findall(r'<a name="(\w+)"', text), *re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
        assert {clause.section for clause in one.clauses} | set(one.left_out) <= known, one.name


@needs_reference
def test_every_section_that_demands_something_is_listed_or_left_out_with_a_reason() -> None:
    demands = re.compile(r"\b(MUST|REQUIRED|SHALL|SHOULD|RECOMMENDED)\b")
    for one in coverage.documents():
        seen = {clause.section for clause in one.clauses} | set(one.left_out)
        section = ""
        for line in (REFERENCE / f"{one.name}.md").read_text().splitlines():
            if line.startswith("#") and not line.endswith(" Example"):
                anchor = re.search(r'<a name="(\w+)"', line)
                section = anchor[1] if anchor else line.lstrip("# ")
            assert not demands.search(line) or section in seen, f"{one.name}: {section}: {line}"


@needs_reference
def test_clauses_are_in_words_of_our_own() -> None:
    """No eight words in a row are the specification's."""
    for one in coverage.documents():
        text = " ".join(words((REFERENCE / f"{one.name}.md").read_text()))
        for clause in one.clauses:
            said = words(clause.says)
            for start in range(len(said) - 7):
                assert " ".join(said[start : start + 8]) not in text, clause.id


# ---- what the check finds --------------------------------------------------------------------------------------------


@pytest.fixture
def listed(tmp_path: Path) -> Any:
    """listed(*tests, report=…): the problems of one clause with these tests, in a project that has TESTS."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/test_it.py").write_text(TESTS)
    count = iter(range(100))

    def judged(*tests: str, reports: tuple[str, ...] = ()) -> list[str]:
        entry = {"id": "x.a.b", "section": "s", "level": "MUST", "says": "so", "tests": list(tests)}
        (tmp_path / "x.json").write_text(json.dumps({"clauses": [entry], "left-out": []}))
        paths = []
        for cases in reports:
            paths.append(tmp_path / f"report-{next(count)}.xml")
            paths[-1].write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
        (document,) = coverage.documents(tmp_path)
        coverage.judge([document], paths, tmp_path)
        return document.clauses[0].problems

    return judged


ONE, TWO, NEVER = (f"tests/test_it.py::{name}" for name in ("test_one", "TestGroup::test_two", "test_never"))


def case(name: str = "test_one[a]", inner: str = "", classname: str = "tests.test_it") -> str:
    return f'<testcase classname="{classname}" name="{name}">{inner}</testcase>'


def test_a_clause_with_tests_that_are_there_is_covered(listed: Any) -> None:
    assert listed(ONE, TWO) == []


def test_a_clause_without_a_test_is_found(listed: Any) -> None:
    assert listed() == ["has no test"]


@pytest.mark.parametrize(
    "name", ["tests/test_it.py::test_gone", "tests/gone.py::test_one", "tests/test_it.py::test_two"]
)
def test_a_test_that_is_not_there_is_found(listed: Any, name: str) -> None:
    assert listed(ONE, name) == [f"{name} does not exist"]


def test_a_test_that_is_never_run_is_found(listed: Any) -> None:
    assert listed(NEVER) == [f"{NEVER} is never run"]


SKIPPED, FAILED = "<skipped/>", "<failure/>"
REPORTS: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "passed": ((case(),), []),
    "skipped": ((case(inner=SKIPPED),), [f"{ONE} is skipped everywhere"]),
    "skipped in two places": ((case(inner=SKIPPED), case("test_one[b]", SKIPPED)), [f"{ONE} is skipped everywhere"]),
    "skipped in one of two places": ((case(inner=SKIPPED), case()), []),
    "skipped for one of its parameters": ((case(inner=SKIPPED) + case("test_one[b]"),), []),
    "skipped here and run in the guest": ((case(inner=SKIPPED), case(classname="tests.guest.root.tests.test_it")), []),
    "failed for one of its parameters": ((case() + case("test_one[b]", FAILED),), [f"{ONE} fails"]),
    "another": ((case("test_other"),), [f"{ONE} is in none of the reports"]),
}


@pytest.mark.parametrize(("reports", "problems"), REPORTS.values(), ids=REPORTS)
def test_reports_tell_what_ran(listed: Any, reports: tuple[str, ...], problems: list[str]) -> None:
    assert listed(ONE, reports=reports) == problems


def test_a_method_is_known_in_a_report(listed: Any) -> None:
    assert listed(TWO, reports=(case("test_two", classname="tests.test_it.TestGroup"),)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"level": "MAY"}, "level must be one of"),
        ({"id": "y.a.b"}, "is no name such as"),
        ({"id": "x"}, "is no name such as"),
        ({"says": ""}, "must have"),
        ({"more": 1}, "must have"),
    ],
)
def test_a_wrong_entry_is_an_error_that_names_it(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    entry = {"id": "x.a.b", "section": "s", "level": "MUST", "says": "so", "tests": [], **change}
    (tmp_path / "x.json").write_text(json.dumps({"clauses": [entry], "left-out": []}))
    with pytest.raises(ValueError, match=f"x.json: .*{words}"):
        coverage.documents(tmp_path)


def test_an_id_is_listed_once(tmp_path: Path) -> None:
    entry = {"id": "x.a.b", "section": "s", "level": "MUST", "says": "so", "tests": []}
    (tmp_path / "x.json").write_text(json.dumps({"clauses": [entry, entry], "left-out": []}))
    with pytest.raises(ValueError, match=r"listed twice: x\.a\.b"):
        coverage.documents(tmp_path)


def test_the_command_prints_sections_and_fails_where_a_test_has_not_run(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(PROJECT / "conformance/run"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^  runtimeLifecycle +\d+ +\d+ +\d+$", done.stdout, re.MULTILINE)
    (tmp_path / "report.xml").write_text(f"<testsuites>{case()}</testsuites>")
    done = run("--report", str(tmp_path / "report.xml"))
    assert done.returncode == 1
    assert "is in none of the reports" in done.stdout
