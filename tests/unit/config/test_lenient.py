"""What the specification refuses and other runtimes take: read as they read it, and refused by --strict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ocirt.config.check import check
from ocirt.config.lenient import drop_nulls, settle_resources
from ocirt.config.load import load, without_nulls
from ocirt.errors import ConfigError
from tests.unit.config.changes import Doc, Patch, both, changed, mount, places, put, text, with_namespace
from tests.unit.config.documents import base, full, others

DEVICES = "/linux/resources/devices"
USER = "/process/user"
PRIORITY = "/process/ioPriority"


def rule(access: str) -> list[Doc]:
    return [{"allow": False, "access": access}]


# what is written, what it means, whether the specification refuses it
TAKEN: list[tuple[str, Patch, Patch, bool]] = [
    ("no gid", put(USER, {"uid": 7}), put(USER, {"uid": 7, "gid": 0}), True),
    (
        "no priority",
        put(PRIORITY, {"class": "IOPRIO_CLASS_BE"}),
        put(PRIORITY, {"class": "IOPRIO_CLASS_BE", "priority": 0}),
        True,
    ),
    ("letters that mean nothing", put(DEVICES, rule("rxw w")), put(DEVICES, rule("rw")), True),
    ("a namespace's path that is empty", with_namespace("pid", path=""), with_namespace("pid"), True),
    ("a propagation that is empty", put("/linux/rootfsPropagation", ""), lambda doc: None, True),
    ("a class that is empty", put("/linux/intelRdt", {"closID": ""}), put("/linux/intelRdt", {}), True),
    ("a schema that is empty", put("/linux/intelRdt", {"memBwSchema": ""}), put("/linux/intelRdt", {}), True),
    (
        "mappings of a mount that are empty",
        mount(destination="/a", source="/", options=["bind"], uidMappings=[]),
        mount(destination="/a", source="/", options=["bind"]),
        True,
    ),
    (
        "no pids, of an old version",
        both(put("/ociVersion", "1.2.1"), put("/linux/resources/pids", {"limit": 0})),
        both(put("/ociVersion", "1.2.1"), put("/linux/resources/pids", {"limit": -1})),
        False,
    ),
    ("null for an object", put(USER, None), lambda doc: doc["process"].pop("user"), True),
    (
        "null in an entry of an array",
        put("/hooks", {"prestart": [{"path": "/bin/true", "args": None}], "poststop": None}),
        put("/hooks", {"prestart": [{"path": "/bin/true"}]}),
        True,
    ),
    ("null for a value of a map", put("/annotations", {"a": None, "b": "c"}), put("/annotations", {"b": "c"}), True),
]


def written(tmp_path: Path, doc: Doc) -> str:
    (tmp_path / "config.json").write_bytes(text(doc))
    return str(tmp_path)


@pytest.mark.parametrize(("patch", "meant", "refused"), [case[1:] for case in TAKEN], ids=[case[0] for case in TAKEN])
def test_it_is_read_as_what_it_means(patch: Patch, meant: Patch, refused: bool, tmp_path: Path) -> None:
    bundle = written(tmp_path, changed(base(), patch))
    doc, raw = load(bundle)
    assert doc == changed(base(), meant)
    check(doc, raw)
    strict, raw = load(bundle, strict=True)
    assert strict == changed(base(), patch)
    if refused:
        with pytest.raises(ConfigError):
            check(strict, raw)
    else:
        check(strict, raw)


@pytest.mark.parametrize("doc", [base(), full(), others()], ids=["base", "full", "others"])
def test_what_the_specification_takes_is_read_as_it_is_written(doc: Doc, tmp_path: Path) -> None:
    bundle = written(tmp_path, doc)
    assert load(bundle) == load(bundle, strict=True)


@pytest.mark.parametrize("pointer", [pointer for pointer, _ in places(full())])
def test_null_is_as_if_it_were_not_there_wherever_it_is_no_entry_of_an_array(pointer: str, tmp_path: Path) -> None:
    doc = changed(full(), put(pointer, None))
    found = load(written(tmp_path, doc))[0]
    if pointer.rpartition("/")[2].isdigit():
        assert pointer in dict(places(found))
    else:
        assert dict(places(found)).get(pointer, 0) == 0  # 0 is what some are then


def test_a_required_member_that_is_null_is_told_as_missing_with_its_line(tmp_path: Path) -> None:
    doc, raw = load(written(tmp_path, changed(base(), put("/process/cwd", None))))
    with pytest.raises(ConfigError) as caught:
        check(doc, raw)
    (problem,) = caught.value.problems
    assert (problem.pointer, problem.message) == ("/process/cwd", "required, but missing")
    assert problem.line


def test_only_null_itself_is_taken_out() -> None:
    raw = b'{"null": "null", "a": "/dev/null", "b": [null, {"c": null, "null":\n\tnull\n}], "d": null}'
    assert without_nulls(raw, "x") == {"null": "null", "a": "/dev/null", "b": [None, {}]}
    assert without_nulls(b"null", "x") is None
    deep: Any = without_nulls(b'{"a":' * 500 + b"null" + b"}" * 500, "x")
    for _ in range(499):
        deep = deep["a"]
    assert deep == {}


WRONG = [None, True, 7, "x", [], [7], [None], [[]], {}, {"": 1}]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_what_has_a_wrong_type_is_left_to_the_check(wrong: Any, tmp_path: Path) -> None:
    """No place of a config can be such that reading it fails in another way than by check's words."""
    for pointer, _ in places(full()):
        doc = changed(full(), put(pointer, wrong))
        try:
            check(*load(written(tmp_path, doc)))
        except ConfigError:
            pass


@pytest.mark.parametrize(
    ("version", "limit"),
    [("1.0.0", -1), ("1.0.2-dev", -1), ("1.2.9", -1), ("1.3.0", 0), ("1.3.0-rc.1", 0), ("1.10.0", 0), ("", 0), (1, 0)],
)
def test_a_limit_of_no_process_is_none_before_the_version_that_tells_them_apart(version: object, limit: int) -> None:
    resources = {"pids": {"limit": 0}}
    settle_resources(resources, version)
    assert resources == {"pids": {"limit": limit}}


@pytest.mark.parametrize("user", [{}, {"gid": 7}, {"uid": None, "gid": 7}], ids=repr)
def test_a_user_without_uid_is_not_taken_for_root(user: Doc, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="/process/user/uid: required, but missing"):
        check(*load(written(tmp_path, changed(base(), put(USER, user)))))


def test_a_rule_of_which_no_letter_is_left_stays_a_mistake(tmp_path: Path) -> None:
    doc, raw = load(written(tmp_path, changed(base(), put(DEVICES, rule("RW")))))
    with pytest.raises(ConfigError, match="access"):
        check(doc, raw)


def test_nulls_are_dropped_without_regard_to_depth() -> None:
    doc: Any = {"x": None}
    for _ in range(100_000):
        doc = [doc]
    drop_nulls(doc)
    while doc:
        doc = doc[0] if isinstance(doc, list) else doc
        if isinstance(doc, dict):
            break
    assert doc == {}
