"""Process, ids, rights, hooks: what the config says is what the operations say, in the order that makes it true."""

from __future__ import annotations

from errno import EACCES, EINVAL, ENOENT, EPERM
from typing import Any

import pytest

from ocirt.errors import UnsupportedError
from ocirt.linux import consts as k
from ocirt.linux.paths import normal
from ocirt.plan import ops, process
from ocirt.spawn import wire
from tests.unit.plan.support import RANGE, compiled, config, named, order, user_namespace

ONE = [{"containerID": 0, "hostID": 1000, "size": 1}]


def operation(plan: Any, name: str) -> Any:
    return next(op for op in plan.ops if op[0] == name)


# ---- guards ----------------------------------------------------------------------------------------------------------


def test_a_guard_holds_two_errnos_and_a_skip() -> None:
    op = ops.ignoring(ops.umask("", 0), EPERM, ENOENT)
    assert (ops.ignored(op), ops.skipped(op)) == ((EPERM, ENOENT), 0)
    assert ops.ignored(ops.ignoring(op, EINVAL)) == (EINVAL,)
    with pytest.raises(ValueError, match="two"):
        ops.ignoring(op, 1, 2, 3)


def test_fallbacks_nest() -> None:
    last = ops.umask("", 3)
    inner = ops.fallback(ops.umask("", 2), (ENOENT,), [last])
    outer = ops.fallback(ops.umask("", 1), (EPERM,), inner)
    assert [(ops.ignored(op), ops.skipped(op)) for op in outer] == [((EPERM,), 2), ((ENOENT,), 1), ((), 0)]
    assert ops.skipped(ops.ignoring(outer[0], EINVAL)) == 2


# ---- environment and program -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected", "looked_up"),
    [
        (["A=1", "B=2", "A=3", "HOME=/h"], ["A=3", "B=2", "HOME=/h"], False),
        (["HOME=", "A="], ["A="], True),
        (["HOME=/x", "HOME="], [], True),
        ([], [], True),
        (["HOMER=x"], ["HOMER=x"], True),
        (["A=b=c", "HOME=/"], ["A=b=c", "HOME=/"], False),
    ],
)
def test_the_last_duplicate_wins_and_an_empty_home_is_looked_up(
    given: list[str], expected: list[str], looked_up: bool
) -> None:
    plan = compiled(config(process={"env": given}))
    assert operation(plan, "exec")[3][1] == expected
    assert bool(named(plan, "home")) is looked_up


@pytest.mark.parametrize(
    ("name", "env", "expected"),
    [
        ("/bin/sh", ["PATH=/x"], ["/bin/sh"]),
        ("./sh", ["PATH=/x"], ["./sh"]),
        ("sh", ["PATH=/a:/b/::c"], ["/a/sh", "/b/sh", "c/sh"]),
        ("sh", ["PATH=/"], ["/sh"]),
        ("sh", ["PATH="], []),
        ("sh", [], [f"{directory}/sh" for directory in process.DEFAULT_PATH.split(":")]),
    ],
)
def test_the_program_is_looked_for_where_execvp_would(name: str, env: list[str], expected: list[str]) -> None:
    assert process.candidates(name, env) == expected


def test_the_program_is_found_with_the_eyes_of_the_containers_user() -> None:
    names = order(compiled(config(process={"user": {"uid": 5, "gid": 5}, "env": []})))
    steps = ["chdir", "bounding", "groups", "ids", "caps", "umask", "chdir", "home", "find_exec", "sync", "exec"]
    assert [name for name in names if name in steps] == steps


def test_the_directory_is_tried_as_the_runtimes_user_who_need_not_succeed() -> None:
    first, second = [op for op in compiled(config(process={"cwd": "/w"})).ops if op[0] == "chdir"]
    assert first == ops.ignoring(ops.chdir("/process/cwd", "/w"), EACCES, EPERM)
    assert second == ops.chdir("/process/cwd", "/w")


