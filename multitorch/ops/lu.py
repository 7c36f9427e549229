"""LU and LDL factors of matrices, and what is solved with them."""

from __future__ import annotations

from typing import Any

import numpy as np

from multitorch import dtypes
from multitorch.backend import LinAlgError
from multitorch.ops import apply as dispatch
from multitorch.ops import return_types
from multitorch.ops.apply import write_out
from multitorch.ops.decompose import MATRIX, check_square, solve_rule
from multitorch.ops.op import op
from multitorch.ops.ranges import eye
from multitorch.ops.triangular import (
    check_dtypes,
    check_matrices,
    check_system,
    first_failure,
    identity_like,
    same_batch,
)
from multitorch.ops.world import WORLD

Tensor = Any
_INT = np.dtype(np.int32)


# --- factors -------------------------------------------------------------------------------------


def _lu_shape(x: Any) -> tuple:
    *batch, m, n = x.shape
    return (x.shape, x.dtype), ((*batch, min(m, n)), _INT), (tuple(batch), _INT)


_lu_factor = op(
    "lu_factor", "x", outs="lu pivots info", diff_outs=(0,), promote=MATRIX, broadcasts=False,
    node="LinalgLuFactorEx", shape=_lu_shape,
).vjp(x=lambda F, g, lu, pivots: F.lu_backward(g, lu, pivots))  # fmt: skip
_lu_permutation = op(
    "lu_permutation", "pivots",
    shape=lambda pivots, *, size: ((*pivots.shape[:-1], size), np.dtype(np.int64)),
).nondiff()  # fmt: skip


def _check_lu(name: str, A: Tensor, pivot: bool) -> None:
    if A.ndim < 2:
        raise RuntimeError(
            f"{name}: Expected tensor with 2 or more dimensions. Got size: {list(A.shape)} instead"
        )
    if not pivot:
        raise NotImplementedError(
            "linalg.lu_factor: LU without pivoting is not implemented on any device"
        )


def _check_pivots(name: str, info: Tensor) -> None:
    if failure := first_failure(info):
        where, i = failure
        raise RuntimeError(
            f"{name}: {where}U[{i},{i}] is zero and using it on lu_solve would result in a "
            "division by zero. If you still want to perform the factorization, consider calling "
            "linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)"
        )


def lu_factor_ex(
    A: Tensor, *, pivot: bool = True, check_errors: bool = False, out: Any = None
) -> Any:
    """Return (LU, pivots, info): info is the first zero on U's diagonal, counted from 1, or 0."""
    _check_lu("torch.lu_factor", A, pivot)
    LU, pivots, info = _lu_factor(A)
    if check_errors:
        _check_pivots("torch.linalg.lu_factor_ex", info)
    result = return_types.linalg_lu_factor_ex(LU, pivots, info)
    return result if out is None else write_out(out, result)


def lu_factor(A: Tensor, *, pivot: bool = True, out: Any = None) -> Any:
    """Return L below U in one matrix, and the pivots, for use in `lu_solve`.

    Row i was exchanged with row pivots[i] - 1, for one i after the other.
    """
    _check_lu("torch.lu_factor", A, pivot)
    LU, pivots, info = _lu_factor(A)
    _check_pivots("torch.linalg.lu_factor", info)
    result = return_types.linalg_lu_factor(LU, pivots)
    return result if out is None else write_out(out, result)


def lu(input: Tensor, pivot: bool = True, get_infos: bool = False, *, out: Any = None) -> Any:
    """Return what `linalg.lu_factor_ex` does as a tuple, `info` only with `get_infos`."""
    result = tuple(lu_factor_ex(input, pivot=pivot))[: 3 if get_infos else 2]
    return result if out is None else write_out(out, result)


def lu_unpack(
    LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True, *,
    out: Any = None,
) -> Any:  # fmt: skip
    """Return P, L and U with A = P L U from what `linalg.lu_factor` gave for A."""
    check_matrices("torch.lu_unpack", LU_data=LU_data)
    if unpack_pivots and LU_pivots._dtype is not dtypes.int32:
        raise RuntimeError(
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 "
            "dtype.\nNote: this function is intended to be used with the output produced by "
            "torch.linalg.lu_factor"
        )
    P = L = U = LU_data.new_empty(0)
    if unpack_pivots:
        if tuple(LU_pivots.shape) != (*LU_data.shape[:-2], min(LU_data.shape[-2:])):
            raise RuntimeError(
                f"torch.lu_unpack: LU_pivots of shape {list(LU_pivots.shape)} do not belong to "
                f"LU_data of shape {list(LU_data.shape)}"
            )
        _check_range(LU_pivots, LU_data.shape[-2])
        P = _permutation(LU_data, LU_pivots)
    if unpack_data:
        k = min(LU_data.shape[-2:])
        ones = eye(LU_data.shape[-2], k, dtype=LU_data._dtype, device=LU_data._dev)
        L = LU_data.narrow(-1, 0, k).tril(-1) + ones
        U = LU_data.narrow(-2, 0, k).triu()
    result = return_types.lu_unpack(P, L, U)
    return result if out is None else write_out(out, result)


