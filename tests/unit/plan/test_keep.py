"""Which mounts stay open: exactly those at or below which something is resolved later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ocirt.errors import UnsupportedError
from ocirt.linux.consts import KEPT_MAX, MOUNT_KEEP, SLOT_NONE
from ocirt.plan import keep, ops

if TYPE_CHECKING:
    from ocirt.plan.ops import Op


def fs(target: str) -> Op:
    return ops.mount_fs("/m", target, "tmpfs", "tmpfs", [], 0, 0, 0)


def bind(target: str) -> Op:
    return ops.mount_bind("/m", target, "/host", SLOT_NONE, (0, 0, 0, 0), 0, 64)


def mask(path: str) -> Op:
    return ops.mask("/m", path, 2, 3)


def kept(*found: Op) -> list[int]:
    """Where the operations stand that keep their mount."""
    marked = keep.mark(list(found))
    assert [op[:3] for op in marked] == [op[:3] for op in found]
    return [index for index, op in enumerate(marked) if op[0] in keep.FLAGS and op[3][keep.FLAGS[op[0]]] & MOUNT_KEEP]


@pytest.mark.parametrize(
    "last",
    [
        mask("/a/b"),
        mask("/a"),
        ops.readonly("/m", "/a/b/c", 0),
        ops.mount_attr("/m", "/a", (1, 0), 0, 0),
        ops.label("/m", "/a", "x"),
        ops.mkdir("/m", "/a/b", 0o755),
        ops.mknod("/m", "/a/null", 0o20666, 0x103, 0, 0),
        ops.symlink("/m", "x", "/a/b"),
        fs("/a/b"),
        bind("/a"),
    ],
)
def test_a_mount_with_something_below_it_is_kept(last: Op) -> None:
    assert kept(fs("/a"), last) == [0]
    assert kept(fs("/b"), fs("/ab"), last) == []


def test_the_terminal_is_below_dev_and_devpts() -> None:
    assert kept(fs("/dev"), fs("/dev/pts"), ops.console("/m", 4, 0, 0, 0, 1)) == [0, 1]


def test_the_parent_of_a_node_counts_not_what_is_mounted_on_it() -> None:
    node = ops.mknod("/m", "/dev/null", 0o20666, 0x103, 0, 0)
    assert kept(bind("/dev/null"), node) == []


def test_only_the_innermost_mount_is_kept_of_those_that_can_be_seen() -> None:
    assert kept(fs("/a"), fs("/a/b"), mask("/a/b/c")) == [0, 1]
    assert kept(fs("/a/b"), fs("/a"), mask("/a/b/c")) == [1]
    assert kept(fs("/a"), bind("/a"), mask("/a/b")) == [0, 1]
    assert kept(fs("/a"), bind("/"), mask("/a/b")) == []
    assert kept(ops.readonly("/m", "/a", 0), mask("/a/b")) == [0]


def test_each_of_several_that_are_mounted_in_place_of_another_is_kept() -> None:
    group = ops.fallback(fs("/a"), (1,), ops.fallback(bind("/a"), (2,), [fs("/a")]))
    assert kept(*group, mask("/a/b")) == [0, 1, 2]
    assert kept(*ops.fallback(fs("/a"), (1,), [bind("/a")]), fs("/a"), mask("/a/b")) == [0, 1, 2]


def test_more_than_the_init_has_room_for_is_refused() -> None:
    pairs = [op for number in range(KEPT_MAX + 1) for op in (fs(f"/{number}"), mask(f"/{number}/x"))]
    assert len(kept(*pairs[:-2])) == KEPT_MAX
    with pytest.raises(UnsupportedError, match="more than 1024 mounts"):
        keep.mark(pairs)
