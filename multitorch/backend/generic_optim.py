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


def _decayed(g: Array, x: Array, weight_decay: Array) -> Array:
    """Return `g + weight_decay·x`; without decay, which is None then, `x` need not be read."""
    return g if weight_decay is None else g + weight_decay * x


def sgd_step(F: Any, p: Array, g: Array, lr: Array, weight_decay: Array, *, maximize: bool):
    """`p - lr·(g + weight_decay·p)`."""
    grad, x = _widened(F, g, p, maximize=maximize)
    return _narrowed(F, (x - lr * _decayed(grad, x, weight_decay),), (p,))[0]


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
    grad = _decayed(grad, x, weight_decay)
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
        x = x if weight_decay is None else x * (1 - lr * weight_decay)
    else:
        g = _decayed(g, x, weight_decay)
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


# --- kin of Adam ---------------------------------------------------------------------------------


def adamax_step(
    F: Any, p: Array, g: Array, m: Array, u: Array, step: Array, lr: Array, rate1: Array,
    beta2: Array, eps: Array, weight_decay: Array, *, maximize: bool,
):  # fmt: skip
    """`u ← max(β₂u, |g| + eps)`, `p - lr·m / (1-β₁ᵗ) / u`. Returns (p, m, u, step)."""
    grad, x, m1, top = _widened(F, g, p, m, u, maximize=maximize)
    count = step + 1
    grad = _decayed(grad, x, weight_decay)
    m1 = m1 + (grad - m1) * rate1
    top = F.maximum(top * beta2, F.abs(grad) + eps)
    size = lr / _bias_correction(F, F.cast(count, dtype=x.dtype), rate1)
    return _narrowed(F, (x - size * m1 / top, m1, top, count), (p, m, u, step))


def nadam_step(
    F: Any, p: Array, g: Array, m: Array, v: Array, product: Array, step: Array, lr: Array,
    rate1: Array, rate2: Array, eps: Array, weight_decay: Array, decay: Array, *, maximize: bool,
    decoupled: bool,
):  # fmt: skip
    """Adam with Nesterov's momentum; `product` is that of the momenta so far.

    Returns (p, m, v, product, step).
    """
    grad, x, m1, v1 = _widened(F, g, p, m, v, maximize=maximize)
    if not decoupled:
        grad = _decayed(grad, x, weight_decay)
        weight_decay = None
    x, m1, v1, count, t = _moments(
        F, x, grad, m1, v1, step, lr, rate1, rate2, weight_decay, True
    )  # fmt: skip
    now, after = (
        (1 - rate1) * (1 - F.exp(s * decay * _LOG_096) / 2) for s in (t, t + 1)
    )  # fmt: skip
    total = F.cast(product, dtype=x.dtype) * now
    scale = F.sqrt(v1 / _bias_correction(F, t, rate2)) + eps
    x = x - (lr * (1 - now) / (1 - total)) * grad / scale
    x = x - (lr * after / (1 - total * after)) * m1 / scale
    return _narrowed(F, (x, m1, v1, total, count), (p, m, v, product, step))


_LOG_096 = -0.040821994520255166


def radam_step(
    F: Any, p: Array, g: Array, m: Array, v: Array, step: Array, lr: Array, rate1: Array,
    rate2: Array, eps: Array, weight_decay: Array, *, maximize: bool, decoupled: bool,
):  # fmt: skip
    """Adam whose step is rectified, and without the second moment while that says little.

    Returns (p, m, v, step).
    """
    grad, x, m1, v1 = _widened(F, g, p, m, v, maximize=maximize)
    x, m1, v1, count, t = _moments(
        F, x, grad, m1, v1, step, lr, rate1, rate2, weight_decay, decoupled
    )
    size = lr / _bias_correction(F, t, rate1)
    root, known = _rectification(F, F.cast(count, dtype=np.dtype(np.float64)), rate2)
    factor = F.cast(root, dtype=x.dtype) / (F.sqrt(v1) + eps)
    x = x - size * m1 * F.where(known, factor, factor * 0 + 1)
    return _narrowed(F, (x, m1, v1, count), (p, m, v, step))


def _rectification(F: Any, t: Array, rate: Array) -> tuple[Array, Array]:
    """Return `√(1-β₂ᵗ)` times the rectification, and whether that is defined.

    The length of the average is a small difference of large numbers: in double precision.
    """
    correction = _bias_correction(F, t, rate)
    top = 2 / rate - 1
    length = top - 2 * t * (1 - correction) / correction
    known = length > 5
    n = F.where(known, length, length * 0 + 6)
    square = (n - 4) * (n - 2) * top / ((top - 4) * (top - 2) * n)
    return F.sqrt(correction * square), known


# --- adaptive sizes ------------------------------------------------------------------------------


def adagrad_step(
    F: Any, p: Array, g: Array, total: Array, step: Array, lr: Array, lr_decay: Array, eps: Array,
    weight_decay: Array, *, maximize: bool,
):  # fmt: skip
    """`s ← s + g²`, `p - lr / (1 + (t-1)·lr_decay)·g / (√s + eps)`. Returns (p, s, step)."""
    grad, x, s = _widened(F, g, p, total, maximize=maximize)
    grad = _decayed(grad, x, weight_decay)
    s = s + grad * grad
    size = lr / (1 + F.cast(step, dtype=x.dtype) * lr_decay)
    return _narrowed(F, (x - size * grad / (F.sqrt(s) + eps), s, step + 1), (p, total, step))


