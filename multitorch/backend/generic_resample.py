"""Generic bodies of interpolation, and of sampling at points that a grid gives."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

Array = Any
_INT = np.dtype(np.int64)


def resample(
    F: Any, x: Array, index: Array, weight: Array, back_index: Array, back_weight: Array, *,
    dim: int,
) -> Array:  # fmt: skip
    """Σ_k weight[i, k] x[index[i, k]] along one dimension; the rest serves the derivative."""
    size, taps = index.shape
    lead, rest = tuple(x.shape[:dim]), tuple(x.shape[dim + 1 :])
    read = F.index_select(x, F.reshape(index, shape=(size * taps,)), dim=dim)
    read = F.reshape(read, shape=(*lead, size, taps, *rest))
    weight = F.reshape(weight, shape=(size, taps, *(1 for _ in rest)))
    return F.sum(read * weight, dim=(dim + 1,), keepdim=False)


# --- mixtures of rows ----------------------------------------------------------------------------


def mix_rows(F: Any, rows: Array, index: Array, weight: Array) -> Array:
    """Σ_k weight[p, k] rows[index[p, k]]: (R, C), (P, K), (P, K) → (P, C)."""
    return F.sum(_read(F, rows, index) * _column(F, weight), dim=(1,), keepdim=False)


def spread_rows(F: Any, g: Array, index: Array, weight: Array, *, count: int) -> Array:
    """The transpose of `mix_rows`: add weight[p, k] g[p] to row index[p, k] of `count`."""
    points, taps = index.shape
    parts = F.reshape(g, shape=(points, 1, g.shape[1])) * _column(F, weight)
    parts = F.reshape(parts, shape=(points * taps, g.shape[1]))
    zeros = F.new_zeros(g, shape=(count, g.shape[1]))
    return F.index_add(zeros, F.reshape(index, shape=(points * taps,)), parts, dim=0)


def match_rows(F: Any, g: Array, rows: Array, index: Array) -> Array:
    """g[p] · rows[index[p, k]], the derivative of `mix_rows` by its weights: (P, K)."""
    g = F.reshape(g, shape=(g.shape[0], 1, g.shape[1]))
    return F.sum(_read(F, rows, index) * g, dim=(2,), keepdim=False)


def _read(F: Any, rows: Array, index: Array) -> Array:
    found = F.index_select(rows, F.reshape(index, shape=(prod(index.shape),)), dim=0)
    return F.reshape(found, shape=(*index.shape, rows.shape[1]))


def _column(F: Any, x: Array) -> Array:
    return F.reshape(x, shape=(*x.shape, 1))


# --- grids ---------------------------------------------------------------------------------------


class _Taps:
    """The pixels that count for every point, along each dimension: (taps, rank, points).

    `places`: their numbers, floating point; `weights`, and a function that gives `slopes`, the
    derivatives of the weights by the grid: None for the nearest pixel.
    """

    def __init__(self, places: Array, weights: Any = None, slopes: Any = None) -> None:
        self.places, self.weights, self.slopes = places, weights, slopes


def _taps(F: Any, x: Array, sizes: list, mode: str, padding: str, align: bool) -> _Taps:
    n = _per_dimension(F, x, sizes)
    scale = (n - 1) / 2 if align else n / 2
    at = (x + 1) * scale if align else ((x + 1) * n - 1) / 2
    if mode == "bicubic":
        first = F.floor(at)
        shifted = F.stack(*[first + k for k in (-1, 0, 1, 2)], dim=0)
        weights, slopes = _cubic(at - first, scale)
        places = _padded(F, shifted, n, sizes, padding, align)[0]
        return _Taps(places, F.stack(*weights, dim=0), lambda: F.stack(*slopes(), dim=0))
    at, turn = _padded(F, at, n, sizes, padding, align)
    if mode == "nearest":
        return _Taps(F.reshape(F.round(at), shape=(1, *at.shape)))
    first = F.floor(at)
    part = at - first

    def linear_slopes() -> Array:
        slope = (x * 0 + 1 if turn is None else turn) * scale
        return F.stack(-slope, slope, dim=0)

    pair = F.stack(first, first + 1, dim=0)
    return _Taps(pair, F.stack(1 - part, part, dim=0), linear_slopes)


def _per_dimension(F: Any, like: Array, values: list) -> Any:
    """Return a number if the dimensions agree, else a column with one for each."""
    if len(set(values)) == 1:
        return float(values[0])
    return F.stack(*[F.new_full(like, shape=(1,), value=float(v)) for v in values], dim=0)


def _padded(F: Any, at: Array, n: Any, sizes: list, padding: str, align: bool) -> tuple[Array, Any]:
    """Bring pixel numbers into the image; return also the derivative, None for 1."""
    turn: Any = None
    if padding == "zeros":
        return at, turn
    if padding == "reflection":
        at, turn = _reflected(F, at, sizes, align)
    inside = F.logical_and(F.gt(at, 0), F.lt(at, n - 1))
    at = F.where(F.le(at, 0), 0.0, F.where(F.ge(at, n - 1), n - 1, at))
    return at, F.where(inside, at * 0 + 1 if turn is None else turn, 0.0)


def _reflected(F: Any, at: Array, sizes: list, align: bool) -> tuple[Array, Array]:
    """Reflect what lies outside at the borders: the outer pixels' centers, or their edges."""
    low, spans = (0.0, [n - 1 for n in sizes]) if align else (-0.5, sizes)
    span = _per_dimension(F, at, [max(s, 1) for s in spans])
    before = F.lt(at, low)
    away = F.where(before, low - at, at - low)
    rest = F.fmod(away, span)
    even = F.eq(F.fmod(F.floor(away / span), 2), 0)
    one = at * 0 + 1
    turn = F.where(before, -one, one)
    at, turn = F.where(even, rest + low, span + low - rest), F.where(even, turn, -turn)
    if 0 in spans:  # a single pixel's center is both borders
        wide = _per_dimension(F, at, [min(s, 1) for s in spans])
        at, turn = at * wide, turn * wide
    return at, turn


