"""Reductions: sums, products, extremes, statistics."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

from multitorch import dtypes
from multitorch.ops import apply as dispatch
from multitorch.ops import logic, return_types
from multitorch.ops.apply import write_out
from multitorch.ops.common import wrap_dim
from multitorch.ops.logic import isclose, where_op
from multitorch.ops.op import op
from multitorch.ops.promote import not_implemented
from multitorch.ops.reduction import (
    all_dims,
    check_not_empty,
    dims_of,
    shape_accumulated,
    shape_bool,
    shape_index,
    shape_of_all,
    shape_same_dtype,
    shape_value_index,
    takes_axis,
    torch_names,
)

# --- sums ----------------------------------------------------------------------------------------


def _unreduce_shape(x: Any, *, shape: Any, dim: Any, keepdim: bool) -> tuple[Any, Any]:
    return shape, x.dtype


def _sum_to_shape(x: Any, *, shape: Any) -> tuple[Any, Any]:
    return shape, dtypes.int64.numpy() if x.dtype.kind in "biu" else x.dtype


def _sum_rule(F: Any, g: Any, x_shape: Any, dim: Any, keepdim: bool) -> Any:
    return F.unreduce(g, shape=x_shape, dim=dim, keepdim=keepdim)


def _mean_rule(F: Any, g: Any, x_shape: Any, dim: Any, keepdim: bool) -> Any:
    n = math.prod([x_shape[d] for d in dim])
    return F.unreduce(g / builtins.max(n, 1), shape=x_shape, dim=dim, keepdim=keepdim)


_unreduce = op("unreduce", "x", shape=_unreduce_shape).vjp(
    x=lambda F, g, dim, keepdim: F.sum(g, dim=dim, keepdim=keepdim)
)
_sum = op("sum", "x", node="SumBackward1", shape=shape_accumulated).vjp(x=_sum_rule)
_sum_all = op("sum_all", "x", node="SumBackward0", shape=shape_of_all(shape_accumulated)).vjp(
    x=lambda F, g, x_shape: _sum_rule(F, g, x_shape, tuple(range(len(x_shape))), False)
)
_mean = op("mean", "x", node="MeanBackward1", shape=shape_same_dtype).vjp(x=_mean_rule)
_mean_all = op("mean_all", "x", node="MeanBackward0", shape=shape_of_all(shape_same_dtype)).vjp(
    x=lambda F, g, x_shape: _mean_rule(F, g, x_shape, tuple(range(len(x_shape))), False)
)
sum_to = op("sum_to", "x", node="SumBackward1", shape=_sum_to_shape).vjp(
    x=lambda F, g, x_shape: F.expand(g, shape=x_shape)
)


def _cast(input: Any, dtype: Any) -> Any:
    return input if dtype is None or dtype is input._dtype else input.to(dtype)


def sum(
    input: Any,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    out: Any = None,
    **names: Any,
) -> Any:
    """Return the sum over dimensions, of all elements by default; integers are added in int64.

    >>> multitorch.sum(multitorch.ones(2, 3), dim=1)
    tensor([3., 3.])
    """
    if names:
        names = {"dim": dim, "keepdim": keepdim} | torch_names(names)
        return sum(input, dtype=dtype, out=out, **names)
    if dtype is not None:
        input = _cast(input, dtype)
    if dim is None and not keepdim:
        t = _sum_all(input)
    else:
        t = _sum(input, dim=dims_of(input, dim), keepdim=keepdim)
    if dtype is not None:
        t = _cast(t, dtype)
    return t if out is None else write_out(out, t)


def mean(
    input: Any,
    dim: Any = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
    out: Any = None,
    **names: Any,
) -> Any:
    """Return the mean over dimensions, of all elements by default.

    >>> multitorch.mean(multitorch.tensor([1.0, 2.0, 6.0]))
    tensor(3.)
    """
    if names:
        names = {"dim": dim, "keepdim": keepdim} | torch_names(names)
        return mean(input, dtype=dtype, out=out, **names)
    if dtype is not None:
        input = _cast(input, dtype)
    if not input._dtype.inexact:
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point or "
            f"complex dtype. Got: {input._dtype.scalar_name}"
        )
    if dim is None and not keepdim:
        t = _mean_all(input)
    else:
        t = _mean(input, dim=dims_of(input, dim), keepdim=keepdim)
    return t if out is None else write_out(out, t)


# --- extremes ------------------------------------------------------------------------------------


def even_rule(F: Any, g: Any, x: Any, out: Any, x_shape: Any, x_dtype: Any, dim: Any,
               keepdim: bool) -> Any:  # fmt: skip
    """Divide the gradient evenly among the elements that equal the extreme."""
    mask = F.cast(F.eq(x, F.unreduce(out, shape=x_shape, dim=dim, keepdim=keepdim)), dtype=x_dtype)
    share = g / F.sum(mask, dim=dim, keepdim=keepdim)
    return mask * F.unreduce(share, shape=x_shape, dim=dim, keepdim=keepdim)


def _even_whole(F: Any, g: Any, x: Any, out: Any, x_shape: Any, x_dtype: Any) -> Any:
    return even_rule(F, g, x, out, x_shape, x_dtype, tuple(range(len(x_shape))), False)


def pick_rule(F: Any, g: Any, indices: Any, x_shape: Any, dim: int, keepdim: bool) -> Any:
    """Give the gradient to the element that was selected."""
    if not x_shape:
        return g
    if not keepdim:
        kept = tuple([1 if i == dim else n for i, n in enumerate(x_shape)])
        g, indices = F.reshape(g, shape=kept), F.reshape(indices, shape=kept)
    return F.scatter(F.new_zeros(g, shape=x_shape), indices, g, dim=dim)


_amax = op("amax", "x", shape=shape_same_dtype).vjp(x=even_rule)
_amin = op("amin", "x", shape=shape_same_dtype).vjp(x=even_rule)
_max_all = op("max_all", "x", node="MaxBackward1", shape=shape_of_all(shape_same_dtype)).vjp(
    x=_even_whole
)
_min_all = op("min_all", "x", node="MinBackward1", shape=shape_of_all(shape_same_dtype)).vjp(
    x=_even_whole
)
_max_dim = op(
    "max_dim", "x", outs="values indices", diff_outs=(0,), node="MaxBackward0",
    shape=shape_value_index,
).vjp(x=pick_rule)  # fmt: skip
_min_dim = op(
    "min_dim", "x", outs="values indices", diff_outs=(0,), node="MinBackward0",
    shape=shape_value_index,
).vjp(x=pick_rule)  # fmt: skip
_argmax = op("argmax", "x", shape=shape_index).nondiff()
_argmin = op("argmin", "x", shape=shape_index).nondiff()
_all = op("all", "x", shape=shape_bool).nondiff()
_any = op("any", "x", shape=shape_bool).nondiff()


def _ordered(name: str, input: Any) -> None:
    if input._dtype.is_complex:
        raise not_implemented(name, input._dtype)


def amax(input: Any, dim: Any = (), keepdim: bool = False, *, out: Any = None) -> Any:
    """Return the maximum over dimensions; ties share the gradient evenly."""
    _ordered("amax", input)
    dims = dims_of(input, dim)
    if 0 in input._a.shape:
        check_not_empty("amax", input, dims, dim not in ((), None))
    t = _amax(input, dim=dims, keepdim=keepdim)
    return t if out is None else write_out(out, t)


def amin(input: Any, dim: Any = (), keepdim: bool = False, *, out: Any = None) -> Any:
    """Return the minimum over dimensions; ties share the gradient evenly."""
    _ordered("amin", input)
    dims = dims_of(input, dim)
    if 0 in input._a.shape:
        check_not_empty("amin", input, dims, dim not in ((), None))
    t = _amin(input, dim=dims, keepdim=keepdim)
    return t if out is None else write_out(out, t)


def aminmax(input: Any, *, dim: Any = None, keepdim: bool = False, out: Any = None) -> Any:
    """Return the minimum and the maximum, of all elements or along one dimension."""
    dims = all_dims(input) if dim is None else dims_of(input, wrap_dim(dim, input._a.ndim))
    check_not_empty("aminmax", input, dims, dim is not None)
    for t in out or ():
        if t._dtype is not input._dtype:
            raise RuntimeError(
                f"Expected out tensor to have dtype {input._dtype.name}, but got {t._dtype.name} "
                "instead"
            )
    pair = _amin(input, dim=dims, keepdim=keepdim), _amax(input, dim=dims, keepdim=keepdim)
    result = return_types.aminmax(*pair)
    return result if out is None else return_types.aminmax(*write_out(out, tuple(result)))


def _extreme(name: str, whole: Callable, along: Callable, pairwise: str) -> Callable:
    make = getattr(return_types, name)

    def function(
        input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None, out: Any = None
    ) -> Any:
        if other is not None:
            dim = other
        if dim is None:
            if 0 in input._a.shape:
                check_not_empty(name, input, all_dims(input), False)
            _ordered(name, input)
            t = whole(input)
            return t if out is None else write_out(out, t)
        if isinstance(dim, dispatch.Tensor):  # refuses an input that is a number
            return getattr(logic, pairwise)(input, dim, out=out)
        _ordered(name, input)
        d = wrap_dim(dim, input._a.ndim)
        check_not_empty(name, input, (d,), True)
        pair = along(input, dim=d, keepdim=keepdim)
        result = make(*pair)
        return result if out is None else make(*write_out(tuple(out), tuple(result)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"Return the {name}imum of all elements, (values, indices) along `dim`, or the\n"
        f"elementwise {name}imum of two tensors."
    )
    return function


max = _extreme("max", _max_all, _max_dim, "maximum")
min = _extreme("min", _min_all, _min_dim, "minimum")


def _arg(name: str, function: Callable, input: Any, dim: Any, keepdim: bool) -> Any:
    _ordered(name, input)
    if dim is None:
        if 0 in input._a.shape:
            raise IndexError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0."
            )
        return function(input, dim=None, keepdim=keepdim)
    d = wrap_dim(dim, input._a.ndim)
    check_not_empty(name, input, (d,), True)
    return function(input, dim=d, keepdim=keepdim)


def argmax(input: Any, dim: int | None = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """Return the index of the first maximum, of the flattened tensor or along `dim`.

    >>> multitorch.tensor([[1, 5], [7, 2]]).argmax(dim=1)
    tensor([1, 0])
    """
    t = _arg("argmax", _argmax, input, dim, keepdim)
    return t if out is None else write_out(out, t)


def argmin(input: Any, dim: int | None = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """Return the index of the first minimum, of the flattened tensor or along `dim`."""
    t = _arg("argmin", _argmin, input, dim, keepdim)
    return t if out is None else write_out(out, t)


def all(input: Any, dim: Any = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """Return whether all elements are nonzero."""
    return _truth(_all, input, dim, keepdim, out)


def any(input: Any, dim: Any = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """Return whether some element is nonzero."""
    return _truth(_any, input, dim, keepdim, out)


def _truth(function: Callable, input: Any, dim: Any, keepdim: bool, out: Any) -> Any:
    t = function(input, dim=dims_of(input, dim), keepdim=keepdim)
    if input._dtype is dtypes.uint8:
        t = t.to(dtypes.uint8)
    return t if out is None else write_out(out, t)


# --- products ------------------------------------------------------------------------------------


def _prod_rule(F: Any, g: Any, x: Any, x_shape: Any, dim: Any, keepdim: bool) -> Any:
    """Multiply the gradient by the product of all other elements, right in presence of zeros."""
    whole = F.unreduce(g, shape=x_shape, dim=dim, keepdim=keepdim)
    if not x_shape:
        return whole
    if len(dim) == 1:
        return whole * F.conj(_others(F, x, x_shape, dim[0]))
    n = math.prod(x_shape)
    others = _others(F, F.reshape(x, shape=(n,)), (n,), 0)
    return whole * F.conj(F.reshape(others, shape=x_shape))


def _others(F: Any, x: Any, shape: Any, dim: int) -> Any:
    before = _before(F, x, shape, dim)
    after = F.flip(_before(F, F.flip(x, dims=(dim,)), shape, dim), dims=(dim,))
    return before * after


def _before(F: Any, x: Any, shape: Any, dim: int) -> Any:
    """Return the product of the elements before each element."""
    n = shape[dim]
    if not n:
        return x
    ones = F.new_full(x, shape=tuple([1 if i == dim else s for i, s in enumerate(shape)]), value=1)
    head = F.slice(x, 0, dim=dim, length=n - 1, step=1)
    return F.cumprod(F.cat(ones, head, dim=dim), dim=dim)


_prod = op("prod", "x", node="ProdBackward1", shape=shape_accumulated).vjp(x=_prod_rule)
_prod_all = op("prod_all", "x", kernel="prod", node="ProdBackward0", shape=shape_accumulated).vjp(
    x=_prod_rule
)


def prod(
    input: Any, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Any:
    """Return the product of all elements, or along one dimension; integers in int64."""
    input = _cast(input, dtype)
    if dim is None:
        t = _prod_all(input, dim=all_dims(input), keepdim=keepdim)
    else:
        t = _prod(input, dim=dims_of(input, wrap_dim(dim, input._a.ndim)), keepdim=keepdim)
    t = _cast(t, dtype)
    return t if out is None else write_out(out, t)


# --- sums of something ---------------------------------------------------------------------------


def _exp_share(F: Any, g: Any, x: Any, out: Any, x_shape: Any, dim: Any, keepdim: bool) -> Any:
    def whole(t: Any) -> Any:
        return F.unreduce(t, shape=x_shape, dim=dim, keepdim=keepdim)

    return whole(g) * F.conj(F.exp(x - whole(F.where(F.isfinite(out), out, 0))))


_logsumexp = op("logsumexp", "x", shape=shape_same_dtype).vjp(x=_exp_share)


def logsumexp(input: Any, dim: Any, keepdim: bool = False, *, out: Any = None) -> Any:
    """Return `log(sum(exp(x)))` over dimensions, without overflow."""
    if not input._dtype.inexact:
        input = input.to(dtypes.get_default_dtype())
    t = _logsumexp(input, dim=dims_of(input, dim), keepdim=keepdim)
    return t if out is None else write_out(out, t)


def nansum(
    input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Any:
    """Return the sum over dimensions, NaN counting as zero."""
    if input._dtype.is_complex:
        raise RuntimeError("nansum does not support complex inputs")
    if input._dtype.inexact:
        input = where_op(input == input, input, 0)
    return sum(input, dim, keepdim, dtype=dtype, out=out)


def nanmean(
    input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None
) -> Any:
    """Return the mean over dimensions of what is not NaN."""
    if not input._dtype.inexact:
        raise RuntimeError(
            "nanmean(): expected input to have floating point or complex dtype but got "
            f"{input._dtype.scalar_name}"
        )
    count = sum(input.detach() == input.detach(), dim, keepdim)
    t = nansum(input, dim, keepdim, dtype=dtype) / count
    return t if out is None else write_out(out, t)


def count_nonzero(input: Any, dim: Any = None) -> Any:
    """Return how many elements are not zero, over dimensions."""
    return sum(input != 0, dim)


def sum_to_size(input: Any, *size: Any) -> Any:
    """Return the sum over the dimensions along which `size` was broadcast to the tensor's shape."""
    shape = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
    have = tuple(input.shape)
    padded = (1,) * (len(have) - len(shape)) + tuple(shape)
    fits = len(shape) <= len(have)
    if not fits or builtins.any(s not in (1, n) for s, n in zip(padded, have, strict=True)):
        raise RuntimeError(f"size {list(shape)} is not expandable to size {list(have)}.")
    if not shape:
        return sum(input)
    if padded == have:
        return input if shape == have else input.reshape(shape)
    return sum_to(input, shape=tuple(shape))


# --- comparisons of whole tensors ----------------------------------------------------------------


def equal(input: Any, other: Any) -> bool:
    """Return whether two tensors have the same shape and elements."""
    if tuple(input.shape) != tuple(other.shape):
        return False
    return bool(all(input == other).item())


def allclose(
    input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    """Return whether `isclose` holds everywhere.

    >>> multitorch.allclose(multitorch.tensor([1.0]), multitorch.tensor([1.0 + 1e-7]))
    True
    """
    return bool(all(isclose(input, other, rtol, atol, equal_nan)).item())


_WITH_AXIS = (
    amax, amin, aminmax, max, min, argmax, argmin, all, any, prod, logsumexp, nansum, nanmean,
    count_nonzero,
)  # fmt: skip
FUNCTIONS: dict[str, Callable] = {f.__name__: f for f in (sum, mean, equal, allclose)} | {
    f.__name__: takes_axis(f) for f in _WITH_AXIS
}
METHODS: dict[str, Callable] = {**FUNCTIONS, "sum_to_size": sum_to_size}
INPLACE: dict[str, Callable] = {}
