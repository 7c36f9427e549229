"""Ops that join tensors: cat, stack and their relatives."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from multitorch.ops.apply import broadcast_shape, write_out
from multitorch.ops.common import wrap_dim
from multitorch.ops.op import Op
from multitorch.ops.promote import numeric
from multitorch.ops.shape import atleast_1d, atleast_2d, atleast_3d
from multitorch.ops.views import expand, reshape

# --- cat and stack --------------------------------------------------------------------------------


def _cat_shape(*xs: Any, dim: int) -> Any:
    shape = list(xs[0].shape)
    shape[dim] = sum([x.shape[dim] for x in xs])
    return tuple(shape), xs[0].dtype


def _cat_grad(F: Any, g: Any, xs_shapes: tuple, dim: int, needs: tuple[bool, ...]) -> list[Any]:
    grads, start = [], 0
    for shape, need in zip(xs_shapes, needs, strict=True):
        n = shape[dim]
        grads.append(F.slice(g, start, dim=dim, length=n, step=1) if need else None)
        start += n
    return grads


def _stack_grad(F: Any, g: Any, dim: int, needs: tuple[bool, ...]) -> list[Any]:
    return [F.select(g, i, dim=dim) if need else None for i, need in enumerate(needs)]


_cat = Op("cat", "*xs", promote=numeric, broadcasts=False, shape=_cat_shape).vjps(_cat_grad)
_stack = Op(
    "stack",
    "*xs",
    promote=numeric,
    broadcasts=False,
    shape=lambda *xs, dim: ((*xs[0].shape[:dim], len(xs), *xs[0].shape[dim:]), xs[0].dtype),
).vjps(_stack_grad)


def _listed(name: str, tensors: Any) -> Sequence[Any]:
    if hasattr(tensors, "_a") or not hasattr(tensors, "__iter__"):
        raise TypeError(
            f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not "
            f"{type(tensors).__name__}"
        )
    tensors = list(tensors)
    for i, x in enumerate(tensors):
        if not hasattr(x, "_a"):
            raise TypeError(
                f"expected Tensor as element {i} in argument 0, but got {type(x).__name__}"
            )
    return tensors


def cat(tensors: Sequence[Any], dim: int = 0, *, out: Any = None) -> Any:
    """Join tensors along an existing dimension.

    >>> multitorch.cat([multitorch.zeros(1, 2), multitorch.ones(1, 2)]).tolist()
    [[0.0, 0.0], [1.0, 1.0]]
    """
    kind = tensors.__class__
    try:
        first = tensors[0]._a
        plain = (kind is list or kind is tuple) and first.ndim > 0
        for x in tensors:
            if x._a.shape != first.shape:
                plain = False
    except (AttributeError, IndexError, TypeError):
        plain = False
    given = tensors
    if not plain:
        tensors = _checked_for_cat(_listed("cat", tensors), dim)
    result = _cat(*tensors, dim=wrap_dim(dim, tensors[0]._a.ndim))
    return result if out is None else write_out(out, result, *given)


def _checked_for_cat(tensors: Sequence[Any], dim: int) -> Sequence[Any]:
    """Return the tensors without PyTorch's legacy empty vectors, or raise its errors."""
    if not tensors:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    full = [(i, x) for i, x in enumerate(tensors) if x._a.shape != (0,)]
    if not full:
        return tensors
    for i, x in full:
        if not x._a.ndim:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    shape = full[0][1]._a.shape
    d = wrap_dim(dim, len(shape))
    for i, x in full[1:]:
        other = x._a.shape
        if len(other) != len(shape):
            raise RuntimeError(
                f"Tensors must have same number of dimensions: got {len(shape)} and {len(other)}"
            )
        for k, (a, b) in enumerate(zip(shape, other, strict=True)):
            if a != b and k != d:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {d}. Expected size {a} but "
                    f"got size {b} for tensor number {i} in the list."
                )
    return [x for _, x in full]


def stack(tensors: Sequence[Any], dim: int = 0, *, out: Any = None) -> Any:
    """Join tensors of one shape along a new dimension.

    >>> multitorch.stack([multitorch.zeros(2), multitorch.ones(2)], dim=1).tolist()
    [[0.0, 1.0], [0.0, 1.0]]
    """
    tensors = _listed("stack", tensors)
    if not tensors:
        raise RuntimeError("stack expects a non-empty TensorList")
    shape = tensors[0]._a.shape
    for i, x in enumerate(tensors):
        if x._a.shape != shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and "
                f"{list(x._a.shape)} at entry {i}"
            )
    result = _stack(*tensors, dim=wrap_dim(dim, len(shape) + 1))
    return result if out is None else write_out(out, result, *tensors)


def hstack(tensors: Sequence[Any], *, out: Any = None) -> Any:
    """Join tensors along their columns (vectors along their only dimension)."""
    tensors = atleast_1d(tuple(_listed("hstack", tensors)))
    if not tensors:
        raise RuntimeError("hstack expects a non-empty TensorList")
    return cat(tensors, 0 if tensors[0]._a.ndim == 1 else 1, out=out)


def vstack(tensors: Sequence[Any], *, out: Any = None) -> Any:
    """Join tensors along their rows."""
    tensors = _listed("vstack", tensors)
    if not tensors:
        raise RuntimeError("vstack expects a non-empty TensorList")
    return cat(atleast_2d(tuple(tensors)), 0, out=out)


