"""Entries of mounts become the right operation with the right flags, or an error that names the field."""

from __future__ import annotations

from typing import Any

import pytest

from ocirt.errors import ConfigError, OcirtError, UnsupportedError
from ocirt.linux import consts as k
from ocirt.plan import ops
from tests.unit.plan import support
from tests.unit.plan.support import compiled, config, named

USER = {
    "namespaces": [{"type": "mount"}, {"type": "user"}],
    "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
    "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
}


def plan(*mounts: dict[str, Any], **given: Any) -> Any:
    linux = given.pop("linux", {})
    return compiled(config(mounts=list(mounts), linux=linux, annotations=given.pop("annotations", {})), **given)


def test_a_mount_without_bind_option_but_of_type_bind_or_none_is_a_bind_mount() -> None:
    found = named(
        plan(
            {"destination": "/a", "type": "bind", "source": "/s"},
            {"destination": "/b", "type": "none", "source": "/s"},
            {"destination": "/c", "source": "/s", "options": ["rbind"]},
        ),
        "mount_bind",
    )
    assert [op[0] for op in found][:3] == ["/a", "/b", "/c"]
    assert [op[8] & k.MOUNT_RECURSIVE for op in found][:3] == [0, 0, k.MOUNT_RECURSIVE]


def test_a_relative_source_is_in_the_bundle_and_a_relative_destination_at_the_root() -> None:
    found = named(plan({"destination": "x/../y", "source": "data", "options": ["bind"]}), "mount_bind")[0]
    assert found[:2] == ("/y", "/bundle/data")


@pytest.mark.parametrize(
    ("mount", "flag"),
    [
        ({"destination": "/proc", "type": "proc"}, k.MOUNT_NO_SYMLINKS),
        ({"destination": "/elsewhere", "type": "proc"}, k.MOUNT_NO_SYMLINKS),
        ({"destination": "/sys", "type": "sysfs"}, k.MOUNT_NO_SYMLINKS),
        ({"destination": "/tmp", "type": "tmpfs"}, k.MOUNT_INHERIT_MODE),
        ({"destination": "/tmp", "type": "tmpfs", "options": ["mode=700"]}, 0),
        ({"destination": "/tmp", "type": "tmpfs", "options": ["size=1,mode=700"]}, 0),
        ({"destination": "/t", "type": "tmpfs", "options": ["mode=1", "tmpcopyup"]}, k.MOUNT_COPY_UP),
        ({"destination": "/p", "type": "devpts"}, 0),
    ],
)
def test_flags_follow_from_type_and_place(mount: dict[str, Any], flag: int) -> None:
    assert named(plan(mount), "mount_fs")[0][6] == flag


@pytest.mark.parametrize("name", ["cpuinfo", "meminfo", "uptime", "sys/kernel/ns_last_pid"])
def test_files_that_lxcfs_replaces_may_be_mounted_inside_proc(name: str) -> None:
    found = named(plan({"destination": f"/proc/./{name}", "type": "bind", "source": "/s"}), "mount_bind")[0]
    assert found[8] & k.MOUNT_PROC_OK


def test_nothing_else_may_be_mounted_inside_proc() -> None:
    found = named(plan({"destination": "/proc/self/attr", "type": "bind", "source": "/s"}), "mount_bind")[0]
    assert not found[8] & k.MOUNT_PROC_OK


@pytest.mark.parametrize(
    ("mount", "pointer", "words"),
    [
        ({"options": ["ro"]}, "/mounts/0/type", "bind"),
        ({"type": "bind"}, "/mounts/0/source", "needs"),
        ({"type": "bind", "source": "/s", "options": ["ro", "nosiud"]}, "/mounts/0/options/1", "nosiud"),
        ({"options": ["remount", "size=1"]}, "/mounts/0/options/1", "size=1"),
        ({"type": "overlay", "options": ["lowerdir=" + "/x" * 3000]}, "/mounts/0/options", "4095"),
        ({"type": "bind", "source": "/s", "options": ["ro", "tmpcopyup"]}, "/mounts/0/options/1", "requires a tmpfs"),
        ({"type": "proc", "options": ["tmpcopyup"]}, "/mounts/0/options/0", "requires a tmpfs"),
        ({"options": ["remount", "tmpcopyup"]}, "/mounts/0/options/1", "requires a tmpfs"),
        ({"type": "tmpfs", "options": ["ro", "copy-symlink"]}, "/mounts/0/options/1", "requires a bind mount"),
        ({"type": "bind", "source": "/s", "options": ["src-nofollow"]}, "/mounts/0/options/0", "src-nofollow"),
    ],
)
def test_what_cannot_be_mounted_is_refused_by_its_field(mount: dict[str, Any], pointer: str, words: str) -> None:
    with pytest.raises((ConfigError, UnsupportedError), match=words) as caught:
        plan({"destination": "/x", **mount})
    assert caught.value.pointer == pointer


