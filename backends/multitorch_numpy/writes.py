"""Whole-tensor writes."""

from __future__ import annotations

from typing import Any

import numpy as np


def copy_into(x: Any, src: Any) -> Any:
    """Return `src` in the shape of `x`."""
    return src if src.shape == x.shape else np.broadcast_to(src, x.shape)


def fill(x: Any, value: Any) -> Any:
    """Return an array like `x` that holds one value."""
    out = np.empty(x.shape, x.dtype)
    np.copyto(out, value, casting="unsafe")
    return out


def zero(x: Any) -> Any:
    """Return zeros like `x`."""
    return np.zeros(x.shape, x.dtype)


def constant(value: Any, *, shape: tuple[int, ...], dtype: Any) -> Any:
    """Return a new array that holds one value."""
    return np.full(shape, value, dtype)
