"""Indexing with square brackets: `x[...]`, `x[...] = value`, and the ops behind them.

A key is taken apart into view steps (integers, slices, None, `...`) and index tensors. Without index
tensors the result is a view; with them it is the op `index`, or `index_put` for a write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from multitorch import dtypes
from multitorch.autograd.tape import LEAF, log_write
from multitorch.ops import apply as dispatch
from multitorch.ops.apply import broadcast_shape, raw_of, world_for
from multitorch.ops.inplace import check_writable, commit
from multitorch.ops.op import Op
from multitorch.ops.parts import _select, _slice
from multitorch.ops.shape import slice_length
from multitorch.ops.view import root_of, apply_view, attach
from multitorch.ops.views import _unsqueeze, alias, expand, reshape
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
_nonzero = Op("nonzero", "x").nondiff()


def nonzero(input: Any, *, out: Any = None, as_tuple: bool = False) -> Any:
    """Return the indices of all elements that are not zero, one per row.

    >>> multitorch.tensor([0, 3, 4]).nonzero().tolist()
    [[1], [2]]
    """
    if as_tuple:
        return nonzero(input if input._a.ndim else reshape(input, (1,))).unbind(1)
    found = _nonzero(input)
    return found if out is None else out._store(found)


# --- taking a key apart ---------------------------------------------------------------------------

_INDEX_TYPES = frozenset((dtypes.int64, dtypes.int32, dtypes.int16, dtypes.int8))
_DIM0 = {"dim": 0}
_FULL = slice(None)


def _out_of_bounds(index: Any, dim: int, size: int) -> IndexError:
    return IndexError(f"index {index} is out of bounds for dimension {dim} with size {size}")


def _as_tuple(key: Any) -> tuple[Any, ...]:
    """Return a key as a tuple; PyTorch reads some lists as tuples."""
    if key.__class__ is tuple:
        return key
    if isinstance(key, list) and len(key) < 32:
        for item in key:
            if item is None or item is Ellipsis or isinstance(item, (slice, list, tuple)):
                return tuple(key)
            if isinstance(item, (dispatch.Tensor, np.ndarray)):
                return tuple(key)
    return (key,)


def _consumed(item: Any) -> int:
    if item is None or item is Ellipsis or item is True or item is False:
        return 0
    if isinstance(item, (dispatch.Tensor, np.ndarray)) and _is_mask(item):
        return item.ndim
    return 1


def _is_mask(item: Any) -> bool:
    kind = item._dtype if isinstance(item, dispatch.Tensor) else dtypes.to_dtype(item.dtype)
    return kind is dtypes.bool_ or kind is dtypes.uint8


class _Analysis:
    """Walks along a key: collects view steps, and index tensors by dimension of their result."""

    __slots__ = ("dim", "indices", "original", "shape", "single", "steps", "x")

    def __init__(self, x: Any, key: Any) -> None:
        self.x, self.shape = x, list(x._a.shape)
        self.dim = self.original = 0
        self.steps: list[tuple] = []
        self.indices: dict[int, Any] = {}
        items = _as_tuple(key)
        self.single = x._dev.backend.mutable and len(items) == 1
        used = sum([_consumed(item) for item in items])
        if used > len(self.shape):
            raise IndexError(f"too many indices for tensor of dimension {len(self.shape)}")
        skipped = len(self.shape) - used
        for item in items:
            if item is Ellipsis:
                self.dim += skipped
                self.original += skipped
                skipped = 0
            else:
                self.take(item)

    def take(self, item: Any) -> None:
        """Deal with one item of the key."""
        kind = item.__class__
        if kind is int:
            self.take_int(item)
        elif kind is slice:
            self.take_slice(item)
        elif item is None:
            self.insert_dim()
        elif kind is bool:
            self.take_bool(item)
        elif isinstance(item, dispatch.Tensor):
            self.take_tensor(item)
        else:
            self.take_other(item)

    def take_int(self, index: int) -> None:
        """Select one element of the present dimension."""
        n = self.shape[self.dim]
        if not -n <= index < n:
            raise _out_of_bounds(index, self.original, n)
        self.steps.append((_select, (index + n if index < 0 else index,), {"dim": self.dim}))
        del self.shape[self.dim]
        self.original += 1

    def take_slice(self, item: slice) -> None:
        """Narrow the present dimension."""
        if item != _FULL:
            n = self.shape[self.dim]
            start, stop, step = [_slice_bound(v) for v in (item.start, item.stop, item.step)]
            first, length = slice_length(start, stop, 1 if step is None else step, n)
            if length != n or step not in (None, 1):
                params = {"dim": self.dim, "length": length, "step": 1 if step is None else step}
                self.steps.append((_slice, (first,), params))
                self.shape[self.dim] = length
        self.dim += 1
        self.original += 1

    def insert_dim(self) -> None:
        """Insert a dimension of size one."""
        self.shape.insert(self.dim, 1)
        self.steps.append((_unsqueeze, (), {"shape": tuple(self.shape)}))
        self.dim += 1

    def take_bool(self, value: bool) -> None:
        """Insert a dimension of size one or, for False, none."""
        self.insert_dim()
        self.indices[self.dim - 1] = self.tensor([0] if value else [])

    def take_tensor(self, item: Any) -> None:
        """Deal with a tensor: an integer, a mask, or indices."""
        if item._dtype not in _INDEX_TYPES and not _is_mask(item):
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        if _is_mask(item):
            self.take_mask(item)
        elif item._a.ndim:
            self.indices[self.dim] = self.placed(item)
            self.dim += 1
            self.original += 1
        elif item._dev.backend.mutable and not dispatch.capturing:
            self.take_int(int(item.item()))
        else:
            self.take_traced(item)

    def take_traced(self, item: Any) -> None:
        """Select by an integer that stays on the device: no wait, and no check of its bounds."""
        item = self.placed(item)
        n = self.shape[self.dim]
        raw = raw_of(item + n * (item < 0), item._dev, world_for(item._dev))
        self.steps.append((_select, (raw,), {"dim": self.dim}))
        del self.shape[self.dim]
        self.original += 1

    def take_mask(self, mask: Any) -> None:
        """Index as many dimensions as the mask has by where it is true."""
        if not mask._a.ndim:
            self.take_bool(bool(mask.item()))
            return
        for k, n in enumerate(mask._a.shape):
            if n != self.shape[self.dim + k]:
                raise IndexError(
                    f"The shape of the mask {list(mask.shape)} at index {k} does not match the shape "
                    f"of the indexed tensor {list(self.x.shape)} at index {self.original + k}"
                )
        mask = self.placed(mask)
        if self.single and mask._dtype is dtypes.bool_ and not dispatch.capturing:
            # arrays that are memory can be indexed by a mask as it is
            self.indices[self.dim] = mask
            return
        for found in nonzero(mask, as_tuple=True):
            self.indices[self.dim] = found
            self.dim += 1
            self.original += 1

    def take_other(self, item: Any) -> None:
        """Deal with NumPy's scalars and arrays, sequences, and what cannot index."""
        if isinstance(item, np.bool_):
            self.take_bool(bool(item))
        elif isinstance(item, np.ndarray) and item.ndim and item.dtype.kind in "iub":
            self.take_tensor(self.tensor(item))
        elif isinstance(item, (list, range, tuple)):
            self.take_tensor(self.tensor(list(item), None if len(item) else dtypes.int64))
        elif hasattr(item, "__index__"):
            self.take_int(item.__index__())
        else:
            raise IndexError(
                "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are "
                f"valid indices (got {type(item).__name__})"
            )

    def tensor(self, data: Any, dtype: Any = dtypes.int64) -> Any:
        """Return index data as a tensor on the device of the indexed one."""
        from multitorch.ops.creation import tensor

        if isinstance(data, np.ndarray):
            dtype = None
        if not self.x._dev.backend.mutable:
            self.check_bounds(np.asarray(data))
        return tensor(data, dtype=dtype, device=self.x._dev)

    def check_bounds(self, indices: np.ndarray) -> None:
        """Look at indices that come from the host: a device would clamp or skip them in silence."""
        if indices.dtype.kind in "iu" and indices.size and self.dim < len(self.shape):
            n = self.shape[self.dim]
            for index in (int(indices.min()), int(indices.max())):
                if not -n <= index < n:
                    raise _out_of_bounds(index, self.original, n)

    def placed(self, item: Any) -> Any:
        """Return an index tensor on the device of the indexed one (PyTorch lets it be on the cpu)."""
        if item._dev is self.x._dev:
            return item
        if item._dev.type == "cpu":
            return item.to(self.x._dev)
        raise RuntimeError(
            f"indices should be either on cpu or on the same device as the indexed tensor "
            f"({self.x._dev})"
        )

    def dense(self) -> list[Any]:
        """Return the index tensors in order of dimensions, None for those not indexed."""
        return [self.indices.get(d) for d in range(max(self.indices) + 1)]


