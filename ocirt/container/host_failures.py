"""Why an operation of the host plan failed, in words, where it left that to be said; cold."""

from __future__ import annotations

from ocirt.cgroup import refusals
from ocirt.cgroup.host_steps import RESOURCES
from ocirt.cgroup.resources import in_config
from ocirt.errors import OcirtError, failed
from ocirt.plan.describe import host as describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.plan.ops import Op


def explain(op: Op, error: OSError) -> OcirtError:
    """The error for `op`, which the kernel refused."""
    name, pointer, _, arguments = op
    if name == "write_limit":
        path, file, text, version = arguments
        write = (version, file.partition(".")[0], file, text, pointer.removeprefix(RESOURCES), ())
        return refusals.explain(path, write, error, in_config)
    failure = failed(describe.failure(op, error.errno or 0), error)
    return failure.at(pointer) if pointer else failure
