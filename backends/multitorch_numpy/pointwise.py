"""Pointwise kernels: NumPy's ufuncs, and short functions where these differ from PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any
_HALF = np.dtype(np.float16)
_FLOAT32 = np.dtype(np.float32)


def _kind(x: Array) -> str:
    """Return the kind of an array or number: 'b', 'i', 'u', 'f', 'c', or 'V' for ml_dtypes."""
    return np.asarray(x).dtype.kind


def _same_where_integral(ufunc: Callable) -> Callable:
    """Return the form of a rounding ufunc that copies integers (NumPy 2.0 makes them floats)."""

    def kernel(x: Array) -> Array:
        return np.array(x) if x.dtype.kind in "iub" else ufunc(x)

    return kernel


# --- casts ---------------------------------------------------------------------------------------


def cast(x: Array, *, dtype: np.dtype) -> Array:
    """Convert to another dtype; the imaginary part is dropped for a real one."""
    if not hasattr(x, "dtype"):
        return np.asarray(x, dtype)
    if x.dtype == dtype:
        return x
    if x.dtype.kind == "c" and dtype.kind not in "cb":
        x = x.real
    return x.astype(dtype)


cast_grad = cast

# --- arithmetic ----------------------------------------------------------------------------------

add, sub, mul, div, neg = np.add, np.subtract, np.multiply, np.true_divide, np.negative


def rsub(x: Array, y: Array) -> Array:
    """Return `y - x`."""
    return np.subtract(y, x)


def _check_divisor(x: Array, y: Array) -> bool:
    """Whether the operands are integers; raise where one would be divided by zero."""
    if _kind(x) not in "iu":
        return False
    if not np.all(y):
        raise RuntimeError("ZeroDivisionError")
    return True


def floor_divide(x: Array, y: Array) -> Array:
    """Return the quotient rounded down; a zero divisor gives what true division gives."""
    _check_divisor(x, y)
    return np.floor_divide(x, y)


def trunc_divide(x: Array, y: Array) -> Array:
    """Return the quotient rounded towards zero."""
    if not _check_divisor(x, y):
        return np.trunc(np.true_divide(x, y))
    quotient = np.floor_divide(x, y)
    # one more where rounding down went away from zero
    return quotient + ((quotient < 0) & (quotient * y != x)).astype(quotient.dtype)


def remainder(x: Array, y: Array) -> Array:
    """Return the remainder with the sign of the divisor."""
    _check_divisor(x, y)
    return np.remainder(x, y)


def fmod(x: Array, y: Array) -> Array:
    """Return the remainder with the sign of the dividend."""
    _check_divisor(x, y)
    return np.fmod(x, y)


# --- powers and roots ----------------------------------------------------------------------------

square, sqrt = np.square, np.sqrt


def cube(x: Array) -> Array:
    """Return x³."""
    return x * x * x


def rsqrt(x: Array) -> Array:
    """Return 1 / √x."""
    return 1 / np.sqrt(x)


def reciprocal(x: Array) -> Array:
    """Return 1 / x."""
    return 1 / x


def pow(x: Array, y: Array) -> Array:
    """Return x to the power y; integers may have negative exponents, and then round to zero."""
    if _kind(x) in "iu" and not np.all(np.greater_equal(y, 0)):
        return _integer_pow(x, y)
    if _kind(x) == "b" and _kind(y) == "b":
        return np.logical_or(x, np.logical_not(y))
    return np.power(x, y)


def _integer_pow(x: Array, y: Array) -> Array:
    whole = np.power(x, np.maximum(y, 0))
    odd = np.bitwise_and(y, 1) == 1
    small = np.where(x == 1, 1, np.where(x == -1, np.where(odd, -1, 1), 0))
    return np.where(y < 0, small, whole).astype(whole.dtype)


def rpow(x: Array, y: Array) -> Array:
    """Return y to the power x."""
    return pow(np.asarray(y, x.dtype), x)


# --- comparison and logic ------------------------------------------------------------------------

eq, ne, lt, le = np.equal, np.not_equal, np.less, np.less_equal
gt, ge = np.greater, np.greater_equal
isnan, isinf, isfinite = np.isnan, np.isinf, np.isfinite
logical_and, logical_or, logical_xor = np.logical_and, np.logical_or, np.logical_xor
logical_not = np.logical_not
bitwise_and, bitwise_or, bitwise_xor = np.bitwise_and, np.bitwise_or, np.bitwise_xor
bitwise_not = np.invert
gcd, lcm = np.gcd, np.lcm


def isposinf(x: Array) -> Array:
    """Return where x is +inf."""
    return x == np.inf


def isneginf(x: Array) -> Array:
    """Return where x is -inf."""
    return x == -np.inf


def signbit(x: Array) -> Array:
    """Return where the sign is set; -0.0 has one."""
    return x < 0 if x.dtype.kind in "iub" else np.signbit(x)


def bitwise_left_shift(x: Array, y: Array) -> Array:
    """Return `x << y`; a shift by the width or more, or a negative one, gives 0."""
    return np.left_shift(x, np.maximum(y, x.dtype.itemsize * 8) if _negative(y) else y)


def bitwise_right_shift(x: Array, y: Array) -> Array:
    """Return `x >> y`, keeping the sign; a negative shift shifts out everything."""
    return np.right_shift(
        x, np.where(np.less(y, 0), x.dtype.itemsize * 8, y) if _negative(y) else y
    )


def _negative(y: Array) -> bool:
    return bool(np.any(np.less(y, 0)))


# --- selection and extremes ----------------------------------------------------------------------

fmax, fmin = np.fmax, np.fmin
maximum, minimum = np.maximum, np.minimum


def where(cond: Array, x: Array, y: Array) -> Array:
    """Return x where cond, else y; a plain float takes the dtype of the other."""
    if x.__class__ is float and y.__class__ is np.ndarray:
        x = y.dtype.type(x)
    elif y.__class__ is float and x.__class__ is np.ndarray:
        y = x.dtype.type(y)
    return np.where(cond, x, y)


_FEW = 4096
"""Up to so many elements one call that is quick to start counts, not the loop that it runs."""


def _is_large(x: Array) -> bool:
    return x.__class__ is np.ndarray and x.dtype.char in "fd" and x.size > _FEW


def clamp(x: Array, min: Array, max: Array) -> Array:
    """Return x limited to [min, max]; either bound may be None."""
    if min is None:
        return clamp_max(x, max)
    if max is None:
        return clamp_min(x, min)
    if _is_large(x):
        return x.clip(min, max)
    t = np.maximum(x, min)
    if t.__class__ is np.ndarray and max.__class__ is float:
        return np.minimum(t, max, out=t)
    return np.minimum(t, max)


def clamp_min(x: Array, min: Array) -> Array:
    """Return the larger of x and a bound; for scalars `clip` is vectorized, `maximum` is not."""
    return x.clip(min, np.inf) if min.__class__ is float and _is_large(x) else np.maximum(x, min)


def clamp_max(x: Array, max: Array) -> Array:
    """Return the smaller of x and a bound."""
    return x.clip(-np.inf, max) if max.__class__ is float and _is_large(x) else np.minimum(x, max)


# --- sign and magnitude --------------------------------------------------------------------------

abs = np.absolute


def sign(x: Array) -> Array:
    """Return -1, 0 or 1; z / |z| for complex numbers."""
    return np.array(x) if x.dtype.kind == "b" else np.sign(x)


sgn = sign
floor = _same_where_integral(np.floor)
ceil = _same_where_integral(np.ceil)
trunc = _same_where_integral(np.trunc)
round = _same_where_integral(np.rint)

# --- complex numbers -----------------------------------------------------------------------------


def conj(x: Array) -> Array:
    """Return the complex conjugate; real data as they are."""
    try:
        return np.conjugate(x) if x.dtype.kind == "c" else x
    except AttributeError:
        return x.conjugate()


def real(x: Array) -> Array:
    """Return the real part, a view."""
    return x.real


def imag(x: Array) -> Array:
    """Return the imaginary part, a view."""
    return x.imag


def complex_(re: Array, im: Array) -> Array:
    """Return `re + 1j * im`, without the multiplication."""
    re, im = np.broadcast_arrays(re, im)
    out = np.empty(re.shape, np.result_type(re.dtype, np.complex64))
    out.real, out.imag = re, im
    return out
