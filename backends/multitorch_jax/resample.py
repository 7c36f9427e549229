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


def mix_rows(rows: Array, index: Array, weight: Array) -> Array:
    """Return Σ_k weight[p, k] rows[index[p, k]]."""
    parts = [
        jnp.take(rows, index[:, k], axis=0, mode="clip") * weight[:, k, None]
        for k in range(index.shape[1])
    ]
    return sum(parts[1:], parts[0])


def spread_rows(g: Array, index: Array, weight: Array, *, count: int) -> Array:
    """Return the transpose of `mix_rows`."""
    out = jnp.zeros((count, g.shape[1]), g.dtype)
    for k in range(index.shape[1]):
        out = out.at[index[:, k]].add(g * weight[:, k, None], mode="drop")
    return out


def match_rows(g: Array, rows: Array, index: Array) -> Array:
    """Return g[p] · rows[index[p, k]]."""
    columns = [
        (jnp.take(rows, index[:, k], axis=0, mode="clip") * g).sum(1) for k in range(index.shape[1])
    ]
    return jnp.stack(columns, 1)
