"""Casts, arithmetic, powers, sign and magnitude."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from copy import copy
from typing import Any

from multitorch import dtypes
from multitorch.dtypes import BOOL, FLOAT
from multitorch.ops import apply as dispatch
from multitorch.ops.common import inplace_functions, zeros_like
from multitorch.ops.op import op
from multitorch.ops.promote import (
    Promotion,
    no_bool,
    not_implemented,
    numeric,
    real,
    real_no_bool,
    to_float,
)
from multitorch.ops.specialized import make_apply

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
_rsub = op("rsub", "x y", promote=no_bool, numbers="y", node="RsubBackward1").vjp(
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
_fmod = op("fmod", "x y", promote=real_no_bool, numbers="y", node="FmodBackward1").vjp(
    x=lambda F, g: g, y=lambda F, g, x, y: -g * F.trunc_divide(x, y)
)
neg = op("neg", "x", promote=no_bool).vjp(x=lambda F, g: -g)


def _alpha(input: Any, other: Any, alpha: Any, name: str) -> Any:
    """Return `alpha * other`, or raise PyTorch's errors for the kinds of numbers."""
    kinds = [_dtype_of(t) for t in (input, other)]
    if isinstance(alpha, bool) and builtins.any(d.category != BOOL for d in kinds):
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if isinstance(alpha, float) and builtins.all(d.category < FLOAT for d in kinds):
        raise RuntimeError(
            "For integral input tensors, argument alpha must not be a floating point number."
        )
    return other * alpha


def _dtype_of(x: Any) -> Any:
    return x._dtype if isinstance(x, dispatch.Tensor) else dtypes.to_dtype(type(x))


def add(input: Any, other: Any, *, alpha: Any = 1, out: Any = None) -> Any:
    """Return `input + alpha * other`.

    >>> multitorch.add(multitorch.tensor([1, 2]), 10)
    tensor([11, 12])
    """
    if alpha != 1 or alpha is True:
        other = _alpha(input, other, alpha, "add")
    return _add(input, other) if out is None else _add(input, other, out=out)


def sub(input: Any, other: Any, *, alpha: Any = 1, out: Any = None) -> Any:
    """Return `input - alpha * other`."""
    if alpha != 1 or alpha is True:
        other = _alpha(input, other, alpha, "sub")
    return _sub(input, other) if out is None else _sub(input, other, out=out)


def rsub(input: Any, other: Any, *, alpha: Any = 1) -> Any:
    """Return `other - alpha * input`."""
    if alpha != 1 or alpha is True:
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


# what these do when they get two operands and nothing else
add.op, sub.op, mul.op, div.op = _add.op, _sub.op, _mul.op, _div.op  # type: ignore[attr-defined]


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


def _no_bool(name: str, d: Any) -> Any:
    if d is dtypes.bool_:
        raise not_implemented(name, d)
    return d


