"""Kernels of mathematics over `jax.numpy`, `lax` and `jax.scipy.special`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.special as jsp
import numpy as np
from jax import lax

Array = Any

exp, expm1, log, log2, log10, log1p = (
    jnp.exp, jnp.expm1, jnp.log, jnp.log2, jnp.log10, jnp.log1p
)  # fmt: skip
sin, cos, tan, asin, acos, atan = jnp.sin, jnp.cos, jnp.tan, jnp.arcsin, jnp.arccos, jnp.arctan
sinh, cosh, tanh, asinh, acosh, atanh = (
    jnp.sinh, jnp.cosh, jnp.tanh, jnp.arcsinh, jnp.arccosh, jnp.arctanh
)  # fmt: skip
atan2, hypot, nextafter = jnp.arctan2, jnp.hypot, jnp.nextafter
logaddexp = jnp.logaddexp
sigmoid = jax.nn.sigmoid


def copysign(x: Array, y: Array) -> Array:
    """Return |x| with the sign of y."""
    dtype = jnp.result_type(x, y)
    return jnp.copysign(jnp.asarray(x, dtype), jnp.asarray(y, dtype)).astype(dtype)


def frexp(x: Array) -> tuple[Array, Array]:
    """Return (mantissa, exponent)."""
    wide = x.astype(np.float32) if x.dtype.itemsize == 2 else x
    mantissa, exponent = jnp.frexp(wide)
    return mantissa.astype(x.dtype), exponent.astype(np.int32)


def _special(function: Callable) -> Callable:
    """Return a kernel that computes in float32 for half precision and keeps the dtype."""

    def kernel(*arrays: Array) -> Array:
        dtype = jnp.result_type(*arrays)
        wide = np.float32 if dtype.itemsize == 2 else dtype
        return function(*[jnp.asarray(a, wide) for a in arrays]).astype(dtype)

    return kernel


exp2, logaddexp2 = _special(jnp.exp2), _special(jnp.logaddexp2)


erf, erfc, erfinv = _special(lax.erf), _special(lax.erfc), _special(lax.erf_inv)
lgamma, _digamma = _special(lax.lgamma), _special(lax.digamma)
i0, i0e, i1, i1e = _special(jsp.i0), _special(jsp.i0e), _special(jsp.i1), _special(jsp.i1e)
ndtri, log_ndtr, zeta = _special(jsp.ndtri), _special(jsp.log_ndtr), _special(jsp.zeta)
gammainc, gammaincc = _special(jsp.gammainc), _special(jsp.gammaincc)


def digamma(x: Array) -> Array:
    """Return the derivative of `lgamma`; an infinity of the other sign at 0."""
    pole = jnp.copysign(jnp.asarray(np.inf, x.dtype), -x)
    return jnp.where(x == 0, pole, _digamma(x))


def polygamma(x: Array, *, n: int) -> Array:
    """Return the n-th derivative of digamma, n > 0."""
    wide = x.astype(np.float32) if x.dtype.itemsize == 2 else x
    factor = float((-1) ** (n + 1) * math.factorial(n))
    # `jsp.zeta` is wrong for x below about -8: its first terms are added up here
    first = lax.fori_loop(0, _SHIFT, lambda k, s: s + (wide + k) ** -(n + 1), jnp.zeros_like(wide))
    rest = jsp.zeta(jnp.asarray(n + 1, wide.dtype), wide + _SHIFT)
    near = factor * jnp.where(wide < 0, first + rest, 0)
    far = factor * jsp.zeta(jnp.asarray(n + 1, wide.dtype), wide)
    return jnp.where(wide < 0, near, far).astype(x.dtype)


_SHIFT = 64


def _erfcx(x: Array) -> Array:
    """Return exp(x²) erfc(x); far out, where erfc vanishes, by its continued fraction."""
    far = jnp.maximum(x, 2.0)
    tail = far
    for k in range(60, 0, -1):
        tail = far + (k / 2) / tail
    near = jnp.minimum(x, 2.0)
    return jnp.where(x > 2.0, 1 / (tail * np.sqrt(np.pi)), jnp.exp(near * near) * lax.erfc(near))


erfcx = _special(_erfcx)