def test_without_a_mount_namespace_nothing_is_mounted_and_the_log_says_so() -> None:
    found = plan({"destination": "/x", "type": "tmpfs"}, linux={"namespaces": [{"type": "pid"}]})
    assert not named(found, "mount_fs")
    assert found.warnings == ["/mounts: none is made, for without a mount namespace they would be the host's"]


def test_a_filesystem_option_of_a_bind_mount_is_passed_over_and_the_log_says_so() -> None:
    found = plan({"destination": "/x", "type": "bind", "source": "/s", "options": ["mode=755", "ro"]})
    assert named(found, "mount_bind")[0][3] == k.MOUNT_ATTR_RDONLY
    assert found.warnings == ['/mounts/0/options: "mode=755" is ignored, /x is a bind mount']


@pytest.mark.parametrize(
    ("mount", "said"),
    [
        ({"type": "bind", "source": "/s", "options": ["sync", "lazytime"]}, ["sync", "lazytime"]),
        ({"options": ["remount", "ro", "dirsync"]}, ["dirsync"]),
        ({"type": "tmpfs", "options": ["x-mount.mkdir", "nofail", "noauto"]}, ["x-mount.mkdir", "nofail", "noauto"]),
        ({"type": "tmpfs", "options": ["", "defaults", "silent", "loud", "async", "notmpcopyup"]}, []),
    ],
)
def test_a_word_that_means_nothing_here_is_ignored_aloud(mount: dict[str, Any], said: list[str]) -> None:
    found = plan({"destination": "/x", **mount})
    assert [warning.split('"')[1] for warning in found.warnings] == said
    assert all(warning.startswith("/mounts/0/options: ") for warning in found.warnings)


@pytest.mark.parametrize(
    ("words", "set_", "clear"),
    [
        (["bind"], "", ""),
        (["rbind", "rprivate", "rro", ""], "", ""),
        (["bind", "nosuid"], "nosuid", "ro nodev noexec nosymfollow"),
        (["bind", "rw", "nosuid"], "nosuid", "ro nodev noexec nosymfollow"),
        (["bind", "rw"], "", "ro nosuid nodev noexec nosymfollow"),
        (["bind", "suid"], "", "ro nosuid nodev noexec nosymfollow"),
        (["bind", "async"], "", "ro nosuid nodev noexec nosymfollow"),
        (["bind", "ro"], "ro", ""),
        (["bind", "ro", "exec"], "ro", "noexec"),
        (["bind", "nosuid", "rro", "dev"], "nosuid", "nodev"),
        (["bind", "nosuid", "rnoexec"], "nosuid", "ro nodev nosymfollow"),
    ],
)
def test_a_flag_that_is_given_replaces_those_of_the_source(words: list[str], set_: str, clear: str) -> None:
    bits = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "nosymfollow": 0x200000}
    found = named(plan({"destination": "/x", "source": "/s", "options": ["bind", *words]}), "mount_bind")[0]
    assert found[3:5] == tuple(sum(bits[word] for word in text.split()) for text in (set_, clear))


def test_a_second_change_of_propagation_is_made_after_the_first() -> None:
    bind = {"destination": "/x", "source": "/s", "options": ["rbind", "rslave", "shared"]}
    found = plan(bind, {"destination": "/x/y", "type": "tmpfs", "options": ["private", "unbindable"]})
    assert named(found, "mount_bind")[0][7] == k.MS_SLAVE | k.MS_REC
    assert named(found, "mount_attr") == [("/x", 0, 0, k.MS_SHARED, 0), ("/x/y", 0, 0, k.MS_UNBINDABLE, 0)]


