"""The matrix exponential, Vandermonde matrices, distances, and tensors taken as matrices."""

from __future__ import annotations

from math import prod
from typing import Any

from multitorch.dtypes import BOOL, dtype
from multitorch.ops.apply import broadcast_shape, write_out
from multitorch.ops.common import same_shape
from multitorch.ops.decompose import check_square, inv, solve
from multitorch.ops.join import cat
from multitorch.ops.op import op
from multitorch.ops.parts import diagonal
from multitorch.ops.promote import Promotion, float_only, not_implemented

Tensor = Any


# --- the exponential -----------------------------------------------------------------------------


def _inexact(name: str, d: dtype) -> dtype:
    if not d.inexact:
        raise not_implemented(name, d)
    return d


_matrix_exp = op(
    "matrix_exp", "x", promote=Promotion("inexact", _inexact, fast=frozenset()),
    broadcasts=False, node="LinalgMatrixExp", shape=lambda x: (x.shape, x.dtype),
).vjp(x=lambda F, g, x: F.matrix_exp_backward(g, x))  # fmt: skip


def matrix_exp(A: Tensor) -> Tensor:
    """Return the exponentials of square matrices: the sum of Aᵏ / k!.

    >>> import multitorch as torch
    >>> torch.linalg.matrix_exp(torch.zeros(2, 2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    if not A._dtype.inexact:
        raise RuntimeError(
            "linalg.matrix_exp: Expected a floating point or complex tensor as input. Got "
            f"{A._dtype.scalar_name}"
        )
    check_square("linalg.matrix_exp", A)
    return _matrix_exp(A)


# --- simple functions ----------------------------------------------------------------------------


def linalg_diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Return a view of the diagonals of matrices."""
    return diagonal(A, offset, dim1, dim2)


def linalg_vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """Return the powers 0 … N - 1 of the elements, in a new last dimension.

    >>> import multitorch as torch
    >>> torch.linalg.vander(torch.tensor([2, 3]), N=3)
    tensor([[1, 2, 4],
            [1, 3, 9]])
    """
    if x._dtype.category == BOOL:
        raise RuntimeError(
            "linalg.vander supports floating point, complex, and integer tensors, but got Bool"
        )
    if not x.ndim:
        x = x.unsqueeze(-1)
    n = x.shape[-1] if N is None else N
    if n <= 1:
        raise RuntimeError("N must be greater than 1.")
    powers = x.unsqueeze(-1).expand(*x.shape, n - 1).cumprod(-1)
    return cat([powers.new_ones(*x.shape, 1), powers], -1)


def tensorinv(A: Tensor, ind: int = 2, *, out: Tensor | None = None) -> Tensor:
    """Return the inverse of the map from the dimensions after `ind` to those before it."""
    if ind <= 0:
        raise RuntimeError(f"Expected a strictly positive integer for 'ind', but got {ind}")
    before, after = tuple(A.shape[:ind]), tuple(A.shape[ind:])
    if prod(before) != prod(after):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == "
            f"prod(self.shape[:ind]), but got {prod(after)} != {prod(before)}"
        )
    result = inv(A.reshape(prod(before), prod(after))).reshape(*after, *before)
    return result if out is None else write_out(out, result)


def tensorsolve(A: Tensor, B: Tensor, dims: Any = None, *, out: Tensor | None = None) -> Tensor:
    """Return X with tensordot(A, X, X.ndim) = B; `dims` of A are moved to its end first."""
    if dims is not None:
        A = A.movedim(dims, tuple(range(A.ndim - len(dims), A.ndim)))
    shape = tuple(A.shape[B.ndim :])
    rows = prod(A.shape[: B.ndim])
    if prod(shape) != rows:
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
            f"prod(self.shape[:other.ndim]), but got {prod(shape)} != {rows}"
        )
    result = solve(A.reshape(rows, rows), B.reshape(-1)).reshape(shape)
    return result if out is None else write_out(out, result)


# --- distances -----------------------------------------------------------------------------------

_MODES = (
    "use_mm_for_euclid_dist_if_necessary",
    "use_mm_for_euclid_dist",
    "donot_use_mm_for_euclid_dist",
)


def _distance_rule(F: Any, g: Any, out: Any) -> Any:
    return F.where(out == 0, 0, g / (F.where(out == 0, 1, out) * 2))


_distance = op("distance", "x", promote=float_only, node="EuclideanDist", shape=same_shape).vjp(
    x=_distance_rule
)


def _pairs(x: Any, y: Any, *, p: float) -> tuple:
    return (*x.shape[:-1], y.shape[-2]), x.dtype


_pair_distances = op("pair_distances", "x y", node="Cdist", shape=_pairs).vjps(
    lambda F, g, x, y, out, p: F.pair_distances_backward(g, x, y, out, p=p)
)


def cdist(
    x1: Tensor, x2: Tensor, p: float = 2.0,
    compute_mode: str = "use_mm_for_euclid_dist_if_necessary",
) -> Tensor:  # fmt: skip
    """Return the p-norm distances of all pairs of rows: (…, n, d), (…, m, d) → (…, n, m).

    Euclidean distances of more than 25 rows go by a product of matrices, which is fast but less
    exact for points close together; `compute_mode` decides otherwise.

    >>> import multitorch as torch
    >>> torch.cdist(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[5., 1.]])
    """
    _check_cdist(x1, x2, p, compute_mode)
    large = max(x1.shape[-2], x2.shape[-2]) > 25 and compute_mode == _MODES[0]
    if p == 2 and (large or compute_mode == _MODES[1]) and x1.numel() and x2.numel():
        return _euclidean(x1, x2)
    batch = broadcast_shape(tuple(x1.shape[:-2]), tuple(x2.shape[:-2]))
    x1, x2 = (t.expand(*batch, *t.shape[-2:]) for t in (x1, x2))
    if x1._dtype.itemsize < 4:
        return _pair_distances(x1.float(), x2.float(), p=float(p)).to(x1._dtype)
    return _pair_distances(x1, x2, p=float(p))


def _check_cdist(x1: Tensor, x2: Tensor, p: float, compute_mode: str) -> None:
    if compute_mode not in _MODES:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    for name, x in (("X1", x1), ("X2", x2)):
        if not x._dtype.is_floating_point:
            raise RuntimeError(
                f"cdist only supports floating-point dtypes, {name} got: {x._dtype.scalar_name}"
            )
        if x.ndim < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {name} got: {x.ndim}D")
    if x1._dtype is not x2._dtype:
        raise RuntimeError(
            f"expected scalar type {x1._dtype.scalar_name} but found {x2._dtype.scalar_name}"
        )
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}"
        )
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")


def _euclidean(x1: Tensor, x2: Tensor) -> Tensor:
    """Return sqrt(|x|² - 2 x y + |y|²) by one product."""
    squares = [(x * x).sum(-1, keepdim=True) for x in (x1, x2)]
    ones = [t.new_ones(t.shape) for t in squares]
    left = cat([x1 * -2, squares[0], ones[0]], -1)
    total = left @ cat([x2, ones[1], squares[1]], -1).mT
    return _distance(total)


FUNCTIONS = {"matrix_exp": matrix_exp, "cdist": cdist}
METHODS = {"matrix_exp": matrix_exp}
