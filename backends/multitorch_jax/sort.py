"""Kernels of sorting and searching. NaN is greater than every number, as XLA has it."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from multitorch_jax.jit import host

Array = Any


def argsort(x: Array, *, dim: int, descending: bool, stable: bool) -> Array:
    """Return the indices that sort along a dimension, equal elements in their order."""
    return sort(x, dim=dim, descending=descending, stable=stable)[1]


def sort(x: Array, *, dim: int, descending: bool, stable: bool) -> tuple[Array, Array]:
    """Return (values, indices) sorted along a dimension."""
    if not x.ndim:
        return x, jnp.zeros((), np.int64)
    index = lax.broadcasted_iota(np.int64, x.shape, dim)
    if not descending:
        values, index = lax.sort((x, index), dimension=dim, is_stable=True, num_keys=1)
        return values, index
    flipped = jnp.flip(x, dim), jnp.flip(index, dim)
    values, index = lax.sort(flipped, dimension=dim, is_stable=True, num_keys=1)
    return jnp.flip(values, dim), jnp.flip(index, dim)


def topk(x: Array, *, k: int, dim: int, largest: bool, sorted: bool) -> tuple[Array, Array]:
    """Return (values, indices) of the k largest or smallest elements."""
    if not x.ndim:
        return x, jnp.zeros((), np.int64)
    if x.dtype in _SINGLE:
        return _topk_single(x, k, dim, largest)
    values, index = sort(x, dim=dim, descending=largest, stable=True)
    return lax.slice_in_dim(values, 0, k, axis=dim), lax.slice_in_dim(index, 0, k, axis=dim)


_SINGLE = frozenset(map(np.dtype, (np.float32, np.float16, jnp.bfloat16)))
"""What XLA selects from without sorting, on a CPU a hundred times as fast: float32 and narrower."""


def _topk_single(x: Array, k: int, dim: int, largest: bool) -> tuple[Array, Array]:
    """Select in XLA's total order, in which the sign of NaN says whether it comes first or last."""
    wide = jnp.moveaxis(x, dim, -1).astype(np.float32)
    nan = np.copysign(np.float32(np.nan), 1 if largest else -1)
    keys = jnp.where(jnp.isnan(wide), nan, wide if largest else -wide)
    values, index = lax.top_k(keys, k)
    values = (values if largest else -values).astype(x.dtype)
    return jnp.moveaxis(values, -1, dim), jnp.moveaxis(index, -1, dim).astype(np.int64)


# --- unique values -------------------------------------------------------------------------------


@host
def unique_values(x: Array) -> Array:
    """Return the distinct elements in order."""
    return jnp.unique(x, equal_nan=False)


@host
def unique(x: Array, *, dim: int | None) -> tuple[Array, Array, Array]:
    """Return (values, inverse, counts) of the distinct elements, or slices along `dim`."""
    values, inverse, counts = jnp.unique(
        x, return_inverse=True, return_counts=True, axis=dim, equal_nan=False
    )
    inverse = inverse.reshape(x.shape if dim is None else (-1,))
    return values, inverse.astype(np.int64), counts.astype(np.int64)


@host
def unique_consecutive(x: Array, *, dim: int | None) -> tuple[Array, Array, Array]:
    """Return (values, inverse, counts) of runs of equal elements, or slices along `dim`."""
    lane = x.reshape(-1) if dim is None else x
    axis = dim or 0
    n = lane.shape[axis]
    keep = max(n - 1, 0)
    head = lax.slice_in_dim(lane, 0, keep, axis=axis)
    tail = lax.slice_in_dim(lane, n - keep, n, axis=axis)
    others = tuple([i for i in range(lane.ndim) if i != axis])
    fresh = jnp.concatenate([jnp.ones(min(n, 1), bool), jnp.any(head != tail, axis=others)])
    starts = jnp.flatnonzero(fresh)
    inverse = jnp.cumsum(fresh, dtype=np.int64) - 1
    counts = jnp.diff(starts, append=n).astype(np.int64)
    return jnp.take(lane, starts, axis), inverse.reshape(x.shape if dim is None else (-1,)), counts


# --- searching and counting ----------------------------------------------------------------------


def searchsorted(seq: Array, values: Array, *, right: bool) -> Array:
    """Return where to insert values to keep the last dimension sorted."""
    find = functools.partial(jnp.searchsorted, side="right" if right else "left")
    if seq.ndim == 1:
        return find(seq, values).astype(np.int64)
    lanes = math.prod(seq.shape[:-1])
    rows, wanted = seq.reshape(lanes, seq.shape[-1]), values.reshape(lanes, values.shape[-1])
    return jax.vmap(find)(rows, wanted).astype(np.int64).reshape(values.shape)


def isin(x: Array, y: Array) -> Array:
    """Return which elements of x occur in y."""
    return jnp.isin(x, y)


@host
def bincount(x: Array, weights: Array, *, minlength: int) -> Array:
    """Count non-negative integers, or add their weights."""
    if x.size and int(x.min()) < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    length = max(int(x.max()) + 1 if x.size else 0, minlength)
    dtype = np.int64 if weights is None else weights.dtype
    ones = jnp.ones(x.shape, dtype) if weights is None else weights
    return jnp.zeros(length, dtype).at[x].add(ones)
