"""Reductions over segments of unequal length, and reductions by XOR."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from typing import Any

from multitorch import dtypes
from multitorch.ops import ranges
from multitorch.ops.apply import write_out
from multitorch.ops.common import wrap_dim
from multitorch.ops.logic import bitwise_xor, where_op
from multitorch.ops.promote import not_implemented

Tensor = Any
_EMPTY = {"sum": 0.0, "mean": nan, "prod": 1.0, "max": -inf, "min": inf}
"""Reduction: what a segment without elements and without an initial value gives."""


def segment_reduce(
    data: Tensor, reduce: str, *, lengths: Tensor | None = None, indices: Tensor | None = None,
    offsets: Tensor | None = None, axis: int = 0, unsafe: bool = False,
    initial: float | None = None, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Reduce segments of one dimension, given by their lengths or by their bounds (`offsets`).

    >>> torch = multitorch
    >>> torch.segment_reduce(torch.tensor([1.0, 2, 3]), "sum", lengths=torch.tensor([2, 1]))
    tensor([3., 3.])
    """
    if reduce not in _EMPTY:
        raise RuntimeError(
            f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}"
        )
    axis = wrap_dim(axis, data.ndim)
    if indices is not None:
        raise RuntimeError("segment_reduce(): indices based reduction is not supported yet.")
    bounds = _bounds(data, lengths, offsets, axis, unsafe)
    if not data._dtype.is_floating_point:
        raise not_implemented("_segment_reduce", data._dtype)
    t = _reduce_between(data, bounds, axis, reduce, initial)
    return t if out is None else write_out(out, t)


def _bounds(
    data: Tensor, lengths: Tensor | None, offsets: Tensor | None, axis: int, unsafe: bool
) -> Tensor:
    """Return where segments begin and end: (*outer, number of segments + 1)."""
    given = lengths if offsets is None else offsets
    name = "lengths" if offsets is None else "offsets"
    if given is None:
        raise RuntimeError("segment_reduce(): Either lengths or offsets must be defined.")
    if not given._dtype.category == dtypes.INTEGER:
        raise not_implemented("_segment_reduce", given._dtype)
    if given.ndim > data.ndim or given.ndim - 1 != axis:
        raise RuntimeError(
            f"segment_reduce(): Expected axis to be the last dimension of {name} but got {axis}."
        )
    if offsets is not None:
        return offsets
    if not unsafe and not given.is_meta:
        if bool((given < 0).any()):
            raise RuntimeError("lengths contains negative value!")
        if bool((given.sum(-1) != data.shape[axis]).any()):
            raise RuntimeError(
                "segment_reduce(): Expected all rows of lengths along axis to sum to "
                "data.size(lengths.dim()-1) when !unsafe."
            )
    ends = given.cumsum(-1)
    return _joined(ends.new_zeros(*ends.shape[:-1], 1), ends)


def _joined(a: Tensor, b: Tensor) -> Tensor:
    from multitorch.ops.join import cat

    return cat([a, b], -1)


def _reduce_between(
    data: Tensor, bounds: Tensor, axis: int, reduce: str, initial: float | None
) -> Tensor:
    n, count = data.shape[axis], bounds.shape[-1] - 1
    outer, inner = data.shape[:axis], data.shape[axis + 1 :]
    place = ranges.arange(n, device=data._dev)
    # the segment of an element is the number of ends before it; what is outside goes to a last one
    segment = (place.unsqueeze(-1) >= bounds[..., None, 1:]).sum(-1)
    segment = segment.masked_fill(place < bounds[..., :1], count)
    spread = segment.view(*outer, n, *(1,) * len(inner)).expand(data.shape)
    name = {"mean": "sum", "max": "amax", "min": "amin"}.get(reduce, reduce)
    empty = _EMPTY["sum" if reduce == "mean" else reduce]
    start = data.new_full((*outer, count + 1, *inner), empty)
    found = start.scatter_reduce(axis, spread, data, name, include_self=name in ("sum", "prod"))
    found = found.narrow(axis, 0, count)
    sizes = (bounds[..., 1:] - bounds[..., :-1]).view(*outer, count, *(1,) * len(inner))
    return _with_initial(found, sizes, reduce, initial)


