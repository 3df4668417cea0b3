"""Why an operation of the host plan failed, in words, where it left that to be said; cold."""

from __future__ import annotations

from ocirt.cgroup import refusals
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
        return refusals.explain(path, (version, file.partition(".")[0], file, text, pointer, ()), error, in_config)
    failure = failed(describe.failure(op, error.errno or 0), error)
    return failure.at(pointer) if pointer else failure


def in_config(pointer: str) -> str:
    """Where a limit stands."""
    return f"config.json: {pointer}"
