"""Changes to make to a config, and its places."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

Doc = dict[str, Any]
Patch = Callable[[Doc], None]


def steps(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def put(pointer: str, value: Any) -> Patch:
    """A change that sets a member, or an entry of an array, and makes the objects on the way."""

    def patch(doc: Doc) -> None:
        *path, last = steps(pointer)
        node: Any = doc
        for name in path:
            node = node[int(name)] if isinstance(node, list) else node.setdefault(name, {})
        node[int(last) if isinstance(node, list) else last] = copy.deepcopy(value)

    return patch


def drop(pointer: str) -> Patch:
    """A change that removes a member or an entry, if it is there."""

    def patch(doc: Doc) -> None:
        *path, last = steps(pointer)
        node: Any = doc
        for name in path:
            node = node[int(name)] if isinstance(node, list) else node[name]
        if isinstance(node, list):
            del node[int(last)]
        else:
            node.pop(last, None)

    return patch


def both(*patches: Patch) -> Patch:
    """One change after the other."""

    def patch(doc: Doc) -> None:
        for one in patches:
            one(doc)

    return patch


def places(node: Any, pointer: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a document with its pointer, the document itself left out."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        here = f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"
        yield here, value
        yield from places(value, here)


def changed(doc: Doc, patch: Patch) -> Doc:
    """A copy with the change made."""
    copied = copy.deepcopy(doc)
    patch(copied)
    return copied


def text(doc: Any) -> bytes:
    """The document as a person would write it."""
    return json.dumps(doc, indent=2).encode()


def without_namespace(kind: str) -> Patch:
    def patch(doc: Doc) -> None:
        doc["linux"]["namespaces"] = [entry for entry in doc["linux"]["namespaces"] if entry["type"] != kind]

    return patch


def with_namespace(kind: str, **extra: str) -> Patch:
    def patch(doc: Doc) -> None:
        without_namespace(kind)(doc)
        doc["linux"]["namespaces"].append({"type": kind, **extra})

    return patch


def twice(kind: str) -> Patch:
    return put("/linux/namespaces", [{"type": name} for name in ("pid", "network", "ipc", "uts", "mount", kind)])


def mapping(*runs: tuple[int, int, int]) -> list[dict[str, int]]:
    return [{"containerID": inside, "hostID": outside, "size": size} for inside, outside, size in runs]


def mapped(uids: list[dict[str, int]], gids: list[dict[str, int]] | None = None) -> Patch:
    """A user namespace with these mappings."""
    return both(
        with_namespace("user"),
        put("/linux/uidMappings", uids),
        put("/linux/gidMappings", mapping((0, 1000, 10)) if gids is None else gids),
    )


def mount(**members: object) -> Patch:
    return put("/mounts", [members])
