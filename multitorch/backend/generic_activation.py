"""Generic bodies of activation functions and of their derivatives."""

from __future__ import annotations

from math import pi
from typing import Any

Array = Any


def relu(F: Any, x: Array) -> Array:
    """`max(x, 0)`, NaN kept."""
    return F.where(x <= 0, 0, x)


def threshold_backward(F: Any, g: Array, out: Array) -> Array:
    """`g` where `out > 0`, else 0 (NaN counts as positive)."""
    return F.where(out <= 0, 0, g)


def leaky_relu(F: Any, x: Array, slope: Array) -> Array:
    """`x` where positive, else `slope x`."""
    return F.where(x > 0, x, x * slope)


def prelu(F: Any, x: Array, w: Array) -> Array:
    """`x` where positive, else `w x`."""
    return F.where(x > 0, x, x * w)


def hardtanh(F: Any, x: Array, low: Array, high: Array) -> Array:
    """`x` limited to [low, high]."""
    return F.where(x < low, low, F.where(x > high, high, x))


def threshold(F: Any, x: Array, limit: Array, value: Array) -> Array:
    """`x` where it exceeds the limit, else the value."""
    return F.where(x <= limit, value, x)


def hardsigmoid(F: Any, x: Array) -> Array:
    """`(x + 3) / 6` limited to [0, 1]."""
    return F.where(x <= -3, 0, F.where(x >= 3, 6, x + 3)) / 6


def hardswish(F: Any, x: Array) -> Array:
    """`x hardsigmoid(x)`."""
    return x * F.where(x <= -3, 0, F.where(x >= 3, 6, x + 3)) / 6


def hardshrink(F: Any, x: Array, limit: Array) -> Array:
    """0 where `|x| <= limit`, else `x`."""
    return F.where(F.abs(x) <= limit, 0, x)


def softshrink(F: Any, x: Array, limit: Array) -> Array:
    """`x` moved towards 0 by the limit, at most to 0."""
    return F.where(x > limit, x - limit, F.where(x < -limit, x + limit, x * 0))


def elu(F: Any, x: Array, alpha: Array, scale: Array, rate: Array) -> Array:
    """`scale x` where positive, else `scale alpha (exp(rate x) - 1)`."""
    return F.where(x > 0, x * scale, F.expm1(F.where(x > 0, 0, x) * rate) * (alpha * scale))


def silu(F: Any, x: Array) -> Array:
    """`x sigmoid(x)`."""
    return x * F.sigmoid(x)


def silu_backward(F: Any, g: Array, x: Array) -> Array:
    """`g s (1 + x (1 - s))` with `s = sigmoid(x)`."""
    s = F.sigmoid(x)
    return g * (s * (x * (1 - s) + 1))


def log_sigmoid(F: Any, x: Array) -> Array:
    """`log sigmoid(x)`, without overflow."""
    return F.where(x < 0, x, 0) - F.log1p(F.exp(-F.abs(x)))


def mish(F: Any, x: Array) -> Array:
    """`x tanh(softplus(x))`."""
    return x * F.tanh(-F.log_sigmoid(-x))


def mish_backward(F: Any, g: Array, x: Array) -> Array:
    """`g (t + x sigmoid(x) (1 - t²))` with `t = tanh(softplus(x))`."""
    t = F.tanh(-F.log_sigmoid(-x))
    return g * (t + x * F.sigmoid(x) * (1 - t * t))


def softplus(F: Any, x: Array, beta: Array, limit: Array) -> Array:
    """`log(1 + exp(beta x)) / beta`, or `x` beyond the limit."""
    return F.where(x * beta > limit, x, -F.log_sigmoid(-(x * beta)) / beta)


def gelu(F: Any, x: Array, *, approximate: str) -> Array:
    """`x Φ(x)`, or its approximation by tanh."""
    if approximate == "tanh":
        return x * (F.tanh((x + x * x * x * _CUBIC) * _ROOT_2_PI) + 1) / 2
    return x * (F.erf(x * _ROOT_HALF) + 1) / 2


def gelu_backward(F: Any, g: Array, x: Array, *, approximate: str) -> Array:
    """`g (Φ(x) + x φ(x))`, or that of the approximation."""
    if approximate == "tanh":
        t = F.tanh((x + x * x * x * _CUBIC) * _ROOT_2_PI)
        slope = (x * x * (3 * _CUBIC) + 1) * _ROOT_2_PI
        return g * ((t + 1) / 2 + x * (1 - t * t) * slope / 2)
    return g * ((F.erf(x * _ROOT_HALF) + 1) / 2 + x * F.exp(x * x / -2) * (_ROOT_2_PI / 2))


_ROOT_HALF = 0.5**0.5
_ROOT_2_PI = (2 / pi) ** 0.5
_CUBIC = 0.044715


def _halves(F: Any, x: Array, dim: int) -> tuple[Array, Array]:
    n = x.shape[dim] // 2
    first, second = (F.slice(x, start, dim=dim, length=n, step=1) for start in (0, n))
    return first, second


def glu(F: Any, x: Array, *, dim: int) -> Array:
    """`a sigmoid(b)` of the halves of x."""
    a, b = _halves(F, x, dim)
    return a * F.sigmoid(b)


def glu_backward(F: Any, g: Array, x: Array, *, dim: int) -> Array:
    """`[g s, g a s (1 - s)]` with `s = sigmoid(b)`."""
    a, b = _halves(F, x, dim)
    s = F.sigmoid(b)
    return F.cat(g * s, g * a * s * (1 - s), dim=dim)


def _dims(x: Array, dim: int) -> tuple[int, ...]:
    return (dim,) if x.ndim else ()


def softmax(F: Any, x: Array, *, dim: int) -> Array:
    """`exp(x) / Σ exp(x)`, shifted by the maximum."""
    if 0 in x.shape:
        return F.exp(x)
    e = F.exp(x - F.amax(x, dim=_dims(x, dim), keepdim=True))
    return e / F.sum(e, dim=_dims(e, dim), keepdim=True)


def softmax_backward(F: Any, g: Array, out: Array, *, dim: int) -> Array:
    """`out (g - Σ g out)`."""
    return out * (g - F.sum(g * out, dim=_dims(g, dim), keepdim=True))


def log_softmax(F: Any, x: Array, *, dim: int) -> Array:
    """`x - log Σ exp(x)`, shifted by the maximum."""
    if 0 in x.shape:
        return F.exp(x)
    z = x - F.amax(x, dim=_dims(x, dim), keepdim=True)
    return z - F.log(F.sum(F.exp(z), dim=_dims(z, dim), keepdim=True))


def log_softmax_backward(F: Any, g: Array, out: Array, *, dim: int) -> Array:
    """`g - softmax(x) Σ g`."""
    return g - F.exp(out) * F.sum(g, dim=_dims(g, dim), keepdim=True)
