"""Triangular systems, and what is solved with Cholesky factors."""

from __future__ import annotations

from typing import Any

import numpy as np

from multitorch.backend import LinAlgError
from multitorch.ops import apply as dispatch
from multitorch.ops import return_types
from multitorch.ops.apply import broadcast_shape, write_out
from multitorch.ops.decompose import MATRIX, check_square, cholesky_rule
from multitorch.ops.op import op
from multitorch.ops.ranges import eye

Tensor = Any


# --- what the families of linear systems share ---------------------------------------------------


def check_matrices(name: str, **args: Tensor) -> None:
    """Raise unless every tensor has two dimensions or more."""
    for key, t in args.items():
        if t.ndim < 2:
            raise RuntimeError(f"{name}: The input tensor {key} must have at least 2 dimensions.")


def check_dtypes(name: str, **args: Tensor) -> None:
    """Raise unless all tensors have one dtype."""
    (first, x), *others = args.items()
    for key, t in others:
        if t._dtype is not x._dtype:
            raise RuntimeError(
                f"{name}: Expected {first} and {key} to have the same dtype, but found {first} of "
                f"type {x._dtype.scalar_name} and {key} of type {t._dtype.scalar_name} instead"
            )


def check_system(name: str, A: Tensor, B: Tensor, left: bool = True) -> None:
    """Raise unless `A X = B`, or `X A = B`, makes sense for square A."""
    check_square(name, A)
    check_matrices(name, B=B)
    check_dtypes(name, A=A, B=B)
    if B.shape[-2 if left else -1] != A.shape[-1]:
        raise RuntimeError(
            f"{name}: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({A.shape[-2]}x{A.shape[-1]} and "
            f"{B.shape[-2]}x{B.shape[-1]})"
        )


def same_batch(*matrices: Tensor) -> list[Tensor]:
    """Return matrices whose leading dimensions are expanded to the common ones."""
    batches = [tuple(m.shape[:-2]) for m in matrices]
    if len(set(batches)) == 1:
        return list(matrices)
    batch = broadcast_shape(*batches)
    return [m.expand(*batch, *m.shape[-2:]) for m in matrices]


def first_failure(info: Tensor) -> tuple[str, int] | None:
    """Return ('(Batch element 2): ' or '', info) of the first failed matrix, None if none failed.

    While a program is recorded, or without data, nothing is known.
    """
    if dispatch.capturing or info._dev.type == "meta":
        return None
    found = np.asarray(info._dev.backend.get(info._a))
    failed = np.flatnonzero(found)
    if not failed.size:
        return None
    where = f"(Batch element {failed[0]}): " if found.ndim else ""
    return where, int(found.flat[failed[0]])


# --- triangular systems --------------------------------------------------------------------------


def _triangular_x(F: Any, g: Any, x: Any, out: Any, upper: bool, unitriangular: bool) -> Any:
    w = F.solve_triangular(F.adjoint(x), g, upper=not upper, unitriangular=unitriangular)
    total = -F.matmul_nt(w, out)
    return F.triangular_part(total, upper=upper, unitriangular=unitriangular)


def _triangular_y(F: Any, g: Any, x: Any, upper: bool, unitriangular: bool) -> Any:
    return F.solve_triangular(F.adjoint(x), g, upper=not upper, unitriangular=unitriangular)


_solve_triangular = op(
    "solve_triangular", "x y", promote=MATRIX, node="LinalgSolveTriangular",
    shape=lambda x, y, *, upper, unitriangular: (y.shape, y.dtype),
).vjp(x=_triangular_x, y=_triangular_y)  # fmt: skip