AFFINITIES = [({}, True), ({"initial": "", "final": ""}, True), ({"initial": "0"}, False), ({"final": "0"}, False)]


@pytest.mark.parametrize(("affinity", "reset"), AFFINITIES)
def test_the_callers_cpus_are_left_behind_where_exec_is_given_no_others(affinity: Any, reset: bool) -> None:
    document = config(process={"execCPUAffinity": affinity})
    assert "affinity" in order(compiled(document))
    assert ("affinity" in order(compiled(document, launch={"start": "exec"}))) is reset


def test_the_umask_is_0022_unless_the_config_has_one() -> None:
    assert named(compiled(config()), "umask") == [(0o022,)]
    assert named(compiled(config(process={"user": {"uid": 0, "gid": 0, "umask": 0}})), "umask") == [(0,)]


def test_a_bundle_without_a_process_waits_and_cannot_be_run() -> None:
    document = config()
    del document["process"]
    assert order(compiled(document))[-1] == "wait_start"
    with pytest.raises(UnsupportedError, match="nothing to run"):
        compiled(document, launch={"start": "run"})


# ---- ids -------------------------------------------------------------------------------------------------------------


def test_groups_are_set_even_when_there_are_none() -> None:
    assert named(compiled(config()), "groups") == [(b"",)]
    found = compiled(config(process={"user": {"uid": 1, "gid": 2, "additionalGids": [5, 65536]}}))
    assert named(found, "groups") == [(b"\5\0\0\0\0\0\1\0",)]
    assert named(found, "ids") == [(1, 2)]


def test_a_single_mapped_group_without_privileges_means_no_setgroups() -> None:
    plan = compiled(user_namespace(ONE), euid=1000)
    assert (plan.setgroups, named(plan, "groups")) == (False, [])
    assert plan.uid_map == plan.gid_map == [(0, 1000, 1)]
    with pytest.raises(UnsupportedError) as caught:
        compiled(user_namespace(ONE, user={"uid": 0, "gid": 0, "additionalGids": [1]}), euid=1000)
    assert caught.value.pointer == "/process/user/additionalGids"


def test_groups_stay_where_the_callers_user_namespace_denies_setgroups() -> None:
    plan = compiled(config(process={"user": {"uid": 0, "gid": 0, "additionalGids": [4]}}), setgroups=False)
    assert (plan.setgroups, named(plan, "groups")) == (False, [])
    assert any("additionalGids" in warning for warning in plan.warnings)


@pytest.mark.parametrize(("maps", "euid"), [(ONE, 0), (RANGE, 1000), (RANGE, 0)])
def test_every_other_user_namespace_may_set_groups(maps: list[dict[str, int]], euid: int) -> None:
    plan = compiled(user_namespace(maps), euid=euid)
    assert plan.setgroups
    assert len(named(plan, "groups")) == 2


def test_root_of_the_namespace_is_taken_on_only_where_it_is_mapped() -> None:
    assert named(compiled(user_namespace([{"containerID": 1, "hostID": 5, "size": 9}])), "ids") == [(0, 0)]
    assert named(compiled(user_namespace(RANGE)), "ids") == [(0, 0), (0, 0)]


def test_maps_are_those_of_a_new_user_namespace_only() -> None:
    document = config(linux={"namespaces": [{"type": "mount"}, {"type": "user", "path": "/ns"}], "uidMappings": RANGE})
    plan = compiled(document)
    assert (plan.uid_map, plan.setgroups, k.SYNC_MAPPED in plan.syncs) == ([], True, False)


