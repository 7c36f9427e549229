"""Running sums, products and extremes along a dimension."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from multitorch import dtypes
from multitorch.ops import return_types
from multitorch.ops.apply import write_out
from multitorch.ops.common import constant, wrap_dim
from multitorch.ops.op import op
from multitorch.ops.reduction import takes_axis


def _shape(x: Any, *, dim: int) -> tuple[Any, Any]:
    return x.shape, dtypes.int64.numpy() if x.dtype.kind in "biu" else x.dtype


def _shape_pair(x: Any, *, dim: int) -> tuple[Any, Any]:
    return (x.shape, x.dtype), (x.shape, dtypes.int64.numpy())


def _backwards(F: Any, function: Callable, x: Any, dim: int) -> Any:
    """Run a scan from the end to the beginning."""
    if not x.ndim:
        return function(x, dim=dim)
    return F.flip(function(F.flip(x, dims=(dim,)), dim=dim), dims=(dim,))


def _shifted(F: Any, x: Any, shape: Any, dim: int, fill: float) -> Any:
    """Move the elements one place towards the beginning; `fill` comes in at the end."""
    edge = F.new_full(
        x, shape=tuple([1 if i == dim else n for i, n in enumerate(shape)]), value=fill
    )
    return F.cat(F.slice(x, 1, dim=dim, length=shape[dim] - 1, step=1), edge, dim=dim)


def _delayed(F: Any, x: Any, shape: Any, dim: int, fill: float) -> Any:
    """Move the elements one place towards the end; `fill` comes in at the beginning."""
    edge = F.new_full(
        x, shape=tuple([1 if i == dim else n for i, n in enumerate(shape)]), value=fill
    )
    return F.cat(edge, F.slice(x, 0, dim=dim, length=shape[dim] - 1, step=1), dim=dim)


def _recur_back(F: Any, a: Any, b: Any, dim: int) -> Any:
    """Solve `y[k] = a[k] * y[k + 1] + b[k]`, from the end."""
    y = F.recurrence(F.flip(a, dims=(dim,)), F.flip(b, dims=(dim,)), dim=dim)
    return F.flip(y, dims=(dim,))


def _recurrence_rule(F: Any, g: Any, a: Any, out: Any, a_shape: Any, dim: int) -> Any:
    down = _recur_back(F, F.conj(_shifted(F, a, a_shape, dim, 0)), g, dim)
    return down * F.conj(_delayed(F, out, a_shape, dim, 0)), down


_recurrence = op("recurrence", "a b", shape=lambda a, b, *, dim: (b.shape, b.dtype)).vjps(
    _recurrence_rule
)


def _cumprod_rule(F: Any, g: Any, x: Any, x_shape: Any, dim: int) -> Any:
    """Multiply what stands before each element by a recurrence of what follows: no division."""
    if not x_shape or not x_shape[dim]:
        return g
    after = _recur_back(F, F.conj(_shifted(F, x, x_shape, dim, 0)), g, dim)
    before = F.cumprod(_delayed(F, x, x_shape, dim, 1), dim=dim)
    return F.conj(before) * after


def _log_rule(F: Any, g: Any, x: Any, out: Any, x_shape: Any, dim: int) -> Any:
    """Sum `g[k] * exp(x - out[k])` over all later k, by a recurrence in which nothing overflows."""
    if not x_shape or not x_shape[dim]:
        return g
    step = out - _shifted(F, out, x_shape, dim, math.inf)
    lowest = constant(F, x, -math.inf)
    decay = F.exp(F.where(F.real(out) == -math.inf, lowest, step))
    after = _recur_back(F, F.conj(decay), g, dim)
    return F.conj(F.exp(F.where(F.real(x) == -math.inf, lowest, x - out))) * after


_cumsum = op("cumsum", "x", shape=_shape).vjp(x=lambda F, g, dim: _backwards(F, F.cumsum, g, dim))
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
    f.__name__: takes_axis(f) for f in (cumsum, cumprod, logcumsumexp, cummax, cummin)
}
METHODS: dict[str, Callable] = dict(FUNCTIONS)
INPLACE: dict[str, Callable] = {"cumsum_": cumsum, "cumprod_": cumprod}
