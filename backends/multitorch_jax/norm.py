"""Normalization by mean and variance; half precision is computed in float32."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

Array = Any
Dims = tuple[int, ...]


def _wide(a: Array) -> Array:
    return a.astype(jnp.float32) if a is not None and a.dtype.itemsize == 2 else a


def normalize(
    x: Array, weight: Array, bias: Array, *, dim: Dims, eps: float
) -> tuple[Array, Array, Array]:
    """Return (x - mean) / sqrt(var + eps) * weight + bias, the mean and the reciprocal root."""
    dtype, x = x.dtype, _wide(x)
    mean = x.mean(dim, keepdims=True)
    centered = x - mean
    rstd = lax.rsqrt((centered * centered).mean(dim, keepdims=True) + eps)
    y = centered * rstd
    if weight is not None:
        y = y * _wide(weight)
    if bias is not None:
        y = y + _wide(bias)
    return y.astype(dtype), mean, rstd


def normalize_backward(
    g: Array, x: Array, weight: Array, mean: Array, rstd: Array, *, dim: Dims,
    needs: tuple[bool, ...],
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return the gradients by x, weight and bias, the latter two still to be summed."""
    dtype, g, x = g.dtype, _wide(g), _wide(x)
    unit = (x - mean) * rstd
    dx = None
    if needs[0]:
        h = g if weight is None else g * _wide(weight)
        along = (h * unit).mean(dim, keepdims=True)
        dx = ((h - h.mean(dim, keepdims=True) - unit * along) * rstd).astype(dtype)
    return dx, g * unit if needs[1] else None, g if needs[2] else None