@pytest.mark.parametrize(("euid", "last"), [(0, "user"), (1000, "network")])
def test_the_user_namespace_is_joined_last_by_root_and_first_by_others(euid: int, last: str) -> None:
    listed = [{"type": kind, "path": f"/ns/{kind}"} for kind in ("ipc", "user", "network")]
    plan = compiled(config(linux={"namespaces": [*listed, {"type": "mount"}]}), euid=euid)
    kinds = [arguments[1] for arguments in named(plan, "join")]
    assert kinds[-1] == {"user": k.CLONE_NEWUSER, "network": k.CLONE_NEWNET}[last]
    names = order(plan)
    assert max(at for at, name in enumerate(names) if name == "open_namespace") < names.index("join")


def test_a_joined_pid_namespace_takes_a_clone_without_flags() -> None:
    plan = compiled(config(linux={"namespaces": [{"type": "pid", "path": "/ns"}]}))
    assert named(plan, "clone") == [(0,)]
    assert not plan.own_pid_namespace
    assert named(compiled(config(linux={"namespaces": []})), "clone") == []


def test_keep_groups_leaves_them_alone() -> None:
    document = config(annotations={"run.oci.keep_original_groups": "1"})
    assert named(compiled(document), "groups") == []


# ---- rights ----------------------------------------------------------------------------------------------------------


def capabilities(**sets: list[str]) -> dict[str, Any]:
    return config(process={"capabilities": sets})


def test_missing_capabilities_are_none_at_all() -> None:
    plan = compiled(config())
    assert (named(plan, "bounding"), named(plan, "caps")) == ([(0,)], [(0, 0, 0, 0)])


def test_capabilities_become_masks() -> None:
    both = ["CAP_CHOWN", "CAP_BPF"]
    plan = compiled(
        capabilities(bounding=both, effective=["CAP_CHOWN"], permitted=both, inheritable=both, ambient=both)
    )
    mask = 1 | 1 << 39
    assert named(plan, "bounding") == [(mask,)]
    assert named(plan, "caps") == [(1, mask, mask, mask)]
    assert plan.warnings == []


def test_what_cannot_be_granted_is_left_out_and_warned_of_once() -> None:
    document = capabilities(
        bounding=["CAP_KILL", "CAP_NO_SUCH", "CAP_CHECKPOINT_RESTORE"],
        permitted=["CAP_KILL", "CAP_NO_SUCH", "CAP_SYS_RESOURCE"],
        effective=["CAP_CHOWN"],
        ambient=["CAP_KILL"],
    )
    plan = compiled(document, last_cap=39, capabilities=~(1 << 24))
    assert named(plan, "caps") == [(0, 1 << 5, 0, 0)]
    for name in ("CAP_NO_SUCH", "CAP_CHECKPOINT_RESTORE", "CAP_SYS_RESOURCE", "CAP_CHOWN", "CAP_KILL"):
        assert sum(name in warning for warning in plan.warnings) == 1, name


def test_a_user_namespace_has_all_capabilities_to_give() -> None:
    document = user_namespace(RANGE, capabilities={"permitted": ["CAP_SYS_RESOURCE"]})
    assert named(compiled(document, capabilities=0), "caps") == [(0, 1 << 24, 0, 0)]


def test_seccomp_is_last_with_no_new_privileges_and_before_the_ids_without() -> None:
    late = order(compiled(config(process={"noNewPrivileges": True}), seccomp=1))
    assert late[-4:] == ["no_new_privs", "close_fds", "seccomp", "exec"]
    early = order(compiled(config(), seccomp=1))
    assert early.index("bounding") < early.index("seccomp") < early.index("ids")
    assert "no_new_privs" not in early


NOTIFIES = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["x"], "action": "SCMP_ACT_NOTIFY"}]}


