"""Ops that rearrange into new memory: parts written back, flips, pads, triangles, diagonals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from multitorch.ops.apply import write_out
from multitorch.ops.common import wrap_dim
from multitorch.ops.op import Op
from multitorch.ops.parts import _diagonal_shape, diagonal
from multitorch.ops.sizes import sizes_of
from multitorch.ops.views import clone, reshape, transpose, unsqueeze


def _same(x: Any, *others: Any, **params: Any) -> Any:
    return x.shape, x.dtype


def _to_shape(x: Any, *others: Any, shape: tuple[int, ...], **params: Any) -> Any:
    return shape, x.dtype


# --- new arrays with the dtype and device of another ---------------------------------------------

new_zeros = Op("new_zeros", "x", shape=_to_shape).nondiff()
new_full = Op("new_full", "x", shape=_to_shape).nondiff()
filled = Op("filled", "x value", shape=_to_shape).nondiff()
iota = Op("iota", "x", shape=lambda x, *, size, dtype: ((size,), dtype)).nondiff()

# --- parts written into a copy --------------------------------------------------------------------

_slice_scatter = Op("slice_scatter", "x src start", shape=_same).vjp(
    x=lambda F, g, start, src_shape, dim, length, step: F.slice_scatter(
        g, F.new_zeros(g, shape=src_shape), start, dim=dim, length=length, step=step
    ),
    src=lambda F, g, start, dim, length, step: F.slice(g, start, dim=dim, length=length, step=step),
)
_slice_backward = Op("slice_backward", "x start", shape=_to_shape).vjp(
    x=lambda F, g, start, dim, length, step: F.slice(g, start, dim=dim, length=length, step=step)
)
_select_scatter = Op("select_scatter", "x src index", shape=_same).vjp(
    x=lambda F, g, index, src_shape, dim: F.select_scatter(
        g, F.new_zeros(g, shape=src_shape), index, dim=dim
    ),
    src=lambda F, g, index, dim: F.select(g, index, dim=dim),
)
_select_backward = Op("select_backward", "x index", shape=_to_shape).vjp(
    x=lambda F, g, index, dim: F.select(g, index, dim=dim)
)
_diagonal_scatter = Op("diagonal_scatter", "x src", shape=_same).vjp(
    x=lambda F, g, src_shape, offset, dim1, dim2: F.diagonal_scatter(
        g, F.new_zeros(g, shape=src_shape), offset=offset, dim1=dim1, dim2=dim2
    ),
    src=lambda F, g, offset, dim1, dim2: F.diagonal(g, offset=offset, dim1=dim1, dim2=dim2),
)
_as_strided_scatter = Op("as_strided_scatter", "x src", shape=_same).vjp(
    x=lambda F, g, src_shape, size, stride, offset: F.as_strided_scatter(
        g, F.new_zeros(g, shape=src_shape), size=size, stride=stride, offset=offset
    ),
    src=lambda F, g, size, stride, offset: F.as_strided(g, size=size, stride=stride, offset=offset),
)
_as_strided_backward = Op("as_strided_backward", "x", shape=_to_shape).vjp(
    x=lambda F, g, size, stride, offset: F.as_strided(g, size=size, stride=stride, offset=offset)
)
_unfold_scatter = Op("unfold_scatter", "x src", shape=_same).vjp(
    x=lambda F, g, src_shape, dim, size, step: F.unfold_scatter(
        g, F.new_zeros(g, shape=src_shape), dim=dim, size=size, step=step
    ),
    src=lambda F, g, dim, size, step: F.unfold(g, dim=dim, size=size, step=step),
)
_unfold_backward = Op("unfold_backward", "x", shape=_to_shape).vjp(
    x=lambda F, g, dim, size, step: F.unfold(g, dim=dim, size=size, step=step)
)


def slice_length(start: Any, end: Any, step: int, n: int) -> tuple[int, int]:
    """Return the canonical start and the length of `start:end:step` over n elements."""
    if step <= 0:
        raise ValueError("step must be greater than zero")
    first, last, _ = slice(start, end, step).indices(n)
    return first, max(-(-(last - first) // step), 0)


def _fits(src: Any, shape: tuple[int, ...], message: str) -> None:
    if tuple(src._a.shape) != shape:
        raise RuntimeError(f"{message}: expected src sizes {list(shape)}, got {list(src.shape)}")


def slice_scatter(
    input: Any, src: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1, *,
    out: Any = None,
) -> Any:  # fmt: skip
    """Return a copy with `src` stored at `start:end:step` of one dimension."""
    shape = input._a.shape
    d = wrap_dim(dim, len(shape))
    first, length = slice_length(start, end, step, shape[d])
    _fits(
        src, (*shape[:d], length, *shape[d + 1 :]), "expected src to have a size equal to the slice"
    )
    t = _slice_scatter(input, src.to(input._dtype), first, dim=d, length=length, step=step)
    return t if out is None else write_out(out, t)


def select_scatter(input: Any, src: Any, dim: int, index: int) -> Any:
    """Return a copy with `src` stored at one index of one dimension."""
    shape = input._a.shape
    d = wrap_dim(dim, len(shape))
    if not -shape[d] <= index < shape[d]:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(shape)} at dimension "
            f"{d}"
        )
    _fits(
        src, (*shape[:d], *shape[d + 1 :]), "expected src to have a size equal to the slice of self"
    )
    return _select_scatter(input, src.to(input._dtype), index % shape[d], dim=d)


def diagonal_scatter(input: Any, src: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """Return a copy with `src` stored on the diagonal."""
    ndim = input._a.ndim
    params = {"offset": offset, "dim1": wrap_dim(dim1, ndim), "dim2": wrap_dim(dim2, ndim)}
    _fits(
        src,
        _diagonal_shape(input._a, **params)[0],
        "expected src to have a size equal to the slice of self",
    )
    return _diagonal_scatter(input, src.to(input._dtype), **params)


def as_strided_scatter(
    input: Any, src: Any, size: Any, stride: Any, storage_offset: int | None = None
) -> Any:
    """Return a copy with `src` stored where `as_strided` of the contiguous tensor reads."""
    _fits(src, tuple(size), "expected src to have a size equal to the slice of self")
    last = (storage_offset or 0) + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if prod(size) and last >= prod(input._a.shape):
        wide = input._dtype.itemsize
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset "
            f"{storage_offset or 0}, and itemsize {wide} requiring a storage size of "
            f"{(last + 1) * wide} are out of bounds for storage of size "
            f"{prod(input._a.shape) * wide}"
        )
    return _as_strided_scatter(
        input, src.to(input._dtype), size=tuple(size), stride=tuple(stride),
        offset=storage_offset or 0,
    )  # fmt: skip


# --- order of elements ----------------------------------------------------------------------------

_flip = Op("flip", "x", shape=_same).vjp(x=lambda F, g, dims: F.flip(g, dims=dims))
_roll = Op("roll", "x *shifts", shape=_same).vjp(
    x=lambda F, g, shifts, dims: F.roll(g, *[-s for s in shifts], dims=dims)
)


def flip(input: Any, *args: Any, dims: Any = None) -> Any:
    """Reverse the order of elements along dimensions.

    >>> multitorch.arange(3).flip(0).tolist()
    [2, 1, 0]
    """
    given = sizes_of("flip", args or ((dims,) if dims is not None else ()))
    wrapped = tuple([wrap_dim(d, input._a.ndim) for d in given])
    if len(set(wrapped)) != len(wrapped):
        twice = next(d for d in wrapped if wrapped.count(d) > 1)
        raise RuntimeError(f"dim {twice} appears multiple times in the list of dims")
    if not input._a.ndim:
        return clone(input)
    return _flip(input, dims=wrapped)


def fliplr(input: Any) -> Any:
    """Reverse the columns."""
    if input._a.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(input, 1)


def flipud(input: Any) -> Any:
    """Reverse the rows."""
    if input._a.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(input, 0)


def roll(input: Any, shifts: Any, dims: Any = None) -> Any:
    """Move elements along dimensions; those that leave come in at the other end.

    >>> multitorch.arange(4).roll(1).tolist()
    [3, 0, 1, 2]
    """
    shape = input._a.shape
    shifts = sizes_of("roll", (shifts,))
    if not shifts:
        raise RuntimeError("`shifts` required")
    dims = () if dims is None else sizes_of("roll", (dims,))
    if len(shifts) != len(dims) and (dims or len(shifts) != 1):
        raise RuntimeError(
            f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(dims)}"
        )
    if dims and not shape:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    if not prod(shape) or not shape:
        return clone(input)
    return _roll(input, *shifts, dims=tuple([wrap_dim(d, len(shape)) for d in dims]))


def rot90(input: Any, k: int = 1, dims: Sequence[int] = (0, 1)) -> Any:
    """Rotate by k quarter turns in the plane of two dimensions."""
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if input._a.ndim < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {input._a.ndim}")
    a, b = (wrap_dim(d, input._a.ndim) for d in dims)
    if a == b:
        raise RuntimeError(
            f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}"
        )
    k %= 4
    if k == 0:
        return clone(input)
    if k == 2:
        return flip(input, a, b)
    return clone(transpose(flip(input, b if k == 1 else a), a, b))


# --- copies side by side --------------------------------------------------------------------------


def _repeated(x: Any, *, repeats: tuple[int, ...]) -> Any:
    old = (1,) * (len(repeats) - len(x.shape)) + tuple(x.shape)
    return tuple([r * n for r, n in zip(repeats, old, strict=True)]), x.dtype


def _repeat_grad(F: Any, g: Any, x_shape: tuple[int, ...], repeats: tuple[int, ...]) -> Any:
    old = (1,) * (len(repeats) - len(x_shape)) + x_shape
    wide = tuple([n for pair in zip(repeats, old, strict=True) for n in pair])
    dims = tuple(range(0, len(wide), 2))
    total = F.sum(F.reshape(g, shape=wide), dim=dims, keepdim=False) if dims else g
    return F.reshape(total, shape=x_shape)


_repeat = Op("repeat", "x", shape=_repeated).vjp(x=_repeat_grad)


def repeat(input: Any, *args: Any, repeats: Any = None) -> Any:
    """Lay copies of the tensor side by side, `repeats[d]` of them along dimension d.

    >>> multitorch.arange(2).repeat(2, 2).tolist()
    [[0, 1, 0, 1], [0, 1, 0, 1]]
    """
    counts = sizes_of("repeat", (repeats,) if repeats is not None else args)
    if len(counts) < input._a.ndim:
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of "
            "tensor"
        )
    if any(n < 0 for n in counts):
        raise RuntimeError(f"Trying to create tensor with negative dimension: {list(counts)}")
    return _repeat(input, repeats=counts)


def tile(input: Any, *args: Any, dims: Any = None) -> Any:
    """Repeat the tensor as `repeat`, with ones for leading dimensions that are not given."""
    counts = sizes_of("tile", (dims,) if dims is not None else args)
    return repeat(input, (1,) * (input._a.ndim - len(counts)) + counts)


# --- triangles and diagonals ----------------------------------------------------------------------

_tril = Op("tril", "x", shape=_same).vjp(x=lambda F, g, diagonal: F.tril(g, diagonal=diagonal))
_triu = Op("triu", "x", shape=_same).vjp(x=lambda F, g, diagonal: F.triu(g, diagonal=diagonal))


def tril(input: Any, diagonal: int = 0, *, out: Any = None) -> Any:
    """Set the elements above a diagonal to zero."""
    return _triangle(_tril, input, diagonal, out)


def triu(input: Any, diagonal: int = 0, *, out: Any = None) -> Any:
    """Set the elements below a diagonal to zero."""
    return _triangle(_triu, input, diagonal, out)


def _triangle(op: Callable, x: Any, diagonal: int, out: Any) -> Any:
    if x._a.ndim < 2:
        name = op.op.name  # type: ignore[attr-defined]
        raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
    result = op(x, diagonal=diagonal)
    return result if out is None else out._store(result)


def _embedded(x: Any, *, offset: int, dim1: int, dim2: int) -> Any:
    shape = list(x.shape[:-1])
    for d in sorted((dim1, dim2)):
        shape.insert(d, x.shape[-1] + abs(offset))
    return tuple(shape), x.dtype


_diag_embed = Op("diag_embed", "x", shape=_embedded).vjp(
    x=lambda F, g, offset, dim1, dim2: F.diagonal(g, offset=offset, dim1=dim1, dim2=dim2)
)


def diag_embed(input: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """Return matrices with the last dimension of the input on a diagonal.

    >>> multitorch.tensor([1, 2]).diag_embed().tolist()
    [[1, 0], [0, 2]]
    """
    ndim = input._a.ndim + 1
    a, b = wrap_dim(dim1, ndim), wrap_dim(dim2, ndim)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    if a > b:
        a, b, offset = b, a, -offset
    return _diag_embed(input, offset=offset, dim1=a, dim2=b)


def diag(input: Any, diagonal: int = 0, *, out: Any = None) -> Any:
    """Return the diagonal of a matrix, or the matrix with a vector on its diagonal."""
    if input._a.ndim not in (1, 2):
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input._a.ndim}D")
    if input._a.ndim == 1:
        result = diag_embed(input, diagonal)
    else:
        result = clone(_diagonal(input, diagonal))
    return result if out is None else out._store(result)


_diagonal = diagonal


def diagflat(input: Any, offset: int = 0) -> Any:
    """Return the matrix with all elements of the input on a diagonal."""
    return diag_embed(reshape(input, (-1,)), offset)


# --- padding --------------------------------------------------------------------------------------


def _padded(x: Any, *, pad: tuple[tuple[int, int], ...], **params: Any) -> Any:
    return tuple([n + a + b for n, (a, b) in zip(x.shape, pad, strict=True)]), x.dtype


_pad = Op("pad", "x", node="ConstantPadNd", shape=_padded).vjp(
    x=lambda F, g, pad: F.pad(g, pad=tuple([(-a, -b) for a, b in pad]), value=0)
)
_pad_index_backward = Op("pad_index_backward", "x", shape=_to_shape).vjp(
    x=lambda F, g, pad, mode: F.pad_index(g, pad=pad, mode=mode)
)


def _index_pad(name: str, node: str) -> Callable:
    return Op(name, "x", kernel="pad_index", node=node, shape=_padded).vjp(
        x=lambda F, g, x_shape, pad, mode: F.pad_index_backward(
            g, shape=x_shape, pad=pad, mode=mode
        )
    )


_pad_index = _index_pad("pad_index", "PadIndex")
_INDEX_PADS = {
    (mode, n): _index_pad(f"{name}_pad{n}d", f"{name.title()}Pad{n}D")
    for mode, name in (
        ("reflect", "reflection"), ("replicate", "replication"), ("circular", "circular")
    )
    for n in (1, 2, 3)
}  # fmt: skip


def pad_pairs(pad: Sequence[int], ndim: int) -> tuple[tuple[int, int], ...]:
    """Return PyTorch's flat padding, last dimension first, as (before, after) of every dimension.

    >>> pad_pairs((1, 2), 2)
    ((0, 0), (1, 2))
    """
    pairs = [(int(pad[i]), int(pad[i + 1])) for i in range(0, len(pad), 2)]
    return ((0, 0),) * (ndim - len(pairs)) + tuple(reversed(pairs))


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """Pad the last dimensions: `pad` lists (before, after), the last dimension first.

    >>> pad(multitorch.ones(2), (1, 1)).tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    ndim = input._a.ndim
    if len(pad) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(pad) // 2 > ndim:
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got "
            f"padding length {len(pad)} and input of dimension {ndim}"
        )
    pairs = pad_pairs(pad, ndim)
    if mode == "constant":
        return _pad_constant(input, pairs, 0 if value is None else value)
    if value is not None and value != 0:
        raise ValueError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    n = len(pad) // 2
    if n > 3 or ndim not in (n + 1, n + 2):
        raise NotImplementedError(
            "Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now"
        )
    _check_index_pad(input._a.shape, pairs, mode)
    return _INDEX_PADS[mode, n](input, pad=pairs, mode=mode)