_not_bool = Promotion(
    "not_bool", _no_bool, fast=no_bool.fast, fast_float=no_bool.fast_float,
    fast_int=no_bool.fast_int,
)  # fmt: skip
_powers = Promotion(
    "powers", lambda op, d: dtypes.int64 if d is dtypes.bool_ else d, fast=no_bool.fast
)
"""For integer powers: bool beside a Python int is int64."""
square = op("square", "x", promote=_powers, node="PowBackward0").vjp(
    x=lambda F, g, x: g * F.conj(2 * x)
)
_cube = op("cube", "x", promote=_powers, node="PowBackward0").vjp(
    x=lambda F, g, x: g * F.conj(3 * (x * x))
)
sqrt = op("sqrt", "x", promote=to_float).vjp(x=lambda F, g, out: g / F.conj(2 * out))
_pow_half = op("pow_half", "x", promote=to_float, kernel="sqrt", node="PowBackward0").vjp(
    x=lambda F, g, out: g / F.conj(2 * out)
)
rsqrt = op("rsqrt", "x", promote=to_float).vjp(x=lambda F, g, out: g * F.conj(out * out * out) / -2)
reciprocal = op("reciprocal", "x", promote=to_float).vjp(x=lambda F, g, out: -g * F.conj(out * out))
_pow = op("pow", "x y", promote=_not_bool, node="PowBackward1").vjp(
    x=lambda F, g, x, y: g * F.conj(F.where(y == 0, 0, y * F.pow(x, y - 1))),
    y=lambda F, g, x, y, out: g * F.conj(_times_log(F, out, x, y)),
)
_pow_scalar = op("pow_scalar", "x y", promote=numeric, kernel="pow", node="PowBackward0").vjp(
    x=lambda F, g, x, y: g * F.conj(F.where(y == 0, 0, y * F.pow(x, y - 1)))
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
    return pow(other, input)


def float_power(input: Any, exponent: Any, *, out: Any = None) -> Any:
    """Return `input ** exponent` in float64 or complex128."""
    operands = [_dtype_of(t) for t in (input, exponent)]
    wide = dtypes.complex128 if builtins.any(d.is_complex for d in operands) else dtypes.float64
    args = [t.to(wide) if isinstance(t, dispatch.Tensor) else t for t in (input, exponent)]
    return pow(*args, out=out)


def _float_power_inplace(input: Any, exponent: Any) -> Any:
    t = float_power(input, exponent)
    if t._dtype is not input._dtype:
        raise RuntimeError(
            f"the base given to float_power_ has dtype {input._dtype.scalar_name} but the "
            f"operation's result requires dtype {t._dtype.scalar_name}"
        )
    return t


# --- sign and magnitude --------------------------------------------------------------------------


def real_shape(x: Any) -> tuple[Any, Any]:
    """Return what the real part of `x` looks like."""
    kind = x.dtype.kind
    return x.shape, x.dtype if kind != "c" else _real_dtype(x.dtype)


def _real_dtype(dtype: Any) -> Any:
    return dtypes.from_numpy_dtype[dtype].to_real().numpy()


_magnitude = Promotion("magnitude", _no_bool, fast=real_no_bool.fast)
abs = op("abs", "x", promote=_magnitude, shape=real_shape).vjp(x=lambda F, g, x: g * F.sgn(x))
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


# --- the tables ----------------------------------------------------------------------------------


def swapped(function: Callable) -> Callable:
    """Return the reflected form of a binary function, for `other - self` and the like."""
    return lambda self, other: function(other, self)


def reflected(function: Callable) -> Callable:
    """Return the reflected form of a commutative op: its first operand is a tensor."""
    op = copy(function.op)  # type: ignore[attr-defined]
    op.numbers = frozenset(op.args[1:])
    return make_apply(op)


_SAME_NAME: dict[str, Callable] = {
    f.__name__: f
    for f in (
        add, sub, mul, div, true_divide, floor_divide, remainder, fmod, neg, square, sqrt, rsqrt,
        reciprocal, pow, float_power, abs, sign, sgn,
    )
}  # fmt: skip
_ALIASES: dict[str, Callable] = {
    "subtract": sub, "multiply": mul, "divide": div, "negative": neg, "absolute": abs,
}  # fmt: skip
FUNCTIONS: dict[str, Callable] = {
    **_SAME_NAME,
    **_ALIASES,
    "rsub": rsub,
    "positive": positive,
    **inplace_functions(["abs_", "neg_", "negative_", "reciprocal_", "rsqrt_", "sqrt_", "square_"]),
}
METHODS: dict[str, Callable] = {
    **_SAME_NAME, **_ALIASES, "positive": positive,
    "__add__": _add, "__radd__": reflected(_add), "__sub__": _sub, "__rsub__": _rsub,
    "__mul__": _mul, "__rmul__": reflected(_mul), "__truediv__": _div, "__rtruediv__": rdiv,
    "__floordiv__": _floor_divide,
    "__rfloordiv__": swapped(_floor_divide), "__mod__": _remainder, "__rmod__": swapped(_remainder),
    "__pow__": pow, "__rpow__": rpow, "__neg__": neg, "__pos__": positive, "__abs__": abs,
}  # fmt: skip
INPLACE: dict[str, Callable] = {
    **{name + "_": f for name, f in (_SAME_NAME | _ALIASES).items()},
    "float_power_": _float_power_inplace,
    "__iadd__": _add, "__isub__": _sub, "__imul__": _mul, "__itruediv__": _div,
    "__ifloordiv__": _floor_divide, "__imod__": _remainder, "__ipow__": pow,
}  # fmt: skip