def _check_range(pivots: Tensor, rows: int) -> None:
    if dispatch.capturing or pivots._dev.type == "meta":
        return
    found = np.asarray(pivots._dev.backend.get(pivots._a))
    if found.size and not (found.min() >= 1 and found.max() <= rows):
        raise RuntimeError(
            "pivots passed to lu_unpack must be between 1 and LU.size(-2) inclusive."
            "Did you properly pass the result of lu_factor?"
        )


def _permutation(like: Tensor, pivots: Tensor) -> Tensor:
    """Return P: row i of L U is row rows[i] of the matrix."""
    m = like.shape[-2]
    rows = _lu_permutation(pivots, size=m)
    at = rows.new_ones(m).cumsum(0) - 1
    return (rows.unsqueeze(-2) == at.unsqueeze(-1)).to(like._dtype)


def linalg_lu(A: Tensor, *, pivot: bool = True, out: Any = None) -> Any:
    """Return P, L and U with A = P L U.

    >>> import multitorch as torch
    >>> P, L, U = torch.linalg.lu(torch.tensor([[1.0, 2.0], [2.0, 2.0]]))
    >>> P @ L @ U
    tensor([[1., 2.],
            [2., 2.]])
    """
    _check_lu("linalg.lu", A, pivot)
    LU, pivots, _ = _lu_factor(A)
    result = return_types.linalg_lu(*lu_unpack(LU, pivots))
    return result if out is None else write_out(out, result)


# --- systems -------------------------------------------------------------------------------------


