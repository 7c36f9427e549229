"""Inverses, determinants, solutions and factors of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from multitorch import dtypes
from multitorch.dtypes import dtype
from multitorch.ops import apply as dispatch
from multitorch.ops import return_types
from multitorch.ops.apply import broadcast_shape, write_out
from multitorch.ops.op import op
from multitorch.ops.promote import Promotion, not_implemented

Tensor = Any


def _native(name: str, d: dtype) -> dtype:
    if d not in (dtypes.float32, dtypes.float64, dtypes.complex64, dtypes.complex128):
        raise not_implemented(name, d)
    return d


MATRIX = Promotion("matrix", _native, fast=frozenset())


def real_dtype(d: np.dtype) -> np.dtype:
    """Return the dtype of the absolute values."""
    return np.finfo(d).dtype


def check_square(name: str, A: Tensor) -> None:
    """Raise unless a tensor holds square matrices."""
    if A.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions.")
    if A.shape[-1] != A.shape[-2]:
        raise RuntimeError(
            f"{name}: A must be batches of square matrices, but they are {A.shape[-2]} by "
            f"{A.shape[-1]} matrices"
        )


# --- inverses and determinants -------------------------------------------------------------------

_inv = op(
    "inv", "x", promote=MATRIX, broadcasts=False, node="LinalgInvEx",
    shape=lambda x: (x.shape, x.dtype),
).vjp(x=lambda F, g, out: -F.matmul_tn(out, F.matmul_nt(g, out)))  # fmt: skip


def solve_rule(F: Any, g: Any, x: Any, out: Any) -> Any:
    return -F.matmul_nt(F.solve(F.adjoint(x), g), out)


_solve = op(
    "solve", "x y", promote=MATRIX, node="LinalgSolveEx", shape=lambda x, y: (y.shape, y.dtype)
).vjp(x=solve_rule, y=lambda F, g, x: F.solve(F.adjoint(x), g))
_det = op(
    "det", "x", promote=MATRIX, broadcasts=False, node="LinalgDet",
    shape=lambda x: (x.shape[:-2], x.dtype),
).vjp(x=lambda F, g, x, out: F.adjoint(F.inv(x)) * F.as_scalars(g * F.conj(out)))  # fmt: skip


def _slogdet_rule(F: Any, g: Any, x: Any, sign: Any) -> tuple:
    turn, total = g
    if turn is not None:  # only the phase of a complex sign can change
        turn = F.conj(turn) * sign
        turn = (F.conj(turn) - turn) / 2
        total = turn if total is None else total + turn
    return (F.adjoint(F.inv(x)) * F.as_scalars(total),)


_slogdet = op(
    "slogdet", "x", outs="sign logabsdet", promote=MATRIX, broadcasts=False,
    node="LinalgSlogdet",
    shape=lambda x: ((x.shape[:-2], x.dtype), (x.shape[:-2], real_dtype(x.dtype))),
).vjps(_slogdet_rule)  # fmt: skip


def inv(A: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return the inverses of square matrices."""
    check_square("linalg.inv", A)
    result = _inv(A)
    return result if out is None else write_out(out, result)


