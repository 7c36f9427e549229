"""Kernels of sorting and searching. NaN is greater than every number, as NumPy has it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = Any


def _sortable(x: Array) -> Array:
    """Return bfloat16 data as float32: its own sort does not know where NaN belongs."""
    return x.astype(np.float32) if x.dtype.kind == "V" else x


def _take(x: Array, index: Array, dim: int) -> Array:
    if x.ndim == 1:
        return x[index]
    if dim == x.ndim - 1:
        n = x.shape[-1]
        rows = np.arange(0, x.size, n or 1).reshape(*x.shape[:-1], 1)
        return x.ravel()[index + rows]
    return np.take_along_axis(x, index, dim)


def argsort(x: Array, *, dim: int, descending: bool, stable: bool) -> Array:
    """Return the indices that sort along a dimension; short lanes and integers keep their order."""
    if not x.ndim:
        return np.zeros((), np.int64)
    x = _sortable(x)
    if not stable and x.dtype.kind == "f" and x.shape[dim] > 16:
        order = x.argsort(dim)
        return np.flip(order, dim) if descending else order
    if not descending:
        return x.argsort(dim, kind="stable")
    last = x.shape[dim] - 1
    return last - np.flip(np.flip(x, dim).argsort(dim, kind="stable"), dim)


def sort(x: Array, *, dim: int, descending: bool, stable: bool) -> tuple[Array, Array]:
    """Return (values, indices) sorted along a dimension."""
    if not x.ndim:
        return np.array(x), np.zeros((), np.int64)
    index = argsort(x, dim=dim, descending=descending, stable=stable)
    return _take(x, index, dim), index


def topk(x: Array, *, k: int, dim: int, largest: bool, sorted: bool) -> tuple[Array, Array]:
    """Return (values, indices) of the k largest or smallest elements."""
    if not x.ndim:
        return (np.array(x), np.zeros((), np.int64)) if k else (np.array(x), np.zeros(0, np.int64))
    n = x.shape[dim]
    if n <= 64 or 4 * k > n or k == 0:
        order = argsort(x, dim=dim, descending=largest, stable=False)
        index = _head(order, k, dim)
        return _take(x, index, dim), index
    wide = _sortable(x)
    parted = np.argpartition(wide, n - k if largest else k - 1, dim)
    some = np.sort(_tail(parted, k, dim) if largest else _head(parted, k, dim), dim)
    values = _take(x, some, dim)
    order = argsort(values, dim=dim, descending=largest, stable=True)
    return _take(values, order, dim), _take(some, order, dim)


def _head(x: Array, k: int, dim: int) -> Array:
    return x[(slice(None),) * dim + (slice(0, k),)]


def _tail(x: Array, k: int, dim: int) -> Array:
    return x[(slice(None),) * dim + (slice(x.shape[dim] - k, None),)]


def kthvalue(x: Array, *, k: int, dim: int, keepdim: bool) -> tuple[Array, Array]:
    """Return the k-th smallest elements along a dimension, and the first indices of them."""
    if not x.ndim:
        return np.array(x), np.zeros((), np.int64)
    wide = _sortable(x)
    values = _pick(np.partition(wide, k - 1, dim), k - 1, dim)
    return _with_places(x, wide, values, dim, keepdim)


def median(x: Array, *, dim: int, keepdim: bool, ignore_nan: bool) -> tuple[Array, Array]:
    """Return the lower medians along a dimension, and the first indices of them."""
    if not x.ndim:
        return np.array(x), np.zeros((), np.int64)
    wide = _sortable(x)
    k = (x.shape[dim] - 1) // 2
    values = _pick(np.partition(wide, k, dim), k, dim)
    if x.dtype.kind in "fV":
        missing = np.isnan(wide)
        if missing.any():
            valid = x.shape[dim] - np.add.reduce(missing, dim, keepdims=True)
            middle = np.maximum((valid - 1) // 2, 0)
            at = middle if ignore_nan else np.where(valid < x.shape[dim], valid, middle)
            values = np.take_along_axis(np.sort(wide, dim), at, dim)
    return _with_places(x, wide, values, dim, keepdim)


def _pick(x: Array, i: int, dim: int) -> Array:
    return x[(slice(None),) * dim + (slice(i, i + 1),)]


def _with_places(x: Array, wide: Array, values: Array, dim: int, keepdim: bool) -> tuple:
    """Return one value of each lane, and where it stands first."""
    found = wide == values
    if x.dtype.kind in "fV":
        gone = np.isnan(values)
        if gone.any():
            found |= gone & np.isnan(wide)
    places = found.argmax(dim, keepdims=True)
    pair = values.astype(x.dtype, copy=False), places
    return pair if keepdim else tuple([t.squeeze(dim) for t in pair])


# --- unique values -------------------------------------------------------------------------------


def unique_values(x: Array) -> Array:
    """Return the distinct elements in order."""
    return np.unique(_sortable(x), equal_nan=False).astype(x.dtype, copy=False)


def unique(x: Array, *, dim: int | None) -> tuple[Array, Array, Array]:
    """Return (values, inverse, counts) of the distinct elements, or slices along `dim`."""
    values, inverse, counts = np.unique(
        _sortable(x), return_inverse=True, return_counts=True, axis=dim, equal_nan=False
    )
    shape = x.shape if dim is None else (-1,)
    return values.astype(x.dtype, copy=False), inverse.reshape(shape), counts


def unique_consecutive(x: Array, *, dim: int | None) -> tuple[Array, Array, Array]:
    """Return (values, inverse, counts) of runs of equal elements, or slices along `dim`."""
    lane = x.reshape(-1) if dim is None else x
    axis = dim or 0
    n = lane.shape[axis]
    head, tail = _head(lane, max(n - 1, 0), axis), _tail(lane, max(n - 1, 0), axis)
    others = tuple([i for i in range(lane.ndim) if i != axis])
    fresh = np.concatenate([np.ones(min(n, 1), bool), np.any(head != tail, axis=others)])
    starts = np.flatnonzero(fresh)
    inverse = np.cumsum(fresh) - 1
    values = np.take(lane, starts, axis)
    return values, inverse.reshape(x.shape if dim is None else (-1,)), np.diff(starts, append=n)


# --- searching and counting ----------------------------------------------------------------------


def searchsorted(seq: Array, values: Array, *, right: bool) -> Array:
    """Return where to insert values to keep the last dimension sorted."""
    side = "right" if right else "left"
    seq, values = _sortable(seq), _sortable(values)
    if seq.ndim == 1:
        return np.searchsorted(seq, values, side)
    lanes = math.prod(seq.shape[:-1])
    rows, wanted = seq.reshape(lanes, seq.shape[-1]), values.reshape(lanes, values.shape[-1])
    found = [np.searchsorted(r, v, side) for r, v in zip(rows, wanted, strict=True)]
    return np.array(found, np.int64).reshape(values.shape)


def isin(x: Array, y: Array) -> Array:
    """Return which elements of x occur in y."""
    return np.isin(_sortable(x), _sortable(y))


def bincount(x: Array, weights: Array, *, minlength: int) -> Array:
    """Count non-negative integers, or add their weights."""
    if x.size and x.min() < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    counts = np.bincount(x.astype(np.int64), weights, minlength)
    return counts if weights is None else counts.astype(weights.dtype)
