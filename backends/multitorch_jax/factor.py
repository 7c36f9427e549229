"""Matrix factorizations."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp


def qr(x: Any, *, mode: str) -> Any:
    """Return Q and R of each matrix."""
    return tuple(jnp.linalg.qr(x, mode=mode))
