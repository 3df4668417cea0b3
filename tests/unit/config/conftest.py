"""The compiled schema must be that of spec/ as it is now, not of the last build."""

from __future__ import annotations

from ocirt.config import _generate

_generate.main([])
