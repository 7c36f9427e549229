"""Arithmetic, comparison, logic, selection, and the parts of complex numbers."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

from multitorch import dtypes
from multitorch.dtypes import BOOL, FLOAT
from multitorch.ops import apply as dispatch
from multitorch.ops.common import zeros_like
from multitorch.ops.op import op
from multitorch.ops.promote import (
    compare,
    integral,
    no_bool,
    numeric,
    order,
    real,
    real_no_bool,
    real_to_real,
    to_float,
)
from multitorch.ops.view import apply_view, view_op

# --- casts ---------------------------------------------------------------------------------------


def _cast_shape(x: Any, *, dtype: Any) -> tuple[Any, Any]:
    return x.shape, dtype


cast = op("cast", "x", node="ToCopy", shape=_cast_shape).vjp(
    x=lambda F, g, x_dtype: F.cast_grad(g, dtype=x_dtype)
)
_cast_grad = op("cast_grad", "x", node="ToCopy", shape=_cast_shape).vjp(
    x=lambda F, g, x_dtype: F.cast_grad(g, dtype=x_dtype)
)


def _cast_grad_unless_same(x: Any, *, dtype: Any) -> Any:
    return x if x._dtype.np == dtype else _cast_grad(x, dtype=dtype)


_cast_grad.op.apply = _cast_grad_unless_same  # type: ignore[attr-defined]

# --- arithmetic ----------------------------------------------------------------------------------

_add = op("add", "x y", promote=numeric).vjp(x=lambda F, g: g, y=lambda F, g: g)
_sub = op("sub", "x y", promote=no_bool).vjp(x=lambda F, g: g, y=lambda F, g: -g)
_rsub = op("rsub", "x y", promote=no_bool, node="RsubBackward1").vjp(
    x=lambda F, g: -g, y=lambda F, g: g
)
_mul = op("mul", "x y", promote=numeric).vjp(
    x=lambda F, g, y: g * F.conj(y), y=lambda F, g, x: g * F.conj(x)
)
_div = op("div", "x y", promote=to_float).vjp(
    x=lambda F, g, y: g / F.conj(y), y=lambda F, g, x, y: -g * F.conj(x / y / y)
)
_floor_divide = op("floor_divide", "x y", promote=real_no_bool).nondiff()
_trunc_divide = op("trunc_divide", "x y", promote=real_no_bool, node="DivBackward2").vjp(
    x=zeros_like, y=zeros_like
)
_floor_div_zero = op(
    "floor_div_zero", "x y", promote=real_no_bool, kernel="floor_divide", node="DivBackward2"
).vjp(x=zeros_like, y=zeros_like)
_remainder = op("remainder", "x y", promote=real_no_bool, node="RemainderBackward1").vjp(
    x=lambda F, g: g, y=lambda F, g, x, y: -g * F.floor_divide(x, y)
)
_fmod = op("fmod", "x y", promote=real_no_bool, node="FmodBackward1").vjp(
    x=lambda F, g: g, y=lambda F, g, x, y: -g * F.trunc_divide(x, y)
)
neg = op("neg", "x", promote=no_bool).vjp(x=lambda F, g: -g)


def _alpha(input: Any, other: Any, alpha: Any, name: str) -> Any:
    """Return `alpha * other`, or raise PyTorch's errors for the kinds of numbers."""
    kinds = [_dtype_of(t) for t in (input, other)]
    if isinstance(alpha, bool) and builtins.any(d.category != BOOL for d in kinds):
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if isinstance(alpha, float) and all_below(kinds, FLOAT):
        raise RuntimeError(
            "For integral input tensors, argument alpha must not be a floating point number."
        )
    return other * alpha


def _dtype_of(x: Any) -> Any:
    return x._dtype if isinstance(x, dispatch.Tensor) else dtypes.to_dtype(type(x))


def all_below(kinds: list[Any], category: int) -> bool:
    """Whether every dtype is of a lower category."""
    return builtins.all(d.category < category for d in kinds)


def add(input: Any, other: Any, *, alpha: Any = 1, out: Any = None) -> Any:
    """Return `input + alpha * other`.

    >>> multitorch.add(multitorch.tensor([1, 2]), 10)
    tensor([11, 12])
    """
    if alpha != 1:
        other = _alpha(input, other, alpha, "add")
    return _add(input, other) if out is None else _add(input, other, out=out)


