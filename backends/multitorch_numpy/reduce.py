"""Reduction kernels: `ufunc.reduce` called directly, and BLAS where it sums faster."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

Array = Any
Dims = tuple[int, ...]
_add, _multiply = np.add.reduce, np.multiply.reduce
_most, _least = np.maximum.reduce, np.minimum.reduce
_BLOCK = 4096
"""How many float32 numbers are added one after the other, at most: bounds the rounding error."""


@functools.lru_cache(maxsize=64)
def _ones(n: int, char: str) -> Array:
    return np.ones(n, char)


def _axis(x: Array, dim: Dims) -> Any:
    return None if len(dim) == x.ndim else dim[0] if len(dim) == 1 else dim


def _kept(x: Array, dim: Dims) -> Dims:
    return tuple([1 if i in dim else n for i, n in enumerate(x.shape)])


def sum(x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Add over dimensions: integers in int64, half precision in float32."""
    char = x.dtype.char
    if char in "fd":
        if not keepdim and x.size <= _BLOCK and x.flags.c_contiguous and len(dim) == x.ndim:
            return x.ravel().dot(_ones(x.size, char))
        return _sum_native(x, dim, keepdim)
    if char in "FDlgq":
        return _add(x, _axis(x, dim), None, None, keepdim)
    if x.dtype.kind in "biu":
        return _add(x, _axis(x, dim), np.int64, None, keepdim)
    return _add(x, _axis(x, dim), np.float32, None, keepdim).astype(x.dtype)


def _sum_native(x: Array, dim: Dims, keepdim: bool) -> Array:
    """Sum float32 or float64; over one dimension of a matrix by a product with ones."""
    if x.ndim == 2 and len(dim) == 1 and x.flags.c_contiguous:
        n = x.shape[dim[0]]
        if 0 < n <= _BLOCK and x.shape[1 - dim[0]]:
            ones = _ones(n, x.dtype.char)
            out = x.dot(ones) if dim[0] else ones.dot(x)
            return out.reshape(_kept(x, dim)) if keepdim else out
    if dim and dim[0] == 0 and x.ndim > len(dim) and x.shape[0] > _BLOCK and x.dtype.char == "f":
        x, dim = _fold(x, dim), dim
    return _add(x, _axis(x, dim), None, None, keepdim)


def _fold(x: Array, dim: Dims) -> Array:
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


def amax(x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Return the largest element over dimensions; NaN wins."""
    return _most(x, _axis(x, dim), None, None, keepdim)


def amin(x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Return the smallest element over dimensions; NaN wins."""
    return _least(x, _axis(x, dim), None, None, keepdim)


def all(x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Return whether every element is nonzero."""
    return np.logical_and.reduce(x, _axis(x, dim), None, None, keepdim)


def any(x: Array, *, dim: Dims, keepdim: bool) -> Array:
    """Return whether some element is nonzero."""
    return np.logical_or.reduce(x, _axis(x, dim), None, None, keepdim)


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
    return _most(x, dim, None, None, keepdim), x.argmax(dim, keepdims=keepdim)


def min_dim(x: Array, *, dim: int, keepdim: bool) -> tuple[Array, Array]:
    """Return the smallest elements along a dimension and their first indices."""
    if not x.ndim:
        return np.array(x), np.zeros((), np.int64)
    return _least(x, dim, None, None, keepdim), x.argmin(dim, keepdims=keepdim)


# --- statistics ----------------------------------------------------------------------------------


def var(x: Array, *, dim: Dims, correction: float, keepdim: bool) -> Array:
    """Return the variance: squared distances from the mean, added, over n - correction."""
    char = x.dtype.char
    if char not in "fdFD":
        wide = var(x.astype(np.float32), dim=dim, correction=correction, keepdim=keepdim)
        return np.asarray(wide).astype(x.dtype)
    n = math.prod([x.shape[i] for i in dim])
    centered = x - mean(x, dim=dim, keepdim=True)
    if char in "FD":
        squares = centered.real**2 + centered.imag**2
    elif len(dim) == x.ndim and not keepdim and x.size <= _BLOCK:
        flat = centered.ravel()
        return flat.dot(flat) / x.dtype.type(max(n - correction, 0))
    else:
        squares = np.multiply(centered, centered, centered if centered.ndim else None)
    total = sum(squares, dim=dim, keepdim=keepdim)
    return total / squares.dtype.type(max(n - correction, 0))


def std(x: Array, *, dim: Dims, correction: float, keepdim: bool) -> Array:
    """Return the square root of the variance."""
    return np.sqrt(var(x, dim=dim, correction=correction, keepdim=keepdim))


# --- running results -----------------------------------------------------------------------------


def cumsum(x: Array, *, dim: int) -> Array:
    """Return running sums: integers in int64, half precision in float32."""
    return _running(np.add.accumulate, x, dim)


def cumprod(x: Array, *, dim: int) -> Array:
    """Return running products: integers in int64, half precision in float32."""
    return _running(np.multiply.accumulate, x, dim)


def _running(accumulate: Any, x: Array, dim: int) -> Array:
    wide = _accumulator(x.dtype)
    if not x.ndim:
        return np.array(x, wide if x.dtype.kind in "biu" else x.dtype)
    out = accumulate(x, dim, wide)
    return out if x.dtype.kind in "biu" else out.astype(x.dtype, copy=False)


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
    wide = x if x.dtype.char in "fdFD" else x.astype(np.float32)
    return np.logaddexp.accumulate(wide, dim).astype(x.dtype, copy=False)


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