def test_a_value_of_more_than_255_bytes_goes_by_mount_2_and_a_shorter_one_does_not() -> None:
    short = plan({"destination": "/x", "type": "overlay", "options": ["lowerdir=" + "x" * 255]})
    long = plan({"destination": "/x", "type": "overlay", "options": ["lowerdir=" + "x" * 256, "ro"]})
    assert not named(short, "mount_legacy")
    assert named(long, "mount_legacy")[0][3:5] == ("lowerdir=" + "x" * 256, k.MS_RDONLY)


def test_a_block_device_is_mounted_read_only_itself() -> None:
    found = named(plan({"destination": "/x", "type": "ext4", "source": "/dev/vda", "options": ["ro"]}), "mount_fs")[0]
    assert (found[3], found[4]) == (["ro"], k.MOUNT_ATTR_RDONLY)


def test_a_read_only_tmpfs_is_writable_until_everything_is_in_it() -> None:
    found = plan(
        {"destination": "/a", "type": "tmpfs", "options": ["ro"]},
        {"destination": "/a/b", "type": "tmpfs"},
    )
    assert named(found, "mount_fs")[0][4] == 0
    assert named(found, "mount_attr") == [("/a", k.MOUNT_ATTR_RDONLY, 0, 0, 0)]
    names = support.order(found)
    assert names.index("mount_attr") > names.index("pivot")


def test_bind_sources_are_opened_by_the_runtime_only_for_a_user_namespace_of_root() -> None:
    mount = {"destination": "/x", "source": "/s", "options": ["rbind"]}
    by_root, rootless, plain = plan(mount, linux=USER), plan(mount, linux=USER, euid=1000), plan(mount)
    assert (9, "/s", True, "/mounts/0/source") in by_root.trees
    assert named(by_root, "mount_bind")[0][2] == 9
    assert named(by_root, "mount_bind")[0][7] == k.MS_SLAVE | k.MS_REC, "mounts inside must not reach the host"
    assert (rootless.trees, plain.trees) == ([], [])
    assert named(rootless, "mount_bind")[0][2] == k.SLOT_NONE


def test_more_bind_mounts_than_one_message_carries_are_opened_by_the_init() -> None:
    many = [{"destination": f"/{number}", "source": "/s", "options": ["bind"]} for number in range(300)]
    found = plan(*many, linux=USER)
    assert len(found.trees) <= k.MSG_FDS_MAX - 8
    assert max(slot for slot, *_ in found.trees) < 255
    assert named(found, "mount_bind")[299][2] == k.SLOT_NONE


def test_a_symlink_that_is_copied_is_not_followed_by_the_runtime() -> None:
    found = plan({"destination": "/x", "type": "bind", "source": "/s", "options": ["copy-symlink"]}, linux=USER)
    assert named(found, "mount_bind")[0][2] == k.SLOT_NONE
    assert named(found, "mount_bind")[0][8] & k.MOUNT_COPY_SYMLINK


def test_a_sysfs_in_a_user_namespace_has_the_hosts_read_only_as_its_fallback() -> None:
    found = plan({"destination": "/sys", "type": "sysfs", "options": ["nosuid"]}, linux=USER)
    at = support.order(found).index("mount_fs")
    first, second = found.ops[at : at + 2]
    assert (ops.ignored(first), ops.skipped(first)) == ((1,), 1)
    assert second[3][:2] == ("/sys", "/sys")
    assert second[3][3] & k.MOUNT_ATTR_RDONLY
    assert second[3][5] == k.MOUNT_ATTR_RDONLY, "cgroups below it are read-only too"


def test_a_remount_changes_what_is_named_and_nothing_else() -> None:
    found = plan({"destination": "/x", "options": ["remount", "bind", "ro", "suid", "private"]})
    expected = ("/x", k.MOUNT_ATTR_RDONLY, k.MOUNT_ATTR_NOSUID, k.MS_PRIVATE, 0)
    assert named(found, "mount_attr") == [expected]


CGROUP = {"destination": "/sys/fs/cgroup", "type": "cgroup"}
V1 = [["cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct", 1], ["pids", "/sys/fs/cgroup/pids", 1]]


