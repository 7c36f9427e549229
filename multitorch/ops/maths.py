"""Pointwise functions of mathematics: exponentials, trigonometry, special functions, rounding."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

from multitorch import dtypes
from multitorch.dtypes import FLOAT
from multitorch.ops import apply as dispatch
from multitorch.ops import complex_numbers, return_types
from multitorch.ops.apply import write_out
from multitorch.ops.common import constant, inplace_functions, zeros_like
from multitorch.ops.complex_numbers import norm2
from multitorch.ops.logic import clamp, where
from multitorch.ops.numbers import tensors_only, with_numbers
from multitorch.ops.op import op
from multitorch.ops.pointwise import mul
from multitorch.ops.promote import (
    float_only,
    not_implemented,
    numeric,
    real_no_bool,
    real_to_float,
    to_float,
)

# --- exponentials and logarithms -----------------------------------------------------------------

_LN2, _LN10 = math.log(2), math.log(10)

exp = op("exp", "x", promote=to_float).vjp(x=lambda F, g, out: g * F.conj(out))
exp2 = op("exp2", "x", promote=to_float).vjp(
    x=lambda F, g, out: g * F.conj(out) * constant(F, g, _LN2)
)
expm1 = op("expm1", "x", promote=to_float).vjp(x=lambda F, g, out: g * (F.conj(out) + 1))
log = op("log", "x", promote=to_float).vjp(x=lambda F, g, x: g / F.conj(x))
log2 = op("log2", "x", promote=to_float).vjp(
    x=lambda F, g, x: g / (F.conj(x) * constant(F, g, _LN2))
)
log10 = op("log10", "x", promote=to_float).vjp(
    x=lambda F, g, x: g / (F.conj(x) * constant(F, g, _LN10))
)
log1p = op("log1p", "x", promote=to_float, node="Log1P").vjp(x=lambda F, g, x: g / (F.conj(x) + 1))
_logaddexp = op("logaddexp", "x y", promote=real_to_float, numbers="").vjp(
    x=lambda F, g, x, y: g / (F.exp(y - x) + 1), y=lambda F, g, x, y: g / (F.exp(x - y) + 1)
)
_logaddexp2 = op("logaddexp2", "x y", promote=real_to_float, numbers="").vjp(
    x=lambda F, g, x, y: g / (F.exp2(y - x) + 1), y=lambda F, g, x, y: g / (F.exp2(x - y) + 1)
)
xlogy = op("xlogy", "x y", promote=real_to_float).vjp(
    x=lambda F, g, x, y: F.where((x == 0) & (y <= 0), 0, g * F.log(_array(F, g, y))),
    y=lambda F, g, x, y: g * x / y,
)
xlog1py = op("xlog1py", "x y", promote=real_to_float, node="SpecialXlog1Py").vjp(
    x=lambda F, g, x, y: F.where((x == 0) & (y <= -1), 0, g * F.log1p(_array(F, g, y))),
    y=lambda F, g, x, y: g * x / (y + 1),
)
sigmoid = op("sigmoid", "x", promote=to_float).vjp(x=lambda F, g, out: g * F.conj((1 - out) * out))
_logit = op("logit", "x", promote=real_to_float).vjp(
    x=lambda F, g, x: F.where(
        F.logical_or(x < 0, x > 1), constant(F, g, math.nan), g / (x * (1 - x))
    )
)


def _array(F: Any, g: Any, y: Any) -> Any:
    """Return `y` as an array of the dtype of `g`, whether it is an array or a plain number."""
    return F.new_zeros(g, shape=()) + y


def logit(input: Any, eps: float | None = None, *, out: Any = None) -> Any:
    """Return `log(x / (1 - x))`, with x limited to [eps, 1 - eps] if `eps` is given."""
    return _logit(input if eps is None else clamp(input, eps, 1 - eps), out=out)


# --- trigonometry --------------------------------------------------------------------------------

sin = op("sin", "x", promote=to_float).vjp(x=lambda F, g, x: g * F.conj(F.cos(x)))
cos = op("cos", "x", promote=to_float).vjp(x=lambda F, g, x: -g * F.conj(F.sin(x)))
tan = op("tan", "x", promote=to_float).vjp(x=lambda F, g, out: g * F.conj(out * out + 1))
asin = op("asin", "x", promote=to_float).vjp(x=lambda F, g, x: g * F.conj(F.rsqrt(1 - x * x)))
acos = op("acos", "x", promote=to_float).vjp(x=lambda F, g, x: -g * F.conj(F.rsqrt(1 - x * x)))
atan = op("atan", "x", promote=to_float).vjp(x=lambda F, g, x: g / F.conj(x * x + 1))
sinh = op("sinh", "x", promote=to_float).vjp(x=lambda F, g, x: g * F.conj(F.cosh(x)))
cosh = op("cosh", "x", promote=to_float).vjp(x=lambda F, g, x: g * F.conj(F.sinh(x)))
tanh = op("tanh", "x", promote=to_float).vjp(x=lambda F, g, out: g * F.conj(1 - out * out))
asinh = op("asinh", "x", promote=to_float).vjp(x=lambda F, g, x: g * F.conj(F.rsqrt(x * x + 1)))
acosh = op("acosh", "x", promote=to_float).vjp(
    x=lambda F, g, x: g * F.conj(F.rsqrt(x - 1) * F.rsqrt(x + 1))
)
atanh = op("atanh", "x", promote=to_float).vjp(x=lambda F, g, x: g / F.conj(1 - x * x))
_atan2 = op("atan2", "x y", promote=real_to_float).vjp(
    x=lambda F, g, x, y: g * (y / norm2(F, x, y)), y=lambda F, g, x, y: -g * (x / norm2(F, x, y))
)
_hypot = op("hypot", "x y", promote=real_to_float).vjp(
    x=lambda F, g, x, out: g * (x / out), y=lambda F, g, y, out: g * (y / out)
)
sinc = op("sinc", "x", promote=to_float).vjp(x=lambda F, g, x: g * F.conj(_sinc_slope(F, x)))


def _sinc_slope(F: Any, x: Any) -> Any:
    """Return `(z cos z - sin z) / (π x²)` with z = πx, 0 at 0."""
    pi = constant(F, x, math.pi)
    safe = F.where(x == 0, 1, x)
    z = safe * pi
    return F.where(x == 0, 0, (z * F.cos(z) - F.sin(z)) / (z * safe))


# --- special functions ---------------------------------------------------------------------------

_2_ROOT_PI = 2 / math.sqrt(math.pi)

erf = op("erf", "x", promote=real_to_float).vjp(
    x=lambda F, g, x: g * F.exp(-x * x) * constant(F, g, _2_ROOT_PI)
)
erfc = op("erfc", "x", promote=real_to_float).vjp(
    x=lambda F, g, x: -g * F.exp(-x * x) * constant(F, g, _2_ROOT_PI)
)
erfcx = op("erfcx", "x", promote=real_to_float, node="SpecialErfcx").vjp(
    x=lambda F, g, x, out: g * (2 * x * out - constant(F, g, _2_ROOT_PI))
)
erfinv = op("erfinv", "x", promote=real_to_float).vjp(
    x=lambda F, g, out: g * F.exp(out * out) / constant(F, g, _2_ROOT_PI)
)
ndtri = op("ndtri", "x", promote=real_to_float, node="SpecialNdtri").vjp(
    x=lambda F, g, out: g * F.exp(out * out / 2) * constant(F, g, math.sqrt(2 * math.pi))
)
log_ndtr = op("log_ndtr", "x", promote=real_to_float, node="SpecialLogNdtr").vjp(
    x=lambda F, g, x, out: g * F.exp(-x * x / 2 - out) * constant(F, g, 1 / math.sqrt(2 * math.pi))
)
lgamma = op("lgamma", "x", promote=real_to_float).vjp(x=lambda F, g, x: g * F.digamma(x))
digamma = op("digamma", "x", promote=real_to_float).vjp(x=lambda F, g, x: g * F.polygamma(x, n=1))
_polygamma = op("polygamma", "x", promote=real_to_float).vjp(
    x=lambda F, g, x, n: g * F.polygamma(x, n=n + 1)
)
zeta = op("zeta", "x y", promote=real_to_float, node="SpecialZeta").vjp(
    y=lambda F, g, x, y: -g * x * F.zeta(x + 1, y)
)
i0 = op("i0", "x", promote=real_to_float).vjp(x=lambda F, g, x: g * F.i1(x))
i0e = op("i0e", "x", promote=real_to_float, node="SpecialI0E").vjp(
    x=lambda F, g, x, out: g * (F.i1e(x) - F.sign(x) * out)
)
i1 = op("i1", "x", promote=real_to_float, node="SpecialI1").vjp(
    x=lambda F, g, x, out: g * F.where(x == 0, _half(F, g), F.i0(x) - out / _nonzero(F, x))
)
i1e = op("i1e", "x", promote=real_to_float, node="SpecialI1E").vjp(
    x=lambda F, g, x, out: (
        g * F.where(x == 0, _half(F, g), F.i0e(x) - out * (F.sign(x) + 1 / _nonzero(F, x)))
    )
)
entr = op("entr", "x", promote=real_to_float, node="SpecialEntr").vjp(
    x=lambda F, g, x: g * (-F.log(x) - 1)
)
_gammainc = op("gammainc", "x y", promote=real_to_float, node="IgammaBackward0").vjp(
    y=lambda F, g, x, y: g * F.exp((x - 1) * F.log(y) - y - F.lgamma(x))
)
_gammaincc = op("gammaincc", "x y", promote=real_to_float, node="IgammacBackward0").vjp(
    y=lambda F, g, x, y: -g * F.exp((x - 1) * F.log(y) - y - F.lgamma(x))
)


def _half(F: Any, g: Any) -> Any:
    return constant(F, g, 0.5)


def _nonzero(F: Any, x: Any) -> Any:
    return F.where(x == 0, 1, x)


def logaddexp(input: Any, other: Any, *, out: Any = None) -> Any:
    """Return `log(exp(input) + exp(other))`, without overflow."""
    if _is_complex(input) or _is_complex(other):
        t = _logaddexp_complex(input, other)
        return t if out is None else write_out(out, t)
    return _logaddexp(input, other, out=out)


def _is_complex(x: Any) -> bool:
    return isinstance(x, dispatch.Tensor) and x._dtype.is_complex


def _logaddexp_complex(x: Any, y: Any) -> Any:
    """Return the logarithm around the operand with the larger real part."""
    first = x.real >= y.real
    high, low = where(first, x, y), where(first, y, x)
    # two infinite real parts that are equal: their difference would be NaN
    alike = (x.real == y.real) & x.real.isinf()
    return high + log1p(exp(where(alike, 0, low - high)))


logaddexp2 = _logaddexp2
atan2, hypot = tensors_only("atan2", _atan2), tensors_only("hypot", _hypot)
gammainc, gammaincc = tensors_only("igamma", _gammainc), tensors_only("igammac", _gammaincc)


def polygamma(n: int, input: Any, *, out: Any = None) -> Any:
    """Return the n-th derivative of `digamma`."""
    if n < 0:
        raise RuntimeError(f"polygamma(n, x) does not support negative n, but got {n}")
    return digamma(input, out=out) if n == 0 else _polygamma(input, n=n, out=out)


def mvlgamma(input: Any, p: int, *, out: Any = None) -> Any:
    """Return the logarithm of the gamma function of dimension `p`."""
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    if not input._dtype.inexact:
        input = input.to(dtypes.get_default_dtype())
    total = lgamma(input)
    for i in range(1, p):
        total = total + lgamma(input - i / 2)
    total = total + p * (p - 1) / 4 * math.log(math.pi)
    return total if out is None else write_out(out, total)


def ndtr(input: Any, *, out: Any = None) -> Any:
    """Return the standard normal distribution function."""
    if not input._dtype.inexact:
        input = input.to(dtypes.get_default_dtype())
    return mul(erfc(input * -math.sqrt(0.5)), 0.5, out=out)


# --- rounding ------------------------------------------------------------------------------------

floor = op("floor", "x", promote=real_no_bool).vjp(x=zeros_like)
ceil = op("ceil", "x", promote=real_no_bool).vjp(x=zeros_like)
trunc = op("trunc", "x", promote=real_no_bool).vjp(x=zeros_like)
frac = op("frac", "x", promote=float_only).vjp(x=lambda F, g: g)
_round = op("round", "x", promote=real_no_bool).vjp(x=zeros_like)
_round_decimals = op("round_decimals", "x", promote=real_no_bool, node="RoundBackward1").vjp(
    x=lambda F, g, decimals: zeros_like(F, g)
)


def round(input: Any, *, decimals: int = 0, out: Any = None) -> Any:
    """Return the nearest integer, or multiple of `10**-decimals`; halves go to the even one.

    >>> multitorch.round(multitorch.tensor([0.5, 1.5, 2.7]))
    tensor([0., 2., 3.])
    """
    if decimals == 0 or not input._dtype.inexact:
        return _round(input) if out is None else _round(input, out=out)
    return _round_decimals(input, decimals=decimals, out=out)


# --- bits of floating-point numbers --------------------------------------------------------------

_copysign = op("copysign", "x y", promote=to_float, numbers="y").vjp(
    x=lambda F, g, x, out: F.where(x == 0, 0, g * F.sign(x) * F.sign(out)), y=zeros_like
)
_nextafter = op("nextafter", "x y", promote=float_only).vjp(
    x=lambda F, g, x, y: F.where(x == y, 0, g), y=zeros_like
)
nextafter = tensors_only("nextafter", _nextafter)
heaviside_ = op("heaviside", "x y", promote=numeric).nondiff()
copysign = _copysign


def _frexp_shape(x: Any) -> tuple[Any, Any]:
    return (x.shape, x.dtype), (x.shape, dtypes.int32.numpy())


_frexp = op("frexp", "x", outs="mantissa exponent", diff_outs=(0,), shape=_frexp_shape).vjp(
    x=lambda F, g, exponent, x_dtype: g / F.exp2(F.cast(exponent, dtype=x_dtype))
)
_nan_to_num = op("nan_to_num", "x nan posinf neginf", promote=numeric).vjp(
    x=lambda F, g, x: F.where(F.isfinite(x), g, 0)
)


def frexp(input: Any, *, out: Any = None) -> Any:
    """Return (mantissa, exponent) with `input == mantissa * 2**exponent`."""
    if not input._dtype.is_floating_point:
        raise RuntimeError("torch.frexp() only supports floating-point dtypes")
    pair = return_types.frexp(*_frexp(input))
    return pair if out is None else write_out(out, pair)


def ldexp(input: Any, other: Any, *, out: Any = None) -> Any:
    """Return `input * 2**other`."""
    if not isinstance(input, dispatch.Tensor):
        raise TypeError(
            f"ldexp(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}"
        )
    return mul(input, exp2(other), out=out)


def heaviside(input: Any, values: Any, *, out: Any = None) -> Any:
    """Return 0 below zero, 1 above, `values` at zero."""
    if input._dtype is not values._dtype:
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")
    if input._dtype.is_complex:
        raise RuntimeError("heaviside is not yet implemented for complex tensors.")
    return heaviside_(input, values, out=out)


def nan_to_num(
    input: Any,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
    *,
    out: Any = None,
) -> Any:
    """Replace NaN by `nan` (0), infinities by the given numbers (the dtype's largest, smallest)."""
    d = input._dtype
    if d.is_complex:
        parts = [nan_to_num(p, nan, posinf, neginf) for p in (input.real, input.imag)]
        t = complex_numbers.complex(*parts)
        return t if out is None else write_out(out, t)
    if not d.inexact:
        return mul(input, 1, out=out) if d is not dtypes.bool_ else input.clone()
    limits = dtypes.finfo(d)
    top, bottom = limits.max if posinf is None else posinf, limits.min if neginf is None else neginf
    return _nan_to_num(input, 0.0 if nan is None else nan, top, bottom, out=out)


# --- combinations --------------------------------------------------------------------------------

_lerp = op("lerp", "x y weight", promote=numeric, node="LerpBackward1").vjp(
    x=lambda F, g, weight: g * (1 - F.conj(weight)),
    y=lambda F, g, weight: g * F.conj(weight),
    weight=lambda F, g, x, y: g * F.conj(y - x),
)
_lerp_scalar = with_numbers(
    op("lerp_scalar", "x y weight", promote=numeric, kernel="lerp", node="LerpBackward0").vjp(
        x=lambda F, g, weight: g * (1 - F.conj(weight)), y=lambda F, g, weight: g * F.conj(weight)
    ),
    2,
)
_addcmul = with_numbers(
    op("addcmul", "x y z value", promote=numeric).vjp(
        x=lambda F, g: g,
        y=lambda F, g, z, value: g * F.conj(z * value),
        z=lambda F, g, y, value: g * F.conj(y * value),
    ),
    3,
)
_addcdiv = with_numbers(
    op("addcdiv", "x y z value", promote=numeric).vjp(
        x=lambda F, g: g,
        y=lambda F, g, z, value: g * F.conj(value / z),
        z=lambda F, g, y, z, value: -g * F.conj(y / z * (value / z)),
    ),
    3,
)


def lerp(input: Any, end: Any, weight: Any, *, out: Any = None) -> Any:
    """Return `input + weight * (end - input)`.

    >>> multitorch.lerp(multitorch.tensor([0.0]), multitorch.tensor([10.0]), 0.3)
    tensor([3.])
    """
    of_tensor = isinstance(weight, dispatch.Tensor)
    for name, t in (("end", end), ("weight", weight)) if of_tensor else (("end", end),):
        if t._dtype is not input._dtype:
            raise RuntimeError(
                f"expected dtype {_cname(input._dtype)} for `{name}` but got dtype "
                f"{_cname(t._dtype)}"
            )
    if not input._dtype.inexact:
        raise not_implemented("lerp_kernel", input._dtype)
    return (_lerp if of_tensor else _lerp_scalar)(input, end, weight, out=out)


def _cname(d: Any) -> str:
    return d.scalar_name.lower()


def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1, out: Any = None) -> Any:
    """Return `input + value * tensor1 * tensor2`."""
    return _addcmul(input, tensor1, tensor2, value, out=out)