def _with_initial(found: Tensor, sizes: Tensor, reduce: str, initial: float | None) -> Tensor:
    if reduce == "mean":
        total = found if initial is None else found + initial
        return where_op(sizes > 0, total / sizes.clamp(min=1), nan if initial is None else initial)
    if initial is None:
        return found
    if reduce == "sum":
        return found + initial
    if reduce == "prod":
        return found * initial
    worse = found < initial if reduce == "max" else found > initial
    return where_op(worse, found.new_full((), initial), found)


# --- hash ----------------------------------------------------------------------------------------


def hash_tensor(
    input: Tensor, dim: Any = (), *, keepdim: bool = False, mode: int = 0,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the XOR of the elements' bits (as float64 or int64), over dimensions or over all."""
    if mode != 0:
        raise RuntimeError(f"Unknown hash_tensor mode: {mode}")
    if input._dtype.is_complex:
        raise not_implemented("xor_sum_cpu", input._dtype)
    given = [dim] if isinstance(dim, int) else list(dim)
    dims = sorted({wrap_dim(d, input.ndim) for d in given}) or list(range(input.ndim))
    _check_hash(input, given, dims)
    wide = dtypes.float64 if input._dtype.is_floating_point else dtypes.int64
    bits = input.detach().to(wide).view(dtypes.int64)
    for d in reversed(dims if input.ndim else []):
        bits = _xor_along(bits, d)
        bits = bits if keepdim else bits.squeeze(d)
    t = bits.view(dtypes.uint64)
    return t if out is None else write_out(out, t)


def _check_hash(x: Tensor, given: list[int], dims: list[int]) -> None:
    if not given and not x.numel():
        raise RuntimeError(
            "hash_tensor: Expected reduction dim to be specified for input.numel() == 0. Specify "
            "the reduction dim with the 'dim' argument."
        )
    for d in dims if x.ndim else []:
        if not x.shape[d]:
            raise IndexError(f"hash_tensor: Expected reduction dim {d} to have non-zero size.")


def _xor_along(x: Tensor, dim: int) -> Tensor:
    """Halve a dimension until one element is left."""
    n = x.shape[dim]
    while n > 1:
        half = n // 2
        paired = bitwise_xor(x.narrow(dim, 0, half), x.narrow(dim, half, half))
        if n % 2:
            first = bitwise_xor(paired.narrow(dim, 0, 1), x.narrow(dim, n - 1, 1))
            paired = paired.slice_scatter(first, dim, 0, 1)
        x, n = paired, half
    return x


# --- places --------------------------------------------------------------------------------------


def nonzero_static(
    input: Tensor, *, size: int, fill_value: int = -1, out: Tensor | None = None
) -> Tensor:
    """Return the indices of the first `size` nonzero elements, rows of `fill_value` beyond.

    Unlike that of `nonzero`, the shape does not depend on the values.

    >>> multitorch.nonzero_static(multitorch.tensor([0, 1, 1]), size=3).tolist()
    [[1], [2], [-1]]
    """
    if size < 0:
        raise RuntimeError(f"nonzero_static: 'size' must be an non-negative integer, got {size}")
    shape = tuple(input.shape)
    hit = (input.detach() != 0).reshape(-1)
    rank = (hit.cumsum(0) - 1).clamp(max=size)
    rank = rank.masked_fill(hit.logical_not(), size)  # what is not wanted goes to a last place
    places = ranges.arange(hit.shape[0], device=input._dev)
    flat = places.new_full((size + 1,), -1).scatter(0, rank, places).narrow(0, 0, size)
    columns = [places.new_zeros(size, 0)]
    step = hit.shape[0]
    for n in shape:
        step = step // n if n else 0
        column = flat.div(max(step, 1), rounding_mode="floor") % max(n, 1)
        columns.append(column.masked_fill(flat < 0, fill_value).unsqueeze(1))
    t = columns[0]
    for column in columns[1:]:
        t = _joined(t, column)
    return t if out is None else write_out(out, t)


FUNCTIONS: dict[str, Callable] = {
    f.__name__: f for f in (segment_reduce, hash_tensor, nonzero_static)
} | {"_segment_reduce": segment_reduce}
METHODS: dict[str, Callable] = {"hash_tensor": hash_tensor, "nonzero_static": nonzero_static}
