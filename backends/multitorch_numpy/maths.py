"""Kernels of mathematics: NumPy's ufuncs, with half precision through float32 where it matters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any

exp, exp2, expm1, log, log2, log10, log1p = (
    np.exp, np.exp2, np.expm1, np.log, np.log2, np.log10, np.log1p
)  # fmt: skip
sin, cos, tan, asin, acos, atan = np.sin, np.cos, np.tan, np.arcsin, np.arccos, np.arctan
sinh, cosh, tanh, asinh, acosh, atanh = (
    np.sinh, np.cosh, np.tanh, np.arcsinh, np.arccosh, np.arctanh
)  # fmt: skip
atan2, hypot, copysign, nextafter = np.arctan2, np.hypot, np.copysign, np.nextafter
logaddexp, logaddexp2 = np.logaddexp, np.logaddexp2


def _wide(kernel: Callable) -> Callable:
    """Return a form of a kernel of one argument that computes half precision in float32."""

    def widened(x: Array) -> Array:
        if x.dtype.itemsize == 2:
            return np.asarray(kernel(x.astype(np.float32))).astype(x.dtype)
        return kernel(x)

    widened.__name__ = widened.__qualname__ = kernel.__name__
    widened.__doc__ = kernel.__doc__
    return widened


_ONE = {"f": np.array(1, np.float32), "d": np.array(1.0)}  # as operands faster than a Python int


@_wide
def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x))."""
    t = np.asarray(np.exp(-x))
    t += _ONE.get(x.dtype.char, 1)
    return np.reciprocal(t, t)


@_wide
def logit(x: Array) -> Array:
    """Return log(x / (1 - x))."""
    return np.log(x / (1 - x))


@_wide
def sinc(x: Array) -> Array:
    """Return sin(πx) / (πx), 1 at 0."""
    z = np.where(x == 0, x.dtype.type(1e-20), x) * x.dtype.type(np.pi)
    return np.sin(z) / z


def frexp(x: Array) -> tuple[Array, Array]:
    """Return (mantissa, exponent)."""
    mantissa, exponent = np.frexp(x)
    return mantissa, np.asarray(exponent, np.int32)


def lerp(x: Array, y: Array, weight: Array) -> Array:
    """Return x + weight (y - x), exact at both ends."""
    if x.dtype.itemsize == 2:
        wide = [np.asarray(a, np.float32) for a in (x, y, weight)]
        return lerp(*wide).astype(x.dtype)
    if isinstance(weight, (int, float)):
        d = y - x
        return x + weight * d if abs(weight) < 0.5 else y - d * (1 - weight)
    near = np.absolute(weight) < 0.5
    return np.where(near, x + weight * (y - x), y - (y - x) * (1 - weight))
