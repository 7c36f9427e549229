"""Generic bodies of linear systems, and the derivatives of their factors."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any
_INT = np.dtype(np.int64)


def _rows(F: Any, x: Array, index: Array) -> Array:
    """One index per row of each matrix, in the shape of `x`."""
    return F.expand(F.reshape(index, shape=(*index.shape, 1)), shape=x.shape)


def _part(F: Any, x: Array, dim: int, start: int, length: int) -> Array:
    if start == 0 and length == x.shape[dim]:
        return x
    return F.slice(x, start, dim=len(x.shape) + dim, length=length, step=1)


def lu_solve(F: Any, lu: Array, pivots: Array, y: Array, *, adjoint: bool) -> Array:
    """The solution of `A x = y`, or of `Aᴴ x = y`, for a matrix given by its LU factors."""
    dim, rows = len(y.shape) - 2, F.lu_permutation(pivots, size=lu.shape[-1])
    if adjoint:
        lu = F.adjoint(lu)
        y = F.solve_triangular(lu, y, upper=False, unitriangular=False)
        y = F.solve_triangular(lu, y, upper=True, unitriangular=True)
        return F.scatter(F.new_zeros(y, shape=y.shape), _rows(F, y, rows), y, dim=dim)
    y = F.gather(y, _rows(F, y, rows), dim=dim)
    y = F.solve_triangular(lu, y, upper=False, unitriangular=True)
    return F.solve_triangular(lu, y, upper=True, unitriangular=False)


def solve_ex(F: Any, x: Array, y: Array) -> tuple[Array, Array]:
    """The solution of `x z = y`, and where a pivot is 0 if one is."""
    lu, pivots, info = F.lu_factor(x)
    return F.lu_solve(lu, pivots, y, adjoint=False), info


def lu_backward(F: Any, g: Array, lu: Array, pivots: Array) -> Array:
    """The gradient of the matrix, given that of L below U in one matrix.

    What is beside the leading square block of a wide or tall matrix follows from that block.
    """
    m, n = lu.shape[-2:]
    k = min(m, n)
    square = _part(F, _part(F, lu, -2, 0, k), -1, 0, k)
    g_square = _part(F, _part(F, g, -2, 0, k), -1, 0, k)
    turned = F.adjoint(square)
    lower = F.matmul_tn(_lower(F, square), F.tril(g_square, diagonal=-1))
    upper = F.matmul_nt(F.triu(g_square, diagonal=0), F.triu(square, diagonal=0))
    beside = g_below = None
    if n > k:
        beside = _part(F, g, -1, k, n - k)
        lower = lower - F.matmul_nt(beside, _part(F, lu, -1, k, n - k))
    if m > k:
        g_below = _part(F, g, -2, k, m - k)
        upper = upper - F.matmul_tn(_part(F, lu, -2, k, m - k), g_below)
    inner = F.tril(lower, diagonal=-1) + F.triu(upper, diagonal=0)
    total = F.adjoint(F.solve_triangular(square, F.adjoint(inner), upper=True, unitriangular=False))
    if beside is not None:
        total = F.cat(total, beside, dim=len(lu.shape) - 1)
    total = F.solve_triangular(turned, total, upper=True, unitriangular=True)
    if g_below is not None:
        below = F.solve_triangular(square, F.adjoint(g_below), upper=True, unitriangular=False)
        total = F.cat(total, F.adjoint(below), dim=len(lu.shape) - 2)
    rows = _rows(F, total, F.lu_permutation(pivots, size=m))
    return F.scatter(F.new_zeros(total, shape=total.shape), rows, total, dim=len(lu.shape) - 2)


def _lower(F: Any, square: Array) -> Array:
    n = square.shape[-1]
    return F.tril(square, diagonal=-1) + F.eye(square, n=n, m=n)


def triangular_part(F: Any, x: Array, *, upper: bool, unitriangular: bool) -> Array:
    """One triangle of `x`; without the diagonal if that is known to be 1."""
    if upper:
        return F.triu(x, diagonal=int(unitriangular))
    return F.tril(x, diagonal=-int(unitriangular))


def min_norm_solve(F: Any, x: Array, y: Array, rcond: Array) -> tuple[Array, Array]:
    """The least squares solution of least norm, and the ranks: small singular values count as 0."""
    u, s, vh = F.svd(x, full=False)
    last = len(s.shape) - 1
    kept = F.gt(s, F.amax(s, dim=(last,), keepdim=True) * rcond)
    inverse = F.where(kept, 1 / F.where(kept, s, 1), 0)
    inner = F.matmul_tn(u, y) * F.reshape(inverse, shape=(*s.shape, 1))
    return F.matmul_tn(vh, inner), F.sum(F.cast(kept, dtype=_INT), dim=(last,), keepdim=False)