def adadelta_step(
    F: Any, p: Array, g: Array, square: Array, change: Array, step: Array, lr: Array, rate: Array,
    eps: Array, weight_decay: Array, *, maximize: bool,
):  # fmt: skip
    """`d = √(change + eps) / √(square + eps)·g`, `p - lr·d`; both are running means of squares.

    Returns (p, square, change, step).
    """
    grad, x, s, c = _widened(F, g, p, square, change, maximize=maximize)
    grad = _decayed(grad, x, weight_decay)
    s = s + (grad * grad - s) * rate
    d = F.sqrt(c + eps) / F.sqrt(s + eps) * grad
    c = c + (d * d - c) * rate
    return _narrowed(F, (x - lr * d, s, c, step + 1), (p, square, change, step))


def _rms_direction(
    F: Any, x: Array, grad: Array, s: Array, mean: Array, rate: Array, eps: Array,
    weight_decay: Array,
) -> tuple[Array, ...]:  # fmt: skip
    """Return g over the root of its mean square, the mean square and, if there is one, the mean."""
    grad = _decayed(grad, x, weight_decay)
    s = s + (grad * grad - s) * rate
    if mean is None:
        return grad / (F.sqrt(s) + eps), s, None
    mean = mean + (grad - mean) * rate
    return grad / (F.sqrt(s - mean * mean) + eps), s, mean


def rmsprop_step(
    F: Any, p: Array, g: Array, square: Array, step: Array, lr: Array, rate: Array, eps: Array,
    weight_decay: Array, momentum: Array, *, maximize: bool,
):  # fmt: skip
    """`s ← s + (g² - s)·rate`, `p - lr·g / (√s + eps)`. Returns (p, s, step)."""
    grad, x, s = _widened(F, g, p, square, maximize=maximize)
    d, s, _ = _rms_direction(F, x, grad, s, None, rate, eps, weight_decay)
    return _narrowed(F, (x - lr * d, s, step + 1), (p, square, step))


def rmsprop_momentum_step(
    F: Any, p: Array, g: Array, square: Array, buf: Array, step: Array, lr: Array, rate: Array,
    eps: Array, weight_decay: Array, momentum: Array, *, maximize: bool,
):  # fmt: skip
    """RMSprop along `buf ← momentum·buf + d`. Returns (p, s, buf, step)."""
    grad, x, s, b = _widened(F, g, p, square, buf, maximize=maximize)
    d, s, _ = _rms_direction(F, x, grad, s, None, rate, eps, weight_decay)
    b = momentum * b + d
    return _narrowed(F, (x - lr * b, s, b, step + 1), (p, square, buf, step))


def rmsprop_centered_step(
    F: Any, p: Array, g: Array, square: Array, mean: Array, step: Array, lr: Array, rate: Array,
    eps: Array, weight_decay: Array, momentum: Array, *, maximize: bool,
):  # fmt: skip
    """RMSprop by the variance of the gradient. Returns (p, s, mean, step)."""
    grad, x, s, a = _widened(F, g, p, square, mean, maximize=maximize)
    d, s, a = _rms_direction(F, x, grad, s, a, rate, eps, weight_decay)
    return _narrowed(F, (x - lr * d, s, a, step + 1), (p, square, mean, step))


def rmsprop_centered_momentum_step(
    F: Any, p: Array, g: Array, square: Array, mean: Array, buf: Array, step: Array, lr: Array,
    rate: Array, eps: Array, weight_decay: Array, momentum: Array, *, maximize: bool,
):  # fmt: skip
    """RMSprop by the variance, with momentum. Returns (p, s, mean, buf, step)."""
    grad, x, s, a, b = _widened(F, g, p, square, mean, buf, maximize=maximize)
    d, s, a = _rms_direction(F, x, grad, s, a, rate, eps, weight_decay)
    b = momentum * b + d
    return _narrowed(F, (x - lr * b, s, a, b, step + 1), (p, square, mean, buf, step))


# --- others --------------------------------------------------------------------------------------


def rprop_step(
    F: Any, p: Array, g: Array, prev: Array, size: Array, step: Array, shrink: Array, grow: Array,
    low: Array, high: Array, *, maximize: bool,
):  # fmt: skip
    """Steps of the gradient's sign, growing while that stays. Returns (p, prev, size, step)."""
    grad, x, last, s = _widened(F, g, p, prev, size, maximize=maximize)
    same = grad * last
    s = F.where(same > 0, s * grow, F.where(same < 0, s * shrink, s))
    s = F.minimum(F.maximum(s, low), high)
    grad = F.where(same < 0, 0, grad)
    return _narrowed(F, (x - F.sign(grad) * s, grad, s, step + 1), (p, prev, size, step))


def asgd_step(
    F: Any, p: Array, g: Array, mean: Array, eta: Array, mu: Array, step: Array, lr: Array,
    lambd: Array, alpha: Array, t0: Array, weight_decay: Array, *, maximize: bool,
):  # fmt: skip
    """SGD of falling size `eta`, averaged with weight `mu`. Returns (p, mean, eta, mu, step)."""
    grad, x, a = _widened(F, g, p, mean, maximize=maximize)
    count = step + 1
    rate, share, t = (F.cast(s, dtype=x.dtype) for s in (eta, mu, count))
    grad = _decayed(grad, x, weight_decay)
    x = x * (1 - lambd * rate) - rate * grad
    a = F.where(share == 1, x, a + (x - a) * share)
    rate = lr * F.exp(-alpha * F.log1p(lambd * lr * t))
    share = 1 / F.maximum(t - t0, 1)
    return _narrowed(F, (x, a, rate, share, count), (p, mean, eta, mu, step))
