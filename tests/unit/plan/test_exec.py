"""exec: what the process may do is settled before it exists where the container can see it."""

from __future__ import annotations

from typing import Any

import pytest

from ocirt.linux import consts as k
from ocirt.plan import exec as plan_exec
from ocirt.plan.context import Launch
from tests.unit.plan.support import Host

ADMIN = 1 << 21
# What takes a right that the process may not have, or a descriptor of the host's
PRIVILEGED = {
    "enter_cgroup", "oom_score_adj", "open_proc", "write_proc", "join", "chroot", "root_dir", "console", "stdio_owner",
    "keyring", "bounding", "groups", "ids", "memory_policy",
}  # fmt: skip
PROCESS = {
    "user": {"uid": 5, "gid": 6, "additionalGids": [7]},
    "args": ["sh"],
    "cwd": "/",
    "oomScoreAdj": 7,
    "rlimits": [{"type": "RLIMIT_NPROC", "soft": 3, "hard": 9}, {"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 2048}],
    "selinuxLabel": "a:b:c:d",
    "apparmorProfile": "box",
    "capabilities": {"permitted": ["CAP_KILL"], "effective": ["CAP_KILL"]},
}
AGENT = {"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/run/agent"}


def entered(*kinds: str, refuses_clone: bool = False, linux: dict[str, Any] | None = None, **process: Any) -> list[Any]:
    """The operations for a container with namespaces of these kinds, a terminal and a filter."""
    listed = [{"type": kind} for kind in kinds]
    config = {"process": {**PROCESS, **process}, "linux": {"namespaces": listed, **(linux or {})}}
    launch = Launch(container_id="box", bundle="/b", start="exec", console=True, tasks=2)
    host: Any = Host(lsm=("apparmor", "selinux"))
    return plan_exec.compile(config, launch, host, b"\6\0\0\0\0\0\377\177", 0, refuses_clone).ops


def second_stage(ops: list[Any]) -> list[Any]:
    names = [op[0] for op in ops]
    return ops[names.index("clone") + 1 :]


@pytest.mark.parametrize("kinds", [("pid", "mount"), ("pid",), ("pid", "mount", "user")])
@pytest.mark.parametrize("nnp", [False, True])
def test_all_that_takes_a_right_is_done_by_the_first_stage(kinds: tuple[str, ...], nnp: bool) -> None:
    after = second_stage(entered(*kinds, noNewPrivileges=nnp))
    assert not PRIVILEGED & {op[0] for op in after}
    assert "caps" not in [op[0] for op in after]
    assert ("seccomp" in [op[0] for op in after]) is nnp, "with no_new_privs a filter takes no right"


def test_no_descriptor_of_the_hosts_is_left_for_the_process() -> None:
    ops = entered("pid", "mount")
    closed = {op[3][0] for op in ops[: [op[0] for op in ops].index("clone")] if op[0] == "close"}
    assert {k.SLOT_TARGET, k.SLOT_PROC, k.SLOT_CONSOLE} <= closed


def test_the_cgroups_are_entered_before_there_is_a_process() -> None:
    names = [(op[0], op[3]) for op in entered("pid", "mount")]
    assert names.index(("sync", (k.SYNC_CGROUP,))) < names.index(("clone", (0,)))
    assert [name for name, _ in names[:2]] == ["enter_cgroup"] * 2


def test_the_first_stage_does_not_count_against_the_limit_on_processes() -> None:
    ops = entered("pid", "mount")
    number = k.RLIMITS["RLIMIT_NPROC"]
    found = [op[3] for op in ops if op[0] == "rlimit" and op[3][0] == number]
    assert found == [(number, 9, 9), (number, 3, 9)]
    assert (number, 3, 9) in [op[3] for op in second_stage(ops)]


@pytest.mark.parametrize("change", [{"refuses_clone": True}, {"linux": {"seccomp": AGENT}}])
def test_a_filter_that_has_to_wait_leaves_the_right_to_load_it(change: dict[str, Any]) -> None:
    ops = entered("pid", "mount", **change)
    before, after = (op[3] for op in ops if op[0] == "caps")
    assert before[:2] == (1 << 5 | ADMIN, 1 << 5 | ADMIN)
    assert after[:2] == (1 << 5, 1 << 5)
    names = [op[0] for op in second_stage(ops)]
    loaded = next(place for place, name in enumerate(names) if name.startswith("seccomp"))
    assert names[loaded + 1] == "caps"
    assert not PRIVILEGED & set(names)


def test_without_a_pid_namespace_there_is_one_stage() -> None:
    ops = entered("mount", refuses_clone=True)
    names = [op[0] for op in ops]
    assert "clone" not in names
    assert names.index("seccomp") < names.index("ids") < names.index("caps") < names.index("session")
    assert names.count("caps") == 1


def test_errands_wait_for_the_process() -> None:
    assert [op[3] for op in second_stage(entered("pid", "mount")) if op[0] == "sync"] == []
    ops = entered("pid", "mount", ioPriority={"class": "IOPRIO_CLASS_IDLE", "priority": 0})
    assert [op[3] for op in second_stage(ops) if op[0] == "sync"] == [(k.SYNC_START,)]
