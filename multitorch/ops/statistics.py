"""Statistics over dimensions: variance, norms, medians, quantiles, the most frequent value."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from multitorch import dtypes
from multitorch.ops import apply as dispatch
from multitorch.ops import return_types
from multitorch.ops.apply import write_out
from multitorch.ops.common import constant, reduced_shape, wrap_dim
from multitorch.ops.logic import isnan, where_op
from multitorch.ops.op import op
from multitorch.ops.promote import not_implemented
from multitorch.ops.reduce import even_rule, mean, pick_rule
from multitorch.ops.reduction import (
    all_dims,
    check_not_empty,
    dims_of,
    shape_real,
    shape_same_dtype,
    shape_value_index,
    takes_axis,
)

# --- variance ------------------------------------------------------------------------------------


def _spread(
    F: Any, g: Any, x: Any, x_shape: Any, dim: Any, correction: float, keepdim: bool
) -> Any:
    n = math.prod([x_shape[d] for d in dim])
    free = n - correction
    if free <= 0:
        return F.unreduce(g, shape=x_shape, dim=dim, keepdim=keepdim) * (
            x * constant(F, x, math.nan)
        )
    g = g * 2 / free if free.__class__ is int else g * 2 / F.new_full(g, shape=(), value=free)
    return F.unreduce(g, shape=x_shape, dim=dim, keepdim=keepdim) * (
        x - F.mean(x, dim=dim, keepdim=True)
    )


def _std_rule(
    F: Any, g: Any, x: Any, out: Any, x_shape: Any, dim: Any, correction: float, keepdim: bool
) -> Any:
    g = F.where(out == 0, 0, g / (2 * out))
    return _spread(F, g, x, x_shape, dim, correction, keepdim)


_var = op("var", "x", shape=shape_real).vjp(x=_spread)
_std = op("std", "x", shape=shape_real).vjp(x=_std_rule)


def _dof(name: str, input: Any, dim: Any, unbiased: Any, correction: Any) -> tuple[Any, Any]:
    """Return (dim, correction) of the old and new ways to call `var`."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if not input._dtype.inexact:
        raise RuntimeError(f"{name} only support floating point and complex dtypes")
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    correction = int(correction) if correction == int(correction) else float(correction)
    dims = dims_of(input, dim)
    n = math.prod([input._a.shape[d] for d in dims])
    if n - correction <= 0:
        import warnings

        warnings.warn(
            f"{name}(): degrees of freedom is <= 0. Correction should be strictly less than the "
            "reduction factor (input numel divided by output numel).",
            stacklevel=3,
        )
    return dims, correction


def var(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    out: Any = None,
) -> Any:
    """Return the variance over dimensions, with n - correction (1) in the denominator.

    >>> multitorch.tensor([1.0, 2.0, 3.0, 4.0]).var(correction=0)
    tensor(1.2500)
    """
    dims, correction = _dof("var", input, dim, unbiased, correction)
    t = _var(input, dim=dims, correction=correction, keepdim=keepdim)
    return t if out is None else write_out(out, t)


def std(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
    out: Any = None,
) -> Any:
    """Return the standard deviation over dimensions, the root of `var`."""
    dims, correction = _dof("std", input, dim, unbiased, correction)
    t = _std(input, dim=dims, correction=correction, keepdim=keepdim)
    return t if out is None else write_out(out, t)


def var_mean(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Any, Any]:
    """Return the variance and the mean over dimensions."""
    spread = var(input, dim, unbiased, keepdim, correction=correction)
    return spread, mean(input, None if isinstance(dim, bool) else dim, keepdim)


def std_mean(
    input: Any,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Any, Any]:
    """Return the standard deviation and the mean over dimensions."""
    spread = std(input, dim, unbiased, keepdim, correction=correction)
    return spread, mean(input, None if isinstance(dim, bool) else dim, keepdim)


# --- norms ---------------------------------------------------------------------------------------