_A = -0.75  # the free parameter of the cubic kernel


def _cubic(part: Array, scale: Any) -> tuple[list, Callable[[], list]]:
    """Return the weights of the four neighbors, and a function that gives the derivatives."""

    def slopes() -> list:
        before = [_far_slope(part + 1) * scale, _near_slope(part) * scale]
        return [*before, _near_slope(1 - part) * -scale, _far_slope(2 - part) * -scale]

    return [_far(part + 1), _near(part), _near(1 - part), _far(2 - part)], slopes


def _near(x: Array) -> Array:
    return ((_A + 2) * x - (_A + 3)) * x * x + 1


def _near_slope(x: Array) -> Array:
    return (3 * (_A + 2) * x - 2 * (_A + 3)) * x


def _far(x: Array) -> Array:
    return ((_A * x - 5 * _A) * x + 8 * _A) * x - 4 * _A


def _far_slope(x: Array) -> Array:
    return (3 * _A * x - 10 * _A) * x + 8 * _A


class _Lookup:
    """Which rows of pixels, one after another over the batch, each point reads.

    `index` (P, K) has a column for each combination of taps. What lies outside reads a row of
    zeros behind the last pixel.
    """

    def __init__(self, F: Any, grid: Array, shape: tuple, mode: str, padding: str, align: bool):
        batch, _, *sizes = shape
        self.F, self.rank, self.count = F, len(sizes), prod(sizes)
        points = prod(grid.shape[1:-1])
        flat = F.reshape(grid, shape=(batch * points, self.rank))
        x = F.stack(*[F.select(flat, d, dim=1) for d in reversed(range(self.rank))], dim=0)
        self.taps = _taps(F, x, sizes, mode, padding, align)
        places = self.taps.places
        last = _per_dimension(F, x, [n - 1 for n in sizes])
        self.inside = F.logical_and(F.ge(places, 0), F.le(places, last))
        places = F.cast(F.minimum(F.maximum(places, 0.0), last), dtype=_INT)
        own = F.reshape(F.iota(grid, size=batch, dtype=_INT), shape=(batch, 1))
        index = F.reshape(F.expand(own, shape=(batch, points)), shape=(batch * points,))
        for d, n in enumerate(sizes):
            index = self._beside(index * n) + F.select(places, d, dim=1)
        ok = self._combined(self.inside, F.logical_and)
        self.index = self._columns(F.where(ok, index, batch * self.count))

    def _beside(self, x: Array) -> Array:
        """Return (…, P) as (…, 1, P), so that another dimension's (taps, P) combine with all."""
        return self.F.reshape(x, shape=(*x.shape[:-1], 1, x.shape[-1]))

    def _combined(self, parts: Array, combine: Callable[[Array, Array], Array]) -> Array:
        """Combine one part (taps, P) for each dimension, in every way."""
        found = self.F.select(parts, 0, dim=1)
        for d in range(1, self.rank):
            found = combine(self._beside(found), self.F.select(parts, d, dim=1))
        return found

    def _columns(self, x: Array) -> Array:
        """Return (…, P) as (P, K)."""
        flat = self.F.reshape(x, shape=(prod(x.shape[:-1]), x.shape[-1]))
        return self.F.permute(flat, dims=(1, 0))

    def _products(self, factors: Array) -> Array:
        """Return the products of one factor for each dimension, 0 outside: (P, K)."""
        masked = self.F.where(self.inside, factors, 0.0)
        return self._columns(self._combined(masked, lambda a, b: a * b))

    def weights(self) -> Array:
        """Return the share of every pixel."""
        return self._products(self.taps.weights)

    def slopes(self, d: int) -> Array:
        """Return the derivatives of the shares by the grid's coordinate along a dimension."""
        F, slopes = self.F, self.taps.slopes()
        parts = [
            F.select(slopes if i == d else self.taps.weights, i, dim=1) for i in range(self.rank)
        ]
        return self._products(F.stack(*parts, dim=1))