def _slice_bound(value: Any) -> int | None:
    if value is None or value.__class__ is int:
        return value
    if hasattr(value, "__index__"):
        return value.__index__()
    raise TypeError("slice indices must be integers or None or have an __index__ method")


# --- reading --------------------------------------------------------------------------------------


def _walk(x: Any, steps: Sequence[tuple]) -> Any:
    """Return the view that a chain of view steps leads to."""
    if x._node is not None or dispatch.capturing or len(steps) < 2:
        for op, data, params in steps:
            x = apply_view(op, x, data, params)
        return x
    dev = x._dev
    a = x._a
    for op, data, params in steps:
        a = op.kernels[dev](a, *data, **params)
    t = dispatch._new(dispatch.Tensor)
    t._a, t._dev, t._dtype = a, dev, x._dtype
    t._view = t._node = None
    attach(t, x, *steps)
    return t


_IN_DIM = tuple([{"dim": d} for d in range(64)])


def _basic_steps(shape: tuple[int, ...], key: tuple) -> list[tuple] | None:
    """Return the view steps of a key of integers and slices alone, None for other keys."""
    if len(key) > len(shape):
        return None
    steps: list[tuple] = []
    dim = 0
    for at, item in enumerate(key):
        n = shape[at]
        if item.__class__ is int:
            if not -n <= item < n:
                raise _out_of_bounds(item, at, n)
            steps.append((_select, (item if item >= 0 else item + n,), _IN_DIM[dim]))
        elif item.__class__ is slice:
            if item != _FULL:
                step = _slice_step(item, dim, n)
                if step is not None:
                    steps.append(step)
            dim += 1
        else:
            return None
    return steps


