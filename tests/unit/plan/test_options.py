"""Mount options mean what mount(8) and the specification's table say."""

from __future__ import annotations

import pytest

from ocirt.linux import consts as k
from ocirt.plan import options

ATIME = k.MOUNT_ATTR__ATIME

# config.md "Linux mount options"
SPECIFIED = (
    *("async", "atime", "bind", "defaults", "dev", "diratime", "dirsync", "exec", "iversion", "lazytime", "loud"),
    *("mand", "noatime", "nodev", "nodiratime", "noexec", "noiversion", "nolazytime", "nomand", "norelatime"),
    *("nostrictatime", "nosuid", "nosymfollow", "private", "ratime", "rbind", "rdev", "rdiratime", "relatime"),
    *("remount", "rexec", "rnoatime", "rnodev", "rnodiratime", "rnoexec", "rnorelatime", "rnostrictatime", "rnosuid"),
    *("rnosymfollow", "ro", "rprivate", "rrelatime", "rro", "rrw", "rshared", "rslave", "rstrictatime", "rsuid"),
    *("rsymfollow", "runbindable", "rw", "shared", "silent", "slave", "strictatime", "suid", "symfollow", "sync"),
    *("tmpcopyup", "unbindable"),
)


def parsed(*words: str) -> options.Options:
    return options.parse({"destination": "/x", "options": list(words)}, "/mounts/0")


@pytest.mark.parametrize("word", SPECIFIED)
def test_no_option_of_the_specification_is_passed_to_a_filesystem(word: str) -> None:
    assert parsed(word).data == []


@pytest.mark.parametrize(
    ("words", "set_", "clear"),
    [
        (["ro"], k.MOUNT_ATTR_RDONLY, 0),
        (["rw"], 0, k.MOUNT_ATTR_RDONLY),
        (["ro", "rw"], 0, k.MOUNT_ATTR_RDONLY),
        (["rw", "ro"], k.MOUNT_ATTR_RDONLY, 0),
        (["nosuid", "nodev", "noexec"], 14, 0),
        (["suid", "dev", "exec"], 0, 14),
        (["noatime"], k.MOUNT_ATTR_NOATIME, ATIME),
        (["strictatime"], k.MOUNT_ATTR_STRICTATIME, ATIME),
        (["noatime", "strictatime"], k.MOUNT_ATTR_STRICTATIME, ATIME),
        (["relatime"], 0, ATIME),
        (["relatime", "strictatime"], k.MOUNT_ATTR_STRICTATIME, ATIME),
        (["strictatime", "relatime"], k.MOUNT_ATTR_STRICTATIME, ATIME),
        (["strictatime", "noatime"], k.MOUNT_ATTR_STRICTATIME, ATIME),
        (["noatime", "relatime"], k.MOUNT_ATTR_NOATIME, ATIME),
        (["noatime", "atime"], 0, ATIME),
        (["strictatime", "nostrictatime"], 0, ATIME),
        (["noatime", "norelatime"], k.MOUNT_ATTR_NOATIME, ATIME),
        (["norelatime"], 0, 0),
        (["nodiratime"], k.MOUNT_ATTR_NODIRATIME, 0),
        (["diratime"], 0, k.MOUNT_ATTR_NODIRATIME),
        (["nosymfollow"], k.MOUNT_ATTR_NOSYMFOLLOW, 0),
        (["", "defaults", "loud", "silent", "x-systemd.automount", "_netdev"], 0, 0),
    ],
)
def test_what_a_word_sets_and_clears(words: list[str], set_: int, clear: int) -> None:
    found = parsed(*words)
    assert (found.set, found.clear) == (set_, clear)
    assert (found.recursive_set, found.recursive_clear) == (0, 0)
    twin = parsed(*("r" + word if word in options.ATTRIBUTES else word for word in words))
    assert (twin.recursive_set, twin.recursive_clear) == (set_, clear)
    assert (twin.set, twin.clear) == (0, 0)


@pytest.mark.parametrize("word", ["shared", "slave", "private", "unbindable"])
def test_propagation_is_taken_from_any_position_with_and_without_recursion(word: str) -> None:
    flag = options.PROPAGATION[word]
    assert parsed("ro", word, "nosuid").propagation == flag
    assert parsed("r" + word, "size=1").propagation == flag | k.MS_REC
    assert parsed("r" + word, word).propagations == parsed(word, "r" + word).propagations == [flag | k.MS_REC]


