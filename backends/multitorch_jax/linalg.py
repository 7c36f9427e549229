"""Products of matrices."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

Array = Any
PRECISION = lax.Precision.HIGHEST
"""Precision of float32 products: PyTorch's default, no shorter formats on tensor cores."""


def matmul(x: Array, y: Array) -> Array:
    return jnp.matmul(x, y, precision=PRECISION)


def matmul_nt(x: Array, y: Array) -> Array:
    return jnp.matmul(x, jnp.swapaxes(y, -1, -2).conj(), precision=PRECISION)


def matmul_tn(x: Array, y: Array) -> Array:
    return jnp.matmul(jnp.swapaxes(x, -1, -2).conj(), y, precision=PRECISION)


mm = mv = dot = matmul
mm_nt, mm_tn = matmul_nt, matmul_tn


def mv_t(x: Array, y: Array) -> Array:
    return jnp.matmul(x.conj().T, y, precision=PRECISION)


def outer(x: Array, y: Array) -> Array:
    return x[:, None] * y


def linear(x: Array, w: Array, b: Array = None) -> Array:
    y = jnp.matmul(x, w.T, precision=PRECISION)
    return y if b is None else y + b
