"""Generic bodies of interpolation."""

from __future__ import annotations

from typing import Any

Array = Any


def resample(
    F: Any, x: Array, index: Array, weight: Array, back_index: Array, back_weight: Array, *,
    dim: int,
) -> Array:  # fmt: skip
    """Σ_k weight[i, k] x[index[i, k]] along one dimension; the rest serves the derivative."""
    size, taps = index.shape
    lead, rest = tuple(x.shape[:dim]), tuple(x.shape[dim + 1 :])
    read = F.index_select(x, F.reshape(index, shape=(size * taps,)), dim=dim)
    read = F.reshape(read, shape=(*lead, size, taps, *rest))
    weight = F.reshape(weight, shape=(size, taps, *(1 for _ in rest)))
    return F.sum(read * weight, dim=(dim + 1,), keepdim=False)
