"""Normalization by mean and variance, in few passes over memory.

Inputs are seen as (A, B, L): statistics are taken over A and L for each of B. Layer, group and
instance norm reduce trailing dimensions (A = 1), batch norm all but dimension 1.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from multitorch_numpy import reduce as _reduce
from multitorch_numpy import rows as _rows

Array = Any
Dims = tuple[int, ...]
_BLOCK = 4096
"""How many numbers a product with ones may add up: bounds the rounding error."""


def _view(x: Array, dim: Dims) -> tuple[Array, Dims]:
    """Return x as (A, B, L), and the shape of its statistics."""
    kept = tuple([1 if i in dim else n for i, n in enumerate(x.shape)])
    if dim == tuple(range(dim[0], x.ndim)):
        rows = math.prod(x.shape[: dim[0]])
        return x.reshape(1, rows, math.prod(x.shape[dim[0] :])), kept
    return x.reshape(x.shape[0], x.shape[1], math.prod(x.shape[2:])), kept


def _total(x: Array) -> Array:
    """Sum (A, B, L) over A and L; returns (B, 1)."""
    lead, rows, length = x.shape
    if length == 1:
        return _reduce.sum(x.reshape(lead, rows), dim=(0,), keepdim=False)[:, None]
    if length <= _BLOCK:
        partial = x.reshape(lead * rows, length).dot(_ones(length, x.dtype)).reshape(lead, rows)
    else:
        partial = np.add.reduce(x, 2)
    return (partial[0] if lead == 1 else np.add.reduce(partial, 0))[:, None]


def _total_product(x: Array, y: Array) -> Array:
    """Sum x y over A and L; returns (B, 1)."""
    if x.shape[2] == 1 or x.shape[2] > _BLOCK:
        return _total(x * y)
    return np.add.reduce(np.vecdot(x, y), 0)[:, None]


@functools.lru_cache(maxsize=64)
def _ones(n: int, dtype: Any) -> Array:
    return np.ones(n, dtype)


def _wide(a: Array) -> Array:
    return a if a is None or a.dtype.char in "fd" else a.astype(np.float32)


def _per_row(w: Array, x: Array, dim: Dims) -> bool:
    """Whether a weight has one number for each row of statistics."""
    offset = x.ndim - w.ndim
    return all(w.shape[i - offset] == 1 for i in dim if i >= offset)


def _column(w: Array, x: Array, dim: Dims, count: int) -> Array:
    """Return a weight that varies from row to row only, as (B, 1)."""
    shape = tuple([1 if i in dim else n for i, n in enumerate(x.shape)])
    return np.broadcast_to(w, shape).reshape(count, 1)


def _normalize_rows(x: Array, weight: Array, bias: Array, eps: float) -> tuple[Array, Array, Array]:
    """Do the work of `normalize` for layer norm of a matrix, in the fewest calls."""
    n = x.shape[1]
    mean = _rows.mean(x)[:, None]
    y = np.subtract(x, mean)
    scale = np.vecdot(y, y)  # 1 / sqrt(Σ y² / n + eps) = sqrt(n) / sqrt(Σ y² + n eps)
    scale += n * eps
    np.sqrt(scale, scale)
    rstd = np.divide(math.sqrt(n), scale, scale)[:, None]
    y *= rstd
    if weight is not None:
        y *= weight
    if bias is not None:
        y += bias
    return y, mean, rstd


def normalize(
    x: Array, weight: Array, bias: Array, *, dim: Dims, eps: float
) -> tuple[Array, Array, Array]:
    """Return (x - mean) / sqrt(var + eps) * weight + bias, the mean and the reciprocal root."""
    if dim == (1,) and _rows.is_short(x):
        return _normalize_rows(x, weight, bias, eps)
    dtype, x, weight, bias = x.dtype, _wide(x), _wide(weight), _wide(bias)
    v, kept = _view(x, dim)
    n = v.shape[0] * v.shape[2]
    mean = _total(v) / x.dtype.type(n)
    y = np.subtract(v, mean)
    rstd = 1 / np.sqrt(_total_product(y, y) / x.dtype.type(n) + x.dtype.type(eps))
    rows = v.shape[1]
    if weight is None:
        y *= rstd
    elif _per_row(weight, x, dim):
        y *= rstd * _column(weight, x, dim, rows)
    else:
        y *= rstd
        full = y.reshape(x.shape)
        full *= weight
    if bias is not None:
        if _per_row(bias, x, dim):
            y += _column(bias, x, dim, rows)
        else:
            full = y.reshape(x.shape)
            full += bias
    y = y.reshape(x.shape).astype(dtype, copy=False)
    return y, mean.reshape(kept), rstd.reshape(kept)


def normalize_backward(
    g: Array, x: Array, weight: Array, mean: Array, rstd: Array, *, dim: Dims,
    needs: tuple[bool, ...],
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return the gradients by x, weight and bias, the latter two summed or still to be summed."""
    dtype, g, x, weight = g.dtype, _wide(g), _wide(x), _wide(weight)
    mean, rstd = mean.reshape(-1, 1), rstd.reshape(-1, 1)
    v, kept = _view(x, dim)
    shape = x.shape
    if weight is None or _per_row(weight, x, dim):
        scale = None if weight is None else _column(weight, x, dim, v.shape[1])
        dx, along, total = _backward_rows(_view(g, dim)[0], v, scale, mean, rstd, needs[0])
        dw = None if weight is None or not needs[1] else along.reshape(kept)
        # without weights nothing says which shape the bias has: it is left to be summed
        db = (g if weight is None else total.reshape(kept)) if needs[2] else None
    else:
        dx, dw = _backward_columns(g, x, v, weight, mean, rstd, dim, needs)
        db = _sum_columns(g, weight) if needs[2] else None
    return None if dx is None else dx.reshape(shape).astype(dtype, copy=False), dw, db


def _backward_rows(
    g: Array, x: Array, scale: Array, mean: Array, rstd: Array, wanted: bool
) -> tuple[Array, Array, Array]:
    """Return dx, Σ g unit and Σ g where weights vary from row to row only."""
    centered = np.subtract(x, mean)
    total = _total(g)
    along = _total_product(g, centered) * rstd
    if not wanted:
        return None, along, total
    n = g.dtype.type(x.shape[0] * x.shape[2])
    factor = rstd if scale is None else rstd * scale
    centered *= -(factor * rstd * along / n)
    centered -= factor * total / n
    centered += g * factor
    return centered, along, total


def _backward_columns(
    g: Array, x: Array, v: Array, weight: Array, mean: Array, rstd: Array, dim: Dims,
    needs: tuple[bool, ...],
) -> tuple[Array, Array]:  # fmt: skip
    """Return dx and the weight's gradient where weights vary within a row."""
    unit = np.subtract(v, mean)
    unit *= rstd
    dw = _sum_columns(g * unit.reshape(x.shape), weight) if needs[1] else None
    if not needs[0]:
        return None, dw
    h = (g * weight).reshape(v.shape)
    n = g.dtype.type(v.shape[0] * v.shape[2])
    unit *= -(_total_product(h, unit) / n)
    unit -= _total(h) / n
    unit += h
    unit *= rstd
    return unit, dw


def _sum_columns(g: Array, weight: Array) -> Array:
    """Sum a gradient down to the shape of a weight that its last dimensions have."""
    if g.shape[g.ndim - weight.ndim :] == weight.shape:
        flat = g.reshape(-1, weight.size)
        return _reduce.sum(flat, dim=(0,), keepdim=False).reshape(weight.shape)
    return _reduce.sum_to(g, shape=weight.shape)
