"""What runs in the guest: by whom, which tests, and why there. A container takes it some two seconds."""

from __future__ import annotations

from typing import NamedTuple

SECONDS = 1800.0  # for all of them; half of it on an idle machine of two processors
ENVIRONMENT = {"ENGINES_CGROUPS": "systemd"}


class Run(NamedTuple):
    """One pytest. All runs go on at the same time."""

    user: str  # root, or user: the ordinary one
    tests: list[str]  # files, or tests of a file
    without: tuple[str, ...] = ()  # parts of names of tests that the host shows as well
    only: tuple[str, ...] = ()  # parts of names of the tests that run, one of them in each
    boot: str = "v2"  # of machine.BOOTS; each is a guest of its own

    @property
    def where(self) -> str:
        """What stands before the names of its tests."""
        return self.user if self.boot == "v2" else f"{self.user}-{self.boot}"


INTEGRATION = "tests/integration"
DEVICE = f"{INTEGRATION}/test_device_rules.py::test_a_device_that_is_denied_cannot_be_opened_and_default_ones_can"
MOUNTS = f"{INTEGRATION}/test_cgroup_mounts.py::test"
RUNS = [
    # What is written into the files of cgroup v2, and what the kernel makes of it.
    Run(
        "root",
        [
            "tests/kernel/test_cgroup_v2.py",
            "tests/kernel/test_cgroup.py",
            f"{INTEGRATION}/test_limits.py",
            f"{INTEGRATION}/test_update.py",
            f"{INTEGRATION}/test_words.py::test_a_memory_limit_that_is_too_small_is_named",
            *(
                f"{DEVICE}[v2-{case}]"
                for case in ("everything is denied", "it is allowed again", "only reading is allowed")
            ),
            f"{INTEGRATION}/test_device_rules.py::test_the_rules_are_set_in_a_cgroup_that_was_there_before",
        ],
        # The layouts that this guest lacks; update of what test_update.py has a flag for; what is only parsed.
        (
            *("[all]", "[v1", "-v1]", "fails_half_way_leaves_only"),
            *(f"update_sets_the_limit[/{name}" for name in ("pids", "memory", "cpu", "network", "rdma")),
            "document_that_is_wrong",
        ),
    ),
    # Where systemd, the layout of cgroups, AppArmor, or root's being all-powerful makes a difference.
    Run(
        "root",
        [
            f"{INTEGRATION}/test_smoke.py",
            f"{INTEGRATION}/test_real_systemd.py",
            "tests/engines/test_systemd_cgroups.py",
            f"{INTEGRATION}/test_apparmor.py",
            f"{INTEGRATION}/test_capabilities.py::test_all_that_the_runtime_has_can_be_given",
            f"{INTEGRATION}/test_process.py::test_a_hard_limit_is_raised_by_who_may",
            f"{INTEGRATION}/test_process.py::test_the_oom_score_is_lowered_by_who_may",
            f"{INTEGRATION}/test_scheduling.py::test_a_real_time_policy_has_its_priority",
            f"{INTEGRATION}/test_scheduling.py::test_a_deadline_has_its_parameters",
            f"{MOUNTS}_on_v2_the_own_cgroup_is_the_mount",
            f"{MOUNTS}_on_v2_a_writable_mount_lets_the_container_make_cgroups",
            f"{MOUNTS}_the_manager_disabled_makes_no_cgroup",
            f"{INTEGRATION}/test_cgroup_v2.py",
            f"{INTEGRATION}/test_pause.py",
            f"{INTEGRATION}/test_ps.py",
            f"{INTEGRATION}/test_kill_all.py",
            f"{INTEGRATION}/test_events.py",
        ],
        ("[v1", "v1]", "freezer_of_v1", "a_signal_ends_the_watching", "reader_that_has_had_enough"),
    ),
    Run(
        "user",
        [
            f"{INTEGRATION}/test_rootless.py",
            f"{INTEGRATION}/test_real_systemd.py",
            "tests/engines/test_systemd_cgroups.py",
        ],
        ("devices_are_denied", "containerd", "kubernetes"),  # root's
    ),
    # cgroup v2 for real, and a tree that was copied there: plans that are kept, processes born in their cgroup (of
    # which nobody in a joined cgroup namespace makes one), what a killed runtime leaves, verbs without an interpreter.
    Run(
        "root",
        [
            f"{INTEGRATION}/test_exec_again.py",
            f"{INTEGRATION}/test_exec_birth.py",
            f"{INTEGRATION}/test_namespaces.py",
            f"{INTEGRATION}/test_promises.py",
            f"{INTEGRATION}/test_security_paths.py",
            "tests/hotpath/test_launcher.py",
        ],
        only=(
            "test_exec_again",
            "test_exec_birth",
            "joined",
            "cgroup_namespace",
            "a_killed_run_left",
            "an_init_that_hangs",
            "masks_and_read_only_paths",
            "cwd_symlink",
            "stay_quick",
            "started_the_fast_way",
        ),
    ),
    Run("root", [f"{INTEGRATION}/test_selinux.py"], boot="selinux"),
    # systemd where the controllers are v1's; limits of controllers that no v1 hierarchy of the host has.
    *(
        Run(
            "root",
            [f"{INTEGRATION}/test_real_systemd.py", f"{INTEGRATION}/test_limits.py", f"{INTEGRATION}/test_update.py"],
            only=("real_systemd", "hugepage", "rdma"),
            boot=boot,
        )
        for boot in ("v1", "hybrid")
    ),
]
