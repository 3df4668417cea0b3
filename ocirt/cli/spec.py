"""`ocirt spec`: write a config.json to start from."""

from __future__ import annotations

import json
import os

from ocirt.cli.create import bundle_option
from ocirt.errors import BundleError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ocirt.cli.main import Global
    from ocirt.cli.options import Options


def run(_globals: Global, options: Options, _arguments: list[str]) -> int:
    """Write the file; return 0. Raises BundleError where it cannot be written, as when it exists."""
    from ocirt.config.default import document

    path = os.path.join(bundle_option(options), str(options.get("file") or "config.json"))
    text = json.dumps(document(bool(options.get("for_rootless"))), indent=4) + "\n"
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise BundleError(f'file "{path}" exists; remove it first') from None
    except OSError as error:
        raise BundleError(f'file "{path}": {(error.strerror or str(error)).lower()}') from None
    return 0
