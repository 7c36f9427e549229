"""Derivatives of functions of square matrices; distances."""

from __future__ import annotations

from math import inf
from typing import Any

Array = Any


def matrix_exp_backward(F: Any, g: Array, x: Array) -> Array:
    """The gradient of the exponential: a block of the exponential of `[[xᴴ, g], [0, xᴴ]]`."""
    n, dim = x.shape[-1], len(x.shape) - 2
    turned = F.adjoint(x)
    zeros = F.new_zeros(g, shape=g.shape)
    rows = F.cat(turned, g, dim=dim + 1), F.cat(zeros, turned, dim=dim + 1)
    both = F.matrix_exp(F.cat(*rows, dim=dim))
    top = F.slice(both, 0, dim=dim, length=n, step=1)
    return F.slice(top, n, dim=dim + 1, length=n, step=1)


def eig_backward(F: Any, gl: Array, gv: Array, values: Array, vectors: Array) -> Array:
    """The gradient of the decomposition with vectors of length 1; None stands for 0."""
    inner = None if gl is None else F.diagonal_matrix(gl)
    if gv is not None:
        turn = F.matmul_tn(vectors, gv)
        lengths = F.diagonal_part(turn)
        lengths = (lengths + F.conj(lengths)) / 2
        turn = turn - F.matmul(F.matmul_tn(vectors, vectors), lengths)
        turn = turn * F.conj(F.inverse_gaps(values))
        inner = turn if inner is None else inner + turn
    return F.solve(F.adjoint(vectors), F.matmul_nt(inner, vectors))


def distance(F: Any, x: Array) -> Array:
    """The square root, 0 of what rounding made negative; the derivative of 0 counts as 0."""
    return F.sqrt(F.maximum(x, 0))


def _apart(F: Any, x: Array, y: Array) -> Array:
    """Return x_i - y_j for all pairs of rows: (d, …, n, m), which is summed in memory's order."""
    lead = tuple(range(len(x.shape) - 2))
    last = len(lead)
    x, y = F.permute(x, dims=(last + 1, *lead, last)), F.permute(y, dims=(last + 1, *lead, last))
    return F.reshape(x, shape=(*x.shape, 1)) - F.reshape(y, shape=(*y.shape[:-1], 1, y.shape[-1]))


def pair_distances(F: Any, x: Array, y: Array, *, p: float) -> Array:
    """The p-norm distances of all pairs of rows: (…, n, d), (…, m, d) → (…, n, m)."""
    if not x.shape[-1]:
        return F.new_zeros(x, shape=(*x.shape[:-1], y.shape[-2]))
    return F.vector_norm(_apart(F, x, y), ord=p, dim=(0,), keepdim=False)


def pair_distances_backward(
    F: Any, g: Array, x: Array, y: Array, out: Array, *, p: float
) -> tuple[Array, Array]:
    """The gradients of `pair_distances` by x and y; a distance of 0 has none."""
    apart = _apart(F, x, y)
    if p == 0:
        slope = apart * 0
    elif p == 1:
        slope = F.sign(apart) * g
    elif p == inf:
        slope = F.where(F.eq(F.abs(apart), out), F.sign(apart), 0) * g
    else:
        none = F.eq(out, 0)
        share = F.where(none, 0, g / F.pow(F.where(none, 1, out), p - 1))
        slope = apart * share if p == 2 else _power_slope(F, apart, p) * share
    lead = len(x.shape) - 2
    turn = (*(i + 1 for i in range(lead)), lead + 1, 0)
    gx = F.sum(slope, dim=(lead + 2,), keepdim=False)
    gy = -F.sum(slope, dim=(lead + 1,), keepdim=False)
    return F.permute(gx, dims=turn), F.permute(gy, dims=turn)


def _power_slope(F: Any, apart: Array, p: float) -> Array:
    """Return sign(x) |x|^(p - 1), 0 at 0."""
    none = F.eq(apart, 0)
    return F.where(none, 0, F.sign(apart) * F.pow(F.where(none, 1, F.abs(apart)), p - 1))
