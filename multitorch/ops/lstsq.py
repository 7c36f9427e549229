"""Least squares and approximations of low rank."""

from __future__ import annotations

from typing import Any

import numpy as np

from multitorch import dtypes
from multitorch.autograd import modes
from multitorch.ops import return_types
from multitorch.ops.apply import write_out
from multitorch.ops.decompose import linalg_pinv, linalg_qr, linalg_svd
from multitorch.ops.op import op
from multitorch.ops.random import randn
from multitorch.ops.triangular import solve_part

Tensor = Any


def _solved(x: Any, y: Any, rcond: Any) -> tuple:
    shape = (*x.shape[:-2], x.shape[-1], y.shape[-1])
    return (shape, x.dtype), (tuple(x.shape[:-2]), np.dtype(np.int64))


_min_norm_solve = op("min_norm_solve", "x y rcond", outs="out rank", shape=_solved).nondiff()

_DRIVERS = ("gels", "gelsy", "gelsd", "gelss")


def lstsq(
    A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None, out: Any = None
) -> Any:
    """Return (solution, residuals, rank, singular_values) of the least squares problem A X = B.

    Of several solutions the one of the least norm. Singular values up to `rcond` times the largest
    count as 0. Driver "gels" takes A to be of full rank, and goes by a QR factorization; the others
    go by singular values. As in PyTorch, results that a driver does not give are empty.

    >>> import multitorch as torch
    >>> A = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    >>> torch.linalg.lstsq(A, torch.tensor([[1.0], [3.0], [5.0]]), driver="gels").solution.round()
    tensor([[1.],
            [2.]])
    """
    vector = _check_lstsq(A, B, driver)
    rhs = B.unsqueeze(-1) if vector else B
    driver = driver or "gelsy"
    rank = A.new_empty(0, dtype=dtypes.int64)
    values = A.new_empty(0, dtype=A._dtype.to_real())
    if driver == "gels":
        X = _full_rank(A, rhs)
    elif driver == "gelsy" and _is_plain(A, rhs):
        if rcond is None:
            rcond = _default_rcond(A)
        X, rank = _min_norm_solve(A, rhs, float(rcond))
    else:
        X, rank, found = _any_rank(A, rhs, rcond)
        values = found if driver != "gelsy" else values
    residuals = _residuals(A, X, rhs, rank, driver)
    X = X.squeeze(-1) if vector else X
    result = return_types.linalg_lstsq(X, residuals, rank, values)
    return result if out is None else write_out(out, result)


def _check_lstsq(A: Tensor, B: Tensor, driver: str | None) -> bool:
    """Check the arguments; return whether B holds vectors."""
    name = "torch.linalg.lstsq"
    if A.ndim < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    if B.ndim < 1:
        raise RuntimeError(f"{name}: other must have at least 1 dimension.")
    if A._dtype is not B._dtype:
        raise RuntimeError(
            f"{name}: Expected input and other to have the same dtype, but got input's dtype "
            f"{A._dtype.scalar_name} and other's dtype {B._dtype.scalar_name}"
        )
    if driver is not None and driver not in _DRIVERS:
        raise RuntimeError(
            f"{name}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)"
        )
    vector = B.ndim == 1 or (B.ndim == A.ndim - 1 and B.shape == A.shape[:-1])
    dim = -1 if vector else -2
    if B.shape[dim] != A.shape[-2]:
        raise RuntimeError(f"{name}: input.size(-2) should match other.size({dim})")
    return vector


def _full_rank(A: Tensor, B: Tensor) -> Tensor:
    if 0 in A.shape[-2:]:
        return A.mH @ B
    if A.shape[-2] >= A.shape[-1]:
        q, r = linalg_qr(A)[:2]
        return solve_part(r, q.mH @ B, upper=True)
    q, r = linalg_qr(A.mH)[:2]
    return q @ solve_part(r.mH, B, upper=False)


