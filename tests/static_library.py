"""Where the interpreter's static library is, if it is installed: then the launcher has one frozen into it."""

from __future__ import annotations

import sysconfig
from pathlib import Path

STATIC_LIBRARY = Path(sysconfig.get_config_var("LIBPL") or "/", sysconfig.get_config_var("LIBRARY") or "-")
