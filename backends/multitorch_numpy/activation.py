"""Activation functions that reuse one buffer. Half precision is computed in float32."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

Array = Any
_NATIVE = frozenset("fdFD")
_sum, _max = np.add.reduce, np.maximum.reduce


def _in_float32(kernel: Callable) -> Callable:
    """Let a kernel see half-precision operands as float32, and narrow what it returns."""

    @wraps(kernel)
    def widened(x: Array, *others: Any, **params: Any) -> Array:
        dtype = x.dtype
        if dtype.char in _NATIVE:
            return kernel(x, *others, **params)
        f = np.float32
        wide = [a.astype(f) if getattr(a, "dtype", None) == dtype else a for a in others]
        return kernel(x.astype(f), *wide, **params).astype(dtype)

    return widened


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def threshold_backward(g: Array, out: Array) -> Array:
    return np.where(out <= 0, g.dtype.type(0), g)


@_in_float32
def softmax(x: Array, *, dim: int) -> Array:
    if not x.ndim:
        return np.exp(x - x)
    e = np.subtract(x, _max(x, dim, keepdims=True))
    np.exp(e, e)
    e /= _sum(e, dim, keepdims=True)
    return e


@_in_float32
def softmax_backward(g: Array, out: Array, *, dim: int) -> Array:
    if not g.ndim:
        return out * (g - g * out)
    y = g * out
    total = _sum(y, dim, keepdims=True)
    y -= out * total
    return y


@_in_float32
def log_softmax(x: Array, *, dim: int) -> Array:
    if not x.ndim:
        return x - x
    z = np.subtract(x, _max(x, dim, keepdims=True))
    total = _sum(np.exp(z), dim, keepdims=True)
    np.log(total, total)
    z -= total
    return z


@_in_float32
def log_softmax_backward(g: Array, out: Array, *, dim: int) -> Array:
    if not g.ndim:
        return g - np.exp(out) * g
    e = np.exp(out)
    e *= _sum(g, dim, keepdims=True)
    return np.subtract(g, e, e)
