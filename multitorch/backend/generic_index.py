"""Generic bodies of indexing ops, over the primitives."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

Array = Any
_INT = np.dtype(np.int64)


def masked_fill(F: Any, x: Array, mask: Array, value: Array) -> Array:
    """Return `x` with `value` where the mask is true."""
    return F.where(mask, value, x)


def index_backward(F: Any, x: Array, *indices: Array, shape: tuple[int, ...]) -> Array:
    """Add up the elements of `x` where indexing read them."""
    return F.index_put(F.new_zeros(x, shape=shape), x, *indices, accumulate=True)


def embedding(
    F: Any, weight: Array, index: Array, *, padding_idx: int, scale_grad_by_freq: bool
) -> Array:
    """Return the rows of `weight` that `index` names."""
    shape = tuple(index.shape)
    rows = F.index_select(weight, F.reshape(index, shape=(prod(shape),)), dim=0)
    return F.reshape(rows, shape=(*shape, weight.shape[1]))


def _row_weights(
    F: Any, x: Array, index: Array, rows: int, padding_idx: int, scale_grad_by_freq: bool
) -> Array | None:
    """Return the factor of every looked-up row's gradient, None if all are one."""
    weights = None
    if padding_idx >= 0:
        weights = F.cast(F.ne(index, padding_idx), dtype=x.dtype)
    if scale_grad_by_freq:
        ones = F.new_full(x, shape=tuple(index.shape), value=1)
        counts = F.index_add(F.new_zeros(x, shape=(rows,)), index, ones, dim=0)
        share = 1 / F.index_select(counts, index, dim=0)
        weights = share if weights is None else weights * share
    return weights


def embedding_backward(
    F: Any, x: Array, index: Array, *, rows: int, padding_idx: int, scale_grad_by_freq: bool
) -> Array:
    """Add up the gradients of looked-up rows; none arrives at the row `padding_idx`."""
    count, width = prod(index.shape), x.shape[-1]
    flat = F.reshape(index, shape=(count,))
    x = F.reshape(x, shape=(count, width))
    weights = _row_weights(F, x, flat, rows, padding_idx, scale_grad_by_freq)
    if weights is not None:
        x = x * F.reshape(weights, shape=(count, 1))
    return F.index_add(F.new_zeros(x, shape=(rows, width)), flat, x, dim=0)


def embedding_double_backward(
    F: Any, x: Array, index: Array, *, padding_idx: int, scale_grad_by_freq: bool
) -> Array:
    """Look up rows, weighted as `embedding_backward` weights them."""
    count, width = prod(index.shape), x.shape[-1]
    flat = F.reshape(index, shape=(count,))
    out = F.index_select(x, flat, dim=0)
    weights = _row_weights(F, x, flat, x.shape[0], padding_idx, scale_grad_by_freq)
    if weights is not None:
        out = out * F.reshape(weights, shape=(count, 1))
    return F.reshape(out, shape=(*index.shape, width))


def one_hot(F: Any, x: Array, *, classes: int) -> Array:
    """Return a last dimension with a one at the place that each number names."""
    places = F.iota(x, size=classes, dtype=_INT)
    return F.cast(F.eq(F.reshape(x, shape=(*x.shape, 1)), places), dtype=_INT)
