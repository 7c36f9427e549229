"""Norms of matrices."""

from __future__ import annotations

from math import inf
from typing import Any

from multitorch.dtypes import dtype
from multitorch.ops.apply import write_out
from multitorch.ops.common import reduced_shape, wrap_dim
from multitorch.ops.decompose import svdvals
from multitorch.ops.statistics import vector_norm

Tensor = Any


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *,
    dtype: dtype | None = None, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return a norm: "fro", "nuc", ±1 (of columns), ±inf (of rows) or ±2 (singular values)."""
    if A.ndim < 2:
        raise RuntimeError(
            "linalg.matrix_norm: The input tensor A must have at least 2 dimensions."
        )
    row, column = (wrap_dim(d, A.ndim) for d in dim)
    if row == column:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({dim[0]}, {dim[1]})")
    if dtype is not None:
        A = A.to(dtype)
    if ord == "fro":
        result = vector_norm(A, 2, (row, column), keepdim)
    elif ord in ("nuc", 2, -2):
        result = _by_singular_values(A, ord, row, column, keepdim)
    elif ord in (1, -1, inf, -inf):
        summed, other = (row, column) if abs(ord) == 1 else (column, row)
        totals = vector_norm(A, 1, summed, keepdim=True)
        result = _largest(totals, other) if ord > 0 else totals.amin(other, keepdim=True)
        if not keepdim:
            result = result.reshape(reduced_shape(tuple(A.shape), (row, column), False))
    else:
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    return result if out is None else write_out(out, result)


def _largest(x: Tensor, dim: int) -> Tensor:
    """Return the largest of non-negative numbers along a dimension; 0 if there are none."""
    return x.amax(dim, keepdim=True) if x.shape[dim] else x.sum(dim, keepdim=True)


def _by_singular_values(A: Tensor, ord: Any, row: int, column: int, keepdim: bool) -> Tensor:
    values = svdvals(A.movedim((row, column), (-2, -1)))
    if ord == "nuc":
        result = values.sum(-1)
    else:
        result = _largest(values, -1).squeeze(-1) if ord > 0 else values.amin(-1)
    if keepdim:
        result = result.reshape(reduced_shape(tuple(A.shape), (row, column), True))
    return result


def linalg_norm(
    A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *,
    dtype: dtype | None = None, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return a vector norm, or a matrix norm where two dimensions and an order are given."""
    if dim is None and ord is not None and A.ndim not in (1, 2):
        raise RuntimeError(
            "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. "
            f"Got {A.ndim}D."
        )
    two = not isinstance(dim, int) and dim is not None and len(dim) == 2
    if ord is not None and (isinstance(ord, str) or two or (dim is None and A.ndim == 2)):
        dims = (-2, -1) if dim is None else dim
        return matrix_norm(A, ord, dims, keepdim, dtype=dtype, out=out)
    return vector_norm(A, 2 if ord is None else ord, dim, keepdim, dtype=dtype, out=out)
