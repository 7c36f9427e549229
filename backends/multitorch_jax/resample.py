"""JAX kernels of interpolation."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

Array = Any
_FEW = 4


def resample(
    x: Array, index: Array, weight: Array, back_index: Array, back_weight: Array, *, dim: int
) -> Array:
    size, taps = index.shape
    rest = (1,) * (x.ndim - 1 - dim)
    weight = weight.reshape(size, taps, *rest)
    if taps <= _FEW:
        parts = [
            jnp.take(x, index[:, k], axis=dim, mode="clip") * weight[:, k] for k in range(taps)
        ]
        return sum(parts[1:], parts[0])
    read = jnp.take(x, index.reshape(-1), axis=dim, mode="clip")
    read = read.reshape(*x.shape[:dim], size, taps, *x.shape[dim + 1 :])
    return (read * weight).sum(dim + 1)