def _norm_rule(
    F: Any, g: Any, x: Any, out: Any, x_shape: Any, x_dtype: Any, ord: float, dim: Any,
    keepdim: bool,
) -> Any:  # fmt: skip
    def whole(t: Any) -> Any:
        return F.unreduce(t, shape=x_shape, dim=dim, keepdim=keepdim)

    if ord == 0:
        return F.new_zeros(x, shape=x_shape)
    if ord == 1:
        return F.sgn(x) * whole(g)
    if ord == 2:
        return x * whole(F.where(out == 0, 0, g / F.where(out == 0, 1, out)))
    size = F.abs(x)
    if math.isinf(ord):
        hit = size == whole(out)
        share = g / F.real(F.sum(F.cast(hit, dtype=x_dtype), dim=dim, keepdim=keepdim))
        return F.sgn(x) * F.where(hit, whole(share), 0)
    safe = F.where(size == 0, 1, size)
    scaled = F.where(size == 0, 0, F.pow(safe, constant(F, size, ord - 1)))
    scale = g * F.where(out == 0, 0, F.pow(F.where(out == 0, 1, out), constant(F, out, 1 - ord)))
    return F.sgn(x) * scaled * whole(scale)


def _norm_shape(x: Any, *, ord: float, dim: Any, keepdim: bool) -> tuple[Any, Any]:
    return shape_real(x, dim=dim, keepdim=keepdim)


_vector_norm = op("vector_norm", "x", node="LinalgVectorNorm", shape=_norm_shape).vjp(x=_norm_rule)


def vector_norm(
    x: Any, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None,
    out: Any = None,
) -> Any:  # fmt: skip
    """Return the p-norm of all elements, or over dimensions: `sum(|x|**ord) ** (1/ord)`."""
    if not x._dtype.inexact:
        raise RuntimeError(
            "linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
            f"{x._dtype.scalar_name}"
        )
    if dtype is not None:
        x = x.to(dtype)
    dims = dims_of(x, dim)
    if (ord < 0 or ord == math.inf) and any(x._a.shape[d] == 0 for d in dims):
        raise RuntimeError(
            f"linalg.vector_norm cannot compute the {ord} norm on an empty tensor because the "
            "operation does not have an identity"
        )
    t = _vector_norm(x, ord=float(ord), dim=dims, keepdim=keepdim)
    return t if out is None else write_out(out, t)


def norm(
    input: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, out: Any = None,
    dtype: Any = None,
) -> Any:  # fmt: skip
    """Return the p-norm of all elements, or over dimensions ('fro' is the 2-norm).

    >>> multitorch.tensor([3.0, 4.0]).norm()
    tensor(5.)
    """
    if p == "nuc":
        from multitorch.ops.matrix_norm import matrix_norm

        dims = (-2, -1) if dim is None else dim
        return matrix_norm(input, "nuc", dims, keepdim, dtype=dtype, out=out)
    if isinstance(p, str) and p != "fro":
        raise RuntimeError(f"only valid string values are 'fro' and 'nuc', found: {p}")
    order = 2.0 if p is None or p == "fro" else float(p)
    return vector_norm(input, order, dim, keepdim, dtype=dtype, out=out)


def dist(input: Any, other: Any, p: float = 2) -> Any:
    """Return the p-norm of `input - other`."""
    return vector_norm(input - other, p)


# --- order statistics ----------------------------------------------------------------------------


def _median_shape(x: Any, *, dim: Any, keepdim: bool, ignore_nan: bool) -> tuple[Any, Any]:
    return shape_value_index(x, dim=dim, keepdim=keepdim)


_median_all = op(
    "median_all", "x", node="MedianBackward0",
    shape=lambda x, *, dim, keepdim, ignore_nan: shape_same_dtype(x, dim=dim, keepdim=keepdim),
).vjp(x=even_rule)  # fmt: skip
_median = op(
    "median", "x", outs="values indices", diff_outs=(0,), node="MedianBackward1",
    shape=_median_shape,
).vjp(x=pick_rule)  # fmt: skip
_mode = op(
    "mode", "x", outs="values indices", diff_outs=(0,), shape=shape_value_index
).vjp(x=pick_rule)  # fmt: skip


def _middle(name: str, input: Any, dim: Any, keepdim: bool, out: Any, ignore_nan: bool) -> Any:
    if input._dtype.is_complex or input._dtype is dtypes.bool_:
        raise not_implemented(name, input._dtype)
    if dim is None:
        if 0 in input._a.shape:
            return input.new_full((), math.nan)
        return _median_all(input, dim=all_dims(input), keepdim=False, ignore_nan=ignore_nan)
    d = wrap_dim(dim, input._a.ndim)
    check_not_empty(name, input, (d,), True)
    make = getattr(return_types, name)
    pair = make(*_median(input, dim=d, keepdim=keepdim, ignore_nan=ignore_nan))
    return pair if out is None else make(*write_out(tuple(out), tuple(pair)))


