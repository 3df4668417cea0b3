"""What every phase of the compiler reads, and the little that phases tell each other; decides nothing by itself."""

from __future__ import annotations

from ocirt.errors import UnsupportedError
from ocirt.linux.consts import MSG_FDS_MAX, SLOT_FIRST_FREE, SLOT_NONE
from ocirt.plan import holes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ocirt.linux.facts import Facts
    from ocirt.plan.ops import Op

    Config = dict[str, Any]
    Tree = tuple[int, str, bool, str]
    IdMap = tuple[list[tuple[int, int, int]], list[tuple[int, int, int]], str, bool]

NAMED_SLOTS = 8  # room in the runtime's message for the slots that have a name


class Launch:
    """How the container is started.

    container_id   its name, checked
    bundle         absolute directory of the bundle
    start          "create" (wait for start), "run" or "exec" (go on at once)
    no_pivot       move the root in place of pivot_root(2)
    new_keyring    give it a session keyring of its own
    preserve_fds   how many descriptors from 3 on the process keeps
    console        a terminal is wanted, and SLOT_CONSOLE has a socket for its master
    tasks          of how many cgroups of v1 the runtime sends the file tasks, from SLOT_FIRST_FREE on
    """

    __slots__ = ("bundle", "console", "container_id", "new_keyring", "no_pivot", "preserve_fds", "start", "tasks")

    def __init__(  # noqa: PLR0913 - a record: every field is passed by name
        self,
        *,
        container_id: str,
        bundle: str,
        start: str = "create",
        no_pivot: bool = False,
        new_keyring: bool = True,
        preserve_fds: int = 0,
        console: bool = False,
        tasks: int = 0,
    ) -> None:
        self.container_id = container_id
        self.bundle = bundle
        self.start = start
        self.no_pivot = no_pivot
        self.new_keyring = new_keyring
        self.preserve_fds = preserve_fds
        self.console = console
        self.tasks = tasks

    @property
    def below(self) -> str:
        """What the bundle's own paths begin with."""
        return holes.concat("" if holes.is_top(self.bundle) else self.bundle, "/")


class Namespace:
    """One entry of linux.namespaces: `path` is "" where the namespace is made new."""

    __slots__ = ("path", "pointer")

    def __init__(self, path: str, pointer: str) -> None:
        self.path = path
        self.pointer = pointer


class Context:
    """A config on its way to a plan.

    config, process, linux   the checked document and two of its sections ({} where missing)
    launch, facts            how it is started; what the host is
    program, program_flags   the seccomp filter (None without one) and its SECCOMP_FILTER_FLAG_…; given late
    filter_refuses_clone     under it the init could not make a process; of exec alone
    namespaces               type → Namespace
    next_slot                the first slot that nothing uses yet
    trees                    sources that the runtime opens: slot, host path, recursive, pointer
    idmaps                   slot of a tree → its IdMap: uids, gids, or the path of a user namespace; with what is below
    late_readonly            mounts to make read-only when nothing is put into them any more: target, pointer
    warnings                 lines for the log
    tasks                    slots of the files by which the process enters its cgroups of v1
    in_cgroup                the wait for the cgroup is in the plan already
    listener                 slots of the seccomp agent's socket and of the state for it, () without an agent
    errands                  operations of the host plan at that wait (host_ops.py)
    cgroup_owner             the host's uid that shall own the container's cgroup, -1 for the runtime's own
    """

    __slots__ = (
        "cgroup_owner",
        "config",
        "errands",
        "facts",
        "filter_refuses_clone",
        "idmaps",
        "in_cgroup",
        "late_readonly",
        "launch",
        "linux",
        "listener",
        "namespaces",
        "next_slot",
        "process",
        "program",
        "program_flags",
        "tasks",
        "trees",
        "warnings",
    )

    def __init__(self, config: Config, launch: Launch, facts: Facts) -> None:
        self.config = config
        self.launch = launch
        self.facts = facts
        self.program: bytes | None = None
        self.program_flags = 0
        self.filter_refuses_clone = False
        self.process: Config = config.get("process") or {}
        self.linux: Config = config.get("linux") or {}
        self.namespaces = {
            entry["type"]: Namespace(holes.given(entry.get("path")), f"/linux/namespaces/{index}")
            for index, entry in enumerate(self.linux.get("namespaces") or ())
        }
        self.next_slot = SLOT_FIRST_FREE
        self.trees: list[Tree] = []
        self.idmaps: dict[int, IdMap] = {}
        self.late_readonly: list[tuple[str, str]] = []
        self.warnings: list[str] = []
        self.tasks: list[int] = []
        self.in_cgroup = False
        self.listener: tuple[int, ...] = ()
        self.errands: list[Op] = []
        self.cgroup_owner = -1

    def new(self, kind: str) -> bool:
        """True where the container gets a new namespace of this type."""
        return kind in self.namespaces and not holes.is_given(self.namespaces[kind].path)

    def joined(self, kind: str) -> bool:
        """True where the container joins a namespace of this type by path."""
        return kind in self.namespaces and holes.is_given(self.namespaces[kind].path)

    def slot(self) -> int:
        """A slot that nothing else uses."""
        self.next_slot += 1
        return self.next_slot - 1

    def tree(self, host: str, recursive: bool, pointer: str) -> int:
        """The slot of a tree that the runtime opens for `host`, or SLOT_NONE where the init can or must open it itself.

        In a user namespace the init has no right to search the host's directories; the runtime has, when it is root.
        A runtime that is not root may not clone mounts of the host's namespace: the init does it in its own.
        """
        if "user" not in self.namespaces or self.facts.euid or not self.room_for_trees():
            return SLOT_NONE
        slot = self.slot()
        self.trees.append((slot, host, recursive, pointer))
        return slot

    def room_for_trees(self) -> bool:
        """True while one more tree fits into the runtime's message."""
        return len(self.trees) < MSG_FDS_MAX - NAMED_SLOTS

    def host_path(self, path: str) -> str:
        """A path of the config that is absolute or relative to the bundle."""
        return path if holes.is_absolute(path) else holes.concat(self.launch.below, path)

    def need_mount_namespace(self, pointer: str, what: str) -> None:
        """Without a mount namespace every mount would be one of the host's.

        Raises UnsupportedError when the container has none.
        """
        if "mount" not in self.namespaces:
            raise UnsupportedError(f"{what} needs a mount namespace", pointer)
