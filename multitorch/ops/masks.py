"""Ops on masks, and look-ups in tables: masked_fill, embedding, one_hot, repeat_interleave."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from multitorch import dtypes
from multitorch.ops import apply as dispatch
from multitorch.ops.apply import broadcast_shape, write_out
from multitorch.ops.common import wrap_dim
from multitorch.ops.gather import INDEX_TYPES, index_select, number_for
from multitorch.ops.op import Op
from multitorch.ops.views import clone, expand, reshape, unsqueeze


def _same(x: Any, *others: Any, **params: Any) -> Any:
    return x.shape, x.dtype


# --- declarations ---------------------------------------------------------------------------------

_masked_fill = Op("masked_fill", "x mask value", shape=_same).vjp(
    x=lambda F, g, mask: F.where(mask, F.new_zeros(g, shape=()), g),
    value=lambda F, g, mask: F.sum_to(F.where(mask, g, F.new_zeros(g, shape=())), shape=()),
)
_masked_fill.op.node_name = "MaskedFillBackward0"
_masked_select = Op("masked_select", "x mask").vjp(
    x=lambda F, g, mask, x_shape: F.masked_scatter(F.new_zeros(g, shape=x_shape), mask, g)
)


def _masked_source_grad(F: Any, g: Any, mask: Any, source_shape: tuple[int, ...]) -> Any:
    """Return, for every element of the source, the gradient from where the mask put it."""
    count = prod(source_shape)
    flat = F.reshape(F.cast(mask, dtype=_INT), shape=(prod(mask.shape),))
    order = F.clamp(F.cumsum(flat, dim=0) - 1, 0, max(count - 1, 0))
    kept = F.where(mask, g, F.new_zeros(g, shape=()))
    kept = F.reshape(kept, shape=(prod(mask.shape),))
    total = F.index_add(F.new_zeros(g, shape=(count,)), order, kept, dim=0)
    return F.reshape(total, shape=source_shape)


_INT = dtypes.int64.numpy()
_masked_scatter = Op("masked_scatter", "x mask source", shape=_same).vjp(
    x=lambda F, g, mask: F.where(mask, F.new_zeros(g, shape=()), g), source=_masked_source_grad
)
_embedding = Op(
    "embedding", "weight index",
    shape=lambda weight, index, **params: ((*index.shape, weight.shape[1]), weight.dtype),
).vjp(
    weight=lambda F, g, index, weight_shape, padding_idx, scale_grad_by_freq: F.embedding_backward(
        g, index, rows=weight_shape[0], padding_idx=padding_idx,
        scale_grad_by_freq=scale_grad_by_freq,
    )
)  # fmt: skip
_embedding_backward = Op(
    "embedding_backward", "x index",
    shape=lambda x, index, *, rows, **params: ((rows, x.shape[-1]), x.dtype),
).vjp(
    x=lambda F, g, index, padding_idx, scale_grad_by_freq: F.embedding_double_backward(
        g, index, padding_idx=padding_idx, scale_grad_by_freq=scale_grad_by_freq
    )
)  # fmt: skip
_embedding_double_backward = Op(
    "embedding_double_backward", "x index",
    shape=lambda x, index, **params: ((*index.shape, x.shape[1]), x.dtype),
).vjp(
    x=lambda F, g, index, x_shape, padding_idx, scale_grad_by_freq: F.embedding_backward(
        g, index, rows=x_shape[0], padding_idx=padding_idx, scale_grad_by_freq=scale_grad_by_freq
    )
)  # fmt: skip
_one_hot = Op("one_hot", "x", shape=lambda x, *, classes: ((*x.shape, classes), _INT)).nondiff()
_repeat_positions = Op("repeat_positions", "repeats").nondiff()


# --- masks ----------------------------------------------------------------------------------------


def masked_fill(input: Any, mask: Any, value: Any) -> Any:
    """Return a copy that holds one value where the mask is true.

    >>> multitorch.arange(3).masked_fill(multitorch.tensor([True, False, True]), 9).tolist()
    [9, 1, 9]
    """
    if mask._dtype is not dtypes.bool_:
        raise RuntimeError(
            f"masked_fill_ only supports boolean masks, but got mask with dtype {mask._dtype.name}"
        )
    if isinstance(value, dispatch.Tensor):
        if value._a.ndim:
            raise RuntimeError(
                "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                f"{value._a.ndim} dimension(s)."
            )
        if value._dtype.is_complex and not input._dtype.is_complex:
            raise RuntimeError(
                f"value cannot be converted to type {input._dtype.name} without overflow"
            )
        if value._dtype is not input._dtype:
            value = value.to(input._dtype)
        if value._dev is not input._dev:
            value = value.to(input._dev)
    else:
        value = number_for(input, value)
    shape = broadcast_shape(tuple(mask._a.shape), tuple(input._a.shape))
    if shape != input._a.shape:
        input = expand(input, shape)
    return _masked_fill(input, mask, value)


def masked_select(input: Any, mask: Any, *, out: Any = None) -> Any:
    """Return the elements where the mask is true, as a vector."""
    if mask._dtype is not dtypes.bool_:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    shape = broadcast_shape(tuple(input._a.shape), tuple(mask._a.shape))
    if shape != input._a.shape:
        input = expand(input, shape)
    if shape != mask._a.shape:
        mask = expand(mask, shape)
    result = _masked_select(input, mask)
    return result if out is None else write_out(out, result, input, mask)


def masked_scatter(input: Any, mask: Any, source: Any) -> Any:
    """Return a copy with the first elements of `source` where the mask is true."""
    if mask._dtype is not dtypes.bool_:
        raise RuntimeError(
            f"masked_scatter_ only supports boolean masks, but got mask with dtype {mask._dtype}"
        )
    if source._dtype is not input._dtype:
        raise RuntimeError(
            "masked_scatter_: expected self and source to have same dtypes but got "
            f"{input._dtype.scalar_name} and {source._dtype.scalar_name}"
        )
    shape = broadcast_shape(tuple(input._a.shape), tuple(mask._a.shape))
    if shape != input._a.shape:
        input = expand(input, shape)
    if shape != mask._a.shape:
        mask = expand(mask, shape)
    return _masked_scatter(input, mask, source)


# --- tables ---------------------------------------------------------------------------------------


def embedding(
    weight: Any, indices: Any, padding_idx: int = -1, scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Any:  # fmt: skip
    """Return the rows of `weight` that `indices` name; `padding_idx` gets no gradient.

    >>> embedding(multitorch.eye(2), multitorch.tensor([1, 0])).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    if sparse and weight.requires_grad:
        raise NotImplementedError("embedding: sparse gradients are not supported")
    if weight._a.ndim != 2:
        raise RuntimeError("'weight' must be 2-D")
    if indices._dtype not in INDEX_TYPES:
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            f"Long, Int; but got {indices.type()} instead (while checking arguments for embedding)"
        )
    return _embedding(
        weight, indices, padding_idx=padding_idx, scale_grad_by_freq=bool(scale_grad_by_freq)
    )


