"""Generic bodies of pooling."""

from __future__ import annotations

import itertools
from math import prod
from typing import Any

import numpy as np

Array = Any
Sizes = tuple[int, ...]


def max_pool(F: Any, x: Array, **geometry: Any) -> Array:
    """The maximum of each window."""
    return F.max_pool_with_indices(x, **geometry)[0]


def max_pool_backward(F: Any, g: Array, x: Array, out: Array, **geometry: Any) -> Array:
    """Give each window's gradient to its first maximum."""
    _, indices = F.max_pool_with_indices(x, **geometry)
    return F.unpool(g, indices, shape=tuple(x.shape), count=len(geometry["size"]))


def unpool(F: Any, g: Array, indices: Array, *, shape: Sizes, count: int) -> Array:
    """Add `g` into zeros at flat positions of the last `count` dimensions."""
    lead, spatial = shape[: len(shape) - count], shape[len(shape) - count :]
    flat = (*lead, prod(g.shape[len(lead) :]))
    zeros = F.new_zeros(g, shape=(*lead, prod(spatial)))
    g, indices = F.reshape(g, shape=flat), F.reshape(indices, shape=flat)
    return F.reshape(F.scatter_add(zeros, indices, g, dim=len(lead)), shape=shape)


# --- windows as slices ---------------------------------------------------------------------------


def _reach(n: int, o: int, k: int, s: int, p: int, d: int) -> int:
    """How far the last window ends beyond a dimension (negative: before its end)."""
    return (o - 1) * s + d * (k - 1) + 1 - n - p


def _padded(F: Any, x: Array, pads: list[tuple[int, int]], value: float) -> Array:
    lead = x.ndim - len(pads)
    return F.pad(x, pad=((0, 0),) * lead + tuple(pads), value=value)


def _slices(F: Any, x: Array, axis: int, o: int, k: int, s: int, d: int) -> list[Array]:
    """For each element of the windows along a dimension, what it is in every window."""
    return [F.slice(x, i * d, dim=axis, length=o, step=s) for i in range(k)]


def _lowest(dtype: np.dtype) -> Any:
    return np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf


