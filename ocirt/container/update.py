"""Update: other limits for a container that exists. Its devices stay as they are, whatever is said of them."""

from __future__ import annotations

from copy import deepcopy

from ocirt import cgroup
from ocirt.cgroup import changes, host_steps
from ocirt.config import check
from ocirt.config.lenient import drop_nulls, settle_resources
from ocirt.container import state
from ocirt.container.performer import Performer
from ocirt.errors import ConfigError, ContainerError, OcirtError
from ocirt.plan import host_ops
from ocirt.spawn import performance

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ocirt.cgroup import Hierarchy

IN_CONFIG = "/linux/resources"


def in_resources(pointer: str) -> str:
    """Where a limit stands in a document of resources alone."""
    return f"resources: {pointer or '/'}"


def update(
    root: str,
    container_id: str,
    resources: dict[str, Any],
    name: Callable[[str], str] = in_resources,
    schemata: Sequence[str] = (),
) -> None:
    """Change the limits that `resources`, as linux.resources, has; what it leaves out, or has as null, stays.

    Engines send all of linux.resources: as with runc, `devices` are passed over.
    name       the words for a JSON pointer into `resources`, for errors
    schemata   lines for the schemata of the container's class of service, if its config has linux.intelRdt
    Raises ContainerNotFound, ContainerNotRunning, InvalidID, OcirtError for a document that is wrong, UnsupportedError
    for a limit that the host lacks, SystemCallError for what the kernel refuses.
    """
    record, _ = state.living(root, container_id)
    wanted = deepcopy({part: value for part, value in resources.items() if part != "devices"})
    drop_nulls(wanted)
    settle_resources(wanted, record.oci_version)
    check_resources(wanted, name)
    hs, paths = located(record.cgroups)
    if hs and hs[0].version == 2:  # on a hybrid host, create has done it only where a limit asked for it
        performance.carry_out([host_ops.hand_down("", hs[0].mount, paths[0])])
    performer = Performer(root, container_id, record.bundle)
    performer.name_limit = name

    def apply(limits: dict[str, Any]) -> None:
        performer.perform(host_steps.limits(paths, hs, limits, name))

    try:
        changes.change(paths, hs, wanted, name, apply, lambda limits: tell_systemd(record.unit, limits, hs))
    finally:
        performer.close()
    if schemata:
        change_class(root, container_id, schemata)


def change_class(root: str, container_id: str, schemata: Sequence[str]) -> None:
    """Change the container's class of service, whoever else is in it. Raises ContainerError where it has none."""
    from ocirt.cgroup import resctrl

    section = state.config(root, container_id).get("linux", {}).get("intelRdt")
    if section is None:
        raise ContainerError(f'container "{container_id}" has no linux.intelRdt in its config to be changed')
    groups = resctrl.Groups(section, container_id, resctrl.root())
    groups.write(f"{groups.control}/schemata", "".join([f"{line}\n" for line in schemata]))


def tell_systemd(unit: str, limits: dict[str, Any], hs: list[Hierarchy]) -> None:
    """Change the limits in systemd's books, if the container has a `unit` there. Raises OcirtError."""
    if unit:
        from ocirt.cgroup import systemd

        systemd.update(unit, limits, cgroup.layout(hs) == "v2")


def located(cgroups: list[str]) -> tuple[list[Hierarchy], list[str]]:
    """The hierarchies that the directories `cgroups` are in, and these, in the same order."""
    # The longest mount first: with v2 at the top of the others' mounts, its own is the start of every path.
    by_mount = sorted(cgroup.hierarchies(), key=lambda hierarchy: -len(hierarchy.mount))
    hs, paths = [], []
    for path in cgroups:
        for hierarchy in by_mount:
            if path.startswith(hierarchy.mount + "/"):
                hs.append(hierarchy)
                paths.append(path)
                break
    return hs, paths


def check_resources(wanted: dict[str, Any], name: Callable[[str], str]) -> None:
    """Raise OcirtError, a line for each problem, where a config with these resources would be refused."""
    try:
        check.check(check.around(linux={"resources": wanted}))
    except ConfigError as error:
        lines = [f"{name(problem.pointer.removeprefix(IN_CONFIG))}: {problem.message}" for problem in error.problems]
        raise OcirtError("\n".join(lines)) from None
