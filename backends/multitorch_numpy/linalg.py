"""Products of matrices. Half precision is computed in float32: NumPy has no fast product for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from multitorch.backend import LinAlgError
from multitorch_numpy import solve as _solve

Array = Any
_BLAS = frozenset("fdFD")
_dot = np.dot
_matmul = np.matmul


def _wide(product: Callable, x: Array, y: Array) -> Array:
    if x.dtype.kind in "iu":
        return product(x, y)
    return product(x.astype(np.float32), y.astype(np.float32)).astype(x.dtype)


def mm(x: Array, y: Array) -> Array:
    return x.dot(y) if x.dtype.char in _BLAS else _wide(_dot, x, y)


def mm_nt(x: Array, y: Array) -> Array:
    char = y.dtype.char
    if char in "FD":
        y = y.conj()
    return x.dot(y.T) if char in _BLAS else _wide(_dot, x, y.T)


def mm_tn(x: Array, y: Array) -> Array:
    char = x.dtype.char
    if char in "FD":
        x = x.conj()
    return x.T.dot(y) if char in _BLAS else _wide(_dot, x.T, y)


def matmul(x: Array, y: Array) -> Array:
    if y.ndim == 2 and x.ndim > 2:  # one large product instead of many small ones
        return mm(x.reshape(-1, x.shape[-1]), y).reshape(*x.shape[:-1], y.shape[-1])
    return _matmul(x, y) if x.dtype.char in _BLAS else _wide(_matmul, x, y)


def matmul_single(x: Array, y: Array) -> Array:
    """Return the product of half-precision arrays in single precision."""
    return matmul(x.astype(np.float32), y.astype(np.float32))


def _adjoint(x: Array) -> Array:
    x = x.swapaxes(-1, -2)
    return x.conj() if x.dtype.char in "FD" else x


def matmul_nt(x: Array, y: Array) -> Array:
    return matmul(x, _adjoint(y))


def matmul_tn(x: Array, y: Array) -> Array:
    return matmul(_adjoint(x), y)


def mv(x: Array, y: Array) -> Array:
    return mm(x, y)


def mv_t(x: Array, y: Array) -> Array:
    return mm_tn(x, y)


def dot(x: Array, y: Array) -> Array:
    return mm(x, y)


def outer(x: Array, y: Array) -> Array:
    return np.multiply.outer(x, y)


def linear(x: Array, w: Array, b: Array = None) -> Array:
    if x.dtype.char not in _BLAS:
        f = np.float32
        bias = None if b is None else b.astype(f)
        return linear(x.astype(f), w.astype(f), bias).astype(x.dtype)
    if x.ndim == 2:
        y = x.dot(w.T)
    else:
        y = _dot(x.reshape(-1, x.shape[-1]), w.T).reshape(*x.shape[:-1], w.shape[0])
    if b is not None:
        y += b
    return y


# --- decompositions ------------------------------------------------------------------------------


def _where(info: Array) -> tuple[str, int]:
    """Return ('(Batch element 2): ' or '', info) of the first matrix that failed."""
    failed = int(np.flatnonzero(info)[0]) if np.any(info) else 0
    return f"(Batch element {failed}): " if info.ndim else "", int(info.flat[failed])


def inv(x: Array) -> Array:
    try:
        return np.linalg.inv(x)
    except np.linalg.LinAlgError:
        where, i = _where(_solve.lu_factor(x)[2])
    raise LinAlgError(
        f"linalg.inv: {where}The diagonal element {i} is zero, the inversion could not be "
        "completed because the input matrix is singular."
    )


def solve(x: Array, y: Array) -> Array:
    try:
        return np.linalg.solve(x, y)
    except np.linalg.LinAlgError:
        where, _ = _where(_solve.lu_factor(x)[2])
    raise LinAlgError(
        f"torch.linalg.solve: {where}The solver failed because the input matrix is singular."
    )


def det(x: Array) -> Array:
    return np.linalg.det(x)


def slogdet(x: Array) -> tuple[Array, Array]:
    sign, value = np.linalg.slogdet(x)
    return sign, value


def cholesky(x: Array) -> Array:
    try:
        return np.linalg.cholesky(x)
    except np.linalg.LinAlgError:
        where, order = _where(_solve.cholesky_ex(x)[1])
    raise LinAlgError(
        f"linalg.cholesky: {where}The factorization could not be completed because the input is "
        f"not positive-definite (the leading minor of order {order} is not positive-definite)."
    )


def qr(x: Array, *, mode: Any) -> tuple[Array, Array]:
    q, r = np.linalg.qr(x, mode)
    return q, r


def _not_converged(name: str) -> LinAlgError:
    return LinAlgError(
        f"linalg.{name}: The algorithm failed to converge because the input matrix is "
        "ill-conditioned or has too many repeated eigenvalues, or infs or NaNs."
    )


def eigh(x: Array) -> tuple[Array, Array]:
    try:
        values, vectors = np.linalg.eigh(x)
    except np.linalg.LinAlgError:
        raise _not_converged("eigh") from None
    return values, vectors


def svd(x: Array, *, full: bool) -> tuple[Array, Array, Array]:
    try:
        u, s, vh = np.linalg.svd(x, full)
    except np.linalg.LinAlgError:
        raise _not_converged("svd") from None
    return u, s, vh
