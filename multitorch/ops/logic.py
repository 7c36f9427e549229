"""Comparison, logic, selection, extremes of two operands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from multitorch import dtypes
from multitorch.ops import apply as dispatch
from multitorch.ops.common import inplace_functions, methodcaller_of
from multitorch.ops.numbers import tensors_only, with_numbers
from multitorch.ops.op import op
from multitorch.ops.pointwise import reflected, swapped
from multitorch.ops.promote import (
    Promotion,
    compare,
    integral,
    not_implemented,
    numeric,
    order,
    real,
    real_no_bool,
)
from multitorch.promotion import result_type

# --- comparison ----------------------------------------------------------------------------------

eq = op("eq", "x y", promote=compare, numbers="y").nondiff()
ne = op("ne", "x y", promote=compare, numbers="y").nondiff()
lt = op("lt", "x y", promote=order, numbers="y").nondiff()
le = op("le", "x y", promote=order, numbers="y").nondiff()
gt = op("gt", "x y", promote=order, numbers="y").nondiff()
ge = op("ge", "x y", promote=order, numbers="y").nondiff()


def _equality(function: Callable, name: str) -> Callable:
    def method(self: Any, other: Any) -> Any:
        if other is None:
            return NotImplemented
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
    return input.imag == 0 if input._dtype.is_complex else isnan(input) | True


def isclose(
    input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Any:
    """Return where `|input - other| <= atol + rtol * |other|`."""
    if input._dtype is not other._dtype:
        raise RuntimeError(f"{input._dtype.scalar_name} did not match {other._dtype.scalar_name}")
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


def _only_integers(name: str, d: Any) -> Any:
    if d.category != dtypes.INTEGER:
        raise not_implemented(name, d)
    return d


integers = Promotion(
    "integers", _only_integers, fast=integral.fast - {dtypes.bool_}, fast_int=integral.fast_int
)
logical_and = op("logical_and", "x y", promote=compare, numbers="").nondiff()
logical_or = op("logical_or", "x y", promote=compare, numbers="").nondiff()
logical_xor = op("logical_xor", "x y", promote=compare, numbers="").nondiff()
logical_not = op("logical_not", "x", promote=compare).nondiff()
bitwise_and = op("bitwise_and", "x y", promote=integral).nondiff()
bitwise_or = op("bitwise_or", "x y", promote=integral).nondiff()
bitwise_xor = op("bitwise_xor", "x y", promote=integral).nondiff()
bitwise_not = op("bitwise_not", "x", promote=integral).nondiff()
bitwise_left_shift = op("bitwise_left_shift", "x y", promote=integers).nondiff()
bitwise_right_shift = op("bitwise_right_shift", "x y", promote=integers).nondiff()
gcd = op("gcd", "x y", promote=integers, numbers="").nondiff()
lcm = op("lcm", "x y", promote=integers, numbers="").nondiff()


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
        input = condition.new_full((), input, dtype=result_type(input, other))
    return where_op(condition, input, other, out=out)


maximum, minimum = tensors_only("maximum", _maximum), tensors_only("minimum", _minimum)
fmax, fmin = tensors_only("fmax", _fmax), tensors_only("fmin", _fmin)


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


_clamp = with_numbers(
    op("clamp", "x min max", promote=real_no_bool, node="ClampBackward1").vjp(x=_clamp_inside), 1
)
_clamp_tensor = op(
    "clamp_tensor", "x min max", promote=real, kernel="clamp", node="ClampBackward0"
).vjp(
    x=_clamp_inside,
    min=lambda F, g, x, min, max: _clamp_bound(F, g, x, min, max, False),
    max=lambda F, g, x, min, max: _clamp_bound(F, g, x, min, max, True),
)
_clamp_min = op("clamp_min", "x min", promote=real, numbers="min").vjp(
    x=lambda F, g, x, min: F.where(x >= min, g, 0), min=lambda F, g, x, min: F.where(x < min, g, 0)
)
_clamp_max = op("clamp_max", "x max", promote=real, numbers="max").vjp(
    x=lambda F, g, x, max: F.where(x <= max, g, 0), max=lambda F, g, x, max: F.where(x > max, g, 0)
)


def clamp(input: Any, min: Any = None, max: Any = None, *, out: Any = None) -> Any:
    """Return the input limited to [min, max]; the bounds are numbers or tensors.

    >>> multitorch.tensor([-2.0, 0.5, 3.0]).clamp(0, 1)
    tensor([0.0000, 0.5000, 1.0000])
    """
    if isinstance(min, dispatch.Tensor) or isinstance(max, dispatch.Tensor):
        if (
            min is None
            or max is None
            or isinstance(min, dispatch.Tensor) is isinstance(max, dispatch.Tensor)
        ):
            return _clamp_tensor(input, min, max, out=out)
        raise TypeError(
            "clamp() received an invalid combination of arguments: min and max must both be "
            "Tensors or both be numbers"
        )
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    return _clamp(input, min, max, out=out)


def clamp_min(input: Any, min: Any, *, out: Any = None) -> Any:
    """Return the input, raised to `min` where it is lower."""
    return _clamp_min(input, min, out=out)


def clamp_max(input: Any, max: Any, *, out: Any = None) -> Any:
    """Return the input, lowered to `max` where it is higher."""
    return _clamp_max(input, max, out=out)


# --- the tables ----------------------------------------------------------------------------------


def _is_nonzero(self: Any) -> bool:
    """Return whether the only element is not zero."""
    return bool(self)


def _is_same_size(self: Any, other: Any) -> bool:
    """Return whether two tensors have the same shape."""
    return self._a.shape == other._a.shape


def _invert(self: Any) -> Any:
    if self._dtype.inexact:
        raise TypeError(
            "~ (operator.invert) is only implemented on integer and Boolean-type tensors"
        )
    return bitwise_not(self)


def _where_method(self: Any, condition: Any, other: Any) -> Any:
    """Return the tensor where the condition holds, `other` elsewhere."""
    return where(condition, self, other)


_COMPARISONS = {"eq": eq, "ne": ne, "lt": lt, "le": le, "gt": gt, "ge": ge}
_COMPARISONS |= {
    "not_equal": ne, "less": lt, "less_equal": le, "greater": gt, "greater_equal": ge,
}  # fmt: skip
_CHANGES = {
    f.__name__: f
    for f in (
        logical_and, logical_or, logical_xor, logical_not, bitwise_and, bitwise_or, bitwise_xor,
        bitwise_not, bitwise_left_shift, bitwise_right_shift, gcd, lcm, clamp, clamp_min, clamp_max,
    )
} | _COMPARISONS | {"clip": clamp}  # fmt: skip
_OTHERS = {
    f.__name__: f
    for f in (
        isnan, isinf, isfinite, isposinf, isneginf, signbit, isreal, isclose, maximum, minimum,
        fmax, fmin,
    )
}  # fmt: skip
FUNCTIONS: dict[str, Callable] = {
    **_CHANGES, **_OTHERS, "where": where,
    **inplace_functions(["clamp_", "clamp_max_", "clamp_min_", "clip_", "gcd_", "lcm_"]),
    **{
        name: methodcaller_of(name)
        for name in ("is_complex", "is_conj", "is_floating_point", "is_inference", "is_neg",
                     "is_nonzero", "is_same_size", "is_signed")
    },
}  # fmt: skip
METHODS: dict[str, Callable] = {
    **_CHANGES, **_OTHERS, "where": _where_method, "is_nonzero": _is_nonzero,
    "is_same_size": _is_same_size,
    "__eq__": _equality(eq, "__eq__"), "__ne__": _equality(ne, "__ne__"), "__lt__": lt,
    "__le__": le, "__gt__": gt, "__ge__": ge, "__invert__": _invert, "__and__": bitwise_and,
    "__rand__": reflected(bitwise_and), "__or__": bitwise_or, "__ror__": reflected(bitwise_or),
    "__xor__": bitwise_xor, "__rxor__": reflected(bitwise_xor),
    "__lshift__": bitwise_left_shift,
    "__rlshift__": swapped(bitwise_left_shift), "__rshift__": bitwise_right_shift,
    "__rrshift__": swapped(bitwise_right_shift),
}  # fmt: skip
INPLACE: dict[str, Callable] = {
    **{name + "_": f for name, f in _CHANGES.items()},
    "__iand__": bitwise_and, "__ior__": bitwise_or, "__ixor__": bitwise_xor,
    "__ilshift__": bitwise_left_shift, "__irshift__": bitwise_right_shift,
}  # fmt: skip