def det(A: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return the determinants of square matrices."""
    check_square("linalg.det", A)
    result = _det(A)
    return result if out is None else write_out(out, result)


def slogdet(A: Tensor, *, out: Any = None) -> Any:
    """Return the sign and the logarithm of the absolute value of determinants."""
    check_square("linalg.slogdet", A)
    result = return_types.linalg_slogdet(*_slogdet(A))
    return result if out is None else write_out(out, result)


def logdet(input: Tensor) -> Tensor:
    """Return the logarithm of determinants; NaN where they are negative."""
    sign, value = slogdet(input)
    return value + sign.log() if not input.is_complex() else value.to(input.dtype) + sign.log()


def solve(A: Tensor, B: Tensor, *, left: bool = True, out: Tensor | None = None) -> Tensor:
    """Return X of A X = B, or of X A = B with left=False."""
    check_square("linalg.solve", A)
    vector = B.ndim == 1 or (B.ndim == A.ndim - 1 and B.shape == A.shape[:-1])
    rhs = B.unsqueeze(-1) if vector else B
    if rhs.shape[-2 if left else -1] != A.shape[-1]:
        raise RuntimeError(
            f"linalg.solve: Incompatible shapes of A and B for the equation "
            f"{'AX = B' if left else 'XA = B'} ({A.shape[-2]}x{A.shape[-1]} and "
            f"{rhs.shape[-2]}x{rhs.shape[-1]})"
        )
    if not left:
        result = solve(A.transpose(-2, -1), rhs.transpose(-2, -1)).transpose(-2, -1)
    else:
        if rhs.shape[:-2] != A.shape[:-2]:
            batch = broadcast_shape(tuple(A.shape[:-2]), tuple(rhs.shape[:-2]))
            A, rhs = A.expand(*batch, *A.shape[-2:]), rhs.expand(*batch, *rhs.shape[-2:])
        result = _solve(A, rhs)
    result = result.squeeze(-1) if vector else result
    return result if out is None else write_out(out, result)


def matrix_power(A: Tensor, n: int, *, out: Tensor | None = None) -> Tensor:
    """Return the n-th power of square matrices."""
    check_square("linalg.matrix_power", A)
    result = _power(A, n) if n >= 0 else _power(inv(A), -n)
    return result if out is None else write_out(out, result)


def _power(A: Tensor, n: int) -> Tensor:
    result = None
    while n:
        if n & 1:
            result = A if result is None else result @ A
        n >>= 1
        A = A @ A if n else A
    if result is None:
        ones = A.new_ones(A.shape[-1])
        return ones.diag().expand(A.shape).clone()
    return result


# --- factors -------------------------------------------------------------------------------------


def cholesky_rule(F: Any, g: Any, out: Any) -> Any:
    inner = F.tril(F.matmul_tn(out, F.tril(g, diagonal=0)), diagonal=0)
    inner = inner - F.diagonal_part(inner) / 2
    turned = F.adjoint(out)
    half = F.solve_triangular(turned, inner, upper=True, unitriangular=False)
    s = F.solve_triangular(turned, F.adjoint(half), upper=True, unitriangular=False)
    return (F.adjoint(s) + s) / 2


_cholesky = op(
    "cholesky", "x", promote=MATRIX, broadcasts=False, node="LinalgCholeskyEx",
    shape=lambda x: (x.shape, x.dtype),
).vjp(x=cholesky_rule)  # fmt: skip


def cholesky(A: Tensor, *, upper: bool = False, out: Tensor | None = None) -> Tensor:
    """Return lower triangular L with A = L Lᴴ (or Lᴴ with `upper`).

    Only the triangle that is asked for is read.
    """
    check_square("linalg.cholesky", A)
    result = _cholesky(A.mH).mH if upper else _cholesky(A)
    return result if out is None else write_out(out, result)


def _qr_rule(F: Any, g: Any, q: Any, r: Any) -> tuple:
    if q.shape[-1] > r.shape[-1]:
        raise RuntimeError(
            "linalg_qr_backward: The QR decomposition is not differentiable when mode='complete' "
            "and nrows > ncols."
        )
    return (F.qr_backward(g[0], g[1], q, r),)


def _qr_shape(x: Any, *, mode: str) -> tuple:
    *batch, m, n = x.shape
    k = m if mode == "complete" else min(m, n)
    return ((*batch, m, k), x.dtype), ((*batch, k, n), x.dtype)


_qr = op(
    "qr", "x", outs="q r", promote=MATRIX, broadcasts=False, node="LinalgQr", shape=_qr_shape
).vjps(_qr_rule)


def linalg_qr(A: Tensor, mode: str = "reduced", *, out: Any = None) -> Any:
    """Return Q with orthonormal columns and upper triangular R with A = Q R."""
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', "
            "or 'complete'"
        )
    if A.ndim < 2:
        raise RuntimeError("linalg.qr: The input tensor A must have at least 2 dimensions.")
    q, r = _qr(A, mode="complete" if mode == "complete" else "reduced")
    result = return_types.linalg_qr(A.new_empty(0) if mode == "r" else q, r)
    return result if out is None else write_out(out, result)


def qr(input: Tensor, some: bool = True, *, out: Any = None) -> Any:
    """Return `linalg.qr`; with some=False the complete one."""
    return linalg_qr(input, "reduced" if some else "complete", out=out)


def _eigh_rule(F: Any, g: Any, values: Any, vectors: Any) -> tuple:
    gl, gv = g
    inner = None
    if gv is not None:
        inner = F.matmul_tn(vectors, gv) * F.inverse_gaps(values)
    if gl is not None:
        spread = F.diagonal_matrix(gl)
        inner = spread if inner is None else inner + spread
    return (F.matmul_nt(F.matmul(vectors, inner), vectors),)


_eigh = op(
    "eigh", "x", outs="values vectors", promote=MATRIX, broadcasts=False, node="LinalgEigh",
    shape=lambda x: ((x.shape[:-1], real_dtype(x.dtype)), (x.shape, x.dtype)),
).vjps(_eigh_rule)  # fmt: skip


def eigh(A: Tensor, UPLO: str = "L", *, out: Any = None) -> Any:
    """Return eigenvalues (ascending) and eigenvectors of Hermitian matrices.

    Only one triangle is read.
    """
    check_square("linalg.eigh", A)
    # the kernel reads the lower triangle; the gradient is that of the whole matrix
    result = return_types.linalg_eigh(*_eigh(A if UPLO.upper() == "L" else A.mH))
    return result if out is None else write_out(out, result)


def eigvalsh(A: Tensor, UPLO: str = "L", *, out: Tensor | None = None) -> Tensor:
    """Return the ascending eigenvalues of Hermitian matrices."""
    result = eigh(A, UPLO)[0]
    return result if out is None else write_out(out, result)


def _svd_shape(x: Any, *, full: bool) -> tuple:
    *batch, m, n = x.shape
    k = min(m, n)
    u, v = (m, n) if full else (k, k)
    return ((*batch, m, u), x.dtype), ((*batch, k), real_dtype(x.dtype)), ((*batch, v, n), x.dtype)


def _svd_rule(F: Any, g: Any, u: Any, s: Any, vh: Any) -> tuple:
    return (F.svd_backward(g[0], g[1], g[2], u, s, vh),)


_svd = op(
    "svd", "x", outs="u s vh", promote=MATRIX, broadcasts=False, node="LinalgSvd",
    shape=_svd_shape,
).vjps(_svd_rule)  # fmt: skip


def linalg_svd(A: Tensor, full_matrices: bool = True, *, out: Any = None) -> Any:
    """Return U, S and Vᴴ with A = U diag(S) Vᴴ.

    The columns of U and V that only `full_matrices` gives have no part in the derivative.
    """
    if A.ndim < 2:
        raise RuntimeError("linalg.svd: The input tensor A must have at least 2 dimensions.")
    full = full_matrices and A.shape[-1] != A.shape[-2]
    result = return_types.linalg_svd(*_svd(A, full=full))
    return result if out is None else write_out(out, result)


def svdvals(A: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return the descending singular values."""
    result = linalg_svd(A, False)[1]
    return result if out is None else write_out(out, result)


def svd(input: Tensor, some: bool = True, compute_uv: bool = True, *, out: Any = None) -> Any:
    """Return U, S and V with input = U diag(S) Vᴴ."""
    u, s, vh = linalg_svd(input, not some)
    if not compute_uv:
        u, vh = u.new_zeros(u.shape), vh.new_zeros(vh.shape)
    result = return_types.svd(u, s, vh.mH)
    return result if out is None else write_out(out, result)


def _pinv_rule(F: Any, g: Any, x: Any, out: Any) -> Any:
    p, gh = F.adjoint(out), F.adjoint(g)
    inner = F.matmul(gh, out)
    outer = F.matmul(inner, p)
    outside = outer - F.matmul(F.matmul(x, out), outer)
    beside = F.matmul(F.matmul(p, out), gh - F.matmul(inner, x))
    return outside + beside - F.adjoint(F.matmul(out, inner))


_pinv = op(
    "pinv", "x atol rtol", promote=MATRIX, broadcasts=False, keep="atol rtol",
    node="LinalgPinv",
    shape=lambda x, *tolerances: ((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype),
).vjp(x=_pinv_rule)  # fmt: skip


def _tolerance(given: Any) -> Any:
    return given.unsqueeze(-1) if isinstance(given, dispatch.Tensor) else float(given or 0)


def linalg_pinv(
    A: Tensor, *, atol: Any = None, rtol: Any = None, hermitian: bool = False,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the pseudoinverse; singular values up to max(atol, rtol · the largest) count as 0."""
    if A.ndim < 2:
        raise RuntimeError("linalg.pinv: The input tensor A must have at least 2 dimensions.")
    if hermitian:
        check_square("linalg.pinv", A)
        half = A.tril(-1) + A.tril().triu() / 2  # the lower triangle stands for the whole
        A = half + half.mH
    if rtol is None:
        absolute = atol is not None and (isinstance(atol, dispatch.Tensor) or atol > 0)
        rtol = 0.0 if absolute else max(A.shape[-2:]) * dtypes.finfo(A.dtype).eps
    bounds = [_tolerance(atol), _tolerance(rtol)]
    result = A.mH.contiguous() if 0 in A.shape else _pinv(A, *bounds)
    return result if out is None else write_out(out, result)


def pinv(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """Return the pseudoinverse; singular values up to rcond times the largest count as 0."""
    return linalg_pinv(input, rtol=rcond)
