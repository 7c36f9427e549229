"""Generic bodies of normalization by mean and variance over some dimensions."""

from __future__ import annotations

from typing import Any

Array = Any
Dims = tuple[int, ...]


def normalize_statistics(F: Any, x: Array, *, dim: Dims, eps: float) -> tuple[Array, Array]:
    """Mean and `1 / sqrt(variance + eps)`, dimensions kept."""
    mean = F.mean(x, dim=dim, keepdim=True)
    centered = x - mean
    return mean, F.rsqrt(F.mean(centered * centered, dim=dim, keepdim=True) + eps)


def normalize(
    F: Any, x: Array, weight: Array, bias: Array, *, dim: Dims, eps: float
) -> tuple[Array, Array, Array]:
    """`(x - mean) / sqrt(var + eps) * weight + bias`; also the mean and the reciprocal root."""
    mean, rstd = F.normalize_statistics(x, dim=dim, eps=eps)
    y = (x - mean) * rstd
    if weight is not None:
        y = y * weight
    return (y if bias is None else y + bias), mean, rstd


def normalize_backward(
    F: Any, g: Array, x: Array, weight: Array, mean: Array, rstd: Array, *, dim: Dims,
    needs: tuple[bool, ...],
) -> tuple[Array, Array, Array]:  # fmt: skip
    """The gradients by x, weight and bias, the latter two not yet summed to their shape.

    What is not needed is replaced by `g`, an array that is there already.
    """
    unit = (x - mean) * rstd
    dx = g
    if needs[0]:
        h = g if weight is None else g * weight
        along = F.mean(h * unit, dim=dim, keepdim=True)
        dx = (h - F.mean(h, dim=dim, keepdim=True) - unit * along) * rstd
    return dx, g * unit if needs[1] else g, g