def dstack(tensors: Sequence[Any], *, out: Any = None) -> Any:
    """Join tensors along their third dimension."""
    tensors = _listed("dstack", tensors)
    if not tensors:
        raise RuntimeError("dstack expects a non-empty TensorList")
    return cat(atleast_3d(tuple(tensors)), 2, out=out)


def column_stack(tensors: Sequence[Any], *, out: Any = None) -> Any:
    """Join tensors along their columns; vectors become columns."""
    tensors = _listed("column_stack", tensors)
    if not tensors:
        raise RuntimeError("column_stack expects a non-empty TensorList")
    columns = [x if x._a.ndim > 1 else reshape(x, (-1, 1)) for x in tensors]
    return cat(columns, 1, out=out)


# --- built on them --------------------------------------------------------------------------------


def block_diag(*tensors: Any) -> Any:
    """Return a matrix with the given matrices along its diagonal and zeros elsewhere."""
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    for i, x in enumerate(tensors):
        if x._a.ndim > 2:
            raise RuntimeError(
                "torch.block_diag: Input tensors must have 2 or fewer dimensions. Input "
                f"{i} has {x._a.ndim} dimensions"
            )
    blocks = atleast_2d(tuple(tensors))
    width = sum([b._a.shape[1] for b in blocks])
    rows, left = [], 0
    for b in blocks:
        n = b._a.shape[1]
        rows.append(_between(b, left, width - left - n))
        left += n
    return cat(rows, 0)


def _between(x: Any, left: int, right: int) -> Any:
    from multitorch.ops.shape import pad

    return pad(x, (left, right))


def kron(input: Any, other: Any, *, out: Any = None) -> Any:
    """Return the Kronecker product: every element of `input` times the whole of `other`."""
    ndim = max(input._a.ndim, other._a.ndim)
    a = (1,) * (ndim - input._a.ndim) + tuple(input._a.shape)
    b = (1,) * (ndim - other._a.ndim) + tuple(other._a.shape)
    apart = reshape(input, tuple([n for size in a for n in (size, 1)]))
    within = reshape(other, tuple([n for size in b for n in (1, size)]))
    shape = tuple([m * n for m, n in zip(a, b, strict=True)])
    result = reshape(apart * within, shape)
    return result if out is None else write_out(out, result)


def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    """Expand tensors to their common shape."""
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    shape = broadcast_shape(*[tuple(x._a.shape) for x in tensors])
    return tuple([expand(x, shape) for x in tensors])


def broadcast_shapes(*shapes: Any) -> Any:
    """Return the shape that the given ones broadcast to."""
    from multitorch.size import Size

    try:
        return Size(broadcast_shape(*[(s,) if isinstance(s, int) else tuple(s) for s in shapes]))
    except RuntimeError as error:
        raise RuntimeError(
            "Shape mismatch: objects cannot be broadcast to a single shape"
        ) from error


def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Any, ...]:
    """Return the coordinates of the grid that vectors span, one tensor for each.

    >>> a, b = multitorch.meshgrid(multitorch.arange(2), multitorch.arange(3), indexing="ij")
    >>> a.shape, b[0].tolist()
    (torch.Size([2, 3]), [0, 1, 2])
    """
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    if indexing not in (None, "ij", "xy"):
        raise RuntimeError(
            f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}'
        )
    if not tensors:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for x in tensors:
        if x._a.ndim > 1:
            raise RuntimeError(
                "torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: "
                f"{list(x.shape)}"
            )
        if x._dtype is not tensors[0]._dtype:
            raise RuntimeError("torch.meshgrid expects all tensors to have the same dtype")
    swap = indexing == "xy" and len(tensors) >= 2
    order = [1, 0, *range(2, len(tensors))] if swap else list(range(len(tensors)))
    inputs = [tensors[i] for i in order]
    shape = tuple([x.numel() for x in inputs])
    grids = []
    for i, x in enumerate(inputs):
        line = [1] * len(inputs)
        line[i] = shape[i]
        grids.append(expand(reshape(x, tuple(line)), shape))
    return tuple([grids[i] for i in order])


def cartesian_prod(*tensors: Any) -> Any:
    """Return all combinations of one element from each vector, one per row."""
    for x in tensors:
        if x._a.ndim != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(x.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    return stack([reshape(g, (-1,)) for g in meshgrid(*tensors, indexing="ij")], dim=1)


def combinations(input: Any, r: int = 2, with_replacement: bool = False) -> Any:
    """Return all combinations of r elements of a vector, one per row."""
    if input._a.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    from multitorch.ops.creation import tensor

    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(choose(range(input._a.shape[0]), r))
    if not rows or not r:
        return input.new_empty((0,) if not r else (0, r))
    flat = tensor([i for row in rows for i in row], device=input._dev)
    return reshape(input.index_select(0, flat), (len(rows), r))


FUNCTIONS: dict[str, Callable] = {
    "block_diag": block_diag, "broadcast_shapes": broadcast_shapes,
    "broadcast_tensors": broadcast_tensors, "cartesian_prod": cartesian_prod, "cat": cat,
    "column_stack": column_stack, "combinations": combinations, "concat": cat, "concatenate": cat,
    "dstack": dstack, "hstack": hstack, "kron": kron, "meshgrid": meshgrid, "row_stack": vstack,
    "stack": stack, "vstack": vstack,
}  # fmt: skip
METHODS: dict[str, Callable] = {"kron": kron}
