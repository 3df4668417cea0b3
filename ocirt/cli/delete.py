"""`ocirt delete`: → container.delete, of one container or of all whose id matches."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.cli.main import Global
    from ocirt.cli.options import Options


def run(globals_: Global, options: Options, arguments: list[str]) -> int:
    """Delete the container; return 0."""
    from ocirt.container.delete import delete

    def delete_one(container_id: str) -> None:
        delete(globals_.root, container_id, force=bool(options.get("force")))

    if not options.get("regex"):
        delete_one(arguments[0])
        return 0
    from ocirt.cli.matching import for_each

    for_each(globals_.root, arguments[0], delete_one)
    return 0
