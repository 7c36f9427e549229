"""Norms of vectors and matrices."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from multitorch.dtypes import dtype
from multitorch.ops.apply import write_out
from multitorch.ops.common import reduced_shape, wrap_dim, wrap_dims
from multitorch.ops.op import op
from multitorch.ops.promote import float_only

Tensor = Any

# --- vectors -------------------------------------------------------------------------------------

_REAL = {np.dtype(np.complex64): np.dtype(np.float32), np.dtype(np.complex128): np.dtype(float)}


def _norm_shape(x: Any, *, ord: float, dim: tuple[int, ...], keepdim: bool) -> tuple:
    return reduced_shape(x.shape, dim, keepdim), _REAL.get(x.dtype, x.dtype)


def _norm_rule(F: Any, g: Any, x: Any, out: Any, ord: float, dim: tuple, keepdim: bool) -> Any:
    if not keepdim:
        kept = reduced_shape(tuple(x.shape), dim, True)
        g, out = F.reshape(g, shape=kept), F.reshape(out, shape=kept)
    zero = out == 0
    if ord == 2:
        return F.where(zero, 0, x * (g / F.where(zero, 1, out)))
    size = F.abs(x)
    unit = F.where(size == 0, 0, x / F.where(size == 0, 1, size))
    if ord == 0:
        return unit * 0
    if ord == 1:
        return unit * g
    if ord in (inf, -inf):
        most = size == out
        count = F.sum(F.where(most, g * 0 + 1, 0), dim=dim, keepdim=True)
        return F.where(most, unit * (g / count), 0)
    scale = g / F.pow_scalar(F.where(zero, 1, out), ord - 1)
    slope = F.pow_scalar(F.where(size == 0, 1, size), ord - 1)
    return unit * F.where(zero, 0, slope * scale)


_vector_norm = op(
    "vector_norm", "x", promote=float_only, broadcasts=False, shape=_norm_shape,
    node="LinalgVectorNorm",
).vjp(x=_norm_rule)  # fmt: skip


def vector_norm(
    x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *,
    dtype: dtype | None = None, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return (Σ |x|^ord)^(1/ord) over `dim`; the largest or smallest |x| for ord ±inf.

    >>> import multitorch as torch
    >>> torch.linalg.vector_norm(torch.tensor([3.0, 4.0]))
    tensor(5.)
    """
    if not x._dtype.inexact:
        raise RuntimeError(
            "linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
            + x._dtype.scalar_name
        )
    if dtype is not None:
        x = x.to(dtype)
    dims = wrap_dims(dim, x.ndim)
    if ord < 0 and 0 in [x.shape[i] for i in dims]:
        raise RuntimeError(
            f"linalg.vector_norm cannot compute the {float(ord)} norm on an empty tensor because "
            "the operation does not have an identity"
        )
    result = _vector_norm(x, ord=float(ord), dim=dims, keepdim=keepdim)
    return result if out is None else write_out(out, result)


# --- matrices ------------------------------------------------------------------------------------


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *,
    dtype: dtype | None = None, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return a norm of matrices: "fro", "nuc", ±1 (columns), ±inf (rows) or ±2 (singular values)."""
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
        result = totals.amax(other, keepdim=True) if ord > 0 else totals.amin(other, keepdim=True)
        if not keepdim:
            result = result.reshape(reduced_shape(tuple(A.shape), (row, column), False))
    else:
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
    return result if out is None else write_out(out, result)


def _by_singular_values(A: Tensor, ord: Any, row: int, column: int, keepdim: bool) -> Tensor:
    from multitorch.ops.decompose import svdvals

    values = svdvals(A.movedim((row, column), (-2, -1)))
    if ord == "nuc":
        result = values.sum(-1)
    else:
        result = values.amax(-1) if ord > 0 else values.amin(-1)
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
        return matrix_norm(A, ord, dim if dim is not None else (-2, -1), keepdim, dtype=dtype, out=out)
    return vector_norm(A, 2 if ord is None else ord, dim, keepdim, dtype=dtype, out=out)


def norm(
    input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False,
    out: Tensor | None = None, dtype: dtype | None = None,
) -> Tensor:  # fmt: skip
    """Return the p-norm over `dim`; "fro" is the 2-norm."""
    if p == "nuc":
        return matrix_norm(input, "nuc", (0, 1) if dim is None else dim, keepdim, dtype=dtype, out=out)
    order = 2.0 if p is None or p == "fro" else p
    return vector_norm(input, order, dim, keepdim, dtype=dtype, out=out)


def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """Return the p-norm of the difference."""
    return vector_norm(input - other, p)
