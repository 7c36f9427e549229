"""Sums and maxima of the rows of a matrix, by whatever NumPy does fastest."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

Array = Any
BLOCK = 4096
"""How many numbers a product with ones may add up: bounds the rounding error."""


@functools.lru_cache(maxsize=64)
def ones(n: int, dtype: Any) -> Array:
    """Return ones: a product with them adds faster than `np.add.reduce`."""
    return np.ones(n, dtype)


def starts(rows: int, columns: int) -> Array:
    """Return where each row of a matrix begins in memory."""
    return _starts(rows, columns) if rows <= BLOCK else _starts.__wrapped__(rows, columns)


@functools.lru_cache(maxsize=64)
def _starts(rows: int, columns: int) -> Array:
    return np.arange(rows) * columns


def is_matrix(x: Array) -> bool:
    """Whether x is a matrix of float32 or float64, row by row in memory, and not empty."""
    return x.ndim == 2 and x.dtype.char in "fd" and x.flags.c_contiguous and x.size > 0


def top(x: Array) -> Array:
    """Return the maximum of each row of such a matrix; NaN wins."""
    return x.take(x.argmax(1) + starts(*x.shape))


def exp_and_sums(x: Array) -> tuple[Array, Array] | None:
    """Return exp(x) and its sum over each row, or None if x has to be shifted first.

    Where all sums are of moderate size the largest element of a row need not be subtracted, which
    saves the two slowest passes. NaN, infinity, overflow and underflow show in the sums.
    """
    if not is_matrix(x) or x.shape[1] > BLOCK:
        return None
    e = np.exp(x)
    sums = e.dot(ones(x.shape[1], x.dtype))
    if sums.item(sums.argmin()) > 1e-3 and sums.item(sums.argmax()) < 1e30:
        return e, sums
    return None
