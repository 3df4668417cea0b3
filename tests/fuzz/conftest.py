"""The fixtures of tests with real containers, for those of the oracle."""

from __future__ import annotations

from tests.integration.conftest import leftovers, make_bundle, runtime, scratch, sleeper

__all__ = ["leftovers", "make_bundle", "runtime", "scratch", "sleeper"]