def sub(input: Any, other: Any, *, alpha: Any = 1, out: Any = None) -> Any:
    """Return `input - alpha * other`."""
    if alpha != 1:
        other = _alpha(input, other, alpha, "sub")
    return _sub(input, other) if out is None else _sub(input, other, out=out)


def rsub(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """Return `other - alpha * input`."""
    if alpha != 1:
        input = _alpha(input, input, alpha, "rsub")
    return _rsub(input, other)


def mul(input: Any, other: Any, *, out: Any = None) -> Any:
    """Return `input * other`."""
    return _mul(input, other) if out is None else _mul(input, other, out=out)


def div(input: Any, other: Any, *, rounding_mode: str | None = None, out: Any = None) -> Any:
    """Return `input / other`, rounded towards zero ("trunc") or down ("floor") if asked.

    >>> multitorch.div(multitorch.tensor([-7, 7]), 2, rounding_mode="trunc")
    tensor([-3,  3])
    """
    if rounding_mode is None:
        return _div(input, other) if out is None else _div(input, other, out=out)
    if rounding_mode == "trunc":
        return _trunc_divide(input, other, out=out)
    if rounding_mode == "floor":
        return _floor_div_zero(input, other, out=out)
    raise RuntimeError(
        "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
        f"'{rounding_mode}'"
    )


def true_divide(input: Any, other: Any, *, out: Any = None) -> Any:
    """Return `input / other`."""
    return _div(input, other, out=out)


def rdiv(input: Any, other: Any) -> Any:
    """Return `other / input`, computed as PyTorch does: `input.reciprocal() * other`."""
    return _mul(reciprocal(input), other)


def floor_divide(input: Any, other: Any, *, out: Any = None) -> Any:
    """Return the quotient rounded down."""
    return _floor_divide(input, other, out=out)


def remainder(input: Any, other: Any, *, out: Any = None) -> Any:
    """Return the remainder with the sign of `other`, as Python's `%`."""
    return _remainder(input, other, out=out)


def fmod(input: Any, other: Any, *, out: Any = None) -> Any:
    """Return the remainder with the sign of `input`, as C's `fmod`."""
    return _fmod(input, other, out=out)


# --- powers and roots ----------------------------------------------------------------------------

square = op("square", "x", promote=numeric, node="PowBackward0").vjp(
    x=lambda F, g, x: g * F.conj(2 * x)
)
_cube = op("cube", "x", promote=numeric, node="PowBackward0").vjp(
    x=lambda F, g, x: g * F.conj(3 * (x * x))
)
sqrt = op("sqrt", "x", promote=to_float).vjp(x=lambda F, g, out: g / F.conj(2 * out))
_pow_half = op("pow_half", "x", promote=to_float, kernel="sqrt", node="PowBackward0").vjp(
    x=lambda F, g, out: g / F.conj(2 * out)
)
rsqrt = op("rsqrt", "x", promote=to_float).vjp(x=lambda F, g, out: g * F.conj(out * out * out) / -2)
reciprocal = op("reciprocal", "x", promote=to_float).vjp(
    x=lambda F, g, out: -g * F.conj(out * out)
)
_pow = op("pow", "x y", promote=numeric, node="PowBackward1").vjp(
    x=lambda F, g, x, y: g * F.conj(F.where(y == 0, 0, y * F.pow(x, y - 1))),
    y=lambda F, g, x, y, out: g * F.conj(_times_log(F, out, x, y)),
)
_pow_scalar = op("pow_scalar", "x y", promote=numeric, kernel="pow", node="PowBackward0").vjp(
    x=lambda F, g, x, y: g * F.conj(F.where(y == 0, 0, y * F.pow_scalar(x, y - 1)))
)
_rpow = op("rpow", "x y", promote=numeric, node="PowBackward2").vjp(
    x=lambda F, g, x, y, out: g * F.conj(_times_log(F, out, y, x))
)


def _times_log(F: Any, out: Any, base: Any, exponent: Any) -> Any:
    """Return `out * log(base)`, which is 0 at base 0 with an exponent that is not negative."""
    base = F.new_zeros(out, shape=()) + base  # a plain number becomes an array of the dtype of out
    zero = F.logical_and(base == 0, F.real(exponent) >= 0)
    return F.where(zero, 0, out * F.log(F.where(zero, 1, base)))


def pow(input: Any, exponent: Any, *, out: Any = None) -> Any:
    """Return `input ** exponent`; either may be a number.

    >>> multitorch.pow(multitorch.tensor([1.0, 2.0, 3.0]), 2)
    tensor([1., 4., 9.])
    """
    kind = exponent.__class__
    if kind is int or kind is float:
        special = _POWERS.get(exponent)
        if special is not None and out is None and (kind is int or input._dtype.inexact):
            return special(input)
        if kind is int and exponent < 0 and not input._dtype.inexact:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
        return _pow_scalar(input, exponent, out=out)
    if not isinstance(input, dispatch.Tensor):
        return _rpow(exponent, input, out=out)
    if not isinstance(exponent, dispatch.Tensor):
        return _pow_scalar(input, exponent, out=out)
    return _pow(input, exponent, out=out)


_POWERS: dict[float, Callable] = {2: square, 3: _cube, 0.5: _pow_half}


def rpow(input: Any, other: Any) -> Any:
    """Return `other ** input`."""
    return _rpow(input, other)


def float_power(input: Any, exponent: Any, *, out: Any = None) -> Any:
    """Return `input ** exponent` in float64 or complex128."""
    operands = [_dtype_of(t) for t in (input, exponent)]
    wide = dtypes.complex128 if builtins.any(d.is_complex for d in operands) else dtypes.float64
    args = [t.to(wide) if isinstance(t, dispatch.Tensor) else t for t in (input, exponent)]
    return pow(*args, out=out)


# --- comparison ----------------------------------------------------------------------------------

_eq = op("eq", "x y", promote=compare).nondiff()
_ne = op("ne", "x y", promote=compare).nondiff()
lt = op("lt", "x y", promote=order).nondiff()
le = op("le", "x y", promote=order).nondiff()
gt = op("gt", "x y", promote=order).nondiff()
ge = op("ge", "x y", promote=order).nondiff()
eq, ne = _eq, _ne


def _equality(function: Callable, name: str) -> Callable:
    def method(self: Any, other: Any) -> Any:
        try:
            return function(self, other)
        except TypeError:
            return NotImplemented

    method.__name__ = method.__qualname__ = name
    return method


isnan = op("isnan", "x", promote=compare).nondiff()
isinf = op("isinf", "x", promote=compare).nondiff()
isfinite = op("isfinite", "x", promote=compare).nondiff()
isposinf = op("isposinf", "x", promote=order).nondiff()
isneginf = op("isneginf", "x", promote=order).nondiff()
signbit = op("signbit", "x", promote=order).nondiff()


def isreal(input: Any) -> Any:
    """Return whether each element's imaginary part is 0."""
    return (imag(input) == 0) if input._dtype.is_complex else (input == input).logical_or(True)


def isclose(
    input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Any:
    """Return where `|input - other| <= atol + rtol * |other|`."""
    if input._dtype is not other._dtype:
        raise RuntimeError(
            f"{input._dtype.scalar_name} did not match {other._dtype.scalar_name}"
        )
    if rtol < 0 or atol < 0:
        name, value = ("rtol", rtol) if rtol < 0 else ("atol", atol)
        raise RuntimeError(f"{name} must be greater than or equal to zero, but got {value}")
    close = input == other
    if equal_nan and input._dtype.inexact:
        close = close | ((input != input) & (other != other))
    if rtol == 0 and atol == 0:
        return close
    x, y = input, other
    if not input._dtype.inexact:
        x, y = x.to(dtypes.float64), y.to(dtypes.float64)
    distance = abs(x - y)
    return close | (isfinite(distance) & (distance <= atol + abs(rtol * y)))


# --- logic ---------------------------------------------------------------------------------------

logical_and = op("logical_and", "x y", promote=compare).nondiff()
logical_or = op("logical_or", "x y", promote=compare).nondiff()
logical_xor = op("logical_xor", "x y", promote=compare).nondiff()
logical_not = op("logical_not", "x", promote=compare).nondiff()
bitwise_and = op("bitwise_and", "x y", promote=integral).nondiff()
bitwise_or = op("bitwise_or", "x y", promote=integral).nondiff()
bitwise_xor = op("bitwise_xor", "x y", promote=integral).nondiff()
bitwise_not = op("bitwise_not", "x", promote=integral).nondiff()
bitwise_left_shift = op("bitwise_left_shift", "x y", promote=integral).nondiff()
bitwise_right_shift = op("bitwise_right_shift", "x y", promote=integral).nondiff()
gcd = op("gcd", "x y", promote=integral).nondiff()
lcm = op("lcm", "x y", promote=integral).nondiff()


def _swapped(function: Callable) -> Callable:
    return lambda self, other: function(other, self)


# --- selection and extremes ----------------------------------------------------------------------

where_op = op("where", "cond x y", promote=numeric, keep="cond").vjp(
    x=lambda F, g, cond: F.where(cond, g, 0), y=lambda F, g, cond: F.where(cond, 0, g)
)
_maximum = op("maximum", "x y", promote=real).vjp(
    x=lambda F, g, x, y: F.where(x < y, 0, F.where(x == y, g / 2, g)),
    y=lambda F, g, x, y: F.where(y < x, 0, F.where(x == y, g / 2, g)),
)
_minimum = op("minimum", "x y", promote=real).vjp(
    x=lambda F, g, x, y: F.where(x > y, 0, F.where(x == y, g / 2, g)),
    y=lambda F, g, x, y: F.where(y > x, 0, F.where(x == y, g / 2, g)),
)
_fmax = op("fmax", "x y", promote=real).vjp(
    x=lambda F, g, x, y: F.where(F.logical_or(x >= y, y != y), g, 0),
    y=lambda F, g, x, y: F.where(F.logical_or(x >= y, y != y), 0, g),
)
_fmin = op("fmin", "x y", promote=real).vjp(
    x=lambda F, g, x, y: F.where(F.logical_or(x <= y, y != y), g, 0),
    y=lambda F, g, x, y: F.where(F.logical_or(x <= y, y != y), 0, g),
)


def where(condition: Any, input: Any = None, other: Any = None, *, out: Any = None) -> Any:
    """Return `input` where the condition holds, `other` elsewhere; alone, the indices of true.

    >>> multitorch.where(multitorch.tensor([True, False]), 1.0, 0.0)
    tensor([1., 0.])
    """
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    if condition._dtype is not dtypes.bool_:
        if condition._dtype is not dtypes.uint8:
            raise RuntimeError(
                "where expected condition to be a boolean tensor, but got a tensor with dtype "
                f"{condition._dtype.scalar_name}"
            )
        condition = condition != 0
    if not isinstance(input, dispatch.Tensor) and not isinstance(other, dispatch.Tensor):
        input = condition.new_full((), input, dtype=_result_of(input, other))
    return where_op(condition, input, other, out=out)


def _result_of(*numbers: Any) -> Any:
    from multitorch.promotion import result_type

    return result_type(*numbers)


def _tensors(name: str, function: Callable) -> Callable:
    """Return a binary function that refuses numbers, as PyTorch does."""

    def checked(input: Any, other: Any, *, out: Any = None) -> Any:
        if other.__class__ in (int, float, complex, bool):
            raise TypeError(
                f"{name}(): argument 'other' (position 2) must be Tensor, not "
                f"{type(other).__name__}"
            )
        return function(input, other) if out is None else function(input, other, out=out)

    checked.__name__ = checked.__qualname__ = name
    return checked


maximum, minimum = _tensors("maximum", _maximum), _tensors("minimum", _minimum)
fmax, fmin = _tensors("fmax", _fmax), _tensors("fmin", _fmin)


def _clamp_bound(F: Any, g: Any, x: Any, min: Any, max: Any, upper: bool) -> Any:
    if upper:
        over = x > max if min is None else F.logical_or(x > max, max < min)
        return F.where(over, g, 0)
    under = x < min if max is None else F.logical_and(x < min, min < max)
    return F.where(under, g, 0)


def _clamp_inside(F: Any, g: Any, x: Any, min: Any, max: Any) -> Any:
    if min is None or max is None:
        return F.where(x <= max if min is None else x >= min, g, 0)
    return F.where(F.logical_and(x >= min, x <= max), g, 0)


_clamp = op("clamp", "x min max", promote=real_no_bool, node="ClampBackward1").vjp(x=_clamp_inside)
_clamp_tensor = op(
    "clamp_tensor", "x min max", promote=real_no_bool, kernel="clamp", node="ClampBackward0"
).vjp(
    x=_clamp_inside,
    min=lambda F, g, x, min, max: _clamp_bound(F, g, x, min, max, False),
    max=lambda F, g, x, min, max: _clamp_bound(F, g, x, min, max, True),
)
_clamp_min = op("clamp_min", "x min", promote=real_no_bool).vjp(
    x=lambda F, g, x, min: F.where(x >= min, g, 0), min=lambda F, g, x, min: F.where(x < min, g, 0)
)
_clamp_max = op("clamp_max", "x max", promote=real_no_bool).vjp(
    x=lambda F, g, x, max: F.where(x <= max, g, 0), max=lambda F, g, x, max: F.where(x > max, g, 0)
)


def clamp(input: Any, min: Any = None, max: Any = None, *, out: Any = None) -> Any:
    """Return the input limited to [min, max]; the bounds are numbers or tensors.

    >>> multitorch.tensor([-2.0, 0.5, 3.0]).clamp(0, 1)
    tensor([0.0000, 0.5000, 1.0000])
    """
    if min is None and max is None:
        raise ValueError("At least one of 'min' or 'max' must not be None")
    bounds = [b for b in (min, max) if b is not None]
    of_tensors = [isinstance(b, dispatch.Tensor) for b in bounds]
    if len(set(of_tensors)) > 1:
        raise TypeError(
            "clamp() received an invalid combination of arguments: min and max must both be Tensors "
            "or both be numbers"
        )
    return dispatch.apply_general((_clamp_tensor if of_tensors[0] else _clamp).op, (input, min, max), {}, out)  # type: ignore[attr-defined]  # fmt: skip


def clamp_min(input: Any, min: Any, *, out: Any = None) -> Any:
    """Return the input, raised to `min` where it is lower."""
    return _clamp_min(input, min, out=out)


def clamp_max(input: Any, max: Any, *, out: Any = None) -> Any:
    """Return the input, lowered to `max` where it is higher."""
    return _clamp_max(input, max, out=out)


# --- sign and magnitude --------------------------------------------------------------------------


def real_shape(x: Any) -> tuple[Any, Any]:
    """Return what the real part of `x` looks like."""
    kind = x.dtype.kind
    return x.shape, x.dtype if kind != "c" else _real_dtype(x.dtype)


def _real_dtype(dtype: Any) -> Any:
    return dtypes.from_numpy_dtype[dtype].to_real().numpy()


abs = op("abs", "x", promote=real_to_real, shape=real_shape).vjp(
    x=lambda F, g, x: g * F.sgn(x)
)
sign = op("sign", "x", promote=real).vjp(x=zeros_like)
sgn = op("sgn", "x", promote=numeric).vjp(
    x=lambda F, g, x, out: F.where(
        x == 0, 0, (g - F.real(g * F.conj(out)) * out) / F.where(x == 0, 1, F.abs(x))
    )
)


def positive(input: Any) -> Any:
    """Return the input itself."""
    if input._dtype is dtypes.bool_:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


# --- complex numbers -----------------------------------------------------------------------------


def _complex_shape(re: Any, im: Any) -> tuple[Any, Any]:
    shape = dispatch.broadcast_shape(tuple(re.shape), tuple(im.shape))
    return shape, dtypes.from_numpy_dtype[re.dtype].to_complex().numpy()


_conj = op("conj", "x", promote=numeric).vjp(x=lambda F, g: F.conj(g))
_complex = op(
    "complex_", "re im", promote=real_to_real, node="Complex", shape=_complex_shape
).vjp(re=lambda F, g: F.real(g), im=lambda F, g: F.imag(g))
_real_view = view_op(
    "real", "x", undo=lambda F, base, new: F.complex_(new, F.imag(base)), shape=real_shape
)
_real_view.vjp(x=lambda F, g, x_dtype: F.cast(g, dtype=x_dtype))
_imag_view = view_op(
    "imag", "x", undo=lambda F, base, new: F.complex_(F.real(base), new), shape=real_shape
)
_imag_view.vjp(x=lambda F, g: F.complex_(zeros_like(F, g), g))


def conj(input: Any) -> Any:
    """Return the complex conjugate; a real tensor is its own."""
    return _conj(input) if input._dtype.is_complex else input


def conj_physical(input: Any, *, out: Any = None) -> Any:
    """Return the complex conjugate."""
    return _conj(input, out=out) if out is not None else conj(input)


def resolve_conj(input: Any) -> Any:
    """Return the tensor: conjugation is never lazy here."""
    return input


def real(input: Any) -> Any:
    """Return a view of the real parts; a real tensor is its own."""
    return apply_view(_real_view, input) if input._dtype.is_complex else input


def imag(input: Any) -> Any:
    """Return a view of the imaginary parts."""
    if not input._dtype.is_complex:
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return apply_view(_imag_view, input)


def complex(real: Any, imag: Any, *, out: Any = None) -> Any:
    """Return `real + 1j * imag`.

    >>> multitorch.complex(multitorch.tensor([1.0]), multitorch.tensor([2.0]))
    tensor([1.+2.j])
    """
    if not real._dtype.is_floating_point or not imag._dtype.is_floating_point:
        raise RuntimeError(
            "Expected both inputs to be Half, Float or Double tensors but got "
            f"{real._dtype.scalar_name} and {imag._dtype.scalar_name}"
        )
    if real._dtype is not imag._dtype:
        raise RuntimeError(
            f"Expected object of scalar type {real._dtype.scalar_name} but got scalar type "
            f"{imag._dtype.scalar_name} for second argument"
        )
    return _complex(real, imag, out=out)


# --- the tables ----------------------------------------------------------------------------------

_SAME_NAME: dict[str, Callable] = {
    f.__name__: f
    for f in (
        add, sub, rsub, mul, div, true_divide, floor_divide, remainder, fmod, neg, square, sqrt,
        rsqrt, reciprocal, pow, float_power, eq, ne, lt, le, gt, ge, isnan, isinf, isfinite,
        isposinf, isneginf, signbit, isreal, isclose, logical_and, logical_or, logical_xor,
        logical_not, bitwise_and, bitwise_or, bitwise_xor, bitwise_not, bitwise_left_shift,
        bitwise_right_shift, gcd, lcm, maximum, minimum, fmax, fmin, clamp, clamp_min, clamp_max,
        abs, sign, sgn, positive, conj, conj_physical, resolve_conj,
    )
}  # fmt: skip
_ALIASES: dict[str, Callable] = {
    "subtract": sub, "multiply": mul, "divide": div, "negative": neg, "absolute": abs, "clip": clamp,
    "not_equal": ne, "less": lt, "less_equal": le, "greater": gt, "greater_equal": ge,
    "resolve_neg": resolve_conj,
}  # fmt: skip
FUNCTIONS: dict[str, Callable] = {
    **_SAME_NAME,
    **_ALIASES,
    "where": where,
    "real": real,
    "imag": imag,
    "complex": complex,
}


def _where_method(self: Any, condition: Any, other: Any) -> Any:
    return where(condition, self, other)


_OPERATORS: dict[str, Callable] = {
    "__add__": _add, "__radd__": _add, "__sub__": _sub, "__rsub__": _rsub, "__mul__": _mul,
    "__rmul__": _mul, "__truediv__": _div, "__rtruediv__": rdiv, "__floordiv__": _floor_divide,
    "__rfloordiv__": _swapped(_floor_divide), "__mod__": _remainder,
    "__rmod__": _swapped(_remainder), "__pow__": pow, "__rpow__": rpow, "__neg__": neg,
    "__pos__": positive, "__abs__": abs, "__invert__": bitwise_not,
    "__eq__": _equality(eq, "__eq__"), "__ne__": _equality(ne, "__ne__"), "__lt__": lt,
    "__le__": le, "__gt__": gt, "__ge__": ge, "__and__": bitwise_and, "__rand__": bitwise_and,
    "__or__": bitwise_or, "__ror__": bitwise_or, "__xor__": bitwise_xor, "__rxor__": bitwise_xor,
    "__lshift__": bitwise_left_shift, "__rlshift__": _swapped(bitwise_left_shift),
    "__rshift__": bitwise_right_shift, "__rrshift__": _swapped(bitwise_right_shift),
}  # fmt: skip
METHODS: dict[str, Callable] = {
    **{name: f for name, f in FUNCTIONS.items() if name not in ("complex", "real", "imag", "rsub")},
    **_OPERATORS,
    "where": _where_method,
    "real": property(real),
    "imag": property(imag),
}  # type: ignore[dict-item]

for _public, _plain in ((add, _add), (sub, _sub), (mul, _mul), (div, _div)):
    _public.op = _plain.op  # type: ignore[attr-defined]  (what a call with positional operands is)
_NO_INPLACE = {
    "rsub", "isnan", "isinf", "isfinite", "isposinf", "isneginf", "signbit", "isreal", "isclose",
    "maximum", "minimum", "fmax", "fmin", "positive", "conj", "resolve_conj", "resolve_neg",
}  # fmt: skip
INPLACE: dict[str, Callable] = {
    **{name + "_": f for name, f in (_SAME_NAME | _ALIASES).items() if name not in _NO_INPLACE},
    "__iadd__": _add, "__isub__": _sub, "__imul__": _mul, "__itruediv__": _div,
    "__ifloordiv__": _floor_divide, "__imod__": _remainder, "__ipow__": pow,
    "__iand__": bitwise_and, "__ior__": bitwise_or, "__ixor__": bitwise_xor,
    "__ilshift__": bitwise_left_shift, "__irshift__": bitwise_right_shift,
}  # fmt: skip
