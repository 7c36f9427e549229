"""Taking the key of `x[key]` apart: view steps, and index tensors for the dimensions that are left.

Most keys are integers and slices, which `basic_steps` reads in one go; `Analysis` reads all others.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from multitorch import dtypes
from multitorch.backend.registry import ARRAY_TYPES
from multitorch.ops import apply as dispatch
from multitorch.ops.apply import raw_of, world_for
from multitorch.ops.op import Op
from multitorch.ops.parts import _select, _slice
from multitorch.ops.shape import slice_length
from multitorch.ops.view import member, put_back, view_op
from multitorch.ops.views import _unsqueeze, reshape

INDEX_TYPES = frozenset((dtypes.int64, dtypes.int32, dtypes.int16, dtypes.int8))
DIM0 = {"dim": 0}
FULL = slice(None)
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


def out_of_bounds(index: Any, dim: int, size: int) -> IndexError:
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
    if isinstance(item, (dispatch.Tensor, np.ndarray)) and is_mask(item):
        return item.ndim
    return 1


def is_mask(item: Any) -> bool:
    kind = item._dtype if isinstance(item, dispatch.Tensor) else dtypes.to_dtype(item.dtype)
    return kind is dtypes.bool_ or kind is dtypes.uint8


class Analysis:
    """Walks along a key: collects view steps, and index tensors by dimension of their result."""

    __slots__ = ("dim", "indices", "original", "shape", "single", "steps", "x")

    def __init__(self, x: Any, key: Any, keeps_mask: bool = False) -> None:
        self.x, self.shape = x, list(x._a.shape)
        self.dim = self.original = 0
        self.steps: list[tuple] = []
        self.indices: dict[int, Any] = {}
        items = _as_tuple(key)
        in_memory = x._dev.backend.mutable and not dispatch.capturing
        self.single = len(items) == 1 and (in_memory or keeps_mask)
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
            raise out_of_bounds(index, self.original, n)
        self.steps.append((_select, (index + n if index < 0 else index,), {"dim": self.dim}))
        del self.shape[self.dim]
        self.original += 1

    def take_slice(self, item: slice) -> None:
        """Narrow the present dimension."""
        if item != FULL:
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
        if item._dtype not in INDEX_TYPES and not is_mask(item):
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        if is_mask(item):
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
        raw = raw_of(item, item._dev, world_for(item._dev))
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
                    f"The shape of the mask {list(mask.shape)} at index {k} does not match the "
                    f"shape of the indexed tensor {list(self.x.shape)} at index {self.original + k}"
                )
        mask = self.placed(mask)
        if self.single and mask._dtype is dtypes.bool_:
            # memory can be indexed by a mask as it is; elsewhere the indices of true are needed
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
                "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables "
                f"are valid indices (got {type(item).__name__})"
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
                    raise out_of_bounds(index, self.original, n)

    def placed(self, item: Any) -> Any:
        """Return an index tensor, which may be on the cpu, on the device of the indexed one."""
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


# --- integers and slices -------------------------------------------------------------------------

_IN_DIM = tuple([{"dim": d} for d in range(64)])


def basic_steps(shape: tuple[int, ...], key: tuple) -> list[tuple] | None:
    """Return the view steps of a key of integers, slices, None and `...`, None for other keys."""
    steps: list[tuple] = []
    sizes: list[int] = []  # of the result, as far as it is known
    at = 0
    skip: int | None = None  # how many dimensions `...` stands for
    for item in key:
        kind = item.__class__
        if kind is int and at < len(shape):
            n = shape[at]
            if not -n <= item < n:
                raise out_of_bounds(item, at, n)
            steps.append((_select, (item if item >= 0 else item + n,), _IN_DIM[len(sizes)]))
            at += 1
        elif kind is slice and at < len(shape):
            step = None if item == FULL else slice_step(item, len(sizes), shape[at])
            sizes.append(shape[at] if step is None else step[2]["length"])
            if step is not None:
                steps.append(step)
            at += 1
        elif item is None:
            sizes.append(1)
            steps.append((_unsqueeze, (), {"shape": (*sizes, *shape[at:])}))
        elif item is Ellipsis:
            if skip is None:
                skip = len(shape) - sum([i is not None and i is not Ellipsis for i in key])
                sizes += shape[at : at + skip]
                at += max(skip, 0)
        else:
            return None
    return steps


# --- keys that memory understands -----------------------------------------------------------------


def _steps_of_key(shape: tuple[int, ...], *, key: Any) -> list[tuple]:
    steps = basic_steps(shape, key if key.__class__ is tuple else (key,))
    assert steps is not None
    return steps


def _part_grad(F: Any, g: Any, x_shape: tuple[int, ...], key: Any) -> Any:
    if F.mutable:
        return F.part_backward(g, key=key, shape=x_shape)
    return put_back(F, F.new_zeros(g, shape=x_shape), _steps_of_key(x_shape, key=key), g)


def _keyed(name: str, node: str) -> Op:
    """Declare `x[key]` for basic keys as one step, the short form of a chain of view ops."""
    op = view_op(
        name,
        "x",
        undo=lambda F, base, new, *, key: put_back(
            F, base, _steps_of_key(tuple(base.shape), key=key), new
        ),
        node=node,
        opaque=True,
    )
    op.chain = _steps_of_key
    op.vjp(x=_part_grad)
    return op


_keyed_slice = _keyed("keyed_slice", "Slice")
_KEYED = {
    slice: _keyed_slice,
    int: _keyed("keyed_select", "Select"),
    type(None): _keyed("keyed_unsqueeze", "Unsqueeze"),
}
_OWN_KINDS = frozenset((int, type(None), type(Ellipsis)))


def _is_plain(item: slice) -> bool:
    """Whether a slice is made of ints, and goes forward."""
    start, stop, step = item.start, item.stop, item.step
    return (
        (start is None or start.__class__ is int)
        and (stop is None or stop.__class__ is int)
        and (step is None or step.__class__ is int and step > 0)
    )


def part_in_memory(x: Any, key: Any) -> Any:
    """Return `x[key]` for arrays that are memory, None where the key needs a closer look."""
    xa = x._a
    if key.__class__ is tuple:
        for item in key:
            if item.__class__ is slice:
                if not _is_plain(item):
                    return None
            elif item.__class__ not in _OWN_KINDS:
                return None
    elif not _is_plain(key):
        return None
    try:
        a = xa[key]
    except IndexError:
        return None
    if a.__class__ not in ARRAY_TYPES:
        a = xa[(*key, ...)]  # the dots make it a view where a scalar would come out
    if a.shape == xa.shape:
        return None  # everything: an alias
    op = _keyed_slice if x._node is None else _last_step(key)
    return member(x, a, ((op, (), {"key": key}),))


def _last_step(key: Any) -> Op:
    """Return the op of the last item of a key that does anything."""
    if key.__class__ is not tuple:
        return _keyed_slice
    for item in reversed(key):
        if item is not Ellipsis and item != FULL:
            return _KEYED[item.__class__]
    return _keyed_slice


def slice_step(item: slice, dim: int, n: int) -> tuple | None:
    """Return the view step for a slice of n elements, None if it takes them all."""
    first, last, step = item.indices(n)
    if step <= 0:
        raise ValueError("step must be greater than zero")
    length = (last - first + step - 1) // step if last > first else 0
    if length == n and step == 1:
        return None
    return _slice, (first,), {"dim": dim, "length": length, "step": step}


def first_index(index: int, shape: tuple[int, ...]) -> int:
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
    raise out_of_bounds(index, 0, n)
