"""Normalization by mean and variance, in few passes over memory.

Inputs are seen as (A, B, L): statistics are taken over A and L for each of B. Layer, group and
instance norm reduce trailing dimensions (A = 1), batch norm all but dimension 1.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from multitorch_numpy import blocks as _blocks
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
    partial = np.vecdot(x, y)
    return (partial[0] if len(partial) == 1 else np.add.reduce(partial, 0))[:, None]


@functools.lru_cache(maxsize=64)
def _ones(n: int, dtype: Any) -> Array:
    return np.ones(n, dtype)


def _wide(a: Array) -> Array:
    return a if a is None or a.dtype.char in "fd" else a.astype(np.float32)


def _is_far(mean: Array, rstd: Array, most: float) -> bool:
    """Whether a mean is more than so many standard deviations away from zero; NaN is not."""
    far = (mean * rstd).reshape(-1)
    return far.dot(far) > most * most and bool(np.greater(np.abs(far, far), most).any())


_FEW = 1 << 14
"""Up to how many elements calls cost more than passes."""
_NEARLY_CONSTANT = 30.0
"""From how many standard deviations on the rounding of a mean tells in what is left over."""
_MODERATE = 2.0
"""Up to how many standard deviations the mean may be subtracted last, from sums."""


def _normalize_rows(x: Array, weight: Array, bias: Array, eps: float) -> tuple[Array, Array, Array]:
    """Do the work of `normalize` for layer norm of a matrix, in the fewest calls."""
    mean = _rows.mean(x)[:, None]
    y = np.subtract(x, mean)
    rstd = _rstd_of_rows(y, eps)
    if _is_far(mean, rstd, _NEARLY_CONSTANT):
        rest = _rows.mean(y)[:, None]
        y -= rest
        mean += rest
        rstd = _rstd_of_rows(y, eps)
    y *= rstd
    if weight is not None:
        y *= weight
    if bias is not None:
        y += bias
    return y, mean, rstd


def _rstd_of_rows(y: Array, eps: float) -> Array:
    n = y.shape[1]
    scale = np.vecdot(y, y)  # 1 / sqrt(Σ y² / n + eps) = sqrt(n) / sqrt(Σ y² + n eps)
    scale += n * eps
    np.sqrt(scale, scale)
    return np.divide(math.sqrt(n), scale, scale)[:, None]


def _moments(v: Array, eps: float) -> tuple[Array, Array, Array]:
    """Return mean and 1 / sqrt(var + eps) of (A, B, L), and v - mean unless it can do without.

    Where the mean is no further from zero than two standard deviations, the sum of the squares
    tells the variance as exactly as that of the deviations.
    """
    n = v.shape[0] * v.shape[2]
    mean = _total(v)
    mean /= n
    if v.size > _FEW:
        var = _total_product(v, v)
        var /= n
        square = mean * mean
        var -= square
        square *= _MODERATE**-2
        if np.less_equal(square, var, square).all():
            return mean, _rstd(var, eps), None
    y = np.subtract(v, mean)
    rstd = _rstd(_total_product(y, y) / n, eps)
    if _is_far(mean, rstd, _NEARLY_CONSTANT):
        rest = _total(y)
        rest /= n
        y -= rest
        mean += rest
        rstd = _rstd(_total_product(y, y) / n, eps)
    return mean, rstd, y


def _rstd(var: Array, eps: float) -> Array:
    var += eps
    np.sqrt(var, var)
    return np.reciprocal(var, var)


def normalize(
    x: Array, weight: Array, bias: Array, *, dim: Dims, eps: float
) -> tuple[Array, Array, Array]:
    """Return (x - mean) / sqrt(var + eps) * weight + bias, the mean and the reciprocal root."""
    if dim == (1,) and _rows.is_short(x):
        return _normalize_rows(x, weight, bias, eps)
    dtype, x, weight, bias = x.dtype, _wide(x), _wide(weight), _wide(bias)
    v, kept = _view(x, dim)
    if v.shape[0] == 1 and _are_columns(x, dim, weight, bias) and _rows.is_short(v[0]):
        weight, bias = (w if w is None else w.reshape(-1) for w in (weight, bias))
        y, mean, rstd = _normalize_rows(v[0], weight, bias, eps)
    else:
        mean, rstd, y = _moments(v, eps)
        y = _scaled(x, y, mean.reshape(kept), rstd.reshape(kept), weight, bias)
    y = y.reshape(x.shape).astype(dtype, copy=False)
    return y, mean.reshape(kept), rstd.reshape(kept)


def _are_columns(x: Array, dim: Dims, *weights: Array) -> bool:
    """Whether what weights there are have the shape of what is normalized."""
    return all(w is None or w.shape == x.shape[dim[0] :] for w in weights)


def _scaled(x: Array, y: Array, mean: Array, rstd: Array, weight: Array, bias: Array) -> Array:
    """Return (x - mean) rstd weight + bias, where `y` is x - mean or None."""
    small = weight is None or 4 * np.broadcast(rstd, weight).size <= x.size
    scale = rstd * weight if small and weight is not None else rstd
    if y is None and small:
        shift = mean * scale
        y = np.multiply(x, scale)
        y += np.negative(shift, shift) if bias is None else np.subtract(bias, shift)
        return y
    y = np.subtract(x, mean) if y is None else y.reshape(x.shape)
    y *= scale
    if not small:
        y *= weight
    if bias is not None:
        y += bias
    return y


def normalize_backward(
    g: Array, x: Array, weight: Array, mean: Array, rstd: Array, *, dim: Dims,
    needs: tuple[bool, ...],
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return the gradients by x, weight and bias, the latter two summed or still to be summed."""
    dtype, g, x, weight = g.dtype, _wide(g), _wide(x), _wide(weight)
    if weight is not None and weight.shape == x.shape[dim[0] :]:
        dx, dw, db = _backward_columns(g, x, weight, mean, rstd, needs)
    else:
        dx, dw, db = _backward_parts(g, x, weight, mean, rstd, dim, needs)
    return None if dx is None else dx.astype(dtype, copy=False), dw, db


