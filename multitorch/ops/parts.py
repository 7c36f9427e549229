"""View ops that take out a part: select, slices, diagonals, windows, and splits into several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from multitorch import dtypes
from multitorch.autograd import modes
from multitorch.ops import apply as dispatch
from multitorch.ops.apply import record, write_out
from multitorch.ops.common import wrap_dim
from multitorch.ops.op import Op
from multitorch.ops.view import apply_view, attach_untracked, join, view_op
from multitorch.ops.views import clone, detach

# --- declarations ---------------------------------------------------------------------------------

_select = view_op(
    "select",
    "x index",
    undo=lambda F, base, new, index, *, dim: F.select_scatter(base, new, index, dim=dim),
    shape=lambda x, index, *, dim: (x.shape[:dim] + x.shape[dim + 1 :], x.dtype),
)
_select.vjp(x=lambda F, g, index, x_shape, dim: F.select_backward(g, index, shape=x_shape, dim=dim))


def _sliced(x: Any, start: Any, *, dim: int, length: int, step: int) -> Any:
    return (*x.shape[:dim], length, *x.shape[dim + 1 :]), x.dtype


_slice = view_op(
    "slice",
    "x start",
    undo=lambda F, base, new, start, *, dim, length, step: F.slice_scatter(
        base, new, start, dim=dim, length=length, step=step
    ),
    shape=_sliced,
)
_slice.vjp(
    x=lambda F, g, start, x_shape, dim, length, step: F.slice_backward(
        g, start, shape=x_shape, dim=dim, length=length, step=step
    )
)


def _diagonal_shape(x: Any, *, offset: int, dim1: int, dim2: int) -> Any:
    rows, columns = x.shape[dim1] + min(offset, 0), x.shape[dim2] - max(offset, 0)
    rest = [n for d, n in enumerate(x.shape) if d not in (dim1, dim2)]
    return (*rest, max(min(rows, columns), 0)), x.dtype


_diagonal = view_op(
    "diagonal",
    "x",
    undo=lambda F, base, new, *, offset, dim1, dim2: F.diagonal_scatter(
        base, new, offset=offset, dim1=dim1, dim2=dim2
    ),
    shape=_diagonal_shape,
)
_diagonal.vjp(
    x=lambda F, g, x_shape, offset, dim1, dim2: F.diagonal_scatter(
        F.new_zeros(g, shape=x_shape), g, offset=offset, dim1=dim1, dim2=dim2
    )
)


def _unfold_shape(x: Any, *, dim: int, size: int, step: int) -> Any:
    if not x.shape:
        return (size,), x.dtype
    count = (x.shape[dim] - size) // step + 1
    return (*x.shape[:dim], count, *x.shape[dim + 1 :], size), x.dtype


_unfold = view_op(
    "unfold",
    "x",
    undo=lambda F, base, new, *, dim, size, step: F.unfold_scatter(
        base, new, dim=dim, size=size, step=step
    ),
    shape=_unfold_shape,
)
_unfold.vjp(
    x=lambda F, g, x_shape, dim, size, step: F.unfold_backward(
        g, shape=x_shape, dim=dim, size=size, step=step
    )
)

_as_strided = view_op(
    "as_strided",
    "x",
    undo=lambda F, base, new, *, size, stride, offset: F.as_strided_scatter(
        base, new, size=size, stride=stride, offset=offset
    ),
    shape=lambda x, *, size, stride, offset: (size, x.dtype),
)
_as_strided.vjp(
    x=lambda F, g, x_shape, size, stride, offset: F.as_strided_backward(
        g, shape=x_shape, size=size, stride=stride, offset=offset
    )
)


# --- one part -----------------------------------------------------------------------------------


def select(input: Any, dim: int, index: Any) -> Any:
    """Return the slice at `index` of one dimension, without that dimension.

    >>> multitorch.arange(6).view(2, 3).select(0, 1).tolist()
    [3, 4, 5]
    """
    shape = input._a.shape
    if not shape:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    d = wrap_dim(dim, len(shape))
    n = shape[d]
    index = index.__index__()
    if not -n <= index < n:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(shape)} at dimension "
            f"{d}"
        )
    return apply_view(_select, input, (index + n if index < 0 else index,), {"dim": d})


def narrow(input: Any, dim: int, start: Any, length: int) -> Any:
    """Return `length` elements of one dimension from `start` on.

    >>> multitorch.arange(5).narrow(0, 1, 3).tolist()
    [1, 2, 3]
    """
    shape = input._a.shape
    if not shape:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if isinstance(start, dispatch.Tensor) and (
        start._a.ndim or start._dtype.category != dtypes.INTEGER
    ):
        raise RuntimeError("start must be an 0-dim integral Tensor.")
    d = wrap_dim(dim, len(shape))
    start, n = int(start), shape[d]
    if not -n <= start <= n:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-n}, {n}], but got {start})"
        )
    start = start + n if start < 0 else start
    if start + length > n:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
    return slice_view(input, d, start, length)


def narrow_copy(input: Any, dim: int, start: Any, length: int, *, out: Any = None) -> Any:
    """Return a copy of what `narrow` returns a view of."""
    if dim >= input._a.ndim > 0:
        raise RuntimeError(
            "Expected dim < static_cast<int64_t>(self_sizes.size()) to be true, but got false."
        )
    t = clone(narrow(input, dim, start, length))
    return t if out is None else write_out(out, t)


def slice_view(x: Any, dim: int, start: int, length: int, step: int = 1) -> Any:
    """Return a strided piece of one dimension, given in canonical numbers."""
    return apply_view(_slice, x, (start,), {"dim": dim, "length": length, "step": step})


def diagonal(input: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """Return the diagonal of two dimensions as the last dimension.

    >>> multitorch.arange(4).view(2, 2).diagonal().tolist()
    [0, 3]
    """
    ndim = input._a.ndim
    a, b = wrap_dim(dim1, ndim), wrap_dim(dim2, ndim)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return apply_view(_diagonal, input, (), {"offset": offset, "dim1": a, "dim2": b})


def unfold(input: Any, dimension: int, size: int, step: int) -> Any:
    """Return all windows of `size` along a dimension, `step` apart, as a last dimension.

    >>> multitorch.arange(5).unfold(0, 2, 2).tolist()
    [[0, 1], [2, 3]]
    """
    shape = input._a.shape
    d = wrap_dim(dimension, len(shape))
    n = shape[d] if shape else 1
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    if size > n:
        raise RuntimeError(f"maximum size for tensor at dimension {d} is {n} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    return apply_view(_unfold, input, (), {"dim": d, "size": size, "step": step})


def as_strided(input: Any, size: Any, stride: Any, storage_offset: int | None = None) -> Any:
    """Return a view of the tensor's storage with the given sizes and strides, in elements."""
    size, stride = tuple(size), tuple(stride)
    if len(size) != len(stride):
        raise RuntimeError(
            f"mismatch in length of strides and shape ({len(stride)} and {len(size)})"
        )
    if any(s < 0 for s in stride):
        raise RuntimeError("as_strided: Negative strides are not supported at the moment")
    base = storage_of(input)
    offset = input.storage_offset() if storage_offset is None else int(storage_offset)
    held = prod(base._a.shape)
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if prod(size) and last >= held:
        wide = input._dtype.itemsize
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {offset}, "
            f"and itemsize {wide} requiring a storage size of {(last + 1) * wide} are out of "
            f"bounds for storage of size {held * wide}"
        )
    return apply_view(_as_strided, base, (), {"size": size, "stride": stride, "offset": offset})


