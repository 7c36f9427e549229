"""Pointwise kernels over `jax.numpy` and `lax`."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

Array = Any

# --- casts ---------------------------------------------------------------------------------------


def cast(x: Array, *, dtype: np.dtype) -> Array:
    """Convert to another dtype; the imaginary part is dropped for a real one."""
    x = jnp.asarray(x)
    if jnp.iscomplexobj(x) and not jnp.issubdtype(dtype, np.complexfloating) and dtype.kind != "b":
        x = x.real
    if dtype.kind == "b":
        return x != 0
    return x.astype(dtype)


cast_grad = cast

# --- arithmetic ----------------------------------------------------------------------------------

add, sub, mul, div, neg = jnp.add, jnp.subtract, jnp.multiply, jnp.true_divide, jnp.negative


def rsub(x: Array, y: Array) -> Array:
    """Return `y - x`."""
    return jnp.subtract(y, x)


def _integral(x: Array) -> bool:
    return jnp.issubdtype(jnp.result_type(x), jnp.integer)


def floor_divide(x: Array, y: Array) -> Array:
    """Return the quotient rounded down; a zero divisor gives what true division gives."""
    x, y = jnp.broadcast_arrays(*_together(x, y))
    if _integral(x):
        return jnp.floor_divide(x, y)
    rest = lax.rem(x, y)
    quotient = (x - rest) / y
    quotient = jnp.where((rest != 0) & ((y < 0) != (rest < 0)), quotient - 1, quotient)
    whole = jnp.floor(quotient)
    whole = jnp.where(quotient - whole > 0.5, whole + 1, whole)
    whole = jnp.where(quotient != 0, whole, jnp.copysign(jnp.zeros_like(x), x / y))
    return jnp.where(y == 0, x / y, whole)


def _together(x: Array, y: Array) -> tuple[Array, Array]:
    """Return both operands as arrays of the dtype of the one that is not a plain number."""
    dtype = jnp.result_type(x, y)
    return jnp.asarray(x, dtype), jnp.asarray(y, dtype)


def trunc_divide(x: Array, y: Array) -> Array:
    """Return the quotient rounded towards zero."""
    x, y = jnp.broadcast_arrays(*_together(x, y))
    return lax.div(x, y) if _integral(x) else jnp.trunc(x / y)


remainder, fmod = jnp.remainder, jnp.fmod

# --- powers and roots ----------------------------------------------------------------------------

square, sqrt, rsqrt = jnp.square, jnp.sqrt, lax.rsqrt


def cube(x: Array) -> Array:
    """Return x³."""
    return x * x * x


def reciprocal(x: Array) -> Array:
    """Return 1 / x."""
    return 1 / x


def pow(x: Array, y: Array) -> Array:
    """Return x to the power y; integers may have negative exponents, and then round to zero."""
    if jnp.result_type(x).kind == "b":
        return jnp.logical_or(x, jnp.logical_not(y))
    if not _integral(x) or not _integral(y):
        x, y = _together(x, y)
        return jnp.power(x, y)
    x, y = _together(x, y)
    whole = jnp.power(x, jnp.maximum(y, 0))
    small = jnp.where(x == 1, 1, jnp.where(x == -1, jnp.where(y & 1 == 1, -1, 1), 0))
    return jnp.where(y < 0, small.astype(x.dtype), whole)


def rpow(x: Array, y: Array) -> Array:
    """Return y to the power x."""
    return pow(jnp.asarray(y, x.dtype), x)


# --- comparison and logic ------------------------------------------------------------------------

eq, ne, lt, le, gt, ge = (
    jnp.equal, jnp.not_equal, jnp.less, jnp.less_equal, jnp.greater, jnp.greater_equal
)  # fmt: skip
isnan, isinf, isfinite = jnp.isnan, jnp.isinf, jnp.isfinite
logical_and, logical_or, logical_xor = jnp.logical_and, jnp.logical_or, jnp.logical_xor
logical_not = jnp.logical_not
bitwise_and, bitwise_or, bitwise_xor = jnp.bitwise_and, jnp.bitwise_or, jnp.bitwise_xor
bitwise_not = jnp.bitwise_not
gcd, lcm = jnp.gcd, jnp.lcm


def isposinf(x: Array) -> Array:
    """Return where x is +inf."""
    return x == np.inf


def isneginf(x: Array) -> Array:
    """Return where x is -inf."""
    return x == -np.inf


def signbit(x: Array) -> Array:
    """Return where the sign is set; -0.0 has one."""
    return jnp.signbit(x) if jnp.issubdtype(x.dtype, jnp.floating) else x < 0


def bitwise_left_shift(x: Array, y: Array) -> Array:
    """Return `x << y`; a shift by the width or more, or a negative one, gives 0."""
    x, y = _together(x, y)
    return jnp.where((y < 0) | (y >= x.dtype.itemsize * 8), 0, jnp.left_shift(x, y)).astype(x.dtype)


def bitwise_right_shift(x: Array, y: Array) -> Array:
    """Return `x >> y`, keeping the sign; a negative shift shifts out everything."""
    x, y = _together(x, y)
    last = x.dtype.itemsize * 8 - 1
    y = jnp.where((y < 0) | (y > last), last, y)
    return jnp.right_shift(x, y) if jnp.issubdtype(x.dtype, jnp.signedinteger) else _logical(x, y)


def _logical(x: Array, y: Array) -> Array:
    return lax.shift_right_logical(*jnp.broadcast_arrays(x, y))


# --- selection and extremes ----------------------------------------------------------------------

maximum, minimum, fmax, fmin = jnp.maximum, jnp.minimum, jnp.fmax, jnp.fmin
clamp_min, clamp_max = jnp.maximum, jnp.minimum


def where(cond: Array, x: Array, y: Array) -> Array:
    """Return x where cond, else y."""
    return jnp.where(cond, x, y)


def clamp(x: Array, min: Array, max: Array) -> Array:
    """Return x limited to [min, max]; either bound may be None."""
    if min is not None:
        x = jnp.maximum(x, min)
    return x if max is None else jnp.minimum(x, max)


# --- sign and magnitude --------------------------------------------------------------------------

abs = jnp.abs


def sign(x: Array) -> Array:
    """Return -1, 0 or 1; z / |z| for complex numbers."""
    return x if x.dtype == bool else jnp.sign(x)


sgn = sign


def _rounding(function: Any) -> Any:
    def kernel(x: Array) -> Array:
        return function(x) if jnp.issubdtype(x.dtype, jnp.inexact) else x

    return kernel


floor, ceil = _rounding(jnp.floor), _rounding(jnp.ceil)
trunc, round = _rounding(jnp.trunc), _rounding(jnp.round)

# --- complex numbers -----------------------------------------------------------------------------

conj, real = jnp.conj, jnp.real


def imag(x: Array) -> Array:
    """Return the imaginary part."""
    return jnp.imag(x)


def complex_(re: Array, im: Array) -> Array:
    """Return `re + 1j * im`, without the multiplication."""
    return lax.complex(*jnp.broadcast_arrays(re, im))
