"""What the build in the tree was made of: `make build` writes the digest down, and the tests refuse another.

By content, for the files of a copied tree have other times.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

PROJECT = Path(__file__).parent.parent
STAMP = PROJECT / "build/.done"
KINDS = {".py", ".c", ".h", ".def", ".txt"}
MADE = {"ocirt/config/_schema.py", "ocirt/linux/_systemd.py"}  # by the build


def digest() -> str:
    """A digest of the sources' names and bytes."""
    sources = [path for path in (PROJECT / "ocirt").rglob("*") if path.suffix in KINDS]
    sources += [PROJECT / "setup.py", *(PROJECT / "spec").glob("*.json")]
    total = hashlib.sha256()
    for path in sorted(sources):
        name = str(path.relative_to(PROJECT))
        if name not in MADE:
            data = path.read_bytes()
            total.update(f"{name} {len(data)}\n".encode() + data)
    return total.hexdigest()


def stale() -> bool:
    """Whether something was changed after the build. False where there is none in the tree."""
    return STAMP.exists() and STAMP.read_text().strip() != digest()


if __name__ == "__main__":
    print(digest())
