"""Where `exec` puts its process when the container's first one has moved to a cgroup below."""

from __future__ import annotations

import pytest

from ocirt.cgroup import inside, tree
from ocirt.cgroup.hierarchies import Hierarchy

V2 = Hierarchy("", "/sys/fs/cgroup", "/", 2)
PATHS = ["/sys/fs/cgroup/machine/box", "/other/box"]


def beside(monkeypatch: pytest.MonkeyPatch, shown: str) -> list[str]:
    monkeypatch.setattr(inside, "hierarchies", lambda: [V2])
    monkeypatch.setattr(tree, "read", lambda path: f"3:cpu:/x\n0::{shown}\n".encode())
    return inside.beside(PATHS, 7)


def test_a_cgroup_below_is_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    assert beside(monkeypatch, "/machine/box/init.scope") == ["/sys/fs/cgroup/machine/box/init.scope", "/other/box"]


@pytest.mark.parametrize(
    "shown",
    ["/", "/machine", "/machine/box", "/machine/box2", "/machine/other/init.scope", "/../box", "/machine/box/../x"],
)
def test_one_that_is_not_below_is_not(monkeypatch: pytest.MonkeyPatch, shown: str) -> None:
    assert beside(monkeypatch, shown) == PATHS
