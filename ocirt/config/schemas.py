"""The JSON Schemas of spec/, read and joined into one document. Cold: for the build, for error messages and tests.

What a schema demands is written in spec/ alone; this module knows only where it is and how its files refer to each
other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def directory() -> Path:
    """Where spec/ is: inside the package once installed, beside it in a checkout.

    Raises FileNotFoundError where it is in neither place.
    """
    package = Path(__file__).resolve().parent.parent
    for candidate in (package / "spec", package.parent / "spec"):
        if (candidate / "config.json").is_file():
            return candidate
    raise FileNotFoundError(f"no spec/config.json in {package} or beside it")


def joined(name: str, where: Path | None = None) -> dict[str, Any]:
    """One schema without references to other files, for `name` ("config.json", "state.json", "features.json").

    Every file becomes an entry of $defs, so that a validator needs no registry, whatever its version.
    """
    files = {path.name: json.loads(path.read_text()) for path in sorted((where or directory()).glob("*.json"))}
    definitions = {file: _relocated(schema, file) for file, schema in files.items()}
    return {"$schema": DIALECT, "$ref": f"#/$defs/{name}", "$defs": definitions}


def _relocated(node: Any, file: str) -> Any:
    if isinstance(node, list):
        return [_relocated(item, file) for item in node]
    if not isinstance(node, dict):
        return node
    moved = {key: _relocated(value, file) for key, value in node.items() if key != "$schema"}
    if isinstance(node.get("$ref"), str):
        target, _, pointer = node["$ref"].partition("#")
        moved["$ref"] = f"#/$defs/{target or file}{pointer}"
    return moved


def resolved(schema: dict[str, Any], reference: str) -> dict[str, Any]:
    """The subschema that a "#/…" reference of a joined schema names."""
    node = schema
    for name in reference[2:].split("/"):
        node = node[name.replace("~1", "/").replace("~0", "~")]
    return node
