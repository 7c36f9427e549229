"""Activation functions that reuse one buffer. Half precision is computed in float32."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from multitorch_numpy import blocks as _blocks
from multitorch_numpy import rows as _rows

Array = Any
_NATIVE = frozenset("fdFD")
_sum, _max = np.add.reduce, np.maximum.reduce


def _in_float32(kernel: Callable) -> Callable:
    """Let a kernel see half-precision operands as float32, and narrow what it returns."""

    @functools.wraps(kernel)
    def widened(x: Array, *others: Any, **params: Any) -> Array:
        dtype = x.dtype
        if dtype.char in _NATIVE:
            return kernel(x, *others, **params)
        f = np.float32
        wide = [a.astype(f) if getattr(a, "dtype", None) == dtype else a for a in others]
        return kernel(x.astype(f), *wide, **params).astype(dtype)

    return widened


class _Zeros(dict):
    """A zero of each dtype: as an operand it takes half the time of Python's."""

    def __missing__(self, char: str) -> Array:
        return self.setdefault(char, np.zeros((), char))


_zeros = _Zeros()


_FEW = 4096
"""Up to so many elements one call that is quick to start counts, not the loop that it runs."""


def relu(x: Array) -> Array:
    char = x.dtype.char
    if char not in "fd":
        return np.maximum(x, 0)
    if x.size > _FEW:
        return x.clip(_zeros[char], np.inf)  # unlike `maximum` it is vectorized for scalars
    return np.maximum(x, _zeros[char])


_BITS = {"f": np.dtype(np.int32), "d": np.dtype(np.int64)}


def _keep(mask: Array, g: Array) -> Array:
    """Return g where the mask is true, else 0; ten times as fast as `np.where` on a random mask."""
    bits = _BITS.get(g.dtype.char)
    if bits is None:
        return np.where(mask, g, g.dtype.type(0))
    kept = np.asarray(mask).view(np.int8).astype(bits)
    np.negative(kept, kept)
    return np.bitwise_and(kept, g.view(bits), kept).view(g.dtype)


def threshold_backward(g: Array, out: Array) -> Array:
    mask = np.less_equal(out, 0)
    return _keep(np.logical_not(mask, mask) if mask.ndim else ~mask, g)


def _sigmoid(x: Array) -> Array:
    t = np.negative(x, np.empty(x.shape, x.dtype))
    np.exp(t, t)
    t += 1
    return np.reciprocal(t, t)


@_in_float32
def silu(x: Array) -> Array:
    s = _sigmoid(x)
    return np.multiply(s, x, s)


@_in_float32
def silu_backward(g: Array, x: Array) -> Array:
    s = _sigmoid(x)
    t = np.subtract(1, s, np.empty(x.shape, x.dtype))
    t *= x
    t += 1
    t *= s
    t *= g
    return t


@_in_float32
def log_sigmoid(x: Array) -> Array:
    t = np.abs(x, np.empty(x.shape, x.dtype))
    np.negative(t, t)
    np.exp(t, t)
    np.log1p(t, t)
    return np.subtract(np.minimum(x, 0), t, t)


@_in_float32
def mish(x: Array) -> Array:
    t = np.tanh(-log_sigmoid(-x))
    return t * x


@_in_float32
def hardsigmoid(x: Array) -> Array:
    t = np.add(x, 3, np.empty(x.shape, x.dtype))
    np.minimum(np.maximum(t, 0, out=t), 6, out=t)
    t /= 6
    return t


@_in_float32
def hardswish(x: Array) -> Array:
    return hardsigmoid(x) * x


def _erf_of_root_half(x: Array, out: Array) -> Array:
    """Fill `out` with erf(x √½)."""
    if x.dtype.char == "f":
        return _blocks.erf(x, out, of_root_half=True)
    from scipy.special import erf

    return erf(np.multiply(x, _ROOT_HALF, out), out)


@_in_float32
@_blocks.in_blocks
def gelu(out: Array, x: Array, *, approximate: str) -> None:
    if approximate == "tanh":
        np.multiply(x, x, out)
        out *= _CUBIC
        out += 1
        out *= x
        out *= _ROOT_2_PI
        np.tanh(out, out)
    else:
        _erf_of_root_half(x, out)
    out += 1
    out *= x
    out *= 0.5


@_in_float32
@_blocks.in_blocks
def gelu_backward(out: Array, g: Array, x: Array, *, approximate: str) -> None:
    if approximate == "tanh":
        square = x * x
        t = np.tanh(x * (square * _CUBIC + 1) * _ROOT_2_PI)
        slope = (square * (3 * _CUBIC) + 1) * _ROOT_2_PI
        np.multiply(g, (t + 1) / 2 + x * (1 - t * t) * slope / 2, out)
        return
    t = np.multiply(x, x, np.empty(x.shape, x.dtype))
    t *= -0.5
    np.exp(t, t)
    t *= x
    t *= _ROOT_2_PI
    t += _erf_of_root_half(x, out)
    t += 1
    t *= g
    np.multiply(t, 0.5, out)


_ROOT_HALF = 0.5**0.5
_ROOT_2_PI = (2 / np.pi) ** 0.5
_CUBIC = 0.044715


@_in_float32
def softmax(x: Array, *, dim: int) -> Array:
    if dim == 1 and _rows.is_short(x):
        e, sums = _rows.exp_and_sums(x if _rows.is_moderate(x) else x - _rows.top(x)[:, None])
        return np.multiply(e, np.reciprocal(sums, sums)[:, None], e)
    if not x.ndim or not x.size:
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
    if not x.ndim or not x.size:
        return x - x
    if dim == 1 and _rows.is_short(x):
        z = np.subtract(x, _rows.top(x)[:, None])
        sums = _rows.exp_and_sums(z)[1]
        z -= np.log(sums, sums)[:, None]
        return z
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
