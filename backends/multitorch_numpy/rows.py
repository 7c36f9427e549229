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


def places(rows: int, columns: int, width: int) -> Array:
    """Return where the rows begin, as a matrix of this width if it is small enough to be kept."""
    if rows * width <= BLOCK:
        return _places(rows, columns, width)
    return starts(rows, columns)[:, None]


@functools.lru_cache(maxsize=64)
def _places(rows: int, columns: int, width: int) -> Array:
    return np.repeat(_starts(rows, columns), width).reshape(rows, width)


def starts(rows: int, columns: int) -> Array:
    """Return where each row of a matrix begins in memory."""
    return _starts(rows, columns) if rows <= BLOCK else _starts.__wrapped__(rows, columns)


@functools.lru_cache(maxsize=64)
def _starts(rows: int, columns: int) -> Array:
    return np.arange(rows) * columns


def is_matrix(x: Array) -> bool:
    """Whether x is a matrix of float32 or float64, row by row in memory, and not empty."""
    return x.ndim == 2 and x.dtype.char in "fd" and x.flags.c_contiguous and x.size > 0


def is_short(x: Array) -> bool:
    """Whether x is such a matrix whose rows may be added up by a product with ones."""
    return is_matrix(x) and x.shape[1] <= BLOCK


def mean(x: Array) -> Array:
    """Return the mean of each row."""
    n = x.shape[1]
    if n & (n - 1):
        sums = x.dot(ones(n, x.dtype))
        sums /= n
        return sums
    return x.dot(_shares(n, x.dtype))  # 1 / n is exact: the sum divided by n


def total(x: Array) -> Array:
    """Return the sum of a vector."""
    return x.dot(ones(len(x), x.dtype)) if len(x) <= BLOCK else np.add.reduce(x)


@functools.lru_cache(maxsize=64)
def _shares(n: int, dtype: Any) -> Array:
    return np.full(n, 1 / n, dtype)


def top(x: Array) -> Array:
    """Return the maximum of each row of such a matrix; NaN wins."""
    return x.take(x.argmax(1) + starts(*x.shape))


def is_moderate(x: Array) -> bool:
    """Whether exp(x) neither overflows nor underflows, with room for sums; NaN is not moderate.

    Then the largest number of a row need not be subtracted from the others, which saves the
    slowest passes of a softmax.
    """
    return x.item(x.argmin()) > -50 and x.item(x.argmax()) < 30


def exp_and_sums(x: Array) -> tuple[Array, Array]:
    """Return exp(x), and its sum over each row."""
    e = np.exp(x)
    return e, e.dot(ones(x.shape[1], x.dtype))
