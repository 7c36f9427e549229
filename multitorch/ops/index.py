"""Indexing with square brackets: `x[...]`, `x[...] = value`, and the ops behind them.

A key is taken apart into view steps (integers, slices, None, `...`) and index tensors. Without
index tensors the result is a view; with them it is the op `index`, or `index_put` for a write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from multitorch import dtypes
from multitorch.autograd.tape import LEAF, log_write
from multitorch.backend.registry import ARRAY_TYPES
from multitorch.ops import apply as dispatch
from multitorch.ops.apply import broadcast_shape
from multitorch.ops.inplace import check_writable, commit
from multitorch.ops.keys import (
    DIM0,
    Analysis,
    basic_steps,
    first_index,
    is_mask,
    nonzero,
    part_in_memory,
)
from multitorch.ops.op import REGISTRY, Op
from multitorch.ops.parts import _select
from multitorch.ops.view import apply_view, join, member, root_of
from multitorch.ops.views import alias, expand, reshape
from multitorch.ops.writes import copy_, fill_

# --- declarations ---------------------------------------------------------------------------------


def indexed_shape(shape: Sequence[int], indices: Sequence[Any]) -> tuple[int, ...]:
    """Return the shape of `x[indices]`; None stands for a whole dimension.

    Index tensors broadcast together; their dimensions stand where the first of them stood, or in
    front if a whole dimension lies between them.
    """
    given = [d for d, i in enumerate(indices) if i is not None]
    found = broadcast_shape(*[tuple(indices[d].shape) for d in given])
    rest = [n for d, n in enumerate(shape) if d not in given]
    together = given[-1] - given[0] + 1 == len(given)
    at = given[0] if together else 0
    return (*rest[:at], *found, *rest[at:])


_index = Op(
    "index", "x *indices", shape=lambda x, *indices: (indexed_shape(x.shape, indices), x.dtype)
).vjps(
    lambda F, g, x_shape, indices: [
        F.index_backward(g, *indices, shape=x_shape),
        *[None] * len(indices),
    ]
)
_index_rows = Op(
    "index_rows",
    "x index",
    kernel="index",
    node="Index",
    shape=lambda x, *index: (indexed_shape(x.shape, index), x.dtype),
).vjp(x=lambda F, g, index, x_shape: F.index_backward(g, index, shape=x_shape))
_index_backward = Op(
    "index_backward", "x *indices", shape=lambda x, *indices, shape: (shape, x.dtype)
).vjps(lambda F, g, indices: [F.index(g, *indices), *[None] * len(indices)])


def _index_put_grad(
    F: Any, g: Any, values_shape: Any, indices: Any, accumulate: bool, needs: tuple[bool, ...]
) -> list[Any]:
    kept = None
    if needs[0]:
        zero = F.new_zeros(g, shape=())
        kept = g if accumulate else F.index_put(g, zero, *indices, accumulate=False)
    new = F.sum_to(F.index(g, *indices), shape=values_shape) if needs[1] else None
    return [kept, new, *[None] * len(indices)]


_index_put = Op(
    "index_put", "x values *indices",
    shape=lambda x, values, *indices, accumulate: (x.shape, x.dtype),
).vjps(_index_put_grad)  # fmt: skip

# --- reading --------------------------------------------------------------------------------------


def _walk(x: Any, steps: Sequence[tuple]) -> Any:
    """Return the view that a chain of view steps leads to."""
    if len(steps) == 1:
        return apply_view(steps[0][0], x, steps[0][1], steps[0][2])
    if x._node is not None or dispatch.capturing or not steps:
        for op, data, params in steps:
            x = apply_view(op, x, data, params)
        return x
    dev = x._dev
    a = x._a
    for op, data, params in steps:
        a = op.kernels[dev](a, *data, **params)
    t = dispatch.wrap(a, dev)
    join(t, x, tuple(steps))
    return t


def _row(a: Any, index: int) -> Any:
    """Return `a[index]` of an array that is memory, as a view of it."""
    try:
        row = a[index]
    except IndexError:
        first_index(index, a.shape)  # raises PyTorch's error
        raise
    # the dots make it a view where a scalar would come out
    return row if row.__class__ in ARRAY_TYPES else a[index, ...]


def getitem(x: Any, key: Any) -> Any:
    """Return `x[key]`: a view for integers, slices, None and `...`, else a copy."""
    kind = key.__class__
    if kind is int:
        if x._dev._backend.mutable and not dispatch.capturing:
            a = _row(x._a, key)
            if key < 0:
                key += len(x._a)
            return member(x, a, ((_select, (key,), DIM0),))
        return apply_view(_select, x, (first_index(key, x._a.shape),), DIM0)
    if kind is slice or kind is tuple:
        if x._dev._backend.mutable and not dispatch.capturing:
            view = part_in_memory(x, key)
            if view is not None:
                return view
        steps = basic_steps(x._a.shape, key if kind is tuple else (key,))
        if steps is not None:
            return _walk(x, steps) if steps else alias(x)
    elif isinstance(key, dispatch.Tensor) and key._dtype is dtypes.int64:
        if key._dev is x._dev and key._a.ndim and x._a.ndim:
            return _index_rows(x, key)
    found = Analysis(x, key)
    if found.steps:
        view = _walk(x, found.steps)
    else:
        view = alias(x) if not found.indices else x
    return _indexed(view, found.dense()) if found.indices else view


def _check_broadcast(indices: Sequence[Any]) -> None:
    shapes = [tuple(i._a.shape) for i in indices if i is not None]
    if len(shapes) > 1 and any(s != shapes[0] for s in shapes):
        try:
            broadcast_shape(*shapes)
        except RuntimeError:
            names = ", ".join(str(list(s)) for s in shapes)
            raise IndexError(
                "shape mismatch: indexing tensors could not be broadcast together with shapes "
                + names
            ) from None


def _indexed(x: Any, indices: list[Any]) -> Any:
    _check_broadcast(indices)
    return _index(x, *indices)


# --- writing --------------------------------------------------------------------------------------


def setitem(x: Any, key: Any, value: Any) -> None:
    """Store `value`, broadcast and cast, where `x[key]` reads."""
    if not isinstance(value, dispatch.Tensor):
        value = _number(x, value)
    kind = key.__class__
    steps = None
    if kind is int:
        steps = [(_select, (first_index(key, x._a.shape),), DIM0)]
    elif kind is tuple or kind is slice:
        steps = basic_steps(x._a.shape, key if kind is tuple else (key,))
    if steps is None:
        found = Analysis(x, key, keeps_mask=getattr(value, "ndim", 0) == 0)
        steps = found.steps
        if found.indices:
            _put(_walk(x, steps), found.dense(), value)
            return
    if _store_raw(x, steps, value):
        return
    view = _walk(x, steps) if steps else x
    if isinstance(value, dispatch.Tensor):
        copy_(view, _without_leading_ones(value, view._a.ndim))
    else:
        fill_(view, value)


def _number(x: Any, value: Any) -> Any:
    """Return what is stored as a Python number that fits the dtype of `x`."""
    kind = value.__class__
    if kind is float and x._dtype.inexact or kind is int and x._dtype is dtypes.int64:
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, (int, float, complex)):
        kind = dispatch.Tensor.type(x)
        raise TypeError(f"can't assign a {type(value).__name__} to a {kind}")
    from multitorch.ops.creation import _as_kind

    return _as_kind(value, x._dtype)


def _without_leading_ones(value: Any, ndim: int) -> Any:
    shape = tuple(value._a.shape)
    while len(shape) > ndim and shape[0] == 1:
        shape = shape[1:]
    if len(shape) > ndim:
        raise RuntimeError(
            f"expand({value.type()}{{{list(shape)}}}, ...): the number of sizes provided ({ndim}) "
            f"must be greater or equal to the number of dimensions in the tensor ({len(shape)})"
        )
    return value if shape == value._a.shape else reshape(value, shape)


def _untaped(x: Any, value: Any) -> bool:
    """Whether a write to `x` is memory traffic only: the tape has no part in it."""
    if dispatch.capturing or x._node is not None or not x._dev.backend.mutable:
        return False
    if isinstance(value, dispatch.Tensor):
        if value._node is not None or value._dev is not x._dev:
            return False
    if x._view is None:
        return True
    check_writable(x)
    return root_of(x)._node is not LEAF


def _store_raw(x: Any, steps: Sequence[tuple], value: Any) -> bool:
    """Store into memory without making a view tensor; return False where that would not do."""
    if not _untaped(x, value):
        return False
    dev = x._dev
    a = x._a
    for op, data, params in steps:
        a = op.kernels[dev](a, *data, **params)
    if isinstance(value, dispatch.Tensor):
        if value._a.shape != a.shape:
            value = expand(_without_leading_ones(value, a.ndim), tuple(a.shape))
        value = value._a
    dev.backend.write(a, value)
    log_write(dev.backend.buffer(x._a))
    return True


def _put(view: Any, indices: list[Any], value: Any) -> None:
    """Store at index tensors."""
    masked = len(indices) == 1 and indices[0]._dtype is dtypes.bool_
    if not isinstance(value, dispatch.Tensor):
        if _write_in_memory(view, indices, value, False):
            return
        value = view.new_full((), value)
    elif value._dtype is not view._dtype:
        value = value.to(view._dtype)
    if value._dev is not view._dev and not value._a.ndim:
        value = value.to(view._dev)
    if masked and value._a.ndim:
        indices = list(nonzero(indices[0], as_tuple=True))
    elif masked and not _write_in_memory(view, indices, value, False):
        _fill_where(view, indices[0], value)
        return
    elif masked:
        return
    _check_broadcast(indices)
    _put_into(view, indices, value, False)


def _fill_where(x: Any, mask: Any, value: Any) -> None:
    """Store one value where a mask of the first dimensions is true: no index needs to be known."""
    check_writable(x)
    shape = (*mask._a.shape, *[1] * (x._a.ndim - mask._a.ndim))
    masked_fill = REGISTRY["masked_fill"].apply
    commit(x, masked_fill(x, reshape(mask, shape), value))


def _check_values(x: Any, indices: Sequence[Any], values: Any) -> Any:
    """Return the values ready to be broadcast to `x[indices]`, or raise PyTorch's error."""
    if not values._a.ndim:
        return values
    target = indexed_shape(x._a.shape, [i if i is None else i._a for i in indices])
    shape = tuple(values._a.shape)
    kept = shape
    while len(kept) > len(target) and kept[0] == 1:
        kept = kept[1:]
    pairs = zip(reversed(kept), reversed(target), strict=False)
    if len(kept) > len(target) or any(a != b and a != 1 for a, b in pairs):
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(shape)} cannot be broadcast to indexing "
            f"result of shape {list(target)}"
        )
    return values if kept == shape else reshape(values, kept)


