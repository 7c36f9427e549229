"""Running sums, products and extremes along a dimension."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from multitorch import dtypes
from multitorch.ops import return_types
from multitorch.ops.apply import write_out
from multitorch.ops.common import wrap_dim
from multitorch.ops.op import op


def _shape(x: Any, *, dim: int) -> tuple[Any, Any]:
    return x.shape, dtypes.int64.numpy() if x.dtype.kind in "biu" else x.dtype


def _shape_pair(x: Any, *, dim: int) -> tuple[Any, Any]:
    return (x.shape, x.dtype), (x.shape, dtypes.int64.numpy())


def _backwards(F: Any, function: Callable, x: Any, dim: int) -> Any:
    """Run a scan from the end to the beginning."""
    if not x.ndim:
        return function(x, dim=dim)
    return F.flip(function(F.flip(x, dims=(dim,)), dim=dim), dims=(dim,))


def _cumprod_rule(F: Any, g: Any, x: Any, out: Any, x_dtype: Any, dim: int) -> Any:
    """Before the first zero divide by x; at it, leave it out; behind it nothing depends on x."""
    zeros = F.cumsum(F.cast(x == 0, dtype=x_dtype), dim=dim)
    first = F.logical_and(x == 0, zeros == 1)
    without = F.cumprod(F.where(first, 1, x), dim=dim)
    behind = _backwards(F, F.cumsum, g * F.conj(without), dim)
    plain = _backwards(F, F.cumsum, g * F.conj(out), dim) / F.conj(F.where(x == 0, 1, x))
    return F.where(zeros == 0, plain, F.where(first, behind, 0))


def _log_rule(F: Any, g: Any, x: Any, out: Any, dim: int) -> Any:
    """Sum `g exp(x - out)` from behind, the positive and the negative part in logarithms."""

    def part(h: Any) -> Any:
        logs = F.where(h > 0, F.log(F.where(h > 0, h, 1)), -math.inf)
        return F.exp(_backwards(F, F.logcumsumexp, logs - out, dim) + x)

    return part(g) - part(-g)


_cumsum = op("cumsum", "x", shape=_shape).vjp(
    x=lambda F, g, dim: _backwards(F, F.cumsum, g, dim)
)
_cumprod = op("cumprod", "x", shape=_shape).vjp(x=_cumprod_rule)
_logcumsumexp = op("logcumsumexp", "x", shape=lambda x, *, dim: (x.shape, x.dtype)).vjp(x=_log_rule)


def _extreme_rule(F: Any, g: Any, indices: Any, x_shape: Any, dim: int) -> Any:
    if not x_shape:
        return g
    return F.scatter_add(F.new_zeros(g, shape=x_shape), indices, g, dim=dim)


_cummax = op("cummax", "x", outs="values indices", diff_outs=(0,), shape=_shape_pair).vjp(
    x=_extreme_rule
)
_cummin = op("cummin", "x", outs="values indices", diff_outs=(0,), shape=_shape_pair).vjp(
    x=_extreme_rule
)


def _scan(function: Callable, input: Any, dim: int, dtype: Any, out: Any) -> Any:
    if dtype is not None and dtype is not input._dtype:
        input = input.to(dtype)
    t = function(input, dim=wrap_dim(dim, input._a.ndim))
    if dtype is not None and t._dtype is not dtype:
        t = t.to(dtype)
    return t if out is None else write_out(out, t)


def cumsum(input: Any, dim: int, *, dtype: Any = None, out: Any = None) -> Any:
    """Return running sums along a dimension; of integers, in int64.

    >>> multitorch.tensor([1, 2, 3]).cumsum(0)
    tensor([1, 3, 6])
    """
    return _scan(_cumsum, input, dim, dtype, out)


def cumprod(input: Any, dim: int, *, dtype: Any = None, out: Any = None) -> Any:
    """Return running products along a dimension; of integers, in int64."""
    return _scan(_cumprod, input, dim, dtype, out)


def logcumsumexp(input: Any, dim: int, *, out: Any = None) -> Any:
    """Return the logarithms of running sums of exponentials along a dimension."""
    return _scan(_logcumsumexp, input, dim, None, out)


def _extreme(name: str, function: Callable, input: Any, dim: int, out: Any) -> Any:
    make = getattr(return_types, name)
    pair = make(*function(input, dim=wrap_dim(dim, input._a.ndim)))
    return pair if out is None else make(*write_out(tuple(out), tuple(pair)))


def cummax(input: Any, dim: int, *, out: Any = None) -> Any:
    """Return running maxima along a dimension, and their indices."""
    return _extreme("cummax", _cummax, input, dim, out)


def cummin(input: Any, dim: int, *, out: Any = None) -> Any:
    """Return running minima along a dimension, and their indices."""
    return _extreme("cummin", _cummin, input, dim, out)


FUNCTIONS: dict[str, Callable] = {
    f.__name__: f for f in (cumsum, cumprod, logcumsumexp, cummax, cummin)
}
METHODS: dict[str, Callable] = dict(FUNCTIONS)
INPLACE: dict[str, Callable] = {"cumsum_": cumsum, "cumprod_": cumprod}
