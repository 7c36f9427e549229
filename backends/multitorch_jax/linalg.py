"""Products of matrices."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from multitorch_jax import precision as _precision

Array = Any


def matmul(x: Array, y: Array) -> Array:
    return jnp.matmul(x, y, precision=_precision.of_products)


def matmul_single(x: Array, y: Array) -> Array:
    """Return the product of half-precision arrays in single precision, in which it is added up."""
    return jnp.matmul(x, y, precision=_precision.of_products, preferred_element_type=np.float32)


def matmul_nt(x: Array, y: Array) -> Array:
    return jnp.matmul(x, jnp.swapaxes(y, -1, -2).conj(), precision=_precision.of_products)


def matmul_tn(x: Array, y: Array) -> Array:
    return jnp.matmul(jnp.swapaxes(x, -1, -2).conj(), y, precision=_precision.of_products)


mm = mv = dot = matmul
mm_nt, mm_tn = matmul_nt, matmul_tn


def mv_t(x: Array, y: Array) -> Array:
    return jnp.matmul(x.conj().T, y, precision=_precision.of_products)


def outer(x: Array, y: Array) -> Array:
    return x[:, None] * y


def linear(x: Array, w: Array, b: Array = None) -> Array:
    y = jnp.matmul(x, w.T, precision=_precision.of_products)
    return y if b is None else y + b


# --- decompositions ------------------------------------------------------------------------------


def inv(x: Array) -> Array:
    return jnp.linalg.inv(x)


def solve(x: Array, y: Array) -> Array:
    return jnp.linalg.solve(x, y)


def det(x: Array) -> Array:
    return jnp.linalg.det(x)


def slogdet(x: Array) -> tuple[Array, Array]:
    sign, value = jnp.linalg.slogdet(x)
    return sign, value


def cholesky(x: Array) -> Array:
    return jnp.linalg.cholesky(x)


def qr(x: Array, *, mode: str) -> tuple[Array, Array]:
    q, r = jnp.linalg.qr(x, mode)
    return q, r


def eigh(x: Array) -> tuple[Array, Array]:
    values, vectors = jnp.linalg.eigh(x, UPLO="L", symmetrize_input=False)
    return values, vectors


def svd(x: Array, *, full: bool) -> tuple[Array, Array, Array]:
    u, s, vh = jnp.linalg.svd(x, full)
    return u, s, vh
