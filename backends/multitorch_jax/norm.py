"""Normalization by mean and variance; half precision is computed in float32."""

from __future__ import annotations

import math
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


def _per_row(w: Array, x: Array, dim: Dims) -> bool:
    """Whether a weight is the same along the dimensions that are normalized over."""
    offset = x.ndim - w.ndim
    return all(w.shape[i - offset] == 1 for i in dim if i >= offset)


def normalize_backward(
    g: Array, x: Array, weight: Array, mean: Array, rstd: Array, *, dim: Dims,
    needs: tuple[bool, ...],
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return the gradients by x, weight and bias, the latter two summed or still to be summed."""
    dtype, g, x = g.dtype, _wide(g), _wide(x)
    unit = (x - mean) * rstd
    if weight is not None and _per_row(weight, x, dim):
        return _backward_rows(g, unit, _wide(weight), rstd, dim, needs, dtype)
    dx = None
    if needs[0]:
        h = g if weight is None else g * _wide(weight)
        along = (h * unit).mean(dim, keepdims=True)
        dx = ((h - h.mean(dim, keepdims=True) - unit * along) * rstd).astype(dtype)
    return dx, g * unit if needs[1] else None, g if needs[2] else None


def _backward_rows(
    g: Array, unit: Array, weight: Array, rstd: Array, dim: Dims, needs: tuple[bool, ...],
    dtype: Any,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """The same for weights that factor out of the sums: two sums serve all three gradients."""
    n = math.prod(g.shape[i] for i in dim)
    along, total = (g * unit).sum(dim, keepdims=True), g.sum(dim, keepdims=True)
    dx = None
    if needs[0]:
        dx = ((g - total / n - unit * (along / n)) * (rstd * weight)).astype(dtype)
    return dx, along if needs[1] else None, total if needs[2] else None