def _write_in_memory(x: Any, indices: list[Any], values: Any, accumulate: bool) -> bool:
    """Store at index tensors where only memory is concerned; return False where it is not."""
    if not _untaped(x, values):
        return False
    kernel = getattr(x._dev.backend, "index_put_", None)
    if kernel is None:
        return False
    raws = [None if i is None else i._a for i in indices]
    kernel(x._a, getattr(values, "_a", values), *raws, accumulate=accumulate)
    log_write(x._dev.backend.buffer(x._a))
    return True


def _put_into(x: Any, indices: list[Any], values: Any, accumulate: bool) -> Any:
    values = _check_values(x, indices, values)
    if _write_in_memory(x, indices, values, accumulate):
        return x
    check_writable(x)
    return commit(x, _index_put(x, values, *indices, accumulate=accumulate))


def index_put(input: Any, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Any:
    """Return a copy with `values` stored (or added) at index tensors.

    >>> x = multitorch.zeros(3)
    >>> x.index_put((multitorch.tensor([0, 0]),), multitorch.tensor(1.0), accumulate=True)
    tensor([2., 0., 0.])
    """
    dense = _checked_put(input, indices, values)
    values = _check_values(input, dense, values)
    return _index_put(input, values, *dense, accumulate=bool(accumulate))


def _checked_put(x: Any, indices: Sequence[Any], values: Any) -> list[Any]:
    if values._dtype is not x._dtype:
        raise RuntimeError(
            "Index put requires the source and destination dtypes match, got "
            f"{x._dtype.scalar_name} for the destination and {values._dtype.scalar_name} for the "
            "source."
        )
    dense: list[Any] = []
    analysis = Analysis(x, ())
    for item in indices:
        if item is None:
            dense.append(None)
        elif is_mask(item):
            dense += nonzero(analysis.placed(item), as_tuple=True)
        else:
            dense.append(analysis.placed(item))
    if len(dense) > x._a.ndim:
        raise IndexError(f"too many indices for tensor of dimension {x._a.ndim}")
    _check_broadcast(dense)
    return dense


def index_put_(input: Any, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Any:
    """Store (or add) `values` at index tensors, in place."""
    dense = _checked_put(input, indices, values)
    return _put_into(input, dense, values, bool(accumulate))


def argwhere(input: Any) -> Any:
    """Return the indices of all elements that are not zero, one per row."""
    return nonzero(input)


FUNCTIONS: dict[str, Callable] = {
    "argwhere": argwhere, "index_put": index_put, "index_put_": index_put_, "nonzero": nonzero,
}  # fmt: skip
METHODS: dict[str, Callable] = {
    **FUNCTIONS, "__getitem__": getitem, "__setitem__": setitem,
}  # fmt: skip
