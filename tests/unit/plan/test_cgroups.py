"""How the plan of a container's process gets it into cgroups of v1."""

from __future__ import annotations

import errno
from typing import Any

from ocirt.plan import ops
from tests.unit.plan import support

V1 = [["pids", "/sys/fs/cgroup/pids", 1], ["cpu", "/sys/fs/cgroup/cpu", 1]]


def plan(**changes: Any) -> Any:
    return support.compiled(support.config(**changes), hierarchies=V1, launch={"tasks": 2})


def test_a_process_enters_cgroups_of_v1_by_itself_once_they_are_there() -> None:
    made = plan()
    names = support.order(made)
    assert len(made.tasks) == 2
    assert names[names.index("sync") :][:3] == ["sync", "enter_cgroup", "enter_cgroup"]
    assert made.syncs[0] == 2
    assert names.index("enter_cgroup") < names.index("pivot")


def test_it_goes_on_without_a_hierarchy_that_the_runtime_may_not_write() -> None:
    entering = [op for op in plan().ops if op[0] == "enter_cgroup"]
    assert [ops.ignored(op) for op in entering] == [(errno.EBADF,)] * 2


def test_a_process_that_the_runtime_has_something_to_do_to_inside_is_attached_by_the_runtime() -> None:
    made = plan(process={"scheduler": {"policy": "SCHED_FIFO", "priority": 1}})
    assert made.errands
    assert not made.tasks
    assert "enter_cgroup" not in support.order(made)
    assert 2 in made.syncs
