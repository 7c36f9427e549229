"""LU, LDL and Cholesky factors and triangular systems, by LAPACK and BLAS through SciPy."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Array = Any


@functools.cache
def _lapack(name: str, char: str) -> Callable:
    """Return a routine of LAPACK or BLAS for a dtype, such as 'getrf' for 'd'."""
    from scipy.linalg import get_blas_funcs, get_lapack_funcs

    find = get_blas_funcs if name == "trsm" else get_lapack_funcs
    (routine,) = find((name,), dtype=np.dtype(char))
    return routine


def _matrices(x: Array) -> Iterator[tuple[int, ...]]:
    """Yield the place of each matrix of a batch; of matrices without elements, none."""
    return iter(np.ndindex(x.shape[:-2])) if x.size else iter(())


_MANY = 8
"""From how many matrices on, for each row, steps over the whole batch beat a call for each."""


def _is_many(x: Array) -> bool:
    return x.ndim > 2 and x.size > _MANY * x.shape[-2] ** 2 * x.shape[-1]


def lu_factor(x: Array) -> tuple[Array, Array, Array]:
    """Return (L below U, pivots from 1, the first zero on U's diagonal or 0)."""
    *batch, m, n = x.shape
    pivots = np.empty((*batch, min(m, n)), np.int32)
    info = np.zeros(batch, np.int32)
    if _is_many(x):
        lu = x.copy()
        _eliminate(lu.reshape(-1, m, n), pivots.reshape(-1, min(m, n)), info.reshape(-1))
        return lu, pivots, info
    getrf = _lapack("getrf", x.dtype.char)
    lu = np.empty(x.shape, x.dtype)
    for i in _matrices(x):
        lu[i], pivots[i], info[i] = getrf(x[i])
    pivots += 1
    return lu, pivots, info


def _eliminate(lu: Array, pivots: Array, info: Array) -> None:
    """Eliminate one column after the other of many small matrices at once."""
    each = np.arange(len(lu))
    for k in range(pivots.shape[1]):
        column = lu[:, k:, k]
        size = np.abs(column.real) + np.abs(column.imag)  # as LAPACK measures complex pivots
        row = size.argmax(1) + k
        pivots[:, k] = row + 1
        held = lu[each, row]
        lu[each, row] = lu[:, k]
        lu[:, k] = held
        pivot = held[:, k]
        zero = pivot == 0
        info[zero & (info == 0)] = k + 1
        below = lu[:, k + 1 :, k]
        below /= np.where(zero, 1, pivot)[:, None]
        lu[:, k + 1 :, k + 1 :] -= below[:, :, None] * lu[:, k, None, k + 1 :]


def lu_permutation(pivots: Array, *, size: int) -> Array:
    """Return which row of the matrix each row of its factors is."""
    *batch, k = pivots.shape
    rows = np.empty((*batch, size), np.int64)
    rows[...] = np.arange(size)
    if not pivots.size:
        return rows
    lanes, swaps = rows.reshape(-1, size), pivots.reshape(-1, k) - 1
    if len(lanes) < _MANY:
        for lane, others in zip(lanes, swaps.tolist(), strict=True):
            order = list(range(size))
            for i, other in enumerate(others):
                order[i], order[other] = order[other], order[i]
            lane[:] = order
        return rows
    each = np.arange(len(lanes))
    for i in range(k):
        other = swaps[:, i]
        held = lanes[each, other]
        lanes[each, other] = lanes[:, i]
        lanes[:, i] = held
    return rows


def solve_triangular(x: Array, y: Array, *, upper: bool, unitriangular: bool) -> Array:
    """Solve triangular systems; the other triangle is not read."""
    if _is_many(x):
        return _substitute(x, y, upper, unitriangular)
    trsm = _lapack("trsm", x.dtype.char)
    out = np.empty(y.shape, x.dtype)
    for i in _matrices(y):
        # transposed, row-major matrices are what BLAS calls column-major: nothing is copied
        out[i] = trsm(1, x[i].T, y[i].T, side=1, lower=upper, diag=unitriangular).T
    return out


def _substitute(x: Array, y: Array, upper: bool, unitriangular: bool) -> Array:
    """Solve many small systems at once, one row after the other."""
    n = x.shape[-1]
    out = np.array(y, x.dtype)
    for i in reversed(range(n)) if upper else range(n):
        row = out[..., i, :]
        if not unitriangular:
            row /= x[..., i, i, None]
        rest = slice(0, i) if upper else slice(i + 1, n)
        out[..., rest, :] -= x[..., rest, i, None] * row[..., None, :]
    return out


def solve_ex(x: Array, y: Array) -> tuple[Array, Array]:
    """Return the solution, and where a pivot is 0 if one is."""
    try:
        return np.linalg.solve(x, y), np.zeros(x.shape[:-2], np.int32)
    except np.linalg.LinAlgError:
        pass
    lu, pivots, info = lu_factor(x)
    rows = lu_permutation(pivots, size=x.shape[-1])
    out = np.take_along_axis(y, rows[..., None], -2)
    out = solve_triangular(lu, out, upper=False, unitriangular=True)
    return solve_triangular(lu, out, upper=True, unitriangular=False), info


def cholesky_ex(x: Array) -> tuple[Array, Array]:
    """Return the lower factor and the order of the first minor that is not positive, or 0."""
    try:
        return np.linalg.cholesky(x), np.zeros(x.shape[:-2], np.int32)
    except np.linalg.LinAlgError:
        pass
    potrf = _lapack("potrf", x.dtype.char)
    out, info = np.empty(x.shape, x.dtype), np.zeros(x.shape[:-2], np.int32)
    for i in _matrices(x):
        out[i], info[i] = potrf(x[i], lower=1, clean=1)
    return out, info


def ldl_factor(x: Array, *, hermitian: bool) -> tuple[Array, Array, Array]:
    """Return (L below D, pivots as LAPACK gives them, the first zero on D's diagonal or 0)."""
    factor = _lapack("hetrf" if hermitian else "sytrf", x.dtype.char)
    n = x.shape[-1]
    x = np.tril(x)
    ld, pivots = np.empty(x.shape, x.dtype), np.empty(x.shape[:-1], np.int32)
    info = np.zeros(x.shape[:-2], np.int32)
    for i in _matrices(x):
        ld[i], pivots[i], info[i] = factor(x[i], lower=1, lwork=64 * n)
    return ld, pivots, info


def ldl_solve(ld: Array, pivots: Array, y: Array, *, hermitian: bool) -> Array:
    """Solve systems whose matrices are given by their LDL factors."""
    solve = _lapack("hetrs" if hermitian else "sytrs", ld.dtype.char)
    out = np.empty(y.shape, ld.dtype)
    for i in _matrices(y):
        out[i] = solve(ld[i], pivots[i], y[i], lower=1)[0]
    return out


def geqrf(x: Array) -> tuple[Array, Array]:
    """Return R above the Householder vectors, and their factors tau."""
    packed, tau = np.linalg.qr(x, "raw")
    return np.ascontiguousarray(packed.swapaxes(-1, -2)), tau


def min_norm_solve(x: Array, y: Array, rcond: Array) -> tuple[Array, Array]:
    """Return the least squares solution of least norm and the ranks, by pivoted QR factors."""
    solve, size = _lapack("gelsy", x.dtype.char), _lapack("gelsy_lwork", x.dtype.char)
    m, n = x.shape[-2:]
    rank = np.zeros(x.shape[:-2], np.int64)
    out = np.zeros((*x.shape[:-2], max(m, n), y.shape[-1]), x.dtype)
    out[..., :m, :] = y
    if out.size and x.size:
        work = int(size(m, n, y.shape[-1], rcond)[0].real)
        for i in np.ndindex(x.shape[:-2]):
            free = np.zeros((n, 1), np.int32)
            _, out[i], _, rank[i], _ = solve(x[i], out[i], free, rcond, work)
    return out[..., :n, :], rank