@pytest.mark.parametrize("profile", [NOTIFIES, {"defaultAction": "SCMP_ACT_NOTIFY"}])
def test_a_filter_with_a_listener_is_loaded_while_the_runtime_is_there(profile: dict[str, Any]) -> None:
    linux = {"seccomp": {**profile, "listenerPath": "/agent", "listenerMetadata": "m"}}
    late = compiled(config(process={"noNewPrivileges": True}, linux=linux), seccomp=1)
    (errand,) = late.errands
    slots = errand[3][3:5]
    assert errand == ("seccomp_listener", "/linux/seccomp/listenerPath", 0, ("/agent", "m", 1, *slots, "creating"))
    assert named(late, "seccomp_notify")[0][1:] == (0, *slots)
    names = order(late)
    assert names.index("no_new_privs") + 1 == names.index("seccomp_notify") == len(names) - 5
    assert names[-4:] == ["sync", "wait_start", "close_fds", "exec"]
    early = order(compiled(config(linux=linux), seccomp=1))
    assert early.index("bounding") < early.index("seccomp_notify") < early.index("ids")
    assert "no_new_privs" not in early


def test_network_devices_are_moved_by_the_runtime_before_any_hook() -> None:
    kinds = [{"type": "mount"}, {"type": "network"}]
    devices = {"eth0": {}, "e/1": {"name": "lan%d"}, "eth2": {"name": ""}}
    hooks = {"createRuntime": [{"path": "/h"}]}
    plan = compiled(config(linux={"namespaces": kinds, "netDevices": devices}, hooks=hooks))
    assert plan.errands == [
        ("net_device", "/linux/netDevices/eth0", 0, ("eth0", "eth0")),
        ("net_device", "/linux/netDevices/e~11", 0, ("e/1", "lan%d")),
        ("net_device", "/linux/netDevices/eth2", 0, ("eth2", "eth2")),
    ]
    assert plan.syncs == (2, 3, 4)


def test_a_listener_without_a_notifying_rule_is_ignored() -> None:
    linux = {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/agent"}}
    plan = compiled(config(linux=linux), seccomp=1)
    assert plan.errands == []
    assert order(plan).count("seccomp") == 1


@pytest.mark.parametrize(
    ("member", "value", "pointer"),
    [
        ("process", {"apparmorProfile": "p"}, "/process/apparmorProfile"),
        ("process", {"selinuxLabel": "l"}, "/process/selinuxLabel"),
        ("linux", {"mountLabel": "l"}, "/linux/mountLabel"),
    ],
)
def test_what_this_host_or_version_lacks_is_refused_by_its_field(member: str, value: Any, pointer: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        compiled(config(**{member: value}))
    assert caught.value.pointer == pointer


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("process", {"apparmorProfile": ""}),
        ("process", {"apparmorProfile": "unconfined"}),
        ("process", {"execCPUAffinity": {"initial": "0"}}),
        ("linux", {"netDevices": {}, "intelRdt": {}}),
    ],
)
def test_what_asks_for_nothing_is_granted(member: str, value: Any) -> None:
    assert compiled(config(**{member: value})).ops == compiled(config()).ops


# ---- files of /proc, hooks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("euid", "ignored"), [(0, ()), (1000, (EACCES,))])
def test_a_score_that_may_not_be_lowered_matters_to_root_alone(euid: int, ignored: tuple[int, ...]) -> None:
    plan = compiled(user_namespace(RANGE, oomScoreAdj=-7), euid=euid)
    assert plan.ops[0][0] == "oom_score_adj"
    assert plan.ops[0][3] == ("-7",)
    assert ops.ignored(plan.ops[0]) == ignored
    assert named(compiled(config()), "oom_score_adj") == []


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
        ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
    ],
)
def test_a_kernel_parameter_has_two_spellings(key: str, path: str) -> None:
    plan = compiled(config(linux={"sysctl": {key: "1"}}))
    assert operation(plan, "write_proc")[3] == (f"sys/{path}", "1")


