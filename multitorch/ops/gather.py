"""Ops that read or write along one dimension, or as if flat, by an index tensor."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from multitorch import dtypes
from multitorch.ops import apply as dispatch
from multitorch.ops.apply import broadcast_shape, write_out
from multitorch.ops.common import wrap_dim
from multitorch.ops.op import Op
from multitorch.ops.overlap import refuse_overlap
from multitorch.ops.views import expand, reshape


def _same(x: Any, *others: Any, **params: Any) -> Any:
    return x.shape, x.dtype


def _like_index(x: Any, index: Any, **params: Any) -> Any:
    return index.shape, x.dtype


def _selected(x: Any, index: Any, *, dim: int) -> Any:
    if not x.shape:
        return (), x.dtype
    return (*x.shape[:dim], prod(index.shape), *x.shape[dim + 1 :]), x.dtype


# --- declarations ---------------------------------------------------------------------------------

_gather = Op("gather", "x index", shape=_like_index).vjp(
    x=lambda F, g, index, x_shape, dim: F.scatter_add(
        F.new_zeros(g, shape=x_shape), index, g, dim=dim
    )
)
_scatter = Op("scatter", "x index src", shape=_same).vjp(
    x=lambda F, g, index, dim: F.scatter(g, index, F.new_zeros(g, shape=()), dim=dim),
    src=lambda F, g, index, dim: F.gather(g, index, dim=dim),
)
_scatter_value = Op(
    "scatter_value", "x index src", kernel="scatter", node="ScatterBackward1", shape=_same
).vjp(x=lambda F, g, index, dim: F.scatter(g, index, F.new_zeros(g, shape=()), dim=dim))
_scatter_add = Op("scatter_add", "x index src", shape=_same).vjp(
    x=lambda F, g: g, src=lambda F, g, index, dim: F.gather(g, index, dim=dim)
)
_index_select = Op("index_select", "x index", shape=_selected).vjp(
    x=lambda F, g, index, x_shape, dim: F.index_add(
        F.new_zeros(g, shape=x_shape), index, g, dim=dim
    )
)
_index_add = Op("index_add", "x index src", shape=_same).vjp(
    x=lambda F, g: g, src=lambda F, g, index, dim: F.index_select(g, index, dim=dim)
)
_index_copy = Op("index_copy", "x index src", shape=_same).vjp(
    x=lambda F, g, index, dim: F.index_fill(g, index, F.new_zeros(g, shape=()), dim=dim),
    src=lambda F, g, index, dim: F.index_select(g, index, dim=dim),
)


def _filled_grad(F: Any, g: Any, index: Any, dim: int) -> Any:
    ones = F.index_fill(F.new_zeros(g, shape=g.shape), index, F.new_full(g, shape=(), value=1),
                        dim=dim)  # fmt: skip
    return F.sum_to(g * ones, shape=())


_index_fill = Op("index_fill", "x index value", shape=_same).vjp(
    x=lambda F, g, index, dim: F.index_fill(g, index, F.new_zeros(g, shape=()), dim=dim),
    value=_filled_grad,
)
_take = Op("take", "x index", shape=_like_index).vjp(
    x=lambda F, g, index, x_shape: F.put_flat(
        F.new_zeros(g, shape=x_shape), index, g, accumulate=True
    )
)


def _put_grad(
    F: Any, g: Any, index: Any, source_shape: Any, accumulate: bool, needs: tuple[bool, ...]
) -> list[Any]:
    kept = None
    if needs[0]:
        zeros = F.new_zeros(g, shape=tuple(index.shape))
        kept = g if accumulate else F.put_flat(g, index, zeros, accumulate=False)
    return [kept, None, F.reshape(F.take(g, index), shape=source_shape) if needs[2] else None]


_put = Op("put_flat", "x index source", node="Put", shape=_same).vjps(_put_grad)


def _reduced_grad(
    F: Any, g: Any, x: Any, index: Any, src: Any, out: Any, dim: int, reduce: str,
    include_self: bool, needs: tuple[bool, ...],
) -> list[Any]:  # fmt: skip
    """Return the gradients of scatter_reduce for its five reductions."""
    rule = {"sum": _sum_grads, "mean": _mean_grads, "prod": _prod_grads}.get(reduce, _peak_grads)
    gx, gsrc = rule(F, g, x, index, src, out, dim, include_self)
    if not include_self:
        gx = F.scatter(gx, index, F.new_zeros(g, shape=()), dim=dim)
    return [gx if needs[0] else None, None, gsrc if needs[2] else None]


def _sum_grads(F: Any, g: Any, x: Any, index: Any, src: Any, out: Any, dim: int, own: bool) -> Any:
    return g, F.gather(g, index, dim=dim)


def _counts(F: Any, g: Any, index: Any, weights: Any, dim: int) -> Any:
    return F.scatter_add(F.new_zeros(g, shape=g.shape), index, weights, dim=dim)


def _mean_grads(F: Any, g: Any, x: Any, index: Any, src: Any, out: Any, dim: int, own: bool) -> Any:
    ones = F.new_full(g, shape=tuple(index.shape), value=1)
    count = _counts(F, g, index, ones, dim)
    count = count + 1 if own else F.maximum(count, F.new_full(g, shape=(), value=1))
    g = g / count
    return g, F.gather(g, index, dim=dim)


def _prod_grads(F: Any, g: Any, x: Any, index: Any, src: Any, out: Any, dim: int, own: bool) -> Any:
    one, zero = F.new_full(g, shape=(), value=1), F.new_zeros(g, shape=())
    start = x if own else F.scatter(x, index, one, dim=dim)
    x_zero, src_zero = F.eq(start, zero), F.eq(src, zero)

    def product(first: Any, others: Any) -> Any:
        return F.scatter_reduce(first, index, others, dim=dim, reduce="prod", include_self=True)

    safe = F.where(x_zero, one, start)
    gx = g * product(safe, src) / safe
    # a factor's gradient is out / factor; that of the only zero of src is the product of the rest
    zeros = _counts(F, g, index, F.where(src_zero, one, zero), dim)
    rest = F.where(F.eq(zeros, one), product(start, F.where(src_zero, one, src)), zero)
    others, whole = F.gather(g * rest, index, dim=dim), F.gather(g * out, index, dim=dim)
    return gx, F.where(src_zero, others, whole / F.where(src_zero, one, src))


def _peak_grads(F: Any, g: Any, x: Any, index: Any, src: Any, out: Any, dim: int, own: bool) -> Any:
    one, zero = F.new_full(g, shape=(), value=1), F.new_zeros(g, shape=())
    mine = F.where(F.eq(x, out), one, zero)
    theirs = F.where(F.eq(src, F.gather(out, index, dim=dim)), one, zero)
    if own:
        ties = _counts(F, g, index, theirs, dim) + mine
    else:
        ties = _counts(F, g, index, theirs, dim)
    share = g / F.maximum(ties, one)
    gx = mine * share if own else g
    return gx, theirs * F.gather(share, index, dim=dim)


_scatter_reduce = Op("scatter_reduce", "x index src", shape=_same).vjps(_reduced_grad)


# --- checks ---------------------------------------------------------------------------------------

INDEX_TYPES = (dtypes.int64, dtypes.int32)


def _check_index(name: str, index: Any, expected: str = "int32/int64") -> None:
    if index._dtype not in INDEX_TYPES:
        raise RuntimeError(f"{name}(): Expected dtype {expected} for index")


def _check_gather(name: str, x: Any, dim: int, index: Any) -> int:
    have, want = x._a.shape or (1,), index._a.shape or (1,)
    d = wrap_dim(dim, len(have))
    if not prod(want):
        return d
    _check_index(name, index)
    if have == want:
        return d
    if len(have) != len(want):
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    if any(n > have[k] for k, n in enumerate(want) if k != d):
        k = next(k for k, n in enumerate(want) if k != d and n > have[k])
        raise RuntimeError(
            f"Size does not match at dimension {k} expected index {list(index.shape)} to be no "
            f"larger than self {list(x.shape)} apart from dimension {d}"
        )
    return d


def _check_scatter(name: str, x: Any, dim: int, index: Any, src: Any) -> tuple[int, Any]:
    """Return the dimension, and the corner of `src` that is read."""
    d = wrap_dim(dim, x._a.ndim)
    _check_index(name, index)
    have, want = x._a.shape or (1,), index._a.shape or (1,)
    if src is None:
        source = want
    else:
        if src._dtype is not x._dtype:
            raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype")
        source = src._a.shape or (1,)
    if not prod(want):
        return d, src
    if len(have) != len(want) or len(source) != len(want):
        raise RuntimeError("Index tensor must have the same number of dimensions as self tensor")
    apart = any(n > have[k] for k, n in enumerate(want) if k != d)
    if apart or any(n > m for n, m in zip(want, source, strict=True)):
        end = "" if src is None else f" and to be no larger size than src {list(src.shape)}"
        raise RuntimeError(
            f"Expected index {list(index.shape)} to be no larger than self {list(x.shape)} apart "
            f"from dimension {d}{end}"
        )
    if src is not None and tuple(source) != tuple(want):
        src = src[tuple([slice(n) for n in want])]
    return d, src


# --- gather and scatter ---------------------------------------------------------------------------


def gather(input: Any, dim: int, index: Any, *, sparse_grad: bool = False, out: Any = None) -> Any:
    """Pick along one dimension: `out[i][j] = input[index[i][j]][j]` for dim 0.

    >>> x = multitorch.tensor([[1, 2], [3, 4]])
    >>> x.gather(1, multitorch.tensor([[0, 0], [1, 0]])).tolist()
    [[1, 1], [4, 3]]
    """
    d = _check_gather("gather", input, dim, index)
    if out is not None and out._dtype is not input._dtype:
        raise RuntimeError(
            f"gather(): Expected out tensor to have dtype {input._dtype.scalar_name}, but got "
            f"{out._dtype.scalar_name} instead"
        )
    if len(shape := index._a.shape) == (ndim := input._a.ndim) or prod(shape) or not ndim:
        result = _gather(input, index, dim=d)
    else:  # PyTorch takes an empty index of any number of dimensions
        result = reshape(_gather(input, reshape(index, (0,) * ndim), dim=d), shape)
    if out is None:
        return result
    refuse_overlap(out, (index,), result.shape, same=True)
    return write_out(out, result, input)


def take_along_dim(input: Any, indices: Any, dim: int | None = None, *, out: Any = None) -> Any:
    """Pick along one dimension by indices that broadcast with the other dimensions."""
    if dim is None:
        return gather(reshape(input, (-1,)), 0, reshape(indices, (-1,)), out=out)
    if input._a.ndim != indices._a.ndim:
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, "
            f"but got {input._a.ndim} dimensions for input, and {indices._a.ndim} dimensions for "
            "indices"
        )
    d = wrap_dim(dim, input._a.ndim)
    a, b = list(input._a.shape), list(indices._a.shape)
    held, wanted = a[d], b[d]
    a[d] = b[d] = 1
    shape = list(broadcast_shape(tuple(a), tuple(b)))
    source, where = list(shape), list(shape)
    source[d], where[d] = held, wanted
    indices = expand(indices.where(indices >= 0, indices + held), where)
    return gather(expand(input, source), d, indices, out=out)


def scatter(
    input: Any, dim: int, index: Any, src: Any = None, *, value: Any = None,
    reduce: str | None = None, out: Any = None,
) -> Any:  # fmt: skip
    """Return a copy with `src` written along one dimension: `out[index[i][j]][j] = src[i][j]`.

    >>> multitorch.zeros(3).scatter(0, multitorch.tensor([2]), 1.0)
    tensor([0., 0., 1.])
    """
    src = value if src is None else src
    if reduce is not None:
        result = _scatter_with(input, dim, index, src, reduce)
    elif isinstance(src, dispatch.Tensor):
        d, src = _check_scatter("scatter", input, dim, index, src)
        result = _scatter(input, index, src, dim=d)
    else:
        d, _ = _check_scatter("scatter", input, dim, index, None)
        result = _scatter_value(input, index, number_for(input, src), dim=d)
    return result if out is None else write_out(out, result, index, src)


def number_for(x: Any, value: Any) -> Any:
    from multitorch.ops.creation import _as_kind

    return _as_kind(value, x._dtype)


def _scatter_with(x: Any, dim: int, index: Any, src: Any, reduce: str) -> Any:
    if reduce not in ("add", "multiply"):
        raise RuntimeError("reduce argument must be either add or multiply.")
    if not isinstance(src, dispatch.Tensor):
        src = expand(x.new_full((), src), tuple(index.shape))
    name = {"add": "sum", "multiply": "prod"}[reduce]
    return scatter_reduce(x, dim, index, src, name)


def scatter_add(input: Any, dim: int, index: Any, src: Any, *, out: Any = None) -> Any:
    """Return a copy to which `src` is added along one dimension, as `scatter` writes."""
    d, src = _check_scatter("scatter_add", input, dim, index, src)
    result = _scatter_add(input, index, src, dim=d)
    return result if out is None else write_out(out, result, index, src)


def scatter_reduce(
    input: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True,
    out: Any = None,
) -> Any:  # fmt: skip
    """Return a copy in which all of `src` that goes to one place is reduced there.

    >>> x, i = multitorch.zeros(2), multitorch.tensor([0, 0, 1])
    >>> x.scatter_reduce(0, i, multitorch.tensor([1.0, 5.0, 2.0]), "amax")
    tensor([5., 2.])
    """
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError(
            f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}"
        )
    d, src = _check_scatter("scatter_reduce", input, dim, index, src)
    result = _scatter_reduce(input, index, src, dim=d, reduce=reduce, include_self=include_self)
    return result if out is None else write_out(out, result, index, src)


# --- whole slices ---------------------------------------------------------------------------------


def index_select(input: Any, dim: int, index: Any, *, out: Any = None) -> Any:
    """Return the slices of one dimension that `index` names.

    >>> multitorch.arange(6).view(3, 2).index_select(0, multitorch.tensor([2, 0])).tolist()
    [[4, 5], [0, 1]]
    """
    d = wrap_dim(dim, input._a.ndim)
    if index._a.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    _check_index("index_select", index, "int32 or int64")
    index = index if index._a.ndim else reshape(index, (1,))
    result = _index_select(input, index, dim=d)
    return result if out is None else write_out(out, result, input, index)


def _check_slices(
    name: str, x: Any, dim: int, index: Any, src: Any, error: type, colon: str
) -> tuple[int, Any]:
    d = wrap_dim(dim, x._a.ndim)
    if index._a.ndim > 1:
        raise IndexError(f"{name}_(): Index is supposed to be a vector, but got dim: {index.ndim}")
    _check_index(f"{name}_", index, "int32/int64")
    if src._dtype is not x._dtype:
        raise RuntimeError(
            f"{name}_(): self ({x._dtype.scalar_name}) and source ({src._dtype.scalar_name}) must "
            "have the same scalar type"
        )
    index = index if index._a.ndim else reshape(index, (1,))
    n = src._a.shape[d] if src._a.ndim else 1
    if index._a.shape[0] != n:
        end = f": ({n}), for dim: {d}" if colon else f" ({n})"
        raise error(
            f"{name}_(): Number of indices ({index._a.shape[0]}) should be equal to "
            f"source.size(dim){end}"
        )
    have, want = list(x._a.shape), list(src._a.shape)
    have[d : d + 1], want[d : d + 1] = [], []
    if have != want:
        raise RuntimeError(
            f"{name}_(): Source/destination tensor must have same slice shapes. Destination slice "
            f"shape: {have} at dimension {d} and source slice shape: {want} at dimension {d}."
        )
    return d, index


def index_add(
    input: Any, dim: int, index: Any, source: Any, *, alpha: Any = 1, out: Any = None
) -> Any:
    """Return a copy to whose slices `alpha * source` is added where `index` says."""
    d, index = _check_slices("index_add", input, dim, index, source, RuntimeError, ":")
    result = _index_add(input, index, source if alpha == 1 else source * alpha, dim=d)
    return result if out is None else write_out(out, result)


def index_copy(input: Any, dim: int, index: Any, source: Any, *, out: Any = None) -> Any:
    """Return a copy whose slices named by `index` are those of `source`."""
    d, index = _check_slices("index_copy", input, dim, index, source, IndexError, "")
    result = _index_copy(input, index, source, dim=d)
    return result if out is None else write_out(out, result)


def index_fill(input: Any, dim: int, index: Any, value: Any) -> Any:
    """Return a copy whose slices named by `index` hold one value."""
    d = wrap_dim(dim, input._a.ndim)
    _check_index("index_fill_", index)
    if index._a.ndim > 1:
        raise IndexError("Index has to be a vector/scalar")
    if isinstance(value, dispatch.Tensor):
        if value._a.ndim:
            raise RuntimeError(
                "index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                f"{value._a.ndim} dimension(s)."
            )
        value = value.to(input._dtype)
    else:
        value = number_for(input, value)
    index = index if index._a.ndim else reshape(index, (1,))
    return _index_fill(input, index, value, dim=d)


def index_reduce(
    input: Any, dim: int, index: Any, source: Any, reduce: str, *, include_self: bool = True,
    out: Any = None,
) -> Any:  # fmt: skip
    """Return a copy in which all slices of `source` that go to one place are reduced there."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(
            "index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got "
            f"{reduce}."
        )
    d, index = _check_slices("index_reduce", input, dim, index, source, RuntimeError, ":")
    if not input._a.ndim:
        result = index_reduce(
            reshape(input, (1,)), 0, index, reshape(source, (-1,)), reduce,
            include_self=include_self,
        )  # fmt: skip
        result = reshape(result, ())
        return result if out is None else write_out(out, result)
    line = [1] * max(source._a.ndim, 1)
    line[d] = index._a.shape[0]
    where = expand(reshape(index, line), tuple(source._a.shape) or (1,))
    result = scatter_reduce(input, d, where, source, reduce, include_self=include_self)
    return result if out is None else write_out(out, result)


