"""Generic bodies of the optimizer steps: pure functions of raw arrays, over arithmetic and `F`.

Every body takes what it changes and returns it anew, in the same order (one array by itself).
Hyperparameters are data, flags are static. `rate = 1 - beta` is the weight of the newest gradient:
unlike beta itself it keeps its digits when a backend narrows it to float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def _working_dtype(p: Array) -> np.dtype:
    """Return the dtype to compute in: float32 for the narrower floating types."""
    return np.dtype(np.float32) if p.dtype.itemsize < 4 else p.dtype


def _widened(F: Any, g: Array, *arrays: Array, maximize: bool) -> tuple[Array, ...]:
    dtype = _working_dtype(arrays[0])
    g, *rest = (a if a.dtype == dtype else F.cast(a, dtype=dtype) for a in (g, *arrays))
    return (-g if maximize else g, *rest)


def _narrowed(F: Any, results: tuple[Array, ...], like: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(
        r if r.dtype == a.dtype else F.cast(r, dtype=a.dtype)
        for r, a in zip(results, like, strict=True)
    )


def sgd_step(F: Any, p: Array, g: Array, lr: Array, weight_decay: Array, *, maximize: bool):
    """`p - lr·(g + weight_decay·p)`."""
    grad, x = _widened(F, g, p, maximize=maximize)
    return _narrowed(F, (x - lr * (grad + weight_decay * x),), (p,))[0]


def sgd_momentum_step(
    F: Any,
    p: Array,
    g: Array,
    buf: Array,
    lr: Array,
    momentum: Array,
    rate: Array,
    weight_decay: Array,
    *,
    nesterov: bool,
    maximize: bool,
):
    """`buf ← momentum·buf + rate·g`, `p - lr·buf`; `rate` is 1 - dampening. Returns (p, buf)."""
    grad, x, b = _widened(F, g, p, buf, maximize=maximize)
    grad = grad + weight_decay * x
    b = momentum * b + rate * grad
    direction = grad + momentum * b if nesterov else b
    return _narrowed(F, (x - lr * direction, b), (p, buf))


def _moments(
    F: Any, x: Array, g: Array, m: Array, v: Array, step: Array, lr: Array, rate1: Array,
    rate2: Array, weight_decay: Array, decoupled: bool,
):  # fmt: skip
    """Decay `x` or `g`, advance the moments; return (x, m, v, t, unit)."""
    t = step + 1
    unit = F.cast(t, dtype=x.dtype)
    if decoupled:
        x = x * (1 - lr * weight_decay)
    else:
        g = g + weight_decay * x
    return x, m + (g - m) * rate1, v + (g * g - v) * rate2, t, unit


def _bias_correction(F: Any, t: Array, rate: Array) -> Array:
    """Return `1 - betaᵗ`, without cancellation; `t / t` gives a plain number the working dtype."""
    return -F.expm1(t * F.log1p(-rate * (t / t)))


def _adam_direction(F: Any, x, m, v, t, lr, rate1, rate2, eps) -> Array:
    root = F.sqrt(_bias_correction(F, t, rate2))
    size = lr * root / _bias_correction(F, t, rate1)
    return x - size * m / (F.sqrt(v) + eps * root)


def adam_step(
    F: Any,
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    step: Array,
    lr: Array,
    rate1: Array,
    rate2: Array,
    eps: Array,
    weight_decay: Array,
    *,
    maximize: bool,
    decoupled: bool,
):
    """One step of Adam, of AdamW with `decoupled`. Returns (p, m, v, step)."""
    grad, x, m1, v1 = _widened(F, g, p, m, v, maximize=maximize)
    x, m1, v1, count, t = _moments(
        F, x, grad, m1, v1, step, lr, rate1, rate2, weight_decay, decoupled
    )
    x = _adam_direction(F, x, m1, v1, t, lr, rate1, rate2, eps)
    return _narrowed(F, (x, m1, v1, count), (p, m, v, step))


def amsgrad_step(
    F: Any,
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    vmax: Array,
    step: Array,
    lr: Array,
    rate1: Array,
    rate2: Array,
    eps: Array,
    weight_decay: Array,
    *,
    maximize: bool,
    decoupled: bool,
):
    """Adam that divides by the largest second moment so far. Returns (p, m, v, vmax, step)."""
    grad, x, m1, v1, top = _widened(F, g, p, m, v, vmax, maximize=maximize)
    x, m1, v1, count, t = _moments(
        F, x, grad, m1, v1, step, lr, rate1, rate2, weight_decay, decoupled
    )
    top = F.maximum(top, v1)
    x = _adam_direction(F, x, m1, top, t, lr, rate1, rate2, eps)
    return _narrowed(F, (x, m1, v1, top, count), (p, m, v, vmax, step))
