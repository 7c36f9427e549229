"""Which input positions one dimension's interpolation reads, and with what weights.

A table is (index, weight), both (out, taps): y[i] = Σ_k weight[i, k] x[index[i, k]]. The gradient
goes by the transposed table of the same form.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

Array = np.ndarray
Table = tuple[Array, Array]


@lru_cache(maxsize=256)
def tables(
    mode: str, n: int, size: int, scale: float | None, align: bool, wide: bool
) -> tuple[Array, Array, Array, Array]:
    """Return the table that takes `n` positions to `size`, and its transpose.

    `scale` is the factor that the user gave, None for size / n; `wide` asks for double precision.
    """
    kind = np.float64 if wide else np.float32
    step = _step(n, size, scale, align, kind)
    if n == size and mode not in _ALWAYS:
        step = kind(1)
    index, weight = _MAKERS[mode](n, size, step, align)
    table = np.ascontiguousarray(index, np.int64), np.ascontiguousarray(weight, kind)
    return *table, *transposed(*table, n)


def _step(n: int, size: int, scale: float | None, align: bool, kind: Any) -> Any:
    """Return how far apart in the input two neighbors of the output are."""
    if align:
        return kind(n - 1) / kind(size - 1) if size > 1 else kind(0)
    return kind(1.0 / scale) if scale else kind(n) / kind(size)


def transposed(index: Array, weight: Array, n: int) -> Table:
    """Return the table of the transposed linear map, whose output has `n` positions.

    Shorter rows end in weights of zero at a position that they read anyway.
    """
    kept = np.nonzero(weight)
    order = np.argsort(index[kept], kind="stable")
    target, source = index[kept][order], kept[0][order]
    counts = np.bincount(target, minlength=n)
    starts = np.cumsum(counts) - counts
    taps = np.arange(max(int(counts.max(initial=0)), 1))
    at = starts[:, None] + np.minimum(taps, np.maximum(counts - 1, 0)[:, None])
    if not len(source):
        return np.zeros((n, 1), np.int64), np.zeros((n, 1), weight.dtype)
    at = np.minimum(at, len(source) - 1)
    inside = taps < counts[:, None]
    return source[at], np.where(inside, weight[kept][order][at], 0).astype(weight.dtype)


# --- nearest -------------------------------------------------------------------------------------


def _nearest(n: int, size: int, step: Any, align: bool) -> Table:
    return _at_floor(np.arange(size) * step, n)


def _nearest_exact(n: int, size: int, step: Any, align: bool) -> Table:
    return _at_floor((np.arange(size) + 0.5).astype(step.dtype) * step, n)


def _at_floor(at: Array, n: int) -> Table:
    index = np.minimum(np.floor(at.astype(np.float32)).astype(np.int64), n - 1)[:, None]
    return index, np.ones(index.shape)


# --- polynomials ---------------------------------------------------------------------------------


def _sources(size: int, step: Any, align: bool) -> Array:
    """Return where in the input each output position lies."""
    i = np.arange(size).astype(step.dtype)
    half = step.dtype.type(0.5)
    return i * step if align else (i + half) * step - half


def _linear(n: int, size: int, step: Any, align: bool) -> Table:
    at = np.maximum(_sources(size, step, align), 0)
    first = np.minimum(at.astype(np.int64), n - 1)
    part = np.clip(at - first, 0, 1)
    index = np.stack([first, np.minimum(first + 1, n - 1)], 1)
    return index, np.stack([1 - part, part], 1)


def _cubic(n: int, size: int, step: Any, align: bool) -> Table:
    at = _sources(size, step, align)
    first = np.minimum(np.floor(at).astype(np.int64), n - 1)
    taps = np.arange(-1, 3)
    weight = cubic(np.clip(at - first, 0, 1)[:, None] - taps.astype(at.dtype))
    return np.clip(first[:, None] + taps, 0, n - 1), weight


def cubic(x: Array, a: float = -0.75) -> Array:
    """Return the cubic convolution kernel at distances `x`: 1 at 0, and 0 from 2 on."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0)).astype(x.dtype)


# --- filters that widen with the step (antialias) -------------------------------------------------


def _triangle(x: Array) -> Array:
    return np.maximum(1 - np.abs(x), 0)


def _filtered(filter: Callable[[Array], Array], radius: int) -> Callable[..., Table]:
    def make(n: int, size: int, step: Any, align: bool) -> Table:
        kind = step.dtype.type
        widening = max(step, kind(1))
        support = radius * widening
        center = (np.arange(size) + kind(0.5)).astype(step.dtype) * step
        low = np.maximum((center - support + kind(0.5)).astype(np.int64), 0)
        high = np.minimum((center + support + kind(0.5)).astype(np.int64), n)
        taps = np.arange(max(int((high - low).max(initial=0)), 1))
        index = low[:, None] + taps
        away = (index - center[:, None] + kind(0.5)) / widening
        weight = np.where(index < high[:, None], filter(away), 0)
        weight = weight / weight.sum(1, keepdims=True)
        return np.minimum(index, np.maximum(high - 1, 0)[:, None]), weight

    return make


_MAKERS: dict[str, Callable[..., Table]] = {
    "nearest": _nearest,
    "nearest-exact": _nearest_exact,
    "linear": _linear,
    "cubic": _cubic,
    "linear-filter": _filtered(_triangle, 1),
    "cubic-filter": _filtered(lambda x: cubic(x, -0.5), 2),
}
_ALWAYS = ("nearest", "nearest-exact", "cubic")
"""Modes that follow a factor that the user gave even where the size stays the same."""

# --- bytes ---------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def byte_tables(
    mode: str, n: int, size: int, scale: float | None, align: bool
) -> tuple[Table, int]:
    """Return a table whose weights are whole numbers below 2^15, and the bits they stand for."""
    index, weight, *_ = tables(mode, n, size, scale, align, True)
    most = float(weight.max(initial=0))
    bits = next((b for b in range(22) if int(0.5 + most * 2 ** (b + 1)) >= 2**15), 22)
    whole = np.trunc(weight * 2.0**bits + np.copysign(0.5, weight))
    return (index, whole.astype(np.float32)), bits