def addcdiv(input: Any, tensor1: Any, tensor2: Any, *, value: Any = 1, out: Any = None) -> Any:
    """Return `input + value * tensor1 / tensor2`."""
    if builtins.all(t._dtype.category < FLOAT for t in (input, tensor1, tensor2)):
        raise RuntimeError(
            "Integer division with addcdiv is no longer supported, and in a future release addcdiv "
            "will perform a true division of tensor1 and tensor2. The historic addcdiv behavior "
            "can be implemented as (input + value * torch.trunc(tensor1 / tensor2)).to("
            "input.dtype) for integer inputs and as (input + value * tensor1 / tensor2) for float "
            "inputs."
        )
    return _addcdiv(input, tensor1, tensor2, value, out=out)


# --- angles --------------------------------------------------------------------------------------

deg2rad = op("deg2rad", "x", promote=real_to_float, node="Deg2Rad").vjp(x=lambda F, g: F.deg2rad(g))
rad2deg = op("rad2deg", "x", promote=real_to_float, node="Rad2Deg").vjp(x=lambda F, g: F.rad2deg(g))

# --- the tables ----------------------------------------------------------------------------------

_UNARY = (
    exp, exp2, expm1, log, log2, log10, log1p, sigmoid, logit, sin, cos, tan, asin, acos, atan,
    sinh, cosh, tanh, asinh, acosh, atanh, sinc, erf, erfc, erfinv, lgamma, digamma, i0, floor,
    ceil, trunc, frac, round, nan_to_num, deg2rad, rad2deg,
)  # fmt: skip
_OTHERS = (
    logaddexp, logaddexp2, xlogy, atan2, hypot, mvlgamma, copysign, nextafter, heaviside, ldexp,
    lerp, addcmul, addcdiv, frexp,
)  # fmt: skip
_ALIASES: dict[str, Callable] = {
    "arcsin": asin, "arccos": acos, "arctan": atan, "arcsinh": asinh, "arccosh": acosh,
    "arctanh": atanh, "arctan2": atan2, "fix": trunc,
}  # fmt: skip
_TABLE = {f.__name__: f for f in _UNARY + _OTHERS} | _ALIASES
_INPLACE_FUNCTIONS = [
    f.__name__ + "_" for f in _UNARY if f.__name__ not in ("lgamma", "digamma", "erfinv")
]
FUNCTIONS: dict[str, Callable] = {
    **_TABLE,
    **inplace_functions(_INPLACE_FUNCTIONS),
    **inplace_functions([f"arc{n}_" for n in ("cos", "cosh", "sin", "sinh", "tan", "tanh")]),
    **inplace_functions(["fix_", "ldexp_", "xlogy_"]),
    "polygamma": polygamma,
    "igamma": gammainc,
    "igammac": gammaincc,
}


def _polygamma_method(self: Any, n: int) -> Any:
    """Return the n-th derivative of `digamma`."""
    return polygamma(n, self)


METHODS: dict[str, Callable] = {
    **_TABLE,
    "polygamma": _polygamma_method,
    "igamma": gammainc,
    "igammac": gammaincc,
}
_NO_INPLACE = ("frexp", "logaddexp", "logaddexp2")
INPLACE: dict[str, Callable] = {
    name + "_": f for name, f in METHODS.items() if name not in _NO_INPLACE
}
