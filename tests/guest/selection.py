"""What runs in the guest: by whom, which tests, and why there. A container takes it some two seconds."""

from __future__ import annotations

from typing import NamedTuple

SECONDS = 660.0  # for all of them


class Run(NamedTuple):
    """One pytest. All runs go on at the same time."""

    user: str  # root, or user: the ordinary one
    tests: list[str]


RUNS = [
    # Where the layout of cgroups, systemd, or root's being all-powerful makes a difference.
    Run(
        "root",
        [
            "tests/integration/test_smoke.py",
            "tests/integration/test_cgroup_mounts.py",
            "tests/integration/test_cgroup_v2.py",
            "tests/integration/test_pause.py",
            "tests/integration/test_ps.py",
            "tests/integration/test_real_systemd.py",
        ],
    ),
    Run("user", ["tests/integration/test_rootless.py", "tests/integration/test_real_systemd.py"]),
]
