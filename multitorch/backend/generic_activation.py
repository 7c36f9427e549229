"""Generic bodies of activation functions and of their derivatives."""

from __future__ import annotations

from typing import Any

Array = Any


def relu(F: Any, x: Array) -> Array:
    """`max(x, 0)`, NaN kept."""
    return F.where(x <= 0, 0, x)


def threshold_backward(F: Any, g: Array, out: Array) -> Array:
    """`g` where `out > 0`, else 0 (NaN counts as positive)."""
    return F.where(out <= 0, 0, g)


def _dims(x: Array, dim: int) -> tuple[int, ...]:
    return (dim,) if x.ndim else ()


def softmax(F: Any, x: Array, *, dim: int) -> Array:
    """`exp(x) / Σ exp(x)`, shifted by the maximum."""
    e = F.exp(x - F.amax(x, dim=_dims(x, dim), keepdim=True))
    return e / F.sum(e, dim=_dims(e, dim), keepdim=True)


def softmax_backward(F: Any, g: Array, out: Array, *, dim: int) -> Array:
    """`out (g - Σ g out)`."""
    return out * (g - F.sum(g * out, dim=_dims(g, dim), keepdim=True))


def log_softmax(F: Any, x: Array, *, dim: int) -> Array:
    """`x - log Σ exp(x)`, shifted by the maximum."""
    z = x - F.amax(x, dim=_dims(x, dim), keepdim=True)
    return z - F.log(F.sum(F.exp(z), dim=_dims(z, dim), keepdim=True))


def log_softmax_backward(F: Any, g: Array, out: Array, *, dim: int) -> Array:
    """`g - softmax(x) Σ g`."""
    return g - F.exp(out) * F.sum(g, dim=_dims(g, dim), keepdim=True)
