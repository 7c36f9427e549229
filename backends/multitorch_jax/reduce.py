"""Reduction kernels over `jax.numpy`."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

Array = Any
Dims = tuple[int, ...]


def _accumulator(x: Array) -> Any:
    """Return the dtype to add in: int64 for integers, float32 for half precision."""
    if x.dtype == bool or jnp.issubdtype(x.dtype, jnp.integer):
        return np.int64
    return np.float32 if x.dtype.itemsize == 2 else x.dtype


def _result(x: Array, wide: Array) -> Array:
    return wide if wide.dtype == np.int64 else wide.astype(x.dtype)


def sum(x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Add over dimensions: integers in int64, half precision in float32."""
    return _result(x, jnp.sum(x, dim, dtype=_accumulator(x), keepdims=keepdim))


def sum_to(x: Array, *, shape: Dims) -> Array:
    """Add over the dimensions along which `shape` was broadcast to the shape of x."""
    if x.shape == shape:
        return x
    lead = x.ndim - len(shape)
    dim = tuple([i for i in range(x.ndim) if i < lead or shape[i - lead] == 1 and x.shape[i] != 1])
    return sum(x, dim=dim, keepdim=False).reshape(shape)


def mean(x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Average over dimensions."""
    n = math.prod([x.shape[i] for i in dim])
    wide = _accumulator(x)
    return (jnp.sum(x, dim, dtype=wide, keepdims=keepdim) / n).astype(x.dtype)


def amax(x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Return the largest element over dimensions; NaN wins."""
    return jnp.max(x, dim, keepdims=keepdim)


def amin(x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Return the smallest element over dimensions; NaN wins."""
    return jnp.min(x, dim, keepdims=keepdim)


def all(x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Return whether every element is nonzero."""
    return jnp.all(x, dim, keepdims=keepdim)


def any(x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Return whether some element is nonzero."""
    return jnp.any(x, dim, keepdims=keepdim)


def prod(x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Multiply over dimensions: integers in int64, half precision in float32."""
    return _result(x, jnp.prod(x, dim, dtype=_accumulator(x), keepdims=keepdim))


def argmax(x: Array, *, dim: int | None, keepdim: bool) -> Array:
    """Return the index of the first largest element; NaN is the largest."""
    return _arg(jnp.argmax, x, dim, keepdim)


def argmin(x: Array, *, dim: int | None, keepdim: bool) -> Array:
    """Return the index of the first smallest element; NaN is the smallest."""
    return _arg(jnp.argmin, x, dim, keepdim)


def _arg(find: Any, x: Array, dim: int | None, keepdim: bool) -> Array:
    if not x.ndim:
        return jnp.zeros((), np.int64)
    return find(x, dim, keepdims=keepdim).astype(np.int64)


def max_dim(x: Array, *, dim: int, keepdim: bool) -> tuple[Array, Array]:
    """Return the largest elements along a dimension and their first indices."""
    if not x.ndim:
        return x, jnp.zeros((), np.int64)
    return amax(x, dim=(dim,), keepdim=keepdim), argmax(x, dim=dim, keepdim=keepdim)


def min_dim(x: Array, *, dim: int, keepdim: bool) -> tuple[Array, Array]:
    """Return the smallest elements along a dimension and their first indices."""
    if not x.ndim:
        return x, jnp.zeros((), np.int64)
    return amin(x, dim=(dim,), keepdim=keepdim), argmin(x, dim=dim, keepdim=keepdim)


# --- running results -----------------------------------------------------------------------------


def cumsum(x: Array, *, dim: int) -> Array:
    """Return running sums: integers in int64, half precision in float32."""
    wide = x.astype(_accumulator(x))
    return _result(x, jnp.cumsum(wide, dim) if x.ndim else wide)


def cumprod(x: Array, *, dim: int) -> Array:
    """Return running products: integers in int64, half precision in float32."""
    wide = x.astype(_accumulator(x))
    return _result(x, jnp.cumprod(wide, dim) if x.ndim else wide)


def cummax(x: Array, *, dim: int) -> tuple[Array, Array]:
    """Return running maxima and their last indices; NaN wins."""
    return _running_extreme(x, dim, lax.cummax)


def cummin(x: Array, *, dim: int) -> tuple[Array, Array]:
    """Return running minima and their last indices; NaN wins."""
    return _running_extreme(x, dim, lax.cummin)


def _running_extreme(x: Array, dim: int, accumulate: Any) -> tuple[Array, Array]:
    if not x.ndim:
        return x, jnp.zeros((), np.int64)
    values = accumulate(x.astype(np.int8) if x.dtype == bool else x, axis=dim).astype(x.dtype)
    fresh = (x == values) | (x != x)
    index = lax.broadcasted_iota(np.int64, x.shape, dim)
    return values, lax.cummax(jnp.where(fresh, index, 0), axis=dim)


def logcumsumexp(x: Array, *, dim: int) -> Array:
    """Return the logarithm of the running sum of exponentials."""
    if not x.ndim:
        return x
    if x.dtype.kind == "c":
        return _logcumsumexp_complex(x, dim)
    wide = x.astype(_accumulator(x))
    return lax.associative_scan(jnp.logaddexp, wide, axis=dim).astype(x.dtype)


def _logcumsumexp_complex(x: Array, dim: int) -> Array:
    """Add one element after the other: the phase goes by the largest term so far."""

    def add(a: Array, b: Array) -> tuple[Array, Array]:
        first = a.real >= b.real
        high, low = jnp.where(first, a, b), jnp.where(first, b, a)
        alike = (a.real == b.real) & jnp.isinf(a.real)
        out = high + jnp.log1p(jnp.exp(jnp.where(alike, 0, low - high)))
        return out, out

    if not x.size:
        return x
    rows = jnp.moveaxis(x, dim, 0)
    rest = lax.scan(add, rows[0], rows[1:])[1]
    return jnp.moveaxis(jnp.concatenate([rows[:1], rest]), 0, dim)