def _pad_constant(x: Any, pairs: tuple[tuple[int, int], ...], value: Any) -> Any:
    for n, (a, b) in zip(x._a.shape, pairs, strict=True):
        if n + a + b < 0:
            raise RuntimeError(
                f"The input size {n}, plus negative padding {a} and {b} resulted in a negative "
                "output size, which is invalid. Check dimension of your input."
            )
    kind = x._dtype
    value = value.item() if hasattr(value, "item") else value
    number = complex if kind.is_complex else float if kind.is_floating_point else int
    return _pad(x, pad=pairs, value=bool(value) if kind.name == "bool" else number(value))


def _check_index_pad(shape: Sequence[int], pairs: Any, mode: str) -> None:
    for d, (n, (a, b)) in enumerate(zip(shape, pairs, strict=True)):
        if mode == "reflect" and max(a, b) >= n and (a or b):
            raise RuntimeError(
                "Argument #4: Padding size should be less than the corresponding input dimension, "
                f"but got: padding ({a}, {b}) at dimension {d} of input {list(shape)}"
            )
        if mode == "circular" and max(a, b) > n:
            raise RuntimeError("Padding value causes wrapping around more than once.")
        if n + a + b < 0 or (mode != "constant" and n == 0 and (a or b)):
            raise RuntimeError(
                f"Expected a tensor with non-zero sizes for {mode} padding, got {list(shape)}"
            )