def max_pool_with_indices(
    F: Any, x: Array, *, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> tuple[Array, Array]:
    """The maximum of each window and its flat position; the first of equals counts."""
    lead = x.ndim - len(size)
    sizes = x.shape[lead:]
    pads = [
        (p, _reach(*geometry))
        for p, geometry in zip(padding, zip(sizes, size, kernel, stride, padding, dilation))
    ]
    parts = [_padded(F, x, pads, _lowest(x.dtype))]
    for axis, window in enumerate(zip(size, kernel, stride, dilation), lead):
        parts = [part for whole in parts for part in _slices(F, whole, axis, *window)]
    best, at = parts[0], None
    for number, index in enumerate(itertools.product(*map(range, kernel))):
        here = _positions(F, x, index, size, stride, padding, dilation)
        if at is None:
            at = F.expand(here, shape=best.shape)
            continue
        part = parts[number]
        better = F.logical_or(part > best, part != part)
        best, at = F.where(better, part, best), F.where(better, here, at)
    return best, at


def _positions(
    F: Any, x: Array, index: Sizes, size: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> Array:
    """Where one element of every window lies in the flattened input."""
    flat: Any = 0
    sizes = x.shape[x.ndim - len(size) :]
    for axis, (i, n, o, s, p, d) in enumerate(zip(index, sizes, size, stride, padding, dilation)):
        at = F.iota(x, size=o, dtype=np.dtype(np.int64)) * s + (i * d - p)
        at = F.where(at < 0, 0, F.where(at >= n, n - 1, at))
        shape = tuple(o if a == axis else 1 for a in range(len(size)))
        flat = F.reshape(at, shape=shape) + flat * n
    return flat


# --- means ---------------------------------------------------------------------------------------


def _window_sums(F: Any, x: Array, size: Sizes, kernel: Sizes, stride: Sizes) -> Array:
    lead = x.ndim - len(size)
    for axis, (o, k, s) in enumerate(zip(size, kernel, stride), lead):
        first, *rest = _slices(F, x, axis, o, k, s, 1)
        for part in rest:
            first = first + part
        x = first
    return x


def _divisor(
    F: Any, x: Array, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, include: bool,
    override: int | None, sizes: Sizes,
) -> Array:  # fmt: skip
    """How many elements of each window count."""
    if override is not None:
        return F.new_full(x, shape=(), value=override)
    inner = [(p, p) for p in padding]
    ones = _padded(F, F.new_full(x, shape=sizes, value=1), inner, 1 if include else 0)
    outer = [
        (0, _reach(n, o, k, s, p, 1) - p)
        for n, o, k, s, p in zip(sizes, size, kernel, stride, padding)
    ]
    return _window_sums(F, _padded(F, ones, outer, 0), size, kernel, stride)


def avg_pool(
    F: Any, x: Array, *, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, include: bool,
    override: int | None, sizes: Sizes,
) -> Array:  # fmt: skip
    """The mean of each window."""
    pads = [
        (p, _reach(n, o, k, s, p, 1)) for n, o, k, s, p in zip(sizes, size, kernel, stride, padding)
    ]
    total = _window_sums(F, _padded(F, x, pads, 0), size, kernel, stride)
    divisor = _divisor(F, x, size, kernel, stride, padding, include, override, sizes)
    return F.trunc_divide(total, divisor) if x.dtype.kind in "iu" else total / divisor


def avg_pool_backward(
    F: Any, y: Array, *, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, include: bool,
    override: int | None, sizes: Sizes,
) -> Array:  # fmt: skip
    """Spread each value evenly over its window: the transpose of `avg_pool`."""
    y = y / _divisor(F, y, size, kernel, stride, padding, include, override, sizes)
    lead = y.ndim - len(size)
    for axis, (n, o, k, s, p) in enumerate(zip(sizes, size, kernel, stride, padding), lead):
        reach = max(_reach(n, o, k, s, p, 1), 0)
        shape = (*y.shape[:axis], n + p + reach, *y.shape[axis + 1 :])
        total: Any = None
        for i in range(k):
            part = F.slice_backward(y, i, shape=shape, dim=axis, length=o, step=s)
            total = part if total is None else total + part
        y = F.slice(total, p, dim=axis, length=n, step=1)
    return y


def _adaptive(F: Any, x: Array, axis: int, n: int, o: int, transposed: bool) -> Array:
    """Multiply one dimension by the matrix that takes the mean of each adaptive window."""
    whole = np.dtype(np.int64)
    i = F.reshape(F.iota(x, size=o, dtype=whole), shape=(o, 1))
    at = F.reshape(F.iota(x, size=n, dtype=whole), shape=(1, n))
    start, end = F.floor_divide(i * n, o), F.floor_divide(i * n + (n + o - 1), o)
    inside = F.logical_and(at >= start, at < end)
    matrix = F.where(inside, 1 / F.cast(end - start, dtype=x.dtype), 0)
    dims = tuple(range(axis)) + tuple(range(axis + 1, x.ndim)) + (axis,)
    back = tuple(dims.index(d) for d in range(x.ndim))
    if not transposed:
        matrix = F.permute(matrix, dims=(1, 0))
    return F.permute(F.matmul(F.permute(x, dims=dims), matrix), dims=back)


def adaptive_avg_pool(F: Any, x: Array, *, size: Sizes, sizes: Sizes) -> Array:
    """Means of windows that divide each dimension as evenly as can be."""
    for axis, (n, o) in enumerate(zip(sizes, size), x.ndim - len(size)):
        x = _adaptive(F, x, axis, n, o, transposed=False)
    return x


def adaptive_avg_pool_backward(F: Any, y: Array, *, size: Sizes, sizes: Sizes) -> Array:
    """The transpose of `adaptive_avg_pool`."""
    for axis, (n, o) in enumerate(zip(sizes, size), y.ndim - len(size)):
        y = _adaptive(F, y, axis, n, o, transposed=True)
    return y
