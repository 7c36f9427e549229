"""Products of matrices. Half precision is computed in float32: NumPy has no fast product for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

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


def _singular(name: str, what: str) -> RuntimeError:
    return RuntimeError(
        f"linalg.{name}: The {what} could not be completed because the input matrix is singular."
    )


def inv(x: Array) -> Array:
    try:
        return np.linalg.inv(x)
    except np.linalg.LinAlgError:
        raise _singular("inv", "inversion") from None


def solve(x: Array, y: Array) -> Array:
    try:
        return np.linalg.solve(x, y)
    except np.linalg.LinAlgError:
        raise _singular("solve", "solution") from None


def det(x: Array) -> Array:
    return np.linalg.det(x)


def slogdet(x: Array) -> tuple[Array, Array]:
    sign, value = np.linalg.slogdet(x)
    return sign, value


def cholesky(x: Array) -> Array:
    try:
        return np.linalg.cholesky(x)
    except np.linalg.LinAlgError:
        raise RuntimeError(
            "linalg.cholesky: The factorization could not be completed because the input is not "
            "positive-definite."
        ) from None


def qr(x: Array, *, mode: Any) -> tuple[Array, Array]:
    q, r = np.linalg.qr(x, mode)
    return q, r


def eigh(x: Array) -> tuple[Array, Array]:
    values, vectors = np.linalg.eigh(x)
    return values, vectors


def svd(x: Array, *, full: bool) -> tuple[Array, Array, Array]:
    u, s, vh = np.linalg.svd(x, full)
    return u, s, vh
