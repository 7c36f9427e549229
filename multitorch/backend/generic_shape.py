"""Generic bodies of shape ops: parts put back, windows, diagonals, strides, over the primitives."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

Array = Any
_INT = np.dtype(np.int64)


def slice_backward(
    F: Any, x: Array, start: Any, *, shape: tuple[int, ...], dim: int, length: int, step: int
) -> Array:
    """Return zeros with `x` in a strided piece of one dimension."""
    zeros = F.new_zeros(x, shape=shape)
    return F.slice_scatter(zeros, x, start, dim=dim, length=length, step=step)


def select_backward(F: Any, x: Array, index: Any, *, shape: tuple[int, ...], dim: int) -> Array:
    """Return zeros with `x` at one index of one dimension."""
    return F.select_scatter(F.new_zeros(x, shape=shape), x, index, dim=dim)


def _windows(F: Any, x: Array, count: int, size: int, step: int) -> Array:
    starts = F.reshape(F.iota(x, size=count, dtype=_INT) * step, shape=(count, 1))
    return F.reshape(starts + F.iota(x, size=size, dtype=_INT), shape=(count * size,))


def _last_to(ndim: int, dim: int) -> tuple[int, ...]:
    return (*range(dim), ndim - 1, *range(dim, ndim - 1))


def unfold(F: Any, x: Array, *, dim: int, size: int, step: int) -> Array:
    """Return all windows of a dimension as a last dimension."""
    if not x.shape:
        return F.reshape(x, shape=(1,)) if size else F.new_zeros(x, shape=(0,))
    count = (x.shape[dim] - size) // step + 1
    out = F.index_select(x, _windows(F, x, count, size, step), dim=dim)
    out = F.reshape(out, shape=(*x.shape[:dim], count, size, *x.shape[dim + 1 :]))
    ndim = len(x.shape) + 1
    order = (*range(dim + 1), *range(dim + 2, ndim), dim + 1)
    return F.permute(out, dims=order)


def _folded(F: Any, x: Array, shape: tuple[int, ...], dim: int, size: int) -> Array:
    """Bring windows back beside their dimension: (..., count * size, ...)."""
    ndim = len(x.shape)
    x = F.permute(x, dims=_last_to(ndim, dim + 1))
    count = x.shape[dim]
    return F.reshape(x, shape=(*shape[:dim], count * size, *shape[dim + 1 :]))


def unfold_backward(
    F: Any, x: Array, *, shape: tuple[int, ...], dim: int, size: int, step: int
) -> Array:
    """Add up windows where they came from."""
    zeros = F.new_zeros(x, shape=shape or (1,))
    if not shape:
        return F.reshape(F.sum_to(x, shape=(1,)), shape=()) if size else F.new_zeros(x, shape=())
    index = _windows(F, x, x.shape[dim], size, step)
    return F.index_add(zeros, index, _folded(F, x, shape, dim, size), dim=dim)


def unfold_scatter(F: Any, x: Array, src: Array, *, dim: int, size: int, step: int) -> Array:
    """Store windows where they came from."""
    shape = tuple(x.shape)
    if not shape:
        return F.reshape(src, shape=())
    index = _windows(F, x, src.shape[dim], size, step)
    return F.index_copy(x, index, _folded(F, src, shape, dim, size), dim=dim)


def _strided_index(F: Any, x: Array, size: Any, stride: Any, offset: int) -> Array:
    index = F.iota(x, size=1, dtype=_INT) + offset
    for n, s in zip(size, stride, strict=True):
        index = F.reshape(index, shape=(prod(index.shape), 1)) + F.iota(x, size=n, dtype=_INT) * s
    return F.reshape(index, shape=(prod(size),))


def as_strided(
    F: Any, x: Array, *, size: tuple[int, ...], stride: tuple[int, ...], offset: int
) -> Array:
    """Read the row-major elements of `x` with other sizes and strides."""
    flat = F.reshape(x, shape=(prod(x.shape),))
    index = _strided_index(F, x, size, stride, offset)
    return F.reshape(F.index_select(flat, index, dim=0), shape=size)


def as_strided_scatter(
    F: Any, x: Array, src: Array, *, size: tuple[int, ...], stride: tuple[int, ...], offset: int
) -> Array:
    """Store `src` where `as_strided` reads."""
    flat = F.reshape(x, shape=(prod(x.shape),))
    index = _strided_index(F, x, size, stride, offset)
    out = F.index_copy(flat, index, F.reshape(src, shape=(prod(size),)), dim=0)
    return F.reshape(out, shape=tuple(x.shape))


def as_strided_backward(
    F: Any,
    x: Array,
    *,
    shape: tuple[int, ...],
    size: tuple[int, ...],
    stride: tuple[int, ...],
    offset: int,
) -> Array:
    """Add up the elements of `x` where `as_strided` read them."""
    flat = F.new_zeros(x, shape=(prod(shape),))
    index = _strided_index(F, x, size, stride, offset)
    out = F.index_add(flat, index, F.reshape(x, shape=(prod(size),)), dim=0)
    return F.reshape(out, shape=shape)


def diag_embed(F: Any, x: Array, *, offset: int, dim1: int, dim2: int) -> Array:
    """Return zeros with `x` on the diagonals of two new dimensions."""
    shape = list(x.shape[:-1])
    for d in sorted((dim1, dim2)):
        shape.insert(d, x.shape[-1] + abs(offset))
    zeros = F.new_zeros(x, shape=tuple(shape))
    return F.diagonal_scatter(zeros, x, offset=offset, dim1=dim1, dim2=dim2)


def repeat(F: Any, x: Array, *, repeats: tuple[int, ...]) -> Array:
    """Lay copies of `x` side by side."""
    old = (1,) * (len(repeats) - len(x.shape)) + tuple(x.shape)
    apart = tuple([n for pair in zip([1] * len(old), old, strict=True) for n in pair])
    wide = tuple([n for pair in zip(repeats, old, strict=True) for n in pair])
    out = F.expand(F.reshape(x, shape=apart), shape=wide)
    return F.reshape(out, shape=tuple([r * n for r, n in zip(repeats, old, strict=True)]))


def _below(F: Any, x: Array, diagonal: int) -> Array:
    rows, columns = x.shape[-2:]
    i = F.reshape(F.iota(x, size=rows, dtype=_INT), shape=(rows, 1))
    return F.ge(i + diagonal, F.iota(x, size=columns, dtype=_INT))


def tril(F: Any, x: Array, *, diagonal: int) -> Array:
    """Keep the lower triangle of the last two dimensions."""
    return F.where(_below(F, x, diagonal), x, F.new_zeros(x, shape=()))


def triu(F: Any, x: Array, *, diagonal: int) -> Array:
    """Keep the upper triangle of the last two dimensions."""
    return F.where(_below(F, x, diagonal - 1), F.new_zeros(x, shape=()), x)


def roll(F: Any, x: Array, *shifts: Any, dims: tuple[int, ...]) -> Array:
    """Move elements along dimensions, or as if flat; those that leave come in at the other end."""
    if not dims:
        flat = F.reshape(x, shape=(prod(x.shape),))
        return F.reshape(roll(F, flat, *shifts, dims=(0,)), shape=tuple(x.shape))
    for shift, d in zip(shifts, dims, strict=True):
        n = x.shape[d]
        x = F.slice(F.cat(x, x, dim=d), -shift % n, dim=d, length=n, step=1)
    return x


def _pad_positions(F: Any, x: Array, n: int, before: int, size: int, mode: str) -> Array:
    """Return, for every element of a padded dimension, which of the n old ones it repeats."""
    i = F.iota(x, size=size, dtype=_INT) - before
    if mode == "reflect":
        return (n - 1) - F.abs((n - 1) - F.abs(i))
    if mode == "replicate":
        return F.clamp(i, 0, n - 1)
    cut = max(-before, 0)  # what negative padding removes takes no part in the circle
    rest = n - cut - max(n + before - size, 0)
    return F.remainder(i - cut, rest) + cut


def pad_index(F: Any, x: Array, *, pad: tuple[tuple[int, int], ...], mode: str) -> Array:
    """Pad by repeating elements of the input: "reflect", "replicate" or "circular"."""
    for d, (before, after) in enumerate(pad):
        if before or after:
            n = x.shape[d]
            index = _pad_positions(F, x, n, before, n + before + after, mode)
            x = F.index_select(x, index, dim=d)
    return x


def pad_index_backward(
    F: Any, x: Array, *, shape: tuple[int, ...], pad: tuple[tuple[int, int], ...], mode: str
) -> Array:
    """Add up the elements of `x` where `pad_index` read them."""
    for d, (before, after) in enumerate(pad):
        if before or after:
            index = _pad_positions(F, x, shape[d], before, x.shape[d], mode)
            old = (*x.shape[:d], shape[d], *x.shape[d + 1 :])
            x = F.index_add(F.new_zeros(x, shape=old), index, x, dim=d)
    return x


def eye(F: Any, x: Array, *, n: int, m: int) -> Array:
    """Return a matrix with ones on the diagonal, of the dtype of `x`."""
    rows = F.reshape(F.iota(x, size=n, dtype=_INT), shape=(n, 1))
    return F.cast(F.eq(rows, F.iota(x, size=m, dtype=_INT)), dtype=x.dtype)
