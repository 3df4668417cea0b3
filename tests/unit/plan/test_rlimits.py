"""process.rlimits → operations, each where it may be set and where the init can still do its work."""

from __future__ import annotations

from tests.unit.plan.support import RANGE, compiled, config, named, order, user_namespace


def test_the_limit_on_descriptors_is_the_last_one() -> None:
    limits = [{"type": kind, "soft": 1, "hard": 2} for kind in ("RLIMIT_NOFILE", "RLIMIT_CORE")]
    plan = compiled(config(process={"rlimits": limits}))
    assert named(plan, "rlimit") == [(4, 1, 2), (7, 1, 2)]
    names = order(plan)
    assert names[names.index("find_exec") + 1] == "rlimit"


def test_the_hard_limit_on_descriptors_is_set_while_it_may_be_raised() -> None:
    for soft, seen in ((4096, [(7, 4096, 8192)]), (9, [(7, 8192, 8192), (7, 9, 8192)])):
        plan = compiled(config(process={"rlimits": [{"type": "RLIMIT_NOFILE", "soft": soft, "hard": 8192}]}))
        assert named(plan, "rlimit") == seen
        assert order(plan).index("rlimit") < order(plan).index("bounding")


def test_hard_limits_are_raised_outside_of_a_user_namespace() -> None:
    limits = [{"type": "RLIMIT_CORE", "soft": 1, "hard": 2}, {"type": "RLIMIT_NOFILE", "soft": 9, "hard": 10}]
    plan = compiled(user_namespace(RANGE, rlimits=limits))
    assert named(plan, "rlimit")[0] == (4, 2, 2)
    assert order(plan).index("rlimit") < order(plan).index("clone")
    assert (7, 10, 10) not in named(plan, "rlimit"), "so few descriptors would stop the init"
