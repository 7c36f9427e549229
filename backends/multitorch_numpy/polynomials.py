"""Orthogonal polynomials by recurrence, as far as the highest degree that is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from multitorch.backend import recurrence

Array = Any


def polynomial(x: Array, n: Array, *, family: str) -> Array:
    """Return the polynomial of degree n, cut to an integer; 0 for a negative degree."""
    dtype = np.result_type(*[a for a in (x, n) if hasattr(a, "dtype")])
    x = np.asarray(x, np.float32 if dtype.itemsize == 2 else dtype)
    n = np.asarray(n, np.float64)
    degree = np.trunc(np.where(np.isfinite(n), n, -1)).astype(np.int64)
    out = np.zeros(np.broadcast_shapes(x.shape, n.shape), x.dtype)
    np.copyto(out, 1, where=degree == 0)
    wanted = set(np.unique(degree).tolist())
    p, q = recurrence.FIRST[family](x), np.ones_like(x)
    for k in range(1, max(wanted, default=0) + 1):
        if k > 1:
            a, b, c = recurrence.COEFFICIENTS[family](x, k)
            p, q = _multiply_subtract(a, p, b * q) / c, p
        if k in wanted:
            np.copyto(out, p, where=degree == k)
    return out.astype(dtype, copy=False)


def _multiply_subtract(a: Array, p: Array, t: Array) -> Array:
    """Return `a * p - t`, rounded once: the terms of a Hermite polynomial nearly cancel."""
    if p.dtype == np.float64:
        return a * p - t
    return (np.asarray(a, np.float64) * p - t).astype(p.dtype)