def test_the_whole_procfs_is_open_for_kernel_parameters_alone() -> None:
    document = config(process={"apparmorProfile": "p"}, linux={"sysctl": {"kernel.shmmax": "1"}})
    plan = compiled(document, lsm=["apparmor"])
    assert named(plan, "open_proc") == [(k.SLOT_PROC, 1), (k.SLOT_PROC, 0), (k.SLOT_PROC, 1)]
    names = order(plan)
    at = names.index("write_proc")
    assert names[at - 1 : at + 3] == ["open_proc", "write_proc", "close", "open_proc"]
    assert named(compiled(config()), "open_proc") == []


def test_hooks_get_argv_env_and_time_as_written() -> None:
    hook = {"path": "/h", "timeout": 3}
    document = config(process={"env": ["P=1", "HOME=/"]})
    document["hooks"] = {
        "createContainer": [{**hook, "args": ["name", "x"], "env": ["E=1"]}, hook],
        "startContainer": [hook, {**hook, "env": []}],
    }
    found = named(compiled(document), "hook")
    assert found == [
        ("/h", ["name", "x"], ["E=1"], 3000, k.SLOT_STATE_CREATING, k.HOOK_IN_ROOT, b"", 0),
        ("/h", ["/h"], [], 3000, k.SLOT_STATE_CREATING, k.HOOK_IN_ROOT, b"", 0),
        ("/h", ["/h"], ["P=1", "HOME=/"], 3000, k.SLOT_STATE_CREATED, k.HOOK_HOME, b"", 0),
        ("/h", ["/h"], [], 3000, k.SLOT_STATE_CREATED, 0, b"", 0),
    ]


@pytest.mark.parametrize("seconds", [1 << 31, 1 << 54, 1 << 64])
def test_a_timeout_beyond_the_clocks_of_the_kernel_is_a_long_one(seconds: int) -> None:
    document = config()
    document["hooks"] = {"startContainer": [{"path": "/h", "timeout": seconds}]}
    plan = compiled(document)
    assert named(plan, "hook")[0][3] == 0x7FFFFFFF
    assert wire.encode(plan.ops)


@pytest.mark.parametrize(("kind", "waits"), [("prestart", True), ("startContainer", True), ("poststart", False)])
def test_the_init_waits_for_hooks_that_come_before_the_process(kind: str, waits: bool) -> None:
    document = config()
    document["hooks"] = {kind: [{"path": "/h"}]}
    assert (k.SYNC_RUNTIME_HOOKS in compiled(document).syncs) is waits


def test_a_terminal_is_set_up_inside_and_before_anything_is_read_only() -> None:
    document = config(process={"terminal": True, "consoleSize": {"height": 24, "width": 80}}, root={"readonly": True})
    plan = compiled(document, launch={"console": True})
    assert named(plan, "console") == [(k.SLOT_CONSOLE, 0, 24, 80, 1)]
    names = order(plan)
    assert names.index("pivot") < names.index("console") < names.index("root_attr")
    assert named(compiled(document), "console") == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/", "/"), ("a/b", "/a/b"), ("//a//./b/", "/a/b"), ("/../../a", "/a"), ("/a/../..", "/")],
)
def test_paths_of_the_container_are_normalised_by_their_text(path: str, expected: str) -> None:
    assert normal(path) == expected


def test_masks_hide_each_path_once_and_cover_what_is_read_only() -> None:
    linux = {"maskedPaths": ["/a", "//a", "/b"], "readonlyPaths": ["/c"]}
    plan = compiled(config(linux=linux))
    assert [arguments[0] for arguments in named(plan, "mask")] == ["/a", "/b"]
    names = order(plan)
    assert names.index("open_tree") < names.index("pivot") < names.index("readonly") < names.index("mask")


@pytest.mark.parametrize("name", ["maskedPaths", "readonlyPaths"])
def test_paths_are_not_hidden_in_the_hosts_mount_namespace(name: str) -> None:
    with pytest.raises(UnsupportedError, match="mount namespace") as caught:
        compiled(config(linux={"namespaces": [{"type": "pid"}], name: ["/x"]}))
    assert caught.value.pointer == f"/linux/{name}/0"