def _rows(F: Any, x: Array) -> Array:
    """Return (N, C, …) as (N ·…, C)."""
    batch, channels, *sizes = x.shape
    x = F.permute(F.reshape(x, shape=(batch, channels, prod(sizes))), dims=(0, 2, 1))
    return F.reshape(x, shape=(batch * prod(sizes), channels))


def _pixel_rows(F: Any, x: Array) -> Array:
    """Return the pixels of images as rows, and one of zeros behind them."""
    return F.cat(_rows(F, x), F.new_zeros(x, shape=(1, x.shape[1])), dim=0)


def _images(F: Any, rows: Array, batch: int, sizes: tuple) -> Array:
    """Return (N ·…, C) as (N, C, …)."""
    channels = rows.shape[1]
    rows = F.permute(F.reshape(rows, shape=(batch, prod(sizes), channels)), dims=(0, 2, 1))
    return F.reshape(rows, shape=(batch, channels, *sizes))


def grid_sample(F: Any, x: Array, grid: Array, *, mode: str, padding: str, align: bool) -> Array:
    """Sample images (N, C, …) at points (N, …, rank), coordinates from -1 to 1, x first."""
    at = _Lookup(F, grid, x.shape, mode, padding, align)
    rows = _pixel_rows(F, x)
    if mode == "nearest":
        found = F.index_select(rows, F.select(at.index, 0, dim=1), dim=0)
    else:
        found = F.mix_rows(rows, at.index, at.weights())
    return _images(F, found, x.shape[0], tuple(grid.shape[1:-1]))


def grid_sample_backward(
    F: Any, g: Array, x: Array, grid: Array, *, mode: str, padding: str, align: bool,
    needs: tuple[bool, bool],
) -> tuple[Array, Array]:  # fmt: skip
    """The gradients of `grid_sample` by the images and by the grid; any number if not needed."""
    at = _Lookup(F, grid, x.shape, mode, padding, align)
    rows = _rows(F, g)
    dx = dgrid = F.new_zeros(g, shape=())
    if needs[0]:
        count = x.shape[0] * at.count
        if mode == "nearest":
            zeros = F.new_zeros(g, shape=(count + 1, x.shape[1]))
            spread = F.index_add(zeros, F.select(at.index, 0, dim=1), rows, dim=0)
        else:
            spread = F.spread_rows(rows, at.index, at.weights(), count=count + 1)
        spread = F.slice(spread, 0, dim=0, length=count, step=1)
        dx = _images(F, spread, x.shape[0], tuple(x.shape[2:]))
    if needs[1] and mode == "nearest":
        dgrid = F.new_zeros(grid, shape=tuple(grid.shape))
    elif needs[1]:
        matches = F.match_rows(rows, _pixel_rows(F, x), at.index)
        parts = [F.sum(matches * at.slopes(d), dim=(1,), keepdim=False) for d in range(at.rank)]
        dgrid = F.reshape(F.stack(*reversed(parts), dim=1), shape=tuple(grid.shape))
    return dx, dgrid
