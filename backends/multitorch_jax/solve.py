"""LU, LDL and Cholesky factors and triangular systems."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = Any


def _each(function: Any, *arrays: Array) -> Any:
    """Run a function of single matrices over a batch."""
    depth = arrays[0].ndim - 2
    for _ in range(depth):
        function = jax.vmap(function)
    return function(*arrays)


def lu_factor(x: Array) -> tuple[Array, Array, Array]:
    """Return (L below U, pivots from 1, the first zero on U's diagonal or 0)."""
    *batch, m, n = x.shape
    if not x.size:
        return x, jnp.zeros((*batch, min(m, n)), np.int32), jnp.zeros(batch, np.int32)
    lu, pivots, _ = lax.linalg.lu(x)
    zero = jnp.diagonal(lu, axis1=-2, axis2=-1) == 0
    return lu, (pivots + 1).astype(np.int32), _first(zero)


def _first(flags: Array) -> Array:
    """Return the place of the first flag that is set, counted from 1, or 0."""
    found = jnp.argmax(flags, axis=-1) + 1
    return jnp.where(flags.any(-1), found, 0).astype(np.int32)


def lu_permutation(pivots: Array, *, size: int) -> Array:
    """Return which row of the matrix each row of its factors is."""
    if not pivots.size:
        rows = jnp.arange(size, dtype=np.int64)
        return jnp.broadcast_to(rows, (*pivots.shape[:-1], size))
    return lax.linalg.lu_pivots_to_permutation(pivots - 1, size).astype(np.int64)


def solve_triangular(x: Array, y: Array, *, upper: bool, unitriangular: bool) -> Array:
    """Solve triangular systems; the other triangle is not read."""
    if not y.size:
        return y
    return lax.linalg.triangular_solve(
        x, y, left_side=True, lower=not upper, unit_diagonal=unitriangular
    )


def cholesky_ex(x: Array) -> tuple[Array, Array]:
    """Return the lower factor and the order of the first minor that is not positive, or 0.

    What a factor that does not exist holds is not specified.
    """
    if not x.size:
        return x, jnp.zeros(x.shape[:-2], np.int32)
    out = jnp.tril(lax.linalg.cholesky(x, symmetrize_input=False))
    failed = jnp.isnan(out).any((-2, -1))
    none = jnp.zeros(failed.shape, np.int32)
    info = lax.cond(failed.any(), lambda: _each(_first_bad_minor, x), lambda: none)
    return out, jnp.where(failed, info, 0)


def _first_bad_minor(x: Array) -> Array:
    """Eliminate column by column until a pivot is not positive."""
    n = x.shape[-1]
    rows = jnp.arange(n)

    def step(k: Array, state: tuple) -> tuple:
        x, found = state
        pivot = x[k, k].real
        column = jnp.where(rows > k, x[:, k], 0)
        update = column[:, None] * column.conj() / pivot.astype(x.dtype)
        found = jnp.where((found == 0) & ~(pivot > 0), k + 1, found)
        return x - update, found.astype(np.int32)

    return lax.fori_loop(0, n, step, (x, jnp.zeros((), np.int32)))[1]


def geqrf(x: Array) -> tuple[Array, Array]:
    """Return R above the Householder vectors, and their factors tau."""
    if not x.size:
        return x, jnp.zeros((*x.shape[:-2], min(x.shape[-2:])), x.dtype)
    packed, tau = jnp.linalg.qr(x, mode="raw")
    return jnp.swapaxes(packed, -1, -2), tau


# --- symmetric indefinite matrices ---------------------------------------------------------------

_ALPHA = (1 + 17**0.5) / 8
"""Bunch and Kaufman's bound: below it on the diagonal, a pivot of two rows is better."""


def ldl_factor(x: Array, *, hermitian: bool) -> tuple[Array, Array, Array]:
    """Return (L below D, pivots as LAPACK gives them, the first zero on D's diagonal or 0).

    XLA has no such factorization: this is Bunch and Kaufman's elimination, one or two columns at a
    time, with the pivots that LAPACK chooses.
    """
    if not x.size:
        return x, jnp.zeros(x.shape[:-1], np.int32), jnp.zeros(x.shape[:-2], np.int32)
    return _each(lambda a: _bunch_kaufman(a, hermitian), x)


def _size(x: Array) -> Array:
    return jnp.abs(x.real) + jnp.abs(x.imag) if jnp.iscomplexobj(x) else jnp.abs(x)


def _bunch_kaufman(x: Array, hermitian: bool) -> tuple[Array, Array, Array]:
    n = x.shape[-1]
    turned = jnp.tril(x, -1).T
    rest = jnp.tril(x) + (turned.conj() if hermitian else turned)
    if hermitian:
        real = jnp.diagonal(rest).real.astype(x.dtype)
        rest = rest - jnp.diag(jnp.diagonal(rest)) + jnp.diag(real)
    zero = jnp.zeros((), np.int32)
    state = zero, rest, jnp.zeros_like(x), jnp.zeros(n, np.int32), zero

    def step(state: tuple) -> tuple:
        k, rest, ld, pivots, info = state
        other, two, singular = _choose(rest, k)
        info = jnp.where((info == 0) & singular, k + 1, info).astype(np.int32)
        rest = _swap(rest, k + two, other)
        rest, ld = lax.cond(two, _eliminate_two, _eliminate_one, rest, ld, k)
        here = jnp.arange(n)
        mine = (here == k) | ((here == k + 1) & two)
        pivots = jnp.where(mine, jnp.where(two, -other - 1, other + 1), pivots)
        return (k + 1 + two).astype(np.int32), rest, ld, pivots.astype(np.int32), info

    _, _, ld, pivots, info = lax.while_loop(lambda s: s[0] < n, step, state)
    return ld, pivots, info


def _choose(rest: Array, k: Array) -> tuple[Array, Array, Array]:
    """Return (the row to bring up, whether the pivot has two rows, whether the column is 0)."""
    rows = jnp.arange(rest.shape[-1])
    size = _size(rest)
    diagonal = size[k, k]
    column = jnp.where(rows > k, size[:, k], -1)
    most, i = jnp.maximum(column.max(), 0), jnp.argmax(column)
    across = jnp.where((rows >= k) & (rows != i), size[i], 0).max()
    keep = (diagonal >= _ALPHA * most) | (diagonal * across >= _ALPHA * most * most)
    single = size[i, i] >= _ALPHA * across
    other = jnp.where(keep, k, i).astype(np.int32)
    return other, ~keep & ~single, jnp.maximum(diagonal, most) == 0


def _swap(x: Array, i: Array, j: Array) -> Array:
    """Exchange two rows, and two columns."""
    order = jnp.arange(x.shape[-1])
    order = jnp.where(order == i, j, jnp.where(order == j, i, order))
    return x[order][:, order]


def _eliminate_one(rest: Array, ld: Array, k: Array) -> tuple[Array, Array]:
    rows = jnp.arange(rest.shape[-1])
    pivot = rest[k, k]
    below = jnp.where(rows > k, rest[:, k], 0)
    factors = below / jnp.where(pivot == 0, 1, pivot)
    rest = rest - jnp.where(pivot == 0, 0, factors)[:, None] * rest[k]
    return rest, ld.at[:, k].set(factors).at[k, k].set(pivot)


def _eliminate_two(rest: Array, ld: Array, k: Array) -> tuple[Array, Array]:
    rows = jnp.arange(rest.shape[-1])
    a, b, c, d = rest[k, k], rest[k, k + 1], rest[k + 1, k], rest[k + 1, k + 1]
    first, second = (jnp.where(rows > k + 1, rest[:, k + i], 0) for i in (0, 1))
    area = a * d - b * c
    left, right = (first * d - second * c) / area, (second * a - first * b) / area
    rest = rest - left[:, None] * rest[k] - right[:, None] * rest[k + 1]
    ld = ld.at[:, k].set(left).at[:, k + 1].set(right)
    return rest, ld.at[k, k].set(a).at[k + 1, k].set(c).at[k + 1, k + 1].set(d)


def ldl_solve(ld: Array, pivots: Array, y: Array, *, hermitian: bool) -> Array:
    """Solve systems whose matrices are given by their LDL factors."""
    if not y.size:
        return y
    return _each2(lambda a, p, b: _ldl_solve(a, p, b, hermitian), ld, pivots, y)


def _each2(function: Any, ld: Array, pivots: Array, y: Array) -> Array:
    for _ in range(ld.ndim - 2):
        function = jax.vmap(function)
    return function(ld, pivots, y)


def _swap_rows(y: Array, i: Array, j: Array) -> Array:
    return y.at[i].set(y[j]).at[j].set(y[i])


def _ldl_solve(ld: Array, pivots: Array, y: Array, hermitian: bool) -> Array:
    """Undo the elimination from the first pivot to the last, then back."""
    n = ld.shape[-1]
    rows = jnp.arange(n)

    def down(state: tuple) -> tuple:
        k, y = state
        two = pivots[k] < 0
        y = _swap_rows(y, k + two, jnp.abs(pivots[k]) - 1)
        last = k + two
        first = jnp.where(rows > last, ld[:, k], 0)[:, None] * y[k]
        second = jnp.where((rows > last) & two, ld[:, last], 0)[:, None] * y[last]
        y = _divide(ld, y - first - second, k, two, hermitian)
        return k + 1 + two, y

    def up(state: tuple) -> tuple:
        k, y = state
        two = pivots[k] < 0
        turned = ld.conj() if hermitian else ld
        above = k - two  # equals k where the pivot has one row
        first = (jnp.where(rows > k, turned[:, k], 0)[:, None] * y).sum(0)
        second = (jnp.where((rows > k) & two, turned[:, above], 0)[:, None] * y).sum(0)
        y = y.at[k].add(-first).at[above].add(-second)
        return k - 1 - two, _swap_rows(y, k, jnp.abs(pivots[k]) - 1)

    y = lax.while_loop(lambda s: s[0] < n, down, (jnp.zeros((), np.int64), y))[1]
    return lax.while_loop(lambda s: s[0] >= 0, up, (jnp.full((), n - 1, np.int64), y))[1]


def _divide(ld: Array, y: Array, k: Array, two: Array, hermitian: bool) -> Array:
    """Divide one row, or two rows at once, by their block of D."""
    n = ld.shape[-1]
    next_ = jnp.minimum(k + 1, n - 1)
    a, c, d = ld[k, k], ld[next_, k], ld[next_, next_]
    if hermitian:
        a, d = a.real.astype(ld.dtype), d.real.astype(ld.dtype)
    b = c.conj() if hermitian else c
    area = jnp.where(two, a * d - b * c, 1)
    first = jnp.where(two, (y[k] * d - y[next_] * b) / area, y[k] / a)
    second = jnp.where(two, (y[next_] * a - y[k] * c) / area, y[next_])
    return y.at[next_].set(second).at[k].set(first)
