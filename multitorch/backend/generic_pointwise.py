"""Generic bodies of pointwise functions, over the primitives.

A plain number stands where an array may; `x - x` and the like are avoided, for NaN and infinities.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = Any


def rsub(F: Any, x: Array, y: Array) -> Array:
    """`y - x`."""
    return y - x


def square(F: Any, x: Array) -> Array:
    """`x * x`."""
    return x * x


def cube(F: Any, x: Array) -> Array:
    """`x * x * x`."""
    return x * x * x


def rsqrt(F: Any, x: Array) -> Array:
    """`1 / sqrt(x)`."""
    return 1 / F.sqrt(x)


def reciprocal(F: Any, x: Array) -> Array:
    """`1 / x`."""
    return 1 / x


def trunc_divide(F: Any, x: Array, y: Array) -> Array:
    """The quotient rounded towards zero."""
    return F.div(x - F.fmod(x, y), y) if _floating(x) else F.floor_divide(x - F.fmod(x, y), y)


def rpow(F: Any, x: Array, y: Array) -> Array:
    """`y ** x`."""
    return F.pow(y, x)


def _floating(x: Array) -> bool:
    return hasattr(x, "dtype") and x.dtype.kind not in "biu" or isinstance(x, float)


def isposinf(F: Any, x: Array) -> Array:
    """Whether x is +inf."""
    return F.eq(x, math.inf)


def isneginf(F: Any, x: Array) -> Array:
    """Whether x is -inf."""
    return F.eq(x, -math.inf)


def fmax(F: Any, x: Array, y: Array) -> Array:
    """The larger one; a number wins over NaN."""
    return F.where(F.logical_or(F.ge(x, y), F.ne(y, y)), x, y)


def fmin(F: Any, x: Array, y: Array) -> Array:
    """The smaller one; a number wins over NaN."""
    return F.where(F.logical_or(F.le(x, y), F.ne(y, y)), x, y)


def clamp(F: Any, x: Array, min: Array, max: Array) -> Array:
    """x limited to [min, max]; either bound may be None."""
    if min is not None:
        x = F.maximum(x, min)
    return x if max is None else F.minimum(x, max)


def clamp_min(F: Any, x: Array, min: Array) -> Array:
    """`maximum(x, min)`."""
    return F.maximum(x, min)


def clamp_max(F: Any, x: Array, max: Array) -> Array:
    """`minimum(x, max)`."""
    return F.minimum(x, max)


def sgn(F: Any, x: Array) -> Array:
    """The sign, for complex numbers `x / |x|`."""
    return F.sign(x)


def lcm(F: Any, x: Array, y: Array) -> Array:
    """The least common multiple."""
    divisor = F.gcd(x, y)
    return F.abs(F.floor_divide(x, F.where(divisor == 0, 1, divisor)) * y)


# --- mathematics ---------------------------------------------------------------------------------


def logaddexp(F: Any, x: Array, y: Array) -> Array:
    """`log(exp(x) + exp(y))`."""
    most = F.maximum(x, y)
    out = most + F.log1p(F.exp(-F.abs(x - y)))
    return F.where(F.isfinite(x - y), out, most)


def logaddexp2(F: Any, x: Array, y: Array) -> Array:
    """`log2(2**x + 2**y)`."""
    most = F.maximum(x, y)
    out = most + F.log2(1 + F.exp2(-F.abs(x - y)))
    return F.where(F.isfinite(x - y), out, most)


def xlogy(F: Any, x: Array, y: Array) -> Array:
    """`x * log(y)`, 0 where x is 0 unless y is NaN."""
    return F.where(F.logical_and(F.eq(x, 0), F.eq(y, y)), 0, x * F.log(y))


def xlog1py(F: Any, x: Array, y: Array) -> Array:
    """`x * log1p(y)`, 0 where x is 0 unless y is NaN."""
    return F.where(F.logical_and(F.eq(x, 0), F.eq(y, y)), 0, x * F.log1p(y))


def entr(F: Any, x: Array) -> Array:
    """`-x * log(x)`, 0 at 0 and -inf below."""
    inside = F.where(x > 0, x, 1)
    return F.where(x > 0, -inside * F.log(inside), F.where(x == 0, 0, F.where(x < 0, -math.inf, x)))


def sigmoid(F: Any, x: Array) -> Array:
    """`1 / (1 + exp(-x))`."""
    return 1 / (1 + F.exp(-x))


def logit(F: Any, x: Array) -> Array:
    """`log(x / (1 - x))`."""
    return F.log(x / (1 - x))


def sinc(F: Any, x: Array) -> Array:
    """`sin(πx) / (πx)`, 1 at 0."""
    z = F.where(F.eq(x, 0), 1, x) * math.pi
    return F.where(F.eq(x, 0), 1, F.sin(z) / z)


def frac(F: Any, x: Array) -> Array:
    """The part behind the point, with the sign of x."""
    return x - F.trunc(x)


def round_decimals(F: Any, x: Array, *, decimals: int) -> Array:
    """The nearest multiple of `10**-decimals`."""
    wide = F.cast(x, dtype=np.dtype(np.float32)) if x.dtype.itemsize < 4 else x
    scale = 10.0 ** abs(decimals)
    out = F.round(wide * scale) / scale if decimals > 0 else F.round(wide / scale) * scale
    return F.cast(out, dtype=x.dtype)


def heaviside(F: Any, x: Array, y: Array) -> Array:
    """0 below zero, 1 above, y at zero."""
    return F.where(F.eq(x, 0), y, F.cast(x > 0, dtype=x.dtype))


def nan_to_num(F: Any, x: Array, nan: Array, posinf: Array, neginf: Array) -> Array:
    """x with NaN and the infinities replaced."""
    x = F.where(F.ne(x, x), nan, x)
    return F.where(F.eq(x, math.inf), posinf, F.where(F.eq(x, -math.inf), neginf, x))


def lerp(F: Any, x: Array, y: Array, weight: Array) -> Array:
    """`x + weight * (y - x)`, exact at both ends."""
    if not hasattr(weight, "dtype"):
        return x + weight * (y - x) if abs(weight) < 0.5 else y - (y - x) * (1 - weight)
    near = F.lt(F.abs(weight), 0.5)
    return F.where(near, x + weight * (y - x), y - (y - x) * (1 - weight))


def addcmul(F: Any, x: Array, y: Array, z: Array, value: Array) -> Array:
    """`x + value * y * z`."""
    return x + value * y * z


def addcdiv(F: Any, x: Array, y: Array, z: Array, value: Array) -> Array:
    """`x + value * y / z`."""
    return x + value * y / z


def deg2rad(F: Any, x: Array) -> Array:
    """`x * π / 180`."""
    return F.cast(x * (math.pi / 180), dtype=x.dtype)


def rad2deg(F: Any, x: Array) -> Array:
    """`x * 180 / π`."""
    return F.cast(x * (180 / math.pi), dtype=x.dtype)


def polar(F: Any, mag: Array, phase: Array) -> Array:
    """`mag * exp(1j * phase)`."""
    return F.complex_(mag * F.cos(phase), mag * F.sin(phase))


def angle(F: Any, x: Array) -> Array:
    """The argument of a complex number; 0 or π for a real one."""
    if x.dtype.kind == "c":
        return F.atan2(F.imag(x), F.real(x))
    return F.where(F.ne(x, x), x, F.cast(F.where(x < 0, math.pi, 0.0), dtype=x.dtype))