def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return X of A X = B, or of X A = B with left=False, for triangular A.

    The other triangle is not read; with `unitriangular` neither is the diagonal, taken as 1.

    >>> import multitorch as torch
    >>> A = torch.tensor([[2.0, 1.0], [0.0, 4.0]])
    >>> torch.linalg.solve_triangular(A, torch.tensor([[4.0], [8.0]]), upper=True)
    tensor([[1.],
            [2.]])
    """
    check_system("linalg.solve_triangular", A, B, left)
    result = solve_part(A, B, upper=upper, left=left, unitriangular=unitriangular)
    return result if out is None else write_out(out, result)


def solve_part(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """Solve a triangular system without looking at its shapes."""
    A, B = same_batch(A, B)
    if left:
        return _solve_triangular(A, B, upper=upper, unitriangular=unitriangular)
    turned = _solve_triangular(A.mT, B.mT, upper=not upper, unitriangular=unitriangular)
    return turned.mT


def triangular_solve(
    b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False,
    unitriangular: bool = False, *, out: Any = None,
) -> Any:  # fmt: skip
    """Return (X of A X = b, a copy of A) for triangular A; with `transpose`, of Aᵀ X = b."""
    for name, t in (("b", b), ("A", A)):
        if t.ndim < 2:
            raise RuntimeError(
                f"torch.triangular_solve: Expected {name} to have at least 2 dimensions, but it "
                f"has {t.ndim} dimensions instead"
            )
    _check_legacy("triangular_solve", b, A)
    A, b = same_batch(A, b)
    if transpose:
        solution = solve_part(A.mT, b, upper=not upper, unitriangular=unitriangular)
    else:
        solution = solve_part(A, b, upper=upper, unitriangular=unitriangular)
    result = return_types.triangular_solve(solution, A.clone())
    return result if out is None else write_out(out, result)


def _check_legacy(name: str, b: Tensor, A: Tensor) -> None:
    if A.shape[-1] != A.shape[-2]:
        raise RuntimeError(
            f"A must be batches of square matrices, but they are {A.shape[-2]} by {A.shape[-1]} "
            "matrices"
        )
    if A.shape[-1] != b.shape[-2]:
        raise RuntimeError(
            f"Incompatible matrix sizes for {name}: each A matrix is {A.shape[-1]} by "
            f"{A.shape[-1]} but each b matrix is {b.shape[-2]} by {b.shape[-1]}"
        )
    check_dtypes(name, A=A, b=b)


# --- Cholesky factors ----------------------------------------------------------------------------

_cholesky_ex = op(
    "cholesky_ex", "x", outs="out info", diff_outs=(0,), promote=MATRIX, broadcasts=False,
    node="LinalgCholeskyEx",
    shape=lambda x: ((x.shape, x.dtype), (x.shape[:-2], np.dtype(np.int32))),
).vjp(x=cholesky_rule)  # fmt: skip


def cholesky_ex(
    A: Tensor, *, upper: bool = False, check_errors: bool = False, out: Any = None
) -> Any:
    """Return (L, info): where A is not positive-definite, the order of its first bad minor.

    L of such a matrix is not specified. Nothing is raised, and no device waited for, unless
    `check_errors` is set.
    """
    check_square("linalg.cholesky", A)
    L, info = _cholesky_ex(A.mH if upper else A)
    if check_errors and (failure := first_failure(info)):
        where, order = failure
        raise LinAlgError(
            f"linalg.cholesky_ex: {where}The factorization could not be completed because the "
            f"input is not positive-definite (the leading minor of order {order} is not "
            "positive-definite)."
        )
    result = return_types.linalg_cholesky_ex(L.mH if upper else L, info)
    return result if out is None else write_out(out, result)


def cholesky_solve(
    B: Tensor, L: Tensor, upper: bool = False, *, out: Tensor | None = None
) -> Tensor:
    """Return X of A X = B for A = L Lᴴ, or A = Lᴴ L with `upper`."""
    for name, t in (("b", B), ("u", L)):
        if t.ndim < 2:
            raise RuntimeError(
                f"{name} should have at least 2 dimensions, but has {t.ndim} dimensions instead"
            )
    _check_legacy("cholesky_solve", B, L)
    first, second = (L.mH, L) if upper else (L, L.mH)
    result = solve_part(second, solve_part(first, B, upper=False), upper=True)
    return result if out is None else write_out(out, result)


def cholesky_inverse(L: Tensor, upper: bool = False, *, out: Tensor | None = None) -> Tensor:
    """Return the inverse of A = L Lᴴ, or of A = Lᴴ L with `upper`."""
    check_square("cholesky_inverse", L)
    half = solve_part(L, identity_like(L), upper=upper)
    result = half @ half.mH if upper else half.mH @ half
    return result if out is None else write_out(out, result)


def identity_like(A: Tensor) -> Tensor:
    """Return identity matrices in the shape of square matrices."""
    return eye(A.shape[-1], dtype=A._dtype, device=A._dev).expand(A.shape)


FUNCTIONS = {
    "triangular_solve": triangular_solve, "cholesky_solve": cholesky_solve,
    "cholesky_inverse": cholesky_inverse,
}  # fmt: skip
METHODS = dict(FUNCTIONS)
