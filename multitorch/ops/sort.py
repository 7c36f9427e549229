"""Sorting and searching: order, the largest k, unique values, bins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from multitorch import dtypes
from multitorch.ops import apply as dispatch
from multitorch.ops import return_types
from multitorch.ops.apply import write_out
from multitorch.ops.common import wrap_dim
from multitorch.ops.op import op
from multitorch.ops.promote import not_implemented
from multitorch.ops.reduce import pick_rule
from multitorch.ops.reduction import shape_value_index, takes_axis
from multitorch.promotion import promote_types

# --- order ---------------------------------------------------------------------------------------


def _scatter_rule(F: Any, g: Any, indices: Any, x_shape: Any, dim: int) -> Any:
    """Send the gradient back to where the values came from."""
    if not x_shape:
        return g
    return F.scatter(F.new_zeros(g, shape=x_shape), indices, g, dim=dim)


def _sort_shape(x: Any, *, dim: int, descending: bool, stable: bool) -> tuple[Any, Any]:
    return (x.shape, x.dtype), (x.shape, dtypes.int64.numpy())


def _topk_shape(x: Any, *, k: int, dim: int, largest: bool, sorted: bool) -> tuple[Any, Any]:
    shape = tuple([k if i == dim else n for i, n in enumerate(x.shape)])
    return (shape, x.dtype), (shape, dtypes.int64.numpy())


def _kth_shape(x: Any, *, k: int, dim: int, keepdim: bool) -> tuple[Any, Any]:
    return shape_value_index(x, dim=dim, keepdim=keepdim)


_sort = op("sort", "x", outs="values indices", diff_outs=(0,), shape=_sort_shape).vjp(
    x=_scatter_rule
)
_argsort = op(
    "argsort", "x",
    shape=lambda x, *, dim, descending, stable: (x.shape, dtypes.int64.numpy()),
).nondiff()  # fmt: skip
_topk = op("topk", "x", outs="values indices", diff_outs=(0,), shape=_topk_shape).vjp(
    x=_scatter_rule
)
_kthvalue = op("kthvalue", "x", outs="values indices", diff_outs=(0,), shape=_kth_shape).vjp(
    x=pick_rule
)


def _ordered(name: str, input: Any) -> None:
    if input._dtype.is_complex:
        raise (
            RuntimeError(f"{name}(): input tensor must be of non-complex type")
            if (name == "sort")
            else not_implemented(name, input._dtype)
        )


def sort(
    input: Any, dim: int = -1, descending: bool = False, stable: bool = False, *, out: Any = None
) -> Any:
    """Return (values, indices) sorted along a dimension; equal elements keep their order.

    >>> multitorch.tensor([3, 1, 2]).sort().indices
    tensor([1, 2, 0])
    """
    _ordered("sort", input)
    d = wrap_dim(dim, input._a.ndim)
    pair = return_types.sort(*_sort(input, dim=d, descending=bool(descending), stable=bool(stable)))
    return pair if out is None else return_types.sort(*write_out(tuple(out), tuple(pair)))


def argsort(input: Any, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """Return the indices that sort the tensor along a dimension."""
    _ordered("sort", input)
    d = wrap_dim(dim, input._a.ndim)
    return _argsort(input, dim=d, descending=bool(descending), stable=bool(stable))


def msort(input: Any, *, out: Any = None) -> Any:
    """Return the values sorted along the first dimension."""
    t = sort(input, 0)[0]
    return t if out is None else write_out(out, t)


def topk(
    input: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True, *, out: Any = None
) -> Any:
    """Return (values, indices) of the k largest, or smallest, elements along a dimension.

    >>> multitorch.tensor([3.0, 1.0, 2.0]).topk(2).values
    tensor([3., 2.])
    """
    _ordered("topk", input)
    d = wrap_dim(dim, input._a.ndim)
    n = input._a.shape[d] if input._a.ndim else 1
    k = k.__index__()
    if not 0 <= k <= n:
        raise RuntimeError("selected index k out of range")
    pair = return_types.topk(*_topk(input, k=k, dim=d, largest=bool(largest), sorted=bool(sorted)))
    return pair if out is None else return_types.topk(*write_out(tuple(out), tuple(pair)))


def kthvalue(input: Any, k: int, dim: int = -1, keepdim: bool = False, *, out: Any = None) -> Any:
    """Return (values, indices) of the k-th smallest elements along a dimension, counted from 1."""
    _ordered("kthvalue", input)
    d = wrap_dim(dim, input._a.ndim)
    n = input._a.shape[d] if input._a.ndim else 1
    if not 1 <= k <= n:
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {d}")
    pair = return_types.kthvalue(*_kthvalue(input, k=k, dim=d, keepdim=keepdim))
    if out is None:
        return pair
    return return_types.kthvalue(*write_out(tuple(out), tuple(pair), input))


# --- unique values -------------------------------------------------------------------------------

_unique_values = op("unique_values", "x").nondiff()
_unique = op("unique", "x", outs="values inverse counts").nondiff()
_unique_consecutive = op("unique_consecutive", "x", outs="values inverse counts").nondiff()


def _chosen(found: tuple, return_inverse: bool, return_counts: bool) -> Any:
    values, inverse, counts = found
    result = (values, *[inverse] * return_inverse, *[counts] * return_counts)
    return result if len(result) > 1 else values


def unique(
    input: Any,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """Return the distinct elements in order, with inverse indices and counts if asked.

    >>> multitorch.tensor([3, 1, 3]).unique(return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    _ordered("unique", input)
    if dim is None and not return_inverse and not return_counts:
        return _unique_values(input)
    d = None if dim is None else wrap_dim(dim, input._a.ndim)
    return _chosen(_unique(input, dim=d), return_inverse, return_counts)


def unique_consecutive(
    input: Any, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """Return the elements without repetitions of the one before."""
    d = None if dim is None else wrap_dim(dim, input._a.ndim)
    return _chosen(_unique_consecutive(input, dim=d), return_inverse, return_counts)


# --- searching -----------------------------------------------------------------------------------

_searchsorted = op(
    "searchsorted", "seq values", shape=lambda seq, values, *, right: (
        values.shape, dtypes.int64.numpy()
    ),
).nondiff()  # fmt: skip
_isin = op("isin", "x y", shape=lambda x, y: (x.shape, dtypes.bool_.numpy())).nondiff()


def searchsorted(
    sorted_sequence: Any,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Any = None,
    out: Any = None,
) -> Any:
    """Return where to insert `input` to keep the last dimension of the sequence sorted.

    >>> multitorch.searchsorted(multitorch.tensor([1, 3, 5]), multitorch.tensor([3, 4]))
    tensor([1, 2])
    """
    if side is not None:
        if side not in ("left", "right"):
            raise RuntimeError(
                f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}"
            )
        if right and side == "left":
            raise RuntimeError(
                "torch.searchsorted(): side and right can't be set to opposites, got side of left "
                "while right was True"
            )
        right = side == "right"
    if sorter is not None:
        sorted_sequence = sorted_sequence.gather(-1, sorter)
    input = _value_tensor(sorted_sequence, input)
    _check_search(sorted_sequence, input)
    d = promote_types(sorted_sequence._dtype, input._dtype)
    t = _searchsorted(sorted_sequence.to(d), input.to(d), right=bool(right))
    t = t.to(dtypes.int32) if out_int32 else t
    return t if out is None else write_out(out, t)


def _value_tensor(like: Any, value: Any) -> Any:
    return value if isinstance(value, dispatch.Tensor) else like.new_full((), value)


def _check_search(seq: Any, values: Any) -> None:
    if seq._a.ndim != 1 and tuple(seq.shape[:-1]) != tuple(values.shape[:-1]):
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 "
            "dimensions of boundaries tensor and input value tensor must match, but we got "
            f"boundaries tensor {list(seq.shape)} and input value tensor {list(values.shape)}"
        )