def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """Return vectors with a one at the place that each number names.

    >>> one_hot(multitorch.tensor([1]), 3).tolist()
    [[0, 1, 0]]
    """
    if tensor._dtype is not dtypes.int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    empty = not prod(tensor._a.shape)
    if empty and num_classes <= 0:
        raise RuntimeError("Can not infer total number of classes from empty tensor.")
    if num_classes == -1 or (not empty and tensor._dev.backend.mutable):
        if int(tensor.min().item()) < 0:
            raise RuntimeError("Class values must be non-negative.")
        most = int(tensor.max().item())
        if num_classes == -1:
            num_classes = most + 1
        if most >= num_classes:
            raise RuntimeError("Class values must be smaller than num_classes.")
    return _one_hot(tensor, classes=int(num_classes))


def repeat_interleave(
    input: Any, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Any:
    """Repeat every element (or slice of a dimension), the copies side by side.

    >>> multitorch.tensor([1, 2]).repeat_interleave(2).tolist()
    [1, 1, 2, 2]
    """
    if repeats is None:
        if input._a.ndim != 1:
            raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
        return _repeat_positions(input)
    x = input if dim is not None else reshape(input, (-1,))
    d = wrap_dim(0 if dim is None else dim, x._a.ndim)
    x = x if x._a.ndim else reshape(x, (1,))
    if not isinstance(repeats, (int, dispatch.Tensor)):
        from multitorch.ops.creation import tensor

        repeats = tensor(list(repeats), device=x._dev)
    if isinstance(repeats, dispatch.Tensor):
        if prod(repeats._a.shape) != 1 or repeats._a.ndim > 1:
            return _repeat_by(x, repeats, d)
        repeats = int(repeats.item())
    if repeats < 0:
        raise RuntimeError("Repeats must be non-negative")
    shape = list(x._a.shape)
    wide = [*shape[: d + 1], repeats, *shape[d + 1 :]]
    shape[d] *= repeats
    return reshape(clone(expand(unsqueeze(x, d + 1), wide)), shape)


def _repeat_by(x: Any, repeats: Any, dim: int) -> Any:
    if repeats._dtype not in INDEX_TYPES:
        raise RuntimeError("repeats has to be Long or Int tensor")
    if repeats._a.ndim != 1:
        raise RuntimeError("repeats must be 0-dim or 1-dim tensor")
    n = x._a.shape[dim]
    if repeats._a.shape[0] != n:
        raise RuntimeError(
            "repeats must have the same size as input along dim, but got repeats.size(0) = "
            f"{repeats._a.shape[0]} and input.size({dim}) = {n}"
        )
    return index_select(x, dim, _repeat_positions(repeats))


def unravel_index(indices: Any, shape: Any) -> tuple[Any, ...]:
    """Return the coordinates, in a tensor of a shape, of elements counted as if it were flat.

    >>> [i.tolist() for i in unravel_index(multitorch.tensor([5, 2]), (2, 3))]
    [[1, 0], [2, 2]]
    """
    sizes = (shape,) if isinstance(shape, int) else tuple([int(n) for n in shape])
    if any(n < 0 for n in sizes):
        raise ValueError(f"'shape' cannot have negative values, but got {sizes}")
    if indices._dtype.inexact or indices._dtype is dtypes.bool_:
        raise ValueError(f"expected 'indices' to be integer dtype, but got {indices._dtype}")
    indices = indices.to(dtypes.int64)
    coordinates, step = [], 1
    for n in reversed(sizes):
        coordinates.append(indices.div(step, rounding_mode="floor") % n)
        step *= n
    return tuple(reversed(coordinates))


FUNCTIONS: dict[str, Callable] = {
    "embedding": embedding, "masked_fill": masked_fill, "masked_scatter": masked_scatter,
    "masked_select": masked_select, "repeat_interleave": repeat_interleave,
    "unravel_index": unravel_index,
}  # fmt: skip
_NO_METHOD = ("embedding", "unravel_index")
METHODS: dict[str, Callable] = {k: f for k, f in FUNCTIONS.items() if k not in _NO_METHOD}
INPLACE: dict[str, Callable] = {"masked_fill_": masked_fill, "masked_scatter_": masked_scatter}
