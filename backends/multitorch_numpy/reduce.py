"""Reduction kernels: `ufunc.reduce` called directly, and BLAS where it sums faster."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from multitorch_numpy import rows as _rows

Array = Any
Dims = tuple[int, ...]
_add: Any = np.add.reduce
_multiply: Any = np.multiply.reduce
_most: Any = np.maximum.reduce
_least: Any = np.minimum.reduce
_both: Any = np.logical_and.reduce
_either: Any = np.logical_or.reduce
_BLOCK = 4096
"""How many float32 numbers are added one after the other, at most: bounds the rounding error."""


class _Ones(dict):
    """Vectors of ones by length: a product with them adds faster than `np.add.reduce`."""

    def __init__(self, dtype: Any) -> None:
        super().__init__()
        self.dtype = dtype

    def __missing__(self, n: int) -> Array:
        ones = self[n] = np.ones(n, self.dtype)
        return ones


_ONES = {"f": _Ones(np.float32), "d": _Ones(np.float64)}


def _axis(x: Array, dim: Dims) -> Any:
    return None if len(dim) == x.ndim else dim[0] if len(dim) == 1 else dim


def _kept(x: Array, dim: Dims) -> Dims:
    return tuple([1 if i in dim else n for i, n in enumerate(x.shape)])


def sum_all(x: Array) -> Array:
    """Add all elements; floats by products with ones, block by block."""
    char = x.dtype.char
    if char not in "fd" or not (x.size <= _BLOCK or x.flags.c_contiguous):
        return _add_up(x, None, False)
    flat, n = x.ravel(), x.size
    if n <= _BLOCK:
        return flat.dot(_ONES[char][n])
    whole = n - n % _BLOCK
    sums = flat[:whole].reshape(-1, _BLOCK).dot(_ONES[char][_BLOCK])
    total = _add(sums)
    return total if whole == n else total + flat[whole:].dot(_ONES[char][n - whole])


def sum(x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Add over dimensions: integers in int64, half precision in float32."""
    char = x.dtype.char
    if char in "fd":
        if len(dim) == x.ndim:
            out = sum_all(x)
            return out.reshape((1,) * x.ndim) if keepdim else out
        if len(dim) == 1 and x.ndim == 2 and x.flags.c_contiguous:
            n = x.shape[dim[0]]
            if 0 < n <= _BLOCK and x.shape[1 - dim[0]]:
                ones = _ONES[char][n]
                out = x.dot(ones) if dim[0] else ones.dot(x)
                return out.reshape(_kept(x, dim)) if keepdim else out
        if dim and dim[0] == 0 and x.shape[0] > _BLOCK and char == "f":
            x = _fold(x)
    return _add_up(x, _axis(x, dim), keepdim)


def _add_up(x: Array, axis: Any, keepdim: bool) -> Array:
    if x.dtype.char in "fdFDlgq":
        return _add(x, axis, None, None, keepdim)
    if x.dtype.kind in "biu":
        return _add(x, axis, np.int64, None, keepdim)
    return _add(x, axis, np.float32, None, keepdim).astype(x.dtype)


def _fold(x: Array) -> Array:
    """Add blocks of rows first, so that no long chain of float32 additions arises."""
    whole = x.shape[0] // 512 * 512
    blocks = _add(x[:whole].reshape(-1, 512, *x.shape[1:]), 1)
    return np.concatenate([blocks, x[whole:]]) if whole < x.shape[0] else blocks


def sum_to(x: Array, *, shape: Dims) -> Array:
    """Add over the dimensions along which `shape` was broadcast to the shape of x."""
    if x.shape == shape:
        return x
    if not shape:
        return sum(x, dim=tuple(range(x.ndim)), keepdim=False)
    lead = x.ndim - len(shape)
    dim = tuple([i for i in range(x.ndim) if i < lead or shape[i - lead] == 1 and x.shape[i] != 1])
    return sum(x, dim=dim, keepdim=False).reshape(shape) if dim else x.reshape(shape)


