"""Functions of square matrices: eigenvalues and the exponential. Distances of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from multitorch.backend import LinAlgError

Array = Any


def _checked(name: str, x: Array) -> None:
    if not np.isfinite(x).all():
        raise RuntimeError(f"torch.linalg.{name}: input tensor should not contain infs or NaNs.")


def _complex(x: Array) -> Array:
    return x.astype(np.result_type(x.dtype, np.complex64), copy=False)


def eig(x: Array) -> tuple[Array, Array]:
    """Return complex eigenvalues and eigenvectors of length 1."""
    _checked("eig", x)
    try:
        values, vectors = np.linalg.eig(x)
    except np.linalg.LinAlgError:
        raise LinAlgError("linalg.eig: The algorithm failed to converge.") from None
    return _complex(values), _complex(vectors)


def eigvals(x: Array) -> Array:
    """Return complex eigenvalues."""
    _checked("eigvals", x)
    try:
        return _complex(np.linalg.eigvals(x))
    except np.linalg.LinAlgError:
        raise LinAlgError("linalg.eigvals: The algorithm failed to converge.") from None


_PADE = (
    64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000,
    10559470521600, 670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1,
)  # fmt: skip
"""The Padé approximant of the exponential, from Higham, "The scaling and squaring method for the
matrix exponential revisited"."""
_BOUND = 5.371920351148152
"""The largest 1-norm for which it is exact to rounding."""


def matrix_exp(x: Array) -> Array:
    """Return the exponentials of square matrices: Padé approximants of halves, squared.

    Squaring doubles the rounding errors each time: single precision is computed in double.
    """
    wide = np.result_type(x.dtype, np.float64)
    if x.dtype != wide:
        return matrix_exp(x.astype(wide)).astype(x.dtype)
    if not x.size:
        return x.copy()
    norm = np.abs(x).sum(-2).max(-1)
    halves = np.ceil(np.log2(np.maximum(norm / _BOUND, 1)))
    halves = np.where(np.isfinite(halves), halves, 0)[..., None, None]
    out = _pade(x / np.exp2(halves))
    for i in range(int(halves.max())):
        out = np.where(halves > i, out @ out, out)
    return out


def _pade(x: Array) -> Array:
    square = x @ x
    power = np.broadcast_to(np.eye(x.shape[-1], dtype=x.dtype), x.shape)
    even = odd = np.zeros_like(x)
    for k in range(0, len(_PADE), 2):
        power = power @ square if k else power
        even = even + power * (_PADE[k] / _PADE[0])
        odd = odd + power * (_PADE[k + 1] / _PADE[0])
    odd = x @ odd
    return np.linalg.solve(even - odd, even + odd)


# --- distances -----------------------------------------------------------------------------------

_BLOCK = 1 << 15


def _row_blocks(x: Array, y: Array) -> Iterator[tuple[Array, Array, tuple]]:
    """Yield (rows of x, transposed y, where their distances stand), in parts for the cache."""
    step = max(1, _BLOCK // max(y.shape[-2], 1))
    for at in np.ndindex(x.shape[:-2]):
        columns = np.ascontiguousarray(y[at].T)
        for i in range(0, x.shape[-2], step):
            rows = slice(i, i + step)
            yield x[at][rows], columns, (*at, rows)


def pair_distances(x: Array, y: Array, *, p: float) -> Array:
    """Return the p-norm distances of all pairs of rows, one column of x and y after the other."""
    out = np.zeros((*x.shape[:-1], y.shape[-2]), x.dtype)
    add = np.maximum if p == np.inf else np.add
    for rows, columns, where in _row_blocks(x, y):
        total = out[where]
        part = np.empty(total.shape, x.dtype)
        for k, column in enumerate(columns):
            np.subtract(rows[:, k, None], column, part)
            _power(part, p)
            add(total, part, out=total)
        if p == 2:
            np.sqrt(total, total)
        elif p not in (0, 1, np.inf):
            np.power(total, 1 / p, total)
    return out


def _power(x: Array, p: float) -> None:
    """Replace x by |x|^p, by |x| for the infinity, and by whether it is not 0 for 0."""
    if p == 2:
        np.multiply(x, x, x)
    elif p == 0:
        np.not_equal(x, 0, out=x, casting="unsafe")
    else:
        np.absolute(x, x)
        if p not in (1, np.inf):
            np.power(x, p, x)


def pair_distances_backward(
    g: Array, x: Array, y: Array, out: Array, *, p: float
) -> tuple[Array, Array]:
    """Return the gradients of `pair_distances` by x and y; a distance of 0 has none."""
    gx, gy = np.zeros(x.shape, x.dtype), np.zeros(y.shape, x.dtype)
    if p == 0:
        return gx, gy
    for rows, columns, where in _row_blocks(x, y):
        share = g[where]
        if p not in (1, np.inf):
            share = share / out[where] ** (p - 1)
            share[out[where] == 0] = 0
        gx_part, gy_part = gx[where], gy[where[:-1]]
        for k, column in enumerate(columns):
            slope = _slope(rows[:, k, None] - column, out[where], p)
            slope *= share
            gx_part[:, k] = np.add.reduce(slope, 1)
            gy_part[:, k] -= np.add.reduce(slope, 0)
    return gx, gy


def _slope(apart: Array, out: Array, p: float) -> Array:
    """Return sign(x) |x|^(p - 1), 0 at 0; for the infinity, the sign where |x| is the largest."""
    if p == 2:
        return apart
    sign = np.sign(apart)
    if p == 1:
        return sign
    size = np.absolute(apart, apart)
    if p == np.inf:
        sign *= size == out
        return sign
    size[size == 0] = 1
    sign *= np.power(size, p - 1, size)
    return sign


def distance(x: Array) -> Array:
    """Return the square root, 0 of what rounding made negative."""
    if x.dtype.char not in "fd":
        return np.sqrt(np.maximum(x, 0))
    out = x.clip(0, np.inf)
    return np.sqrt(out, out)
