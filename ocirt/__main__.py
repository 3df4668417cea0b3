"""`python -m ocirt`: the command line without the launcher, for development."""

from __future__ import annotations

import sys
from signal import SIG_DFL, SIGCHLD, signal


def _run() -> int:
    signal(SIGCHLD, SIG_DFL)  # as the launcher does: a caller that ignores it would have the kernel reap our children
    # -m puts the current directory, which may be a bundle with a json.py in it, before the standard library.
    if sys.path and not sys.flags.isolated and not getattr(sys.flags, "safe_path", False):
        home = __file__.rpartition("/ocirt/")[0]
        sys.path[:] = [path for path in sys.path[:1] if path == home] + sys.path[1:]
    from ocirt.cli.main import main

    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(_run())
