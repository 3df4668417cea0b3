"""The plans of tests: how they begin, what they mount, how they end."""

from __future__ import annotations

from pathlib import Path

from tests.kernel.harness import (
    EMPTY,
    MS_REC,
    MS_SLAVE,
    NAMESPACES,
    NONE,
    NULL,
    PROC,
    WIRE,
    Op,
    Result,
    carry_out,
    op,
)

# What masks are made of
MASKS = (
    op("open_tree", NULL, "/dev/null", 0),
    op("tree_fs", EMPTY, "tmpfs", ["size=4096", "nr_inodes=2", "mode=0"], 15),
)


def mount_fs(target: str, fstype: str, *options: str, attributes: int = 0, propagation: int = 0, flags: int = 0) -> Op:
    """mount_fs with its source named like its type."""
    return op("mount_fs", target, fstype, fstype, list(options), attributes, propagation, flags)


def mount_bind(target: str, host: str | Path, slot: int = NONE, flags: int = 0, attributes: int = 0) -> Op:
    """mount_bind with attributes to set on the top mount."""
    return op("mount_bind", target, str(host), slot, attributes, 0, 0, 0, 0, flags)


def mount_proc() -> Op:
    """The container's /proc."""
    return mount_fs("/proc", "proc", attributes=14, flags=WIRE["MOUNT_NO_SYMLINKS"])


def begin(root: Path, *mounts: Op, flags: int = NAMESPACES, before: tuple[Op, ...] = ()) -> list[Op]:
    """Up to the mounts, the host's tree still in place."""
    ops = [op("clone", flags), op("session"), op("open_proc", PROC, 0), op("propagate", MS_REC | MS_SLAVE), *before]
    return [*ops, op("rootfs", str(root), NONE, 1), *mounts]


def hook(
    path: str,
    argv: list[str],
    env: list[str] | None = None,
    timeout: int = 0,
    state: int = NONE,
    flags: int = 0,
    program: bytes = b"",
) -> Op:
    """A hook; `program` is its filter."""
    return op("hook", path, argv, env or [], timeout, state, flags, program, 0)


def execute(*argv: str, env: tuple[str, ...] = ("PATH=/bin",)) -> list[Op]:
    """The end of a plan."""
    return [
        op("chdir", "/"),
        op("find_exec", argv[0], [argv[0]]),
        op("close_fds", 0),
        op("exec", list(argv), list(env)),
    ]


def shell(script: str, env: tuple[str, ...] = ("PATH=/bin",)) -> list[Op]:
    """The end of a plan: busybox sh."""
    return execute("/bin/sh", "-c", script, env=env)


def inside(
    root: Path, script: str, *mounts: Op, after: tuple[Op, ...] = (), slots: dict[int, int] | None = None
) -> Result:
    """Run a script in a container with these mounts; `after`: operations after pivot."""
    return carry_out([*begin(root, *mounts), op("pivot"), *after, *shell(script)], slots)
