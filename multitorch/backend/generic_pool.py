"""Generic bodies of pooling."""

from __future__ import annotations

from math import prod
from typing import Any

Array = Any
Sizes = tuple[int, ...]


def max_pool(F: Any, x: Array, **geometry: Any) -> Array:
    """The maximum of each window."""
    return F.max_pool_with_indices(x, **geometry)[0]


def max_pool_backward(F: Any, g: Array, x: Array, out: Array, **geometry: Any) -> Array:
    """Give each window's gradient to its first maximum."""
    _, indices = F.max_pool_with_indices(x, **geometry)
    return F.unpool(g, indices, shape=tuple(x.shape), count=len(geometry["size"]))


def unpool(F: Any, g: Array, indices: Array, *, shape: Sizes, count: int) -> Array:
    """Add `g` into zeros at flat positions of the last `count` dimensions."""
    lead, spatial = shape[: len(shape) - count], shape[len(shape) - count :]
    flat = (*lead, prod(g.shape[len(lead) :]))
    zeros = F.new_zeros(g, shape=(*lead, prod(spatial)))
    g, indices = F.reshape(g, shape=flat), F.reshape(indices, shape=flat)
    return F.reshape(F.scatter_add(zeros, indices, g, dim=len(lead)), shape=shape)
