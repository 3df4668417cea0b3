"""`create` with its host plan carried out by C, or by the oracle in Python.

python -m tests.integration.performed_by c|oracle ROOT ID BUNDLE
"""

from __future__ import annotations

import sys

from ocirt.container.creation import Creation
from ocirt.container.prepare import Options
from ocirt.errors import OcirtError
from tests.oracle import records
from tests.oracle.performer import Performer


def main(by: str, root: str, container_id: str, bundle: str) -> None:
    creation = Creation(root, container_id, bundle, Options())
    creation.read("create")
    creation.compile()
    with creation:
        if by == "oracle":
            record = records.State(container_id, "", bundle, "")
            creation.performer = Performer(root, record, creation.keep)  # type: ignore[assignment]
        try:
            creation.perform()
        except OcirtError as error:  # undoing is of the other's
            sys.exit(f"{by}: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