def unreduce(x: Array, *, shape: Dims, dim: Dims, keepdim: bool) -> Array:
    """Repeat the result of a reduction over the dimensions that it reduced (read-only memory)."""
    if len(dim) == len(shape):
        out = np.empty(shape, x.dtype)
        out[...] = x
        return out
    if not keepdim:
        x = x.reshape([1 if i in dim else n for i, n in enumerate(shape)])
    return np.broadcast_to(x, shape)


def mean(x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Average over dimensions."""
    n = x.size if len(dim) == x.ndim else math.prod([x.shape[i] for i in dim])
    if x.dtype.char in "fdFD":
        total = sum(x, dim=dim, keepdim=keepdim)
        return total / n if n else np.asarray(total) / np.zeros((), x.dtype)
    total = _add(x, _axis(x, dim), np.float32, None, keepdim)
    return np.asarray(total / np.float32(n)).astype(x.dtype)


def mean_all(x: Array) -> Array:
    """Average all elements."""
    if x.dtype.char in "fd" and 0 < x.size <= _BLOCK:
        return x.ravel().dot(_ONES[x.dtype.char][x.size]) / x.size
    return mean(x, dim=tuple(range(x.ndim)), keepdim=False)


def max_all(x: Array) -> Array:
    """Return the largest element; NaN wins."""
    return x.ravel()[x.argmax()] if x.dtype.char in "fdlq" else _most(x, None)


def min_all(x: Array) -> Array:
    """Return the smallest element; NaN wins."""
    return x.ravel()[x.argmin()] if x.dtype.char in "fdlq" else _least(x, None)


def amax(x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Return the largest element over dimensions; NaN wins."""
    if dim == (1,) and _rows.is_matrix(x):
        most = _rows.top(x)
        return most[:, None] if keepdim else most
    return _most(x, _axis(x, dim), None, None, keepdim)


def amin(x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Return the smallest element over dimensions; NaN wins."""
    return _least(x, _axis(x, dim), None, None, keepdim)


def all(x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Return whether every element is nonzero."""
    return _both(x, _axis(x, dim), None, None, keepdim)


def any(x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Return whether some element is nonzero."""
    return _either(x, _axis(x, dim), None, None, keepdim)


def prod(x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Multiply over dimensions: integers in int64, half precision in float32."""
    if x.dtype.kind in "biu":
        return _multiply(x, _axis(x, dim), np.int64, None, keepdim)
    if x.dtype.char in "fdFD":
        return _multiply(x, _axis(x, dim), None, None, keepdim)
    return _multiply(x, _axis(x, dim), np.float32, None, keepdim).astype(x.dtype)


def argmax(x: Array, *, dim: int | None, keepdim: bool) -> Array:
    """Return the index of the first largest element; NaN is the largest."""
    return _arg(x.argmax, x, dim, keepdim)


def argmin(x: Array, *, dim: int | None, keepdim: bool) -> Array:
    """Return the index of the first smallest element; NaN is the smallest."""
    return _arg(x.argmin, x, dim, keepdim)


def _arg(find: Any, x: Array, dim: int | None, keepdim: bool) -> Array:
    if dim is None:
        found = find()
        return np.asarray(found).reshape((1,) * x.ndim) if keepdim else found
    return find(dim, keepdims=keepdim) if x.ndim else find()


def max_dim(x: Array, *, dim: int, keepdim: bool) -> tuple[Array, Array]:
    """Return the largest elements along a dimension and their first indices."""
    if not x.ndim:
        return np.array(x), np.zeros((), np.int64)
    if dim == 1 and _rows.is_matrix(x):
        index = x.argmax(1)
        most = x.take(index + _rows.starts(*x.shape))
        return (most[:, None], index[:, None]) if keepdim else (most, index)
    return _most(x, dim, None, None, keepdim), x.argmax(dim, keepdims=keepdim)


def min_dim(x: Array, *, dim: int, keepdim: bool) -> tuple[Array, Array]:
    """Return the smallest elements along a dimension and their first indices."""
    if not x.ndim:
        return np.array(x), np.zeros((), np.int64)
    return _least(x, dim, None, None, keepdim), x.argmin(dim, keepdims=keepdim)


def logsumexp(x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Return `log(sum(exp(x)))`, shifted by the maximum so that nothing overflows."""
    wide = x if x.dtype.char in "fdFD" else x.astype(np.float32)
    most = np.asarray(_most(wide.real, _axis(x, dim), None, None, True))
    if not np.isfinite(most).all():
        most = np.where(np.isfinite(most), most, most.dtype.type(0))
    terms = np.asarray(wide - most)
    np.exp(terms, terms)
    out = np.log(sum(terms, dim=dim, keepdim=keepdim))
    out = out + (most if keepdim else most.reshape(out.shape))
    return out if wide is x else np.asarray(out).astype(x.dtype)


# --- statistics ----------------------------------------------------------------------------------


def var(x: Array, *, dim: Dims, correction: float, keepdim: bool) -> Array:
    """Return the variance: squared distances from the mean, added, over n - correction."""
    char = x.dtype.char
    if char not in "fdFD":
        wide = var(x.astype(np.float32), dim=dim, correction=correction, keepdim=keepdim)
        return np.asarray(wide).astype(x.dtype)
    whole = len(dim) == x.ndim
    n = x.size if whole else math.prod([x.shape[i] for i in dim])
    free = max(n - correction, 0)
    if whole and not keepdim and char in "fd" and 0 < n <= _BLOCK:
        flat = x.ravel()
        flat = flat - flat.dot(_ONES[char][n]) / n
        return flat.dot(flat) / x.dtype.type(free)
    centered: Any = np.asarray(x - mean(x, dim=dim, keepdim=True))
    if char in "FD":
        squares = centered.real**2 + centered.imag**2
    else:
        squares = np.multiply(centered, centered, centered)
    total = sum(squares, dim=dim, keepdim=keepdim)
    return total / squares.dtype.type(free)


def std(x: Array, *, dim: Dims, correction: float, keepdim: bool) -> Array:
    """Return the square root of the variance."""
    return np.sqrt(var(x, dim=dim, correction=correction, keepdim=keepdim))


def median_all(x: Array, *, dim: Dims, keepdim: bool, ignore_nan: bool) -> Array:
    """Return the lower median of all elements; NaN wins unless ignored."""
    flat = x.ravel()
    if flat.dtype.kind == "V":
        flat = flat.astype(np.float32)
    missing = np.isnan(flat) if flat.dtype.kind == "f" else None
    if missing is not None and missing.any():
        flat = flat[~missing] if ignore_nan else flat[missing]
        if not flat.size:
            return np.asarray(np.nan, x.dtype)
    k = (flat.size - 1) // 2
    return np.asarray(np.partition(flat, k)[k], x.dtype)


# --- running results -----------------------------------------------------------------------------


def cumsum(x: Array, *, dim: int) -> Array:
    """Return running sums: integers in int64, half precision in float32."""
    if dim == x.ndim - 1 and x.dtype.char in "fd" and x.shape[-1] >= _WIDE and x.size >= _MANY:
        if math.isfinite(np.vdot(x, x)):
            return _running_sums(np.ascontiguousarray(x))
    return _running(np.add.accumulate, x, dim)


_SEGMENT, _MANY = 32, 1 << 13


@functools.lru_cache(maxsize=4)
def _triangle(dtype: np.dtype) -> Array:
    return np.triu(np.ones((_SEGMENT, _SEGMENT), dtype))


def _running_sums(x: Array) -> Array:
    """Return running sums of finite numbers: of segments by a matrix product, then of their totals.

    `accumulate` waits for each addition before the next.
    """
    length = x.shape[-1]
    rows = x.reshape(-1, length)
    whole = length // _SEGMENT * _SEGMENT
    segments = rows[:, :whole].reshape(len(rows), -1, _SEGMENT)
    sums = np.matmul(segments.reshape(-1, _SEGMENT), _triangle(x.dtype)).reshape(segments.shape)
    sums[:, 1:] += np.add.accumulate(sums[:, :-1, -1], 1)[..., None]
    out = sums.reshape(len(rows), whole)
    if whole < length:
        rest = np.add.accumulate(rows[:, whole:], 1)
        rest += out[:, -1:]
        out = np.concatenate([out, rest], 1)
    return out.reshape(x.shape)


def cumprod(x: Array, *, dim: int) -> Array:
    """Return running products: integers in int64, half precision in float32."""
    return _running(np.multiply.accumulate, x, dim)


def _running(accumulate: Any, x: Array, dim: int) -> Array:
    wide = _accumulator(x.dtype)
    if not x.ndim:
        return np.array(x, wide if x.dtype.kind in "biu" else x.dtype)
    if dim < x.ndim - 1 and wide is x.dtype and x.size and x.shape[-1] >= _WIDE:
        return _running_rows(accumulate, x, dim)
    out = accumulate(x, dim, wide)
    return out if x.dtype.kind in "biu" else out.astype(x.dtype, copy=False)


_WIDE = 64


def _running_rows(accumulate: Any, x: Array, dim: int) -> Array:
    """Go row by row where rows are wide, each a vectorized step; `accumulate` goes by elements."""
    step = np.add if accumulate == np.add.accumulate else np.multiply
    out = np.array(x, order="C")
    lanes = out.reshape(-1, x.shape[dim], math.prod(x.shape[dim + 1 :]))
    for lane in lanes:
        for i in range(1, len(lane)):
            step(lane[i - 1], lane[i], lane[i])
    return out


def _accumulator(dtype: np.dtype) -> Any:
    if dtype.kind in "biu":
        return np.int64
    return dtype if dtype.char in "fdFD" else np.float32


def cummax(x: Array, *, dim: int) -> tuple[Array, Array]:
    """Return running maxima and their last indices; NaN wins."""
    return _running_extreme(x, dim, np.maximum, np.greater_equal)


def cummin(x: Array, *, dim: int) -> tuple[Array, Array]:
    """Return running minima and their last indices; NaN wins."""
    return _running_extreme(x, dim, np.minimum, np.less_equal)


def _running_extreme(x: Array, dim: int, ufunc: Any, reaches: Any) -> tuple[Array, Array]:
    if not x.ndim:
        return np.array(x), np.zeros((), np.int64)
    values = ufunc.accumulate(x, dim)
    # an element sets the record where it equals it; NaN is equal to nothing, so ask it apart
    fresh = (x == values) | (x != x) if x.dtype.kind not in "biu" else x == values
    shape = [1] * x.ndim
    shape[dim] = -1
    index = np.arange(x.shape[dim]).reshape(shape)
    return values, np.maximum.accumulate(np.where(fresh, index, 0), dim)


def logcumsumexp(x: Array, *, dim: int) -> Array:
    """Return the logarithm of the running sum of exponentials."""
    if not x.ndim:
        return np.array(x)
    if x.dtype.kind == "c":
        return _logcumsumexp_complex(x, dim)
    wide = x if x.dtype.char in "fd" else x.astype(np.float32)
    return np.logaddexp.accumulate(wide, dim).astype(x.dtype, copy=False)


def _logcumsumexp_complex(x: Array, dim: int) -> Array:
    out = np.array(x)
    rows = np.moveaxis(out, dim, 0)
    for i in range(1, len(rows)):
        a, b = rows[i - 1], rows[i]
        high, low = np.where(a.real >= b.real, a, b), np.where(a.real >= b.real, b, a)
        alike = (a.real == b.real) & np.isinf(a.real)
        rows[i] = high + np.log1p(np.exp(np.where(alike, 0, low - high)))
    return out


def vector_norm(x: Array, *, ord: float, dim: Dims, keepdim: bool) -> Array:
    """Return `sum(|x|**ord) ** (1/ord)`, and its limits at 0 and the infinities."""
    if ord == 2 and x.dtype.char in "fd":
        if len(dim) == x.ndim and x.flags.c_contiguous:
            flat = x.ravel()
            out = np.sqrt(flat.dot(flat))
            return out.reshape((1,) * x.ndim) if keepdim else out
        return np.sqrt(sum(np.square(x), dim=dim, keepdim=keepdim))
    size = np.absolute(x)
    if math.isinf(ord):
        return (_most if ord > 0 else _least)(size, _axis(x, dim), None, None, keepdim)
    wide = size if size.dtype.char in "fd" else size.astype(np.float32)
    terms = (wide != 0).astype(wide.dtype) if ord == 0 else wide if ord == 1 else wide**ord
    total = sum(terms, dim=dim, keepdim=keepdim)
    return np.asarray(total if ord in (0, 1) else total ** (1 / ord)).astype(size.dtype, copy=False)
