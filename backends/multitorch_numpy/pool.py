"""Pooling: windows are visited by their offsets, each offset one strided slice of the whole input.

Maxima and sums of windows separate into one pass for each dimension.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from math import prod as _prod
from typing import Any

import numpy as np

from multitorch_numpy import activation as _activation
from multitorch_numpy import pointwise as _pointwise

Array = Any
Sizes = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


def _lowest(dtype: Any) -> Any:
    return np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf


def _reach(n: int, out: int, k: int, s: int, lo: int, d: int) -> int:
    """Return how far the windows reach beyond the end of a dimension."""
    return max((out - 1) * s + d * (k - 1) + 1 - n - lo, 0)


def _padded(x: Array, value: Any, pads: Pads) -> Array:
    """Return x with its last dimensions extended, or x itself."""
    if not pads:
        return x
    lead = x.ndim - len(pads)
    shape = (*x.shape[:lead], *(n + lo + hi for n, (lo, hi) in zip(x.shape[lead:], pads)))
    y = np.full(shape, value, x.dtype)
    y[(..., *(slice(lo, lo + n) for n, (lo, _) in zip(x.shape[lead:], pads)))] = x
    return y


@functools.lru_cache(maxsize=1024)
def _pads(
    sizes: Sizes, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> Pads:
    """Return (before, after) for each dimension; () if nothing is to be added."""
    pads = [
        (lo, _reach(n, o, k, s, lo, d))
        for n, o, k, s, lo, d in zip(sizes, size, kernel, stride, padding, dilation)
    ]
    return tuple(pads) if any(lo or hi for lo, hi in pads) else ()


def _cropped(x: Array, sizes: Sizes, pads: Pads) -> Array:
    """Undo `_padded`."""
    if not pads:
        return x
    return x[(..., *(slice(lo, lo + n) for n, (lo, _) in zip(sizes, pads)))]


def _offsets(size: Sizes, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Iterator[tuple]:
    """Yield for each window element the slices that hold it for every window."""
    for index in itertools.product(*map(range, kernel)):
        yield (
            ...,
            *(
                slice(i * d, i * d + s * (o - 1) + 1, s)
                for i, d, s, o in zip(index, dilation, stride, size)
            ),
        )


@functools.lru_cache(maxsize=1024)
def _windows(axis: int, o: int, k: int, s: int, d: int) -> tuple[tuple, ...]:
    """Return for each element of a window along one dimension the index of where it is."""
    lead = (slice(None),) * axis
    return tuple([(*lead, slice(i * d, i * d + s * (o - 1) + 1, s)) for i in range(k)])


def _separable(ufunc: Any, x: Array, size: Sizes, kernel: Sizes, stride: Sizes, dilation: Sizes):
    """Reduce windows by a ufunc, last dimension first; return the input and each stage's result.

    In this order, the first of equal elements of every stage is the first in row-major order.
    """
    stages = [x]
    lead = x.ndim - len(size)
    for i in range(len(size) - 1, -1, -1):
        first, *rest = _windows(lead + i, size[i], kernel[i], stride[i], dilation[i])
        if rest:
            y = ufunc(x[first], x[rest[0]])
            for window in rest[1:]:
                ufunc(y, x[window], out=y)
            x = y
        else:
            x = x[first]
        stages.append(x)
    return stages


def max_pool(
    x: Array, *, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> Array:
    pads = _pads(x.shape[x.ndim - len(size) :], size, kernel, stride, padding, dilation)
    padded = _padded(x, _lowest(x.dtype), pads)
    y = _separable(np.maximum, padded, size, kernel, stride, dilation)[-1]
    return y.copy() if _prod(kernel) == 1 else y


def max_pool_with_indices(
    x: Array, *, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> tuple[Array, Array]:
    sizes = x.shape[x.ndim - len(size) :]
    pads = _pads(sizes, size, kernel, stride, padding, dilation)
    padded = _padded(x, _lowest(x.dtype), pads)
    best: Any = None
    which: Any = None
    for number, window in enumerate(_offsets(size, kernel, stride, dilation)):
        part = padded[window]
        if best is None:
            best, which = part.copy(), np.zeros(part.shape, np.intp)
            continue
        better = part > best
        if x.dtype.kind not in "iu":
            better |= part != part
        np.copyto(best, part, where=better)
        np.copyto(which, number, where=better)
    return best, _flat_indices(which, sizes, size, kernel, stride, padding, dilation)


def _flat_indices(
    which: Array, sizes: Sizes, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes,
    dilation: Sizes,
) -> Array:  # fmt: skip
    """Turn the number of a window's element into its position in the flattened input."""
    flat: Any = 0
    inner = np.unravel_index(np.arange(_prod(kernel)), kernel)
    for axis, table in enumerate(inner):
        shape = [1] * len(size)
        shape[axis] = -1
        start = (np.arange(size[axis]) * stride[axis] - padding[axis]).reshape(shape)
        at = start + (table * dilation[axis])[which]
        if padding[axis]:
            np.clip(at, 0, sizes[axis] - 1, out=at)
        flat = flat * sizes[axis] + at
    return np.asarray(flat, np.int64)


def max_pool_backward(
    g: Array, x: Array, out: Array, *, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes,
    dilation: Sizes,
) -> Array:  # fmt: skip
    lead = x.ndim - len(size)
    sizes = x.shape[lead:]
    if not _all_finite(out):
        where = max_pool_with_indices(
            x, size=size, kernel=kernel, stride=stride, padding=padding, dilation=dilation
        )[1]
        return _added_at(g, where, x.shape, lead)
    pads = _pads(sizes, size, kernel, stride, padding, dilation)
    padded = _padded(x, _lowest(x.dtype), pads)
    stages = _separable(np.maximum, padded, size, kernel, stride, dilation)
    for axis in range(len(size)):
        result, source = stages.pop(), stages[-1]
        window = size[axis], kernel[axis], stride[axis], dilation[axis]
        g = _to_first(g, source, result, lead + axis, *window)
    return _cropped(g, sizes, pads)