def constant_pad_nd(input: Any, pad: Sequence[int], value: Any = 0) -> Any:
    """Pad the last dimensions with one value."""
    return _pad_constant(input, pad_pairs(pad, input._a.ndim), value)


# --- at least so many dimensions ------------------------------------------------------------------


def _each(function: Callable, tensors: tuple) -> Any:
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        return tuple([function(x) for x in tensors[0]])
    if len(tensors) == 1:
        return function(tensors[0])
    return tuple([function(x) for x in tensors])


def _one(x: Any) -> Any:
    return x if x._a.ndim else reshape(x, (1,))


def _two(x: Any) -> Any:
    return unsqueeze(_one(x), 0) if x._a.ndim < 2 else x


def _three(x: Any) -> Any:
    return unsqueeze(_two(x), -1) if x._a.ndim < 3 else x


def atleast_1d(*tensors: Any) -> Any:
    """Return the tensors with at least one dimension."""
    return _each(_one, tensors)


def atleast_2d(*tensors: Any) -> Any:
    """Return the tensors with at least two dimensions."""
    return _each(_two, tensors)


def atleast_3d(*tensors: Any) -> Any:
    """Return the tensors with at least three dimensions."""
    return _each(_three, tensors)


FUNCTIONS: dict[str, Callable] = {
    "as_strided_scatter": as_strided_scatter, "atleast_1d": atleast_1d, "atleast_2d": atleast_2d,
    "atleast_3d": atleast_3d, "constant_pad_nd": constant_pad_nd, "diag": diag,
    "diag_embed": diag_embed, "diagflat": diagflat, "diagonal_scatter": diagonal_scatter,
    "flip": flip, "fliplr": fliplr, "flipud": flipud, "roll": roll, "rot90": rot90,
    "select_scatter": select_scatter, "slice_scatter": slice_scatter, "tile": tile, "tril": tril,
    "triu": triu,
}  # fmt: skip
METHODS: dict[str, Callable] = {
    **{k: f for k, f in FUNCTIONS.items() if not k.startswith(("atleast", "constant"))},
    "repeat": repeat,
}
INPLACE: dict[str, Callable] = {"tril_": tril, "triu_": triu}