def linalg_lu_solve(
    LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return X of A X = B for A given by `linalg.lu_factor`.

    With left=False the equation is X A = B; with `adjoint` Aᴴ stands for A.
    """
    check_system("linalg.lu_solve", LU, B, left)
    if pivots._dtype is not dtypes.int32:
        raise RuntimeError("linalg.lu_solve: pivots should be a Tensor of scalar type torch.int32")
    if pivots.shape[-1:] != LU.shape[-1:]:
        raise RuntimeError(
            "linalg.lu_solve: Number of pivots per batch should be same as the dimension of the "
            "matrix"
        )
    if not left:
        return _written(out, linalg_lu_solve(LU, pivots, B.mH, adjoint=not adjoint).mH)
    LU, B, at = same_batch(LU, B, pivots.unsqueeze(-1))
    return _written(out, WORLD.lu_solve(LU, at.squeeze(-1), B, adjoint=adjoint))


def _written(out: Tensor | None, result: Tensor) -> Tensor:
    return result if out is None else write_out(out, result)


def lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return `linalg.lu_solve`, its arguments in another order."""
    return linalg_lu_solve(LU_data, LU_pivots, b, out=out)


_solve_ex = op(
    "solve_ex", "x y", outs="out info", diff_outs=(0,), promote=MATRIX, node="LinalgSolveEx",
    shape=lambda x, y: ((y.shape, y.dtype), (x.shape[:-2], _INT)),
).vjp(x=solve_rule, y=lambda F, g, x: F.solve(F.adjoint(x), g))  # fmt: skip


def solve_ex(
    A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False, out: Any = None
) -> Any:
    """Return (the solution of A X = B, info): where A is singular, info is not 0.

    With left=False the equation is X A = B. Nothing is raised, and no device waited for, unless
    `check_errors` is set.
    """
    check_square("linalg.solve", A)
    vector = B.ndim == 1 or (B.ndim == A.ndim - 1 and B.shape == A.shape[:-1])
    rhs = B.unsqueeze(-1) if vector else B
    check_system("linalg.solve", A, rhs, left or vector)
    matrix, rhs = same_batch(A if left or vector else A.mT, rhs if left or vector else rhs.mT)
    X, info = _solve_ex(matrix, rhs)
    if check_errors and (failure := first_failure(info)):
        raise LinAlgError(
            f"torch.linalg.solve_ex: {failure[0]}The solver failed because the input matrix is "
            "singular."
        )
    X = X.squeeze(-1) if vector else X if left else X.mT
    result = return_types.linalg_solve_ex(X, info)
    return result if out is None else write_out(out, result)


def inv_ex(A: Tensor, *, check_errors: bool = False, out: Any = None) -> Any:
    """Return (the inverse, info): where A is singular, info is its first pivot that is 0."""
    check_square("linalg.inv", A)
    inverse, info = _solve_ex(A, identity_like(A))
    if check_errors and (failure := first_failure(info)):
        where, i = failure
        raise LinAlgError(
            f"linalg.inv_ex: {where}The diagonal element {i} is zero, the inversion could not be "
            "completed because the input matrix is singular."
        )
    result = return_types.linalg_inv_ex(inverse, info)
    return result if out is None else write_out(out, result)


# --- symmetric indefinite matrices ---------------------------------------------------------------

_ldl_factor = op(
    "ldl_factor", "x", outs="ld pivots info", promote=MATRIX, broadcasts=False,
    shape=lambda x, *, hermitian: (
        (x.shape, x.dtype), (x.shape[:-1], _INT), (x.shape[:-2], _INT)
    ),
).nondiff()  # fmt: skip
_ldl_solve = op(
    "ldl_solve", "ld pivots y", promote=MATRIX, broadcasts=False, keep="pivots",
    shape=lambda ld, pivots, y, *, hermitian: (y.shape, y.dtype),
).nondiff()  # fmt: skip


def ldl_factor_ex(
    A: Tensor, *, hermitian: bool = False, check_errors: bool = False, out: Any = None
) -> Any:
    """Return (LD, pivots, info) of symmetric, or Hermitian, matrices that need not be definite.

    Only the lower triangle is read; pivots are LAPACK's. There is no derivative.
    """
    check_square("torch.linalg.ldl_factor_ex", A)
    LD, pivots, info = _ldl_factor(A, hermitian=hermitian and A.is_complex())
    if check_errors:
        _check_ldl("torch.linalg.ldl_factor_ex", info)
    result = return_types.linalg_ldl_factor_ex(LD, pivots, info)
    return result if out is None else write_out(out, result)


def _check_ldl(name: str, info: Tensor) -> None:
    if failure := first_failure(info):
        where, i = failure
        raise RuntimeError(
            f"{name}: {where}D[{i},{i}] is zero: the factors cannot be used in ldl_solve"
        )


def ldl_factor(A: Tensor, *, hermitian: bool = False, out: Any = None) -> Any:
    """Return (LD, pivots) of symmetric, or Hermitian, matrices, for use in `ldl_solve`."""
    LD, pivots, info = ldl_factor_ex(A, hermitian=hermitian)
    _check_ldl("torch.linalg.ldl_factor", info)
    result = return_types.linalg_ldl_factor(LD, pivots)
    return result if out is None else write_out(out, result)


def ldl_solve(
    LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False, out: Tensor | None = None
) -> Tensor:
    """Return X of A X = B for A given by `linalg.ldl_factor`."""
    check_square("torch.linalg.ldl_solve", LD)
    check_matrices("torch.linalg.ldl_solve", B=B)
    check_dtypes("torch.linalg.ldl_solve", LD=LD, B=B)
    if pivots.shape != LD.shape[:-1]:
        raise RuntimeError(
            "torch.linalg.ldl_solve: Expected LD.shape[:-1] and pivots.shape to be the same, but "
            f"got pivots with shape {list(pivots.shape)} instead"
        )
    if B.shape[-2] != LD.shape[-1]:
        raise RuntimeError(
            "Incompatible matrix sizes for torch.linalg.ldl_solve: each A matrix is "
            f"{LD.shape[-1]} by {LD.shape[-1]} but each b matrix is {B.shape[-2]} by {B.shape[-1]}"
        )
    LD, B, at = same_batch(LD, B, pivots.unsqueeze(-1))
    result = _ldl_solve(LD, at.squeeze(-1), B, hermitian=hermitian and LD.is_complex())
    return result if out is None else write_out(out, result)


FUNCTIONS = {"lu": lu, "lu_unpack": lu_unpack, "lu_solve": lu_solve}
METHODS = {"lu": lu, "lu_solve": lu_solve}