# --- as if flat -----------------------------------------------------------------------------------


def take(input: Any, index: Any, *, out: Any = None) -> Any:
    """Return the elements that `index` names in the flattened tensor."""
    if index._dtype is not dtypes.int64:
        raise RuntimeError(
            f"take(): Expected a long tensor for index, but got {index._dtype.scalar_name}"
        )
    result = _take(input, index)
    return result if out is None else write_out(out, result, input, index)


def put(input: Any, index: Any, source: Any, accumulate: bool = False) -> Any:
    """Return a copy with `source` stored (or added) where `index` names flattened elements."""
    if index._dtype is not dtypes.int64:
        raise RuntimeError(
            f"put_(): Expected a long tensor for index, but got {index._dtype.scalar_name}"
        )
    if source._dtype is not input._dtype:
        raise RuntimeError(
            "put_(): self and source expected to have the same dtype, but got self.dtype = "
            f"{input._dtype.scalar_name} and source.dtype = {source._dtype.scalar_name}"
        )
    if prod(source._a.shape) != prod(index._a.shape):
        raise IndexError(
            "put_(): Expected source and index to have the same number of elements, but got "
            f"source.numel() = {prod(source._a.shape)}, index.numel() = {prod(index._a.shape)}"
        )
    return _put(input, index, source, accumulate=bool(accumulate))


FUNCTIONS: dict[str, Callable] = {
    "gather": gather, "index_add": index_add, "index_copy": index_copy, "index_fill": index_fill,
    "index_reduce": index_reduce, "index_select": index_select, "put": put, "scatter": scatter,
    "scatter_add": scatter_add, "scatter_reduce": scatter_reduce, "take": take,
    "take_along_dim": take_along_dim,
}  # fmt: skip
METHODS: dict[str, Callable] = dict(FUNCTIONS)
INPLACE: dict[str, Callable] = {
    f"{f.__name__}_": f
    for f in (
        index_add, index_copy, index_fill, index_reduce, put, scatter, scatter_add, scatter_reduce,
    )
}  # fmt: skip