def _slice_step(item: slice, dim: int, n: int) -> tuple | None:
    """Return the view step for a slice of n elements, None if it takes them all."""
    first, last, step = item.indices(n)
    if step <= 0:
        raise ValueError("step must be greater than zero")
    length = (last - first + step - 1) // step if last > first else 0
    if length == n and step == 1:
        return None
    return _slice, (first,), {"dim": dim, "length": length, "step": step}


def _first_index(index: int, shape: tuple[int, ...]) -> int:
    """Return an index into the first dimension counted from the front."""
    if not shape:
        raise IndexError(
            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` "
            "in C++ to convert a 0-dim tensor to a number"
        )
    n = shape[0]
    if 0 <= index < n:
        return index
    if -n <= index < 0:
        return index + n
    raise _out_of_bounds(index, 0, n)


def getitem(x: Any, key: Any) -> Any:
    """Return `x[key]`: a view for integers, slices, None and `...`, else a copy."""
    kind = key.__class__
    if kind is int:
        return apply_view(_select, x, (_first_index(key, x._a.shape),), _DIM0)
    if kind is tuple or kind is slice:
        steps = _basic_steps(x._a.shape, key if kind is tuple else (key,))
        if steps is not None:
            return _walk(x, steps) if steps else alias(x)
    elif isinstance(key, dispatch.Tensor) and key._dtype is dtypes.int64:
        if key._dev is x._dev and key._a.ndim and x._a.ndim:
            return _index(x, key)
    found = _Analysis(x, key)
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
        steps = [(_select, (_first_index(key, x._a.shape),), _DIM0)]
    elif kind is tuple or kind is slice:
        steps = _basic_steps(x._a.shape, key if kind is tuple else (key,))
    if steps is None:
        found = _Analysis(x, key)
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
    if isinstance(value, dispatch.Tensor):
        value = value.to(view._dtype) if value._dtype is not view._dtype else value
        if value._dev is not view._dev and not value._a.ndim:
            value = value.to(view._dev)
    else:
        value = view.new_full((), value)
    if value._a.ndim and any([i is not None and i._dtype is dtypes.bool_ for i in indices]):
        indices = list(nonzero(indices[-1], as_tuple=True))
    _check_broadcast(indices)
    _put_into(view, indices, value, False)


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


def _put_into(x: Any, indices: list[Any], values: Any, accumulate: bool) -> Any:
    values = _check_values(x, indices, values)
    if _untaped(x, values):
        kernel = getattr(x._dev.backend, "index_put_", None)
        if kernel is not None:
            raws = [None if i is None else i._a for i in indices]
            kernel(x._a, values._a, *raws, accumulate=accumulate)
            log_write(x._dev.backend.buffer(x._a))
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
    analysis = _Analysis(x, ())
    for item in indices:
        if item is None:
            dense.append(None)
        elif _is_mask(item):
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
