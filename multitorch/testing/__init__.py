"""`multitorch.testing`: `assert_close`, `make_tensor`."""

from __future__ import annotations

from multitorch.testing.close import assert_close

__all__ = ["assert_close"]