def test_changes_of_propagation_are_made_one_after_the_other() -> None:
    assert parsed("rslave", "slave", "shared").propagations == [k.MS_SLAVE | k.MS_REC, k.MS_SHARED]
    assert parsed("private", "rshared", "private").propagations == [k.MS_PRIVATE, k.MS_SHARED | k.MS_REC, k.MS_PRIVATE]


def test_bind_and_rbind_differ_in_depth() -> None:
    assert (parsed("bind").bind, parsed("bind").recursive) == (True, False)
    assert (parsed("rbind").bind, parsed("rbind").recursive) == (True, True)


@pytest.mark.parametrize("words", [["rbind", "rprivate", "ro", "bind"], ["bind", "rbind"]])
def test_a_recursive_bind_stays_one_whatever_is_added(words: list[str]) -> None:
    assert parsed(*words).recursive


def test_what_holds_for_all_below_holds_at_the_top_too() -> None:
    found = parsed("rro", "rw", "rnosuid", "suid")
    assert (found.recursive_set, found.clear & found.recursive_set) == (k.MOUNT_ATTR_RDONLY | k.MOUNT_ATTR_NOSUID, 0)
    found = parsed("ro", "rrw")
    assert (found.set, found.recursive_clear) == (k.MOUNT_ATTR_RDONLY, k.MOUNT_ATTR_RDONLY)
    assert parsed("noatime", "rstrictatime").attributes == (0, 0, k.MOUNT_ATTR_STRICTATIME, ATIME)


def test_a_flag_of_mount_2_is_known_to_be_given_a_recursive_one_is_none() -> None:
    for word in (*options.ATTRIBUTES, *options.SUPERBLOCK, "silent", "loud"):
        assert parsed(word).given, word
    assert not parsed("bind", "rprivate", "rro", "idmap", "defaults", "", "tmpcopyup", "size=1", "x-y", "nofail").given


def test_a_copy_up_can_be_taken_back() -> None:
    assert (parsed("tmpcopyup").flags, parsed("tmpcopyup", "notmpcopyup").flags) == (k.MOUNT_COPY_UP, 0)


def test_unknown_words_go_to_the_filesystem_one_by_one() -> None:
    found = parsed("size=1m,mode=755", "acl", 'context="a:b:c1,c2"', "lowerdir=/a\\,b,upperdir=/c", "noswap")
    assert found.data == [
        "size=1m",
        "mode=755",
        "acl",
        'context="a:b:c1,c2"',
        "lowerdir=/a\\,b,upperdir=/c",
        "noswap",
    ]


@pytest.mark.parametrize(
    ("word", "flag"),
    [("sync", k.MS_SYNCHRONOUS), ("dirsync", k.MS_DIRSYNC), ("lazytime", k.MS_LAZYTIME), ("iversion", k.MS_I_VERSION)],
)
def test_a_flag_of_a_filesystem_is_set(word: str, flag: int) -> None:
    assert (parsed(word).superblock, parsed(word).data) == (flag, [])
    assert parsed(word).legacy() & flag == flag


def test_filesystem_flags_can_be_taken_back() -> None:
    assert parsed("sync", "async", "mand", "nomand", "lazytime", "nolazytime", "iversion", "noiversion").superblock == 0
    assert parsed("sync", "dirsync").superblock == k.MS_SYNCHRONOUS | k.MS_DIRSYNC


def test_the_word_for_an_idmapped_mount_is_remembered_with_its_place() -> None:
    found = options.parse({"destination": "/x", "options": ["bind", "idmap"]}, "/mounts/3")
    assert (found.idmap, found.idmap_below, found.data) == ("/mounts/3/options/1", False, [])
    found = options.parse({"destination": "/x", "options": ["ridmap"]}, "/mounts/3")
    assert (found.idmap, found.idmap_below) == ("/mounts/3/options/0", True)
    found = parsed("ridmap", "idmap=uids=0-1-1;gids=0-1-1", "idmap")
    assert (found.idmap, found.idmap_below, found.idmap_text) == ("/mounts/0/options/2", True, "uids=0-1-1;gids=0-1-1")
    assert parsed("idmapped", "idmap-x=1").data == ["idmapped", "idmap-x=1"]


def test_the_flags_of_mount_2_follow_from_the_options() -> None:
    flags = parsed("ro", "nosuid", "noatime", "sync", "rnoexec").legacy()
    assert flags == k.MS_RDONLY | k.MS_NOSUID | k.MS_NOATIME | k.MS_SYNCHRONOUS | k.MS_NOEXEC