@pytest.mark.parametrize(("words", "writable"), [([], True), (["ro"], False), (["rw"], True), (["rw", "ro"], False)])
def test_a_v1_cgroup_mount_is_writable_unless_ro_is_said(words: list[str], writable: bool) -> None:
    found = plan({**CGROUP, "options": words}, hierarchies=V1)
    read_only = [bool(op[3] & k.MOUNT_ATTR_RDONLY) for op in named(found, "mount_bind")[:2]]
    assert read_only == [not writable] * 2
    assert bool(named(found, "mount_attr")) is not writable


def test_the_v2_hierarchy_of_a_hybrid_host_is_mounted_by_its_own_type_alone() -> None:
    hybrid = [*V1, ["", "/sys/fs/cgroup/unified", 2]]
    assert not [op for op in named(plan(CGROUP, hierarchies=hybrid), "mount_bind") if "unified" in op[1]]
    found = plan({**CGROUP, "type": "cgroup2"}, hierarchies=hybrid)
    assert [op[0] for op in named(found, "mount_bind") if "unified" in op[1]] == ["/sys/fs/cgroup"]


def test_an_option_for_one_hierarchy_is_ignored_aloud_where_there_are_several() -> None:
    found = plan({**CGROUP, "options": ["nsdelegate"]}, hierarchies=V1)
    assert found.warnings == [
        '/mounts/0/options: "nsdelegate" is ignored, /sys/fs/cgroup shows several hierarchies of v1'
    ]


def test_controllers_that_are_mounted_together_have_a_link_each() -> None:
    links = named(plan(CGROUP, hierarchies=V1), "symlink")
    assert ("cpu,cpuacct", "/sys/fs/cgroup/cpuacct") in links
    assert ("cpu,cpuacct", "/sys/fs/cgroup/cpu") in links


def test_the_cgroup_is_waited_for_once_and_before_its_first_mount() -> None:
    namespaces = [{"type": "mount"}, {"type": "cgroup"}]
    tmpfs = {"destination": "/tmp", "type": "tmpfs"}
    found = plan(tmpfs, CGROUP, {**CGROUP, "destination": "/again"}, linux={"namespaces": namespaces})
    names = [op[3][1] if op[0] == "mount_fs" else op[0] for op in found.ops]
    start = names.index("tmpfs")
    assert names[start : start + 4] == ["tmpfs", "sync", "unshare", "cgroup2"]
    assert found.syncs.count(k.SYNC_CGROUP) == 1


def test_without_a_cgroup_mount_the_namespace_is_made_before_the_hooks() -> None:
    document = config(linux={"namespaces": [{"type": "mount"}, {"type": "cgroup"}]})
    document["hooks"] = {"createRuntime": [{"path": "/hook"}]}
    found = compiled(document)
    assert found.syncs == (k.SYNC_CGROUP, k.SYNC_RUNTIME_HOOKS, k.SYNC_CREATED)


def test_without_cgroups_a_cgroup_mount_is_empty_read_only_and_warned_of() -> None:
    found = plan(CGROUP, hierarchies=[])
    mount = named(found, "mount_fs")[0]
    assert (mount[1], mount[4]) == ("tmpfs", 0)
    assert named(found, "mount_attr") == [("/sys/fs/cgroup", k.MOUNT_ATTR_RDONLY, 0, 0, 0)]
    assert found.warnings
    assert found.warnings[0].startswith("/mounts/0")


def test_a_mount_label_takes_selinux_and_goes_to_filesystems_that_carry_one() -> None:
    mounts = [{"destination": "/proc", "type": "proc"}, {"destination": "/t", "type": "tmpfs", "options": ["mode=1"]}]
    found = plan(*mounts, linux={"mountLabel": "a:b:c:s0:c1,c2"}, lsm=["selinux"])
    assert [op[3] for op in named(found, "mount_fs")] == [[], ["mode=1", "context=a:b:c:s0:c1,c2"]]
    named_otherwise = plan(
        mounts[1],
        linux={"mountLabel": "l"},
        lsm=["selinux"],
        annotations={"run.oci.mount_context_type": "rootcontext"},
    )
    assert named(named_otherwise, "mount_fs")[0][3] == ["mode=1", "rootcontext=l"]
    with pytest.raises(OcirtError, match="SELinux"):
        plan(*mounts, linux={"mountLabel": "l"})