def median(input: Any, dim: int | None = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """Return the median, the lower one of two; along `dim`, (values, indices).

    >>> multitorch.tensor([4.0, 1.0, 3.0, 2.0]).median()
    tensor(2.)
    """
    return _middle("median", input, dim, keepdim, out, False)


def nanmedian(input: Any, dim: int | None = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """Return the median of what is not NaN."""
    return _middle("nanmedian", input, dim, keepdim, out, True)


def mode(input: Any, dim: int = -1, keepdim: bool = False, *, out: Any = None) -> Any:
    """Return the most frequent values along a dimension (the smallest of equals), and indices."""
    d = wrap_dim(dim, input._a.ndim)
    check_not_empty("mode", input, (d,), True)
    pair = return_types.mode(*_mode(input, dim=d, keepdim=keepdim))
    return pair if out is None else return_types.mode(*write_out(tuple(out), tuple(pair)))


_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(
    name: str, input: Any, q: Any, dim: Any, keepdim: bool, interpolation: str, skip_nan: bool
) -> Any:
    if interpolation not in _INTERPOLATIONS:
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, "
            f"but got {interpolation}"
        )
    if input._dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if not isinstance(q, dispatch.Tensor):
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q}")
        q = input.new_full((), q)
    elif q._dtype is not input._dtype:
        raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    ndim = input._a.ndim
    kept = reduced_shape(
        tuple(input.shape), tuple(range(ndim)) if dim is None else (wrap_dim(dim, ndim),), keepdim
    )
    lanes = input.reshape(-1) if dim is None or not ndim else input.movedim(dim, -1)
    t = _interpolate(lanes.sort(-1).values, q.reshape(-1), interpolation, skip_nan)
    return t.reshape((*(q.shape if q._a.ndim else ()), *kept))


def _interpolate(ordered: Any, q: Any, interpolation: str, skip_nan: bool) -> Any:
    """Return quantiles of sorted lanes, the quantiles as first dimension."""
    n = ordered.shape[-1]
    missing = isnan(ordered)
    if skip_nan:
        last = (~missing).sum(-1, keepdim=True) - 1
        rank = (q * last.to(q._dtype)).clamp(min=0)
    else:
        rank = (q * (n - 1)).expand(*ordered.shape[:-1], -1)
        rank = where_op(missing.any(-1, keepdim=True), n - 1.0, rank)
    low = rank.floor()
    if interpolation in ("lower", "higher", "nearest"):
        pick = {"lower": low, "higher": rank.ceil(), "nearest": rank.round()}[interpolation]
        t = ordered.gather(-1, pick.to(dtypes.int64))
    else:
        weight = rank - low if interpolation == "linear" else (rank - low > 0).to(q._dtype) / 2
        below = ordered.gather(-1, low.to(dtypes.int64))
        above = ordered.gather(-1, rank.ceil().to(dtypes.int64))
        t = below.lerp(above, weight)
    return t.movedim(-1, 0)


def quantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *,
    interpolation: str = "linear", out: Any = None,
) -> Any:  # fmt: skip
    """Return the q-th quantiles of all elements or along a dimension.

    >>> multitorch.quantile(multitorch.tensor([0.0, 1.0, 2.0, 3.0]), 0.5)
    tensor(1.5000)
    """
    t = _quantile("quantile", input, q, dim, keepdim, interpolation, False)
    return t if out is None else write_out(out, t)


def nanquantile(
    input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *,
    interpolation: str = "linear", out: Any = None,
) -> Any:  # fmt: skip
    """Return the q-th quantiles of what is not NaN."""
    t = _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)
    return t if out is None else write_out(out, t)


_NAMES = (
    var, std, var_mean, std_mean, norm, dist, median, nanmedian, mode, quantile, nanquantile,
)  # fmt: skip
FUNCTIONS: dict[str, Callable] = {f.__name__: takes_axis(f) for f in _NAMES}
METHODS: dict[str, Callable] = {k: f for k, f in FUNCTIONS.items() if not k.endswith("_mean")}
INPLACE: dict[str, Callable] = {}
