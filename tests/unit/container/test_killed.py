"""Which limit an init is said to have been killed for."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocirt.container import killed
from ocirt.errors import InitKilled

KILLED = "the OOM killer has killed ocirt-init"
CASES = [
    (
        {"memory": {"limit": 9}},
        "/linux/resources/memory/limit",
        f"a limit of 9 is too small to start the process: {KILLED}",
    ),
    ({"unified": {"memory.max": "4K"}}, "/linux/resources/unified/memory.max", "a limit of 4K is too small"),
    ({"memory": {"swap": 4096}}, "/linux/resources/memory/swap", "a limit of 4096 is too small"),
    ({}, "", "ocirt-init was killed by the OOM killer: a cgroup above the container's limits memory"),
]


@pytest.mark.parametrize(("resources", "pointer", "words"), CASES)
@pytest.mark.parametrize("file", ["memory.events", "memory.oom_control"])
def test_the_limit_of_the_config_is_named(
    tmp_path: Path, file: str, resources: dict[str, object], pointer: str, words: str
) -> None:
    (tmp_path / file).write_text("oom_kill 1\n")
    error = InitKilled("killed")
    killed.explain(error, [str(tmp_path)], {"linux": {"resources": resources}})
    assert words in str(error)
    assert error.pointer == pointer
    assert pointer in str(error)


def test_a_kill_from_outside_is_not_blamed_on_a_limit(tmp_path: Path) -> None:
    (tmp_path / "memory.events").write_text("oom_kill 0\n")
    error = InitKilled("killed")
    killed.explain(error, [str(tmp_path)], {"linux": {"resources": {"memory": {"limit": 9}}}})
    assert str(error) == "killed"