def bucketize(
    input: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False, out: Any = None
) -> Any:
    """Return the index of the bucket, between sorted boundaries, of each element."""
    if boundaries._a.ndim != 1:
        raise RuntimeError(
            f"bucketize(): boundaries tensor must be 1 dimension, but got dim({boundaries._a.ndim})"
        )
    return searchsorted(boundaries, input, out_int32=out_int32, right=right, out=out)


def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False,
    out: Any = None,
) -> Any:  # fmt: skip
    """Return which elements occur in `test_elements`."""
    if not isinstance(elements, dispatch.Tensor):
        elements = test_elements.new_full((), elements)
    test_elements = _value_tensor(elements, test_elements)
    d = promote_types(elements._dtype, test_elements._dtype)
    t = _isin(elements.to(d), test_elements.to(d))
    t = ~t if invert else t
    return t if out is None else write_out(out, t)


# --- counting ------------------------------------------------------------------------------------

_bincount = op("bincount", "x weights").nondiff()


def bincount(input: Any, weights: Any = None, minlength: int = 0) -> Any:
    """Return how often each non-negative integer occurs, or the sum of its weights.

    >>> multitorch.bincount(multitorch.tensor([0, 2, 2]))
    tensor([1, 0, 2])
    """
    if input._dtype.category != dtypes.INTEGER:
        raise not_implemented("bincount", input._dtype)
    if input._a.ndim != 1:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    if weights is not None:
        if tuple(weights.shape) != tuple(input.shape):
            raise RuntimeError("weights should be 1-d and have the same length as input")
        if weights._dtype not in (dtypes.float32, dtypes.float64):
            weights = weights.to(dtypes.float64)
    return _bincount(input, weights, minlength=minlength)


def histc(input: Any, bins: int = 100, min: float = 0, max: float = 0, *, out: Any = None) -> Any:
    """Return how many elements fall into each of equal bins from `min` to `max`.

    Where both are equal, the bins span the elements.
    """
    if not input._dtype.is_floating_point:
        raise not_implemented("histogram", input._dtype)
    if bins <= 0:
        raise RuntimeError("bins must be > 0")
    x = input.reshape(-1)
    low, high = float(min), float(max)
    if low == high and x.shape[0] and x._dev.type != "meta":  # which has no numbers
        low, high = float(x.min()), float(x.max())
    if low == high:
        low, high = low - 1, high + 1
    if not low < high or high - low == float("inf"):
        raise RuntimeError(
            f"torch.histc: max must be larger than min, and the range [{low}, {high}] be finite"
        )
    inside = (x >= low) & (x <= high)
    place = ((x - low) * bins / (high - low)).clamp(0, bins - 1).where(inside, 0).to(dtypes.int64)
    t = x.new_zeros(bins).scatter_add(0, place, inside.to(x._dtype))
    return t if out is None else write_out(out, t)


FUNCTIONS: dict[str, Callable] = {
    f.__name__: takes_axis(f)
    for f in (
        sort, argsort, msort, topk, kthvalue, unique, unique_consecutive, searchsorted, bucketize,
        isin, bincount, histc,
    )
}  # fmt: skip
METHODS: dict[str, Callable] = {
    k: f for k, f in FUNCTIONS.items() if k not in ("searchsorted", "bucketize", "isin")
}
INPLACE: dict[str, Callable] = {}
