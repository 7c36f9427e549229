"""Samplers that reject: how many words a value takes is known only once it is drawn.

They go element by element, in Python, through the CPU stream. The algorithms are the published ones
that PyTorch uses: transformed rejection (Hormann 1993) for Poisson and binomial counts, Marsaglia
and Tsang (2000) for the gamma distribution. Values equal PyTorch's but for the rounding of `log`
and `pow`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from multitorch.random.cpu_stream import CPUStream

Uniform = Callable[[], float]


def _uniform_of(stream: CPUStream) -> Uniform:
    word, mask, step = stream.random64, (1 << 53) - 1, 2.0**-53
    return lambda: (word() & mask) * step


def _normal_of(stream: CPUStream) -> Callable[[], float]:
    return lambda: float(stream.normal((1,), np.dtype(np.float64))[0])


# --- Poisson


def poisson(stream: CPUStream, rates: np.ndarray) -> np.ndarray:
    """Draw a Poisson count for each rate, in the dtype of `rates`."""
    uniform = _uniform_of(stream)
    out = [_poisson(rate, uniform) for rate in rates.astype(np.float64).ravel().tolist()]
    return np.array(out, np.float64).astype(rates.dtype).reshape(rates.shape)


def _poisson(rate: float, uniform: Uniform) -> float:
    if rate >= 10:
        return _poisson_large(rate, uniform)
    if rate == 0:
        return 0
    bound, product, count = math.exp(-rate), uniform(), 0
    while product > bound:
        count += 1
        product *= uniform()
    return count


def _poisson_large(rate: float, uniform: Uniform) -> float:
    log_rate = math.log(rate)
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    accept_at_once = 0.9277 - 3.6224 / (b - 2)
    while True:
        u = uniform() - 0.5
        v = uniform()
        distance = 0.5 - abs(u)
        k = _floor((2 * a / distance + b) * u + rate + 0.43) if distance else -1
        if distance >= 0.07 and v <= accept_at_once:
            return k
        if k < 0 or (distance < 0.013 and v > distance):
            continue
        left = _log(v) + math.log(inverse_alpha) - math.log(a / (distance * distance) + b)
        if left <= k * log_rate - rate - math.lgamma(k + 1):
            return k


def _floor(x: float) -> float:
    return float(math.floor(x))


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf


# --- binomial


def binomial(stream: CPUStream, counts: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Draw how many of `count` trials succeed with probability `prob`; equal shapes."""
    uniform = _uniform_of(stream)
    pairs = zip(
        counts.astype(np.float64).ravel().tolist(),
        probs.astype(np.float64).ravel().tolist(),
        strict=True,
    )
    out = [_binomial(count, prob, uniform) for count, prob in pairs]
    return np.array(out, np.float64).astype(counts.dtype).reshape(counts.shape)


def _binomial(count: float, prob: float, uniform: Uniform) -> float:
    if math.isnan(prob) or math.isnan(count):
        return math.nan
    if count <= 0 or prob <= 0:
        return 0
    if prob >= 1:
        return count
    if prob > 0.5:
        return count - _binomial_half(count, 1 - prob, uniform)
    return _binomial_half(count, prob, uniform)


def _binomial_half(count: float, prob: float, uniform: Uniform) -> float:
    if count * prob >= 10:
        return _binomial_large(count, prob, uniform)
    log_miss, trials, successes = math.log1p(-prob), 0.0, 0
    while True:
        u = uniform()
        trials += math.ceil(_log(u) / log_miss) if u else math.inf
        if trials > count:
            return successes
        successes += 1


def _binomial_large(count: float, prob: float, uniform: Uniform) -> float:
    spread = math.sqrt(count * prob * (1 - prob))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * prob
    center = count * prob + 0.5
    accept_at_once = 0.92 - 4.2 / b
    odds = prob / (1 - prob)
    alpha = (2.83 + 5.1 / b) * spread
    mode = _floor((count + 1) * prob)
    while True:
        u = uniform() - 0.5
        v = uniform()
        distance = 0.5 - abs(u)
        k = _floor((2 * a / distance + b) * u + center) if distance else -1
        if distance >= 0.07 and v <= accept_at_once:
            return k
        if k < 0 or k > count:
            continue
        left = _log(v * alpha / (a / (distance * distance) + b))
        if left <= _log_ratio(k, mode, count, odds):
            return k


def _log_ratio(k: float, mode: float, count: float, odds: float) -> float:
    """Return log p(k) - log p(mode), the factorials by Stirling's formula."""
    rest = count - mode + 1
    return (
        (mode + 0.5) * math.log((mode + 1) / (odds * rest))
        + (count + 1) * math.log(rest / (count - k + 1))
        + (k + 0.5) * math.log(odds * (count - k + 1) / (k + 1))
        + _stirling_tail(mode)
        + _stirling_tail(count - mode)
        - _stirling_tail(k)
        - _stirling_tail(count - k)
    )


def _stirling_tail(k: float) -> float:
    """Return log k! minus Stirling's formula for it."""
    if k <= 9:
        n = k + 1
        return math.lgamma(n) - (k + 0.5) * math.log(n) + n - 0.5 * math.log(2 * math.pi)
    square = (k + 1) ** 2
    return (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / (k + 1)


# --- gamma


def standard_gamma(stream: CPUStream, shapes: np.ndarray) -> np.ndarray:
    """Draw from Gamma(alpha, 1) for each alpha, in the dtype of `shapes`."""
    values = _gammas(stream, shapes).astype(shapes.dtype)
    if shapes.dtype.kind == "f":
        values = np.maximum(values, np.finfo(shapes.dtype).tiny)
    return values


def dirichlet(stream: CPUStream, alphas: np.ndarray) -> np.ndarray:
    """Draw points of the simplex along the last dimension."""
    gammas = _gammas(stream, alphas)
    return (gammas / gammas.sum(-1, keepdims=True)).astype(alphas.dtype)


def _gammas(stream: CPUStream, alphas: np.ndarray) -> np.ndarray:
    uniform, normal = _uniform_of(stream), _normal_of(stream)
    out = [_gamma(alpha, uniform, normal) for alpha in alphas.astype(np.float64).ravel().tolist()]
    return np.array(out, np.float64).reshape(alphas.shape)


def _gamma(alpha: float, uniform: Uniform, normal: Callable[[], float]) -> float:
    scale = 1.0
    if alpha < 1:
        if alpha == 0:
            return 0.0
        scale = (1 - uniform()) ** (1 / alpha)
        alpha += 1
    d = alpha - 1 / 3
    c = 1 / math.sqrt(9 * d)
    while True:
        x = normal()
        y = 1 + c * x
        while y <= 0:
            x = normal()
            y = 1 + c * x
        v = y * y * y
        u = 1 - uniform()
        square = x * x
        if u < 1 - 0.0331 * square * square:
            return scale * d * v
        if math.log(u) < 0.5 * square + d * (1 - v + math.log(v)):
            return scale * d * v