def _default_rcond(A: Tensor) -> float:
    return max(A.shape[-2:]) * dtypes.finfo(A._dtype).eps


def _is_plain(A: Tensor, B: Tensor) -> bool:
    """Whether there are no gradients, broadcasting, empty or half-precision operands."""
    records = modes.is_grad_enabled() and (A.requires_grad or B.requires_grad)
    same = A.shape[:-2] == B.shape[:-2] and A._dtype.inexact and A._dtype.itemsize >= 4
    return not records and same and A.numel() > 0 and B.numel() > 0


def _any_rank(A: Tensor, B: Tensor, rcond: float | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return (solution, rank, singular values)."""
    if rcond is None:
        rcond = _default_rcond(A)
    u, s, vh = linalg_svd(A.detach(), False)
    if not s.shape[-1]:
        return A.mH @ B, s.sum(-1).to(dtypes.int64), s
    significant = s > rcond * s.amax(-1, keepdim=True)
    rank = significant.sum(-1)
    if A.requires_grad and modes.is_grad_enabled():
        return linalg_pinv(A, rtol=rcond) @ B, rank, s
    inverse = significant / s.where(significant, 1)
    return vh.mH @ (inverse.unsqueeze(-1) * (u.mH @ B)), rank, s


def _residuals(A: Tensor, X: Tensor, B: Tensor, rank: Tensor, driver: str) -> Tensor:
    """Return the squared lengths of the columns of A X - B, where PyTorch gives them."""
    m, n = A.shape[-2:]
    if m <= n or driver == "gelsy" or (driver != "gels" and not bool((rank == n).all())):
        return A.new_empty(0, dtype=A._dtype.to_real())
    apart = A @ X - B
    return (apart.abs() ** 2).sum(-2)


# --- low rank ------------------------------------------------------------------------------------


def _random_range(A: Tensor, q: int, niter: int, M: Tensor | None) -> Tensor:
    """Return orthonormal columns that nearly span the range of A - M (Halko et al., 4.4)."""

    def times(X: Tensor, adjoint: bool = False) -> Tensor:
        product = (A.mH if adjoint else A) @ X
        return product if M is None else product - (M.mH if adjoint else M) @ X

    Q = linalg_qr(times(randn(A.shape[-1], q, dtype=A._dtype, device=A._dev)))[0]
    for _ in range(niter):
        Q = linalg_qr(times(Q, adjoint=True))[0]
        Q = linalg_qr(times(Q))[0]
    return Q


def svd_lowrank(
    A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None
) -> Any:
    """Return U, S and V of rank q with A - M ≈ U diag(S) Vᴴ, from random products.

    The singular values are near the q largest where the others are much smaller; `niter` subspace
    iterations bring them nearer.
    """
    q, niter = 6 if q is None else q, 2 if niter is None else niter
    if M is not None:
        M = M.expand(A.shape)
    if A.shape[-2] < A.shape[-1]:
        V, S, U = _svd_lowrank(A.mH, q, niter, None if M is None else M.mH)
    else:
        U, S, V = _svd_lowrank(A, q, niter, M)
    return U, S, V


def _svd_lowrank(A: Tensor, q: int, niter: int, M: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    Q = _random_range(A, q, niter, M)
    B = Q.mH @ (A if M is None else A - M)
    U, S, Vh = linalg_svd(B, False)
    return Q @ U, S, Vh.mH


def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> Any:
    """Return U, S and V of rank q: principal components V of the rows of A, by `svd_lowrank`.

    With `center` the columns' means are taken away first.
    """
    m, n = A.shape[-2:]
    if q is None:
        q = min(6, m, n)
    elif not 0 <= q <= min(m, n):
        raise ValueError(
            f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}"
        )
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    if center:
        A = A - A.mean(-2, keepdim=True)
    return svd_lowrank(A, q, niter)


FUNCTIONS = {"svd_lowrank": svd_lowrank, "pca_lowrank": pca_lowrank}
