"""Derivatives of functions of square matrices."""

from __future__ import annotations

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
