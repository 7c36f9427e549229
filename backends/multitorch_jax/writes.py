"""Whole-tensor writes."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp


def copy_into(x: Any, src: Any) -> Any:
    """Return `src` in the shape of `x`."""
    return jnp.broadcast_to(src, x.shape)


def fill(x: Any, value: Any) -> Any:
    """Return an array like `x` that holds one value."""
    return jnp.full(x.shape, value, x.dtype)


def zero(x: Any) -> Any:
    """Return zeros like `x`."""
    return jnp.zeros(x.shape, x.dtype)


def constant(value: Any, *, shape: tuple[int, ...], dtype: Any) -> Any:
    """Return a new array that holds one value."""
    return jnp.full(shape, value, dtype)