def _all_finite(x: Array) -> bool:
    """Whether there is neither NaN nor infinity, nor a number with an infinite square."""
    if x.dtype.char in "fd":
        return math.isfinite(np.vdot(x, x))
    return bool(np.isfinite(x).all())


def _added_at(g: Array, where: Array, shape: Sizes, lead: int) -> Array:
    """Add each gradient to the element of its image that a flat index names."""
    dx = np.zeros((_prod(shape[:lead]), _prod(shape[lead:])), g.dtype)
    images = np.arange(len(dx))[:, None]
    np.add.at(dx, (images, where.reshape(len(dx), -1)), g.reshape(len(dx), -1))
    return dx.reshape(shape)


def _to_first(
    g: Array, source: Array, result: Array, axis: int, o: int, k: int, s: int, d: int
) -> Array:
    """Give each gradient to the first maximal element of its window along one dimension."""
    dx = np.zeros(source.shape, g.dtype)
    windows = _windows(axis, o, k, s, d)
    apart = s > d * (k - 1)
    free = np.ones(result.shape, bool)
    for i in range(k):
        if i < k - 1:
            hit = np.equal(source[windows[i]], result)
            hit &= free
            free ^= hit
        else:
            hit = free
        given = _activation._keep(hit, g)
        if apart:
            dx[windows[i]] = given
        else:
            dx[windows[i]] += given
    return dx


# --- means ---------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def _divisor(
    sizes: Sizes, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, include: bool,
    override: int | None,
) -> Any:  # fmt: skip
    """Return the number of elements to divide by: one number, or one for each window."""
    if override is not None:
        return float(override)
    counts: Any = np.ones(())
    for n, o, k, s, p in zip(sizes, size, kernel, stride, padding):
        start = np.arange(o) * s - p
        end = np.minimum(start + k, n + p)
        if not include:
            start, end = np.maximum(start, 0), np.minimum(end, n)
        counts = counts[..., None] * (end - start)
    return float(_prod(kernel)) if (counts == _prod(kernel)).all() else counts


def _wide(x: Array) -> Array:
    return x.astype(np.float32) if x.dtype.itemsize == 2 and x.dtype.kind not in "iu" else x


def avg_pool(
    x: Array, *, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, include: bool,
    override: int | None, sizes: Sizes,
) -> Array:  # fmt: skip
    dtype, x = x.dtype, _wide(x)
    ones = (1,) * len(size)
    pads = _pads(sizes, size, kernel, stride, padding, ones)
    y = _separable(np.add, _padded(x, 0, pads), size, kernel, stride, ones)[-1]
    divisor = _divisor(sizes, size, kernel, stride, padding, include, override)
    if dtype.kind in "iu":
        return _pointwise.trunc_divide(y, np.asarray(divisor, y.dtype))
    return (y / np.asarray(divisor, y.dtype)).astype(dtype, copy=False)


def avg_pool_backward(
    y: Array, *, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, include: bool,
    override: int | None, sizes: Sizes,
) -> Array:  # fmt: skip
    dtype, y = y.dtype, _wide(y)
    divisor = _divisor(sizes, size, kernel, stride, padding, include, override)
    g = y / np.asarray(divisor, y.dtype)
    lead = y.ndim - len(size)
    pads = _pads(sizes, size, kernel, stride, padding, (1,) * len(size))
    for axis, (n, o, k, s) in enumerate(zip(sizes, size, kernel, stride)):
        shape = list(g.shape)
        shape[lead + axis] = n + sum(pads[axis]) if pads else n
        dx = np.zeros(shape, g.dtype)
        for window in _windows(lead + axis, o, k, s, 1):
            dx[window] += g
        g = dx
    return _cropped(g, sizes, pads).astype(dtype, copy=False)


@functools.lru_cache(maxsize=256)
def _adaptive_matrix(n: int, out: int, char: str) -> Array:
    """Return the (out, n) matrix that takes the mean of each adaptive window."""
    i = np.arange(out)
    start, end = i * n // out, -(-(i + 1) * n // out)
    at = np.arange(n)
    inside = (at >= start[:, None]) & (at < end[:, None])
    return (inside / (end - start)[:, None]).astype(char)


def _apply_matrices(x: Array, matrices: list[Array]) -> Array:
    lead = x.ndim - len(matrices)
    for axis, matrix in enumerate(matrices):
        x = np.matmul(x.swapaxes(lead + axis, -1), matrix.T).swapaxes(lead + axis, -1)
    return np.ascontiguousarray(x)


def adaptive_avg_pool(x: Array, *, size: Sizes, sizes: Sizes) -> Array:
    dtype, x = x.dtype, _wide(x)
    found = [_adaptive_matrix(n, o, x.dtype.char) for n, o in zip(sizes, size)]
    return _apply_matrices(x, found).astype(dtype, copy=False)


def adaptive_avg_pool_backward(y: Array, *, size: Sizes, sizes: Sizes) -> Array:
    dtype, y = y.dtype, _wide(y)
    found = [_adaptive_matrix(n, o, y.dtype.char).T for n, o in zip(sizes, size)]
    return _apply_matrices(y, found).astype(dtype, copy=False)
