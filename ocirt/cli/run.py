"""`ocirt run`: flags → container.run."""

from __future__ import annotations

from ocirt.cli.create import bundle_given, create_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.cli.main import Global
    from ocirt.cli.options import Options


def run(globals_: Global, options: Options, arguments: list[str]) -> int:
    """Run the container; return its process's exit code, 128 + signal, or 0 with --detach."""
    from ocirt.container.run import run as run_container

    return run_container(
        globals_.root,
        arguments[0],
        bundle_given(options),
        options=create_options(globals_, options),
        detach=bool(options.get("detach")),
        keep=bool(options.get("keep")),
        subreaper=not options.get("no_subreaper"),
    )
