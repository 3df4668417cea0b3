"""Which mounts are idmapped, by what, and which cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from ocirt.errors import ConfigError, UnsupportedError
from ocirt.plan.compile import Plan
from tests.unit.plan.support import compiled, config, named

OWN = [{"containerID": 0, "hostID": 1000, "size": 1}, {"containerID": 5, "hostID": 7, "size": 2}]
OTHER = [{"containerID": 0, "hostID": 9, "size": 3}]
USERS = {
    "namespaces": [{"type": "mount"}, {"type": "user"}],
    "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
    "gidMappings": [{"containerID": 0, "hostID": 200000, "size": 65536}],
}
MAPPINGS = {"uidMappings": OWN, "gidMappings": OTHER}


def plan(linux: dict[str, Any] | None = None, **mount: Any) -> Plan:
    return compiled(config(mounts=[{"destination": "/d", "source": "/s", **mount}], linux=linux or {}))


def tree(found: Plan) -> tuple[Any, ...]:
    """The mapping of the mount's tree."""
    ((slot, mapping),) = found.idmaps.items()
    assert [entry[1:] for entry in found.trees if entry[0] == slot] == [("/s", found.trees[0][2], "/mounts/0/source")]
    assert [op[2] for op in named(found, "mount_bind") if op[0] == "/d"] == [slot]
    return mapping


@pytest.mark.parametrize("options", [["bind"], ["rbind"], ["bind", "idmap"], ["bind", "copy-symlink"]])
def test_mappings_alone_are_enough(options: list[str]) -> None:
    assert tree(plan(options=options, **MAPPINGS)) == ([(0, 1000, 1), (5, 7, 2)], [(0, 9, 3)], "", False)


def test_ridmap_maps_the_mounts_below_too() -> None:
    assert tree(plan(options=["rbind", "ridmap"], **MAPPINGS))[3] is True


def test_the_mounts_own_mappings_come_before_the_user_namespaces() -> None:
    assert sorted(plan(USERS, options=["bind", "idmap"], **MAPPINGS).idmaps.values())[0][0][0] == (0, 1000, 1)


def test_the_option_alone_takes_the_mappings_of_the_user_namespace() -> None:
    mapping = plan(USERS, options=["bind", "idmap"]).idmaps.values()
    assert list(mapping) == [([(0, 100000, 65536)], [(0, 200000, 65536)], "", False)]


def test_the_option_may_have_the_mappings_as_crun_writes_them() -> None:
    options = ["rbind", "ridmap=uids=0-1000-1#5-7-2;gids=#0-9-3"]
    assert tree(plan(options=options)) == ([(0, 1000, 1), (5, 7, 2)], [(0, 9, 3)], "", True)
    relative = plan(USERS, options=["bind", "idmap=uids=@5-3-10;gids=7-7-1#@1-65535-1"]).idmaps.values()
    assert list(relative) == [([(5, 100003, 10)], [(7, 7, 1), (1, 265535, 1)], "", False)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("uids=0-1-1", "gids= is missing"),
        ("gids=0-1-1", "uids= is missing"),
        ("uids=0-1-1;gids=0-1-1;uids=0-1-1", "not one uids"),
        ("uids=0-1-1;gids=0-1-1;", "not one uids"),
        ("users=0-1-1", "not one uids"),
        ("uids=0-1;gids=0-1-1", "not three numbers"),
        ("uids=0-1-1-1;gids=0-1-1", "not three numbers"),
        ("uids=0--1-1;gids=0-1-1", "not three numbers"),
        ("uids=0-0x1-1;gids=0-1-1", "not three numbers"),
        ("uids=0-\u0661-1;gids=0-1-1", "not three numbers"),
        ("uids=" + "9" * 5000 + "-1-1;gids=0-1-1", "not three numbers"),
        ("uids=;gids=0-1-1", "not three numbers"),
        ("uids=0-4294967295-1;gids=0-1-1", "below 4294967295"),
        ("uids=0-1-0;gids=0-1-1", "there must be one"),
        ("uids=@0-65535-2;gids=0-1-1", "no mapping of the user namespace"),
    ],
)
def test_mappings_that_make_no_sense_are_refused_by_their_option(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        plan(USERS, options=["bind", f"idmap={text}"])
    assert caught.value.pointer == "/mounts/0/options/1"


def test_mappings_are_given_once() -> None:
    with pytest.raises(ConfigError, match="too"):
        plan(options=["bind", "idmap=uids=0-1-1;gids=0-1-1"], **MAPPINGS)


def test_the_option_alone_takes_a_joined_user_namespace() -> None:
    linux = {"namespaces": [{"type": "mount"}, {"type": "user", "path": "/proc/9/ns/user"}]}
    assert list(plan(linux, options=["bind", "idmap"]).idmaps.values()) == [([], [], "/proc/9/ns/user", False)]


@pytest.mark.parametrize(
    ("mount", "pointer"),
    [
        ({"type": "tmpfs", **MAPPINGS}, "/mounts/0/uidMappings"),
        ({"type": "tmpfs", "options": ["nosuid", "idmap"]}, "/mounts/0/options/1"),
        ({"options": ["bind", "remount", "ridmap"]}, "/mounts/0/options/2"),
    ],
)
def test_only_a_bind_mount_can_be_idmapped(mount: dict[str, Any], pointer: str) -> None:
    with pytest.raises(UnsupportedError, match="only a bind mount can be idmapped") as caught:
        plan(USERS, **mount)
    assert caught.value.pointer == pointer


def test_an_ordinary_user_cannot_have_one() -> None:
    document = config(mounts=[{"destination": "/d", "source": "/s", "options": ["bind"], **MAPPINGS}], linux=USERS)
    with pytest.raises(UnsupportedError, match="require root on the host") as caught:
        compiled(document, euid=1000)
    assert caught.value.pointer == "/mounts/0/uidMappings"


def test_more_than_a_message_carries_are_refused() -> None:
    mounts = [{"destination": f"/{n}", "source": "/s", "options": ["bind"], **MAPPINGS} for n in range(200)]
    with pytest.raises(UnsupportedError, match="more idmapped mounts than one message can carry"):
        compiled(config(mounts=mounts))