def storage_of(x: Any) -> Any:
    """Return the contiguous tensor whose memory `x` looks at."""
    if x._view is None:
        return x
    base = x._view[0]
    return base if x._view[2] is base else detach(base)


# --- several views at once ------------------------------------------------------------------------

_many: dict[tuple[str, int], Op] = {}


def _pieces(F: Any, g: Any, shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    gs = g if isinstance(g, list) else [g]
    like = next(x for x in gs if x is not None)
    return [
        F.new_zeros(like, shape=shape) if x is None else x
        for x, shape in zip(gs, shapes, strict=True)
    ]


def _join_pieces(F: Any, g: Any, shapes: Any, dim: int) -> list[Any]:
    return [F.cat(*_pieces(F, g, shapes), dim=dim)]


def _stack_pieces(F: Any, g: Any, shapes: Any, dim: int) -> list[Any]:
    return [F.stack(*_pieces(F, g, shapes), dim=dim)]


def _many_op(node: str, count: int) -> Op:
    """Return the op whose node collects the gradients of `count` views of one tensor."""
    op = _many.get((node, count))
    if op is None:
        outs = " ".join(f"out{i}" for i in range(count))
        op = _many[node, count] = Op(f"{node}_{count}", "x", outs=outs, node=node)
        op.vjps(_stack_pieces if node == "Unbind" else _join_pieces)
    return op


def _parts(x: Any, op: Op, each: Sequence[tuple], dim: int, node: str) -> tuple[Any, ...]:
    """Return several views of `x`, with one node for all, so that backward joins gradients once.

    `each` holds (data, params) of the view op for every part.
    """
    taped = x._node is not None and not dispatch.capturing
    make = _untaped_part if taped else apply_view
    parts = tuple([make(op, x, data, params) for data, params in each])
    if taped and parts:
        if modes.off_threads and not modes.is_grad_enabled():
            for part in parts:
                attach_untracked(part)
        else:
            params = {"shapes": tuple([p._a.shape for p in parts]), "dim": dim}
            record(_many_op(node, len(parts)), (x,), (x._a,), params, parts, x._dev)
    return parts


def _untaped_part(op: Op, x: Any, data: tuple, params: dict[str, Any]) -> Any:
    t = dispatch.wrap(op.kernels[x._dev](x._a, *data, **params), x._dev)
    join(t, x, ((op, data, params),))
    return t


def unbind(input: Any, dim: int = 0) -> tuple[Any, ...]:
    """Return the slices of one dimension as a tuple.

    >>> [x.item() for x in multitorch.arange(3).unbind()]
    [0, 1, 2]
    """
    shape = input._a.shape
    if not shape:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    d = wrap_dim(dim, len(shape))
    params = {"dim": d}
    return _parts(input, _select, [((i,), params) for i in range(shape[d])], d, "Unbind")


def _split_sizes(x: Any, sizes: Sequence[int], dim: int, node: str) -> tuple[Any, ...]:
    each, start = [], 0
    for n in sizes:
        each.append(((start,), {"dim": dim, "length": n, "step": 1}))
        start += n
    return _parts(x, _slice, each, dim, node)


def split(input: Any, split_size_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """Split one dimension into pieces of a size, or of the sizes given.

    >>> [x.tolist() for x in multitorch.arange(5).split(2)]
    [[0, 1], [2, 3], [4]]
    """
    shape = input._a.shape
    if not shape:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    d = wrap_dim(dim, len(shape))
    n = shape[d]
    if hasattr(split_size_or_sections, "__index__"):
        size = split_size_or_sections.__index__()
        if size < 0:
            raise RuntimeError(
                f"split expects split_size be non-negative, but got split_size={size}"
            )
        if size == 0 and n:
            raise RuntimeError(
                f"split_size can only be 0 if dimension size is 0, but got dimension size of {n}"
            )
        count = max(-(-n // size), 1) if size else 1
        sizes = [min(size, n - i * size) for i in range(count)] if size else [0]
        return _split_sizes(input, sizes, d, "Split")
    sizes = [int(s) for s in split_size_or_sections]
    if sum(sizes) != n or min(sizes, default=0) < 0:
        raise RuntimeError(
            f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at "
            f"dimension {d}), but got split_sizes={sizes}"
        )
    return _split_sizes(input, sizes, d, "SplitWithSizes")


def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """Split one dimension into at most `chunks` pieces of equal size, the last one smaller."""
    shape = input._a.shape
    if not shape:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = shape[wrap_dim(dim, len(shape))]
    if not n:
        return split(input, [0] * chunks, dim)
    return split(input, -(-n // chunks), dim)


def tensor_split(input: Any, indices_or_sections: Any, dim: int = 0) -> tuple[Any, ...]:
    """Split one dimension into nearly equal pieces, or at the indices given."""
    shape = input._a.shape
    if not shape:
        raise RuntimeError(
            "tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims"
        )
    d = wrap_dim(dim, len(shape))
    n = shape[d]
    given = indices_or_sections
    if hasattr(given, "tolist"):
        given = given.tolist()
    if isinstance(given, int):
        if given <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {given}")
        small, more = divmod(n, given)
        bounds = [i * small + min(i, more) for i in range(given + 1)]
    else:
        bounds = [0, *[slice(i, None).indices(n)[0] for i in given], n]
    pairs = zip(bounds[:-1], bounds[1:], strict=True)
    return tuple([slice_view(input, d, a, max(b - a, 0)) for a, b in pairs])


def _splitter(name: str, least: int, dim: int) -> Any:
    def function(input: Any, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        ndim = input._a.ndim
        if ndim < least:
            raise RuntimeError(
                f"torch.{name} requires a tensor with at least {least} dimension"
                f"{'s' if least > 1 else ''}, but got a tensor with {ndim} dimensions!"
            )
        at = args if args else tuple(kwargs.values())
        d = 0 if name == "hsplit" and ndim == 1 else dim
        given = at[0] if len(at) == 1 else at
        if isinstance(given, int) and given and input._a.shape[d] % given:
            raise RuntimeError(
                f"torch.{name} attempted to split along dimension {d}, but the size of the "
                f"dimension {input._a.shape[d]} is not divisible by the split_size {given}!"
            )
        return tensor_split(input, given, d)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Split a tensor along dimension {dim}, as `tensor_split`."
    return function


hsplit = _splitter("hsplit", 1, 1)
vsplit = _splitter("vsplit", 2, 0)
dsplit = _splitter("dsplit", 3, 2)


FUNCTIONS: dict[str, Callable] = {
    "as_strided": as_strided, "chunk": chunk, "diagonal": diagonal, "dsplit": dsplit,
    "hsplit": hsplit, "narrow": narrow, "select": select, "split": split,
    "tensor_split": tensor_split, "unbind": unbind, "vsplit": vsplit,
    "split_with_sizes": split, "unsafe_chunk": chunk, "unsafe_split": split,
    "unsafe_split_with_sizes": split, "narrow_copy": narrow_copy,
}  # fmt: skip
METHODS: dict[str, Callable] = {**FUNCTIONS, "unfold": unfold}