def _backward_columns(
    g: Array, x: Array, weight: Array, mean: Array, rstd: Array, needs: tuple[bool, ...]
) -> tuple[Array, Array, Array]:
    """Return the gradients where weights vary within a row, block by block."""
    width = weight.size
    v, gs, w = x.reshape(-1, width), g.reshape(-1, width), weight.reshape(-1)
    mean, rstd = mean.reshape(-1, 1), rstd.reshape(-1)
    rows = max(min(_blocks.BLOCK // max(width, 1), len(v), _BLOCK), 1)
    dx = np.empty(v.shape, v.dtype) if needs[0] else None
    unit, product = np.empty((2, rows, width), v.dtype)
    dw, db = np.zeros((2, width), v.dtype)
    for start in range(0, len(v), rows):
        part = slice(start, min(start + rows, len(v)))
        size = part.stop - start
        along = product[:size]
        centered = np.subtract(v[part], mean[part], unit[:size] if dx is None else dx[part])
        np.multiply(gs[part], centered, along)
        if needs[1]:
            dw += rstd[part].dot(along)
        if needs[2]:
            db += _ones(size, v.dtype).dot(gs[part])
        if dx is not None:
            _finish_rows(centered, along, gs[part], w, rstd[part])
    if dx is not None:
        dx = dx.reshape(x.shape)
    return dx, dw.reshape(weight.shape), db.reshape(weight.shape)


def _finish_rows(centered: Array, product: Array, g: Array, w: Array, rstd: Array) -> None:
    """Turn x - mean into the gradient by x; `product` is g (x - mean), and is overwritten."""
    width = len(w)
    slope = _along(product, w)
    slope *= rstd * rstd
    slope /= -width
    shift = _along(g, w)
    shift /= width
    centered *= slope[:, None]
    centered += np.multiply(g, w, product)
    centered -= shift[:, None]
    centered *= rstd[:, None]


def _along(rows: Array, w: Array) -> Array:
    """Return rows · w, with bounded chains of additions."""
    return rows.dot(w) if len(w) <= _BLOCK else np.add.reduce(rows * w, 1)


def _backward_parts(
    g: Array, x: Array, weight: Array, mean: Array, rstd: Array, dim: Dims,
    needs: tuple[bool, ...],
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return the gradients where mean, rstd and weight stay the same over parts of length L.

    Two numbers of each part, Σ g and Σ g x, tell all but the last step.
    """
    lead = _parts(x, weight, dim)
    parts = (*x.shape[:lead], math.prod(x.shape[lead:]))
    v, g_parts = x.reshape(parts), g.reshape(parts)
    mean, rstd = mean.reshape(mean.shape[:lead]), rstd.reshape(rstd.shape[:lead])
    far = _is_far(mean, rstd, _MODERATE)
    if far:
        v = np.subtract(v, mean[..., None])
    total, along = _sum_parts(g_parts), _sum_parts(v, g_parts)
    if not far:
        along -= mean * total
    db = g if weight is None or not needs[2] else _sum_to_weight(total, weight, x.ndim)
    dw = _sum_to_weight(along * rstd, weight, x.ndim) if needs[1] else None
    if not needs[0]:
        return None, dw, db
    factor = rstd
    if weight is not None:
        w = weight.reshape(((1,) * (x.ndim - weight.ndim) + weight.shape)[:lead])
        total, along, factor = total * w, along * w, rstd * w
    over = tuple([i for i in dim if i < lead])
    if over:
        total, along = (_reduce.sum(t, dim=over, keepdim=True) for t in (total, along))
    n = max(math.prod([x.shape[i] for i in dim]), 1)
    slope = along * (rstd * rstd * rstd)
    slope /= -n
    shift = total * (rstd / -n)
    if not far:
        shift -= slope * mean
    dx = np.multiply(v, slope[..., None], v if far else None)
    dx += shift[..., None]
    _add_product(dx, g_parts, factor[..., None])
    return dx.reshape(x.shape), dw, db


def _parts(x: Array, weight: Array, dim: Dims) -> int:
    """Return how many dimensions lead; over the others statistics and weight stay the same."""
    lead = x.ndim
    while lead and lead - 1 in dim:
        if weight is not None and lead > x.ndim - weight.ndim:
            if weight.shape[lead - 1 - x.ndim] != 1:
                break
        lead -= 1
    return lead


def _sum_parts(x: Array, y: Array = None) -> Array:
    """Sum x, or x y, over the last dimension."""
    length = x.shape[-1]
    if length == 1:
        return (x if y is None else x * y)[..., 0]
    if length > _BLOCK:
        return np.add.reduce(x if y is None else x * y, -1)
    if y is not None:
        return np.vecdot(x, y)
    return x.reshape(-1, length).dot(_ones(length, x.dtype)).reshape(x.shape[:-1])


def _sum_to_weight(table: Array, weight: Array, ndim: int) -> Array:
    """Sum one number for each part down to the shape of a weight."""
    full = table.reshape(table.shape + (1,) * (ndim - table.ndim))
    return _reduce.sum_to(full, shape=weight.shape)


def _add_product(y: Array, a: Array, b: Array) -> None:
    """Add a b to y; the products take turns in little memory, as a large temporary costs time."""
    step = max(2 * _blocks.BLOCK // max(y[:1].size, 1), 1)
    product = np.empty((min(step, len(y)), *y.shape[1:]), y.dtype)
    for start in range(0, len(y), step):
        part = slice(start, min(start + step, len(y)))
        factor = b if len(b) == 1 else b[part]
        y[part] += np.multiply(a[part], factor, product[: part.stop - start])
