"""Generic bodies of reductions, over the primitives of other families."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = Any
Dims = tuple[int, ...]
_INT64 = np.dtype(np.int64)


def unreduce(F: Any, x: Array, *, shape: Dims, dim: Dims, keepdim: bool) -> Array:
    """Repeat the result of a reduction over the dimensions that it reduced."""
    if not keepdim:
        x = F.reshape(x, shape=tuple([1 if i in dim else n for i, n in enumerate(shape)]))
    return F.expand(x, shape=shape)


def sum_all(F: Any, x: Array) -> Array:
    """The sum of all elements."""
    return F.sum(x, dim=tuple(range(x.ndim)), keepdim=False)


def mean_all(F: Any, x: Array) -> Array:
    """The mean of all elements."""
    return F.mean(x, dim=tuple(range(x.ndim)), keepdim=False)


def max_all(F: Any, x: Array) -> Array:
    """The largest element."""
    return F.amax(x, dim=tuple(range(x.ndim)), keepdim=False)


def min_all(F: Any, x: Array) -> Array:
    """The smallest element."""
    return F.amin(x, dim=tuple(range(x.ndim)), keepdim=False)


def logsumexp(F: Any, x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """`log(sum(exp(x)))`, shifted by the maximum so that nothing overflows."""
    most = F.amax(F.real(x), dim=dim, keepdim=True)
    most = F.where(F.isfinite(most), most, 0)
    out = F.log(F.sum(F.exp(x - most), dim=dim, keepdim=True)) + most
    if keepdim:
        return out
    return F.reshape(out, shape=tuple([n for i, n in enumerate(x.shape) if i not in dim]))


def var(F: Any, x: Array, *, dim: Dims, correction: float, keepdim: bool) -> Array:
    """Squared distances from the mean, added, over n - correction."""
    wide = F.cast(x, dtype=_working_dtype(x.dtype))
    n = math.prod([x.shape[i] for i in dim])
    centered = wide - F.mean(wide, dim=dim, keepdim=True)
    total = F.sum(F.real(centered * F.conj(centered)), dim=dim, keepdim=keepdim)
    out = total / max(n - correction, 0)
    return out if wide.dtype == x.dtype else F.cast(out, dtype=x.dtype)


def std(F: Any, x: Array, *, dim: Dims, correction: float, keepdim: bool) -> Array:
    """The square root of the variance."""
    return F.sqrt(var(F, x, dim=dim, correction=correction, keepdim=keepdim))


def _working_dtype(dtype: Any) -> Any:
    return np.dtype(np.float32) if dtype.itemsize < 4 else dtype


def vector_norm(F: Any, x: Array, *, ord: float, dim: Dims, keepdim: bool) -> Array:
    """`sum(|x|**ord) ** (1/ord)`, and its limits at 0 and the infinities."""
    size = F.abs(x)
    dtype = size.dtype
    if ord == math.inf:
        return F.amax(size, dim=dim, keepdim=keepdim)
    if ord == -math.inf:
        return F.amin(size, dim=dim, keepdim=keepdim)
    if ord == 0:
        return F.sum(F.cast(F.ne(x, 0), dtype=dtype), dim=dim, keepdim=keepdim)
    if ord == 1:
        return F.sum(size, dim=dim, keepdim=keepdim)
    wide = F.cast(size, dtype=_working_dtype(dtype))
    if ord == 2:
        out = F.sqrt(F.sum(wide * wide, dim=dim, keepdim=keepdim))
    else:
        out = F.pow(F.sum(F.pow(wide, ord), dim=dim, keepdim=keepdim), 1 / ord)
    return out if wide.dtype == dtype else F.cast(out, dtype=dtype)


# --- order statistics ----------------------------------------------------------------------------


def kthvalue(F: Any, x: Array, *, k: int, dim: int, keepdim: bool) -> tuple[Array, Array]:
    """The k-th smallest elements along a dimension, and their indices."""
    if not x.ndim:
        return x, F.cast(F.new_zeros(x, shape=()), dtype=_INT64)
    values, indices = F.sort(x, dim=dim, descending=False, stable=True)
    pick = _picker(F, dim, keepdim)
    return pick(values, k - 1), pick(indices, k - 1)


def _picker(F: Any, dim: int, keepdim: bool) -> Any:
    if keepdim:
        return lambda t, i: F.slice(t, i, dim=dim, length=1, step=1)
    return lambda t, i: F.select(t, i, dim=dim)


def median(F: Any, x: Array, *, dim: int, keepdim: bool, ignore_nan: bool) -> tuple[Array, Array]:
    """The lower medians along a dimension, and their indices; NaN wins unless ignored."""
    if not x.ndim:
        return x, F.cast(F.new_zeros(x, shape=()), dtype=_INT64)
    n = x.shape[dim]
    values, indices = F.sort(x, dim=dim, descending=False, stable=True)
    valid = F.sum(F.cast(F.eq(x, x), dtype=_INT64), dim=(dim,), keepdim=True)
    middle = F.maximum(F.floor_divide(valid - 1, 2), 0)
    # sorting puts NaN last: the first of them stands right behind the valid elements
    at = middle if ignore_nan else F.where(F.lt(valid, n), valid, middle)
    pair = F.gather(values, at, dim=dim), F.gather(indices, at, dim=dim)
    return pair if keepdim else tuple([F.select(t, 0, dim=dim) for t in pair])


def median_all(F: Any, x: Array, *, dim: Dims, keepdim: bool, ignore_nan: bool) -> Array:
    """The lower median of all elements."""
    flat = F.reshape(x, shape=(math.prod(x.shape),))
    return F.median(flat, dim=0, keepdim=False, ignore_nan=ignore_nan)[0]


def mode(F: Any, x: Array, *, dim: int, keepdim: bool) -> tuple[Array, Array]:
    """The most frequent values along a dimension, the smallest of equals, and indices."""
    if not x.ndim:
        return x, F.cast(F.new_zeros(x, shape=()), dtype=_INT64)
    n = x.shape[dim]
    values, indices = F.sort(x, dim=dim, descending=False, stable=True)
    place = F.cumsum(F.cast(F.eq(indices, indices), dtype=_INT64), dim=dim)
    first = F.slice(place, 0, dim=dim, length=1, step=1)
    head = F.slice(values, 0, dim=dim, length=n - 1, step=1)
    tail = F.slice(values, 1, dim=dim, length=n - 1, step=1)
    starts = F.cat(F.eq(first, first), F.ne(head, tail), dim=dim)
    start = F.cummax(F.where(starts, place, 0), dim=dim)[0]
    at = F.argmax(place - start, dim=dim, keepdim=True)
    pair = F.gather(values, at, dim=dim), F.gather(indices, at, dim=dim)
    return pair if keepdim else tuple([F.select(t, 0, dim=dim) for t in pair])


# --- scans ----------------------------------------------------------------------------------------


def recurrence(F: Any, a: Array, b: Array, *, dim: int) -> Array:
    """Solve `y[k] = a[k] * y[k - 1] + b[k]` in log2(n) passes over the whole array."""
    n = b.shape[dim]
    step = 1
    while step < n:
        head = {"dim": dim, "length": n - step, "step": 1}
        last = {"dim": dim, "length": step, "step": 1}
        late_a, late_b = F.slice(a, step, **head), F.slice(b, step, **head)
        summed = late_b + late_a * F.slice(b, 0, **head)
        b = F.cat(F.slice(b, 0, **last), summed, dim=dim)
        a = F.cat(F.slice(a, 0, **last), late_a * F.slice(a, 0, **head), dim=dim)
        step *= 2
    return b
