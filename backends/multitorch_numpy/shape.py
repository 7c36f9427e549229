"""NumPy kernels: views, joins and fills. View kernels return arrays that alias their input."""

from __future__ import annotations

import builtins
import functools

import numpy as np

_array = np.ndarray


def reshape(x, *, shape):
    """Return a view where the strides allow it, else a copy."""
    return x.reshape(shape)


def permute(x, *, dims):
    return x.transpose(dims)


def _restrided(x, shape, strides, start=0):
    """Return a view of the memory of `x` with other sizes and strides (all in bytes).

    The constructor is ten times cheaper than NumPy's `as_strided` and `broadcast_to`, and its
    result is writable; but it wants the array that owns the memory, in row-major order.
    """
    owner = x
    if not x.flags.c_contiguous:
        while owner.base.__class__ is _array:
            owner = owner.base
        if owner.flags.f_contiguous:
            owner = owner.T
        if not owner.flags.c_contiguous:
            if start:
                x = x.reshape(-1)[start // x.itemsize :]
            return np.lib.stride_tricks.as_strided(x, shape, strides)
        start += x.__array_interface__["data"][0] - owner.__array_interface__["data"][0]
    return _array(shape, x.dtype, owner, start, strides)


def expand(x, *, shape):
    missing = len(shape) - x.ndim
    strides = x.strides
    if shape[missing:] == x.shape and x.flags.c_contiguous:
        return _array(shape, x.dtype, x, 0, (0,) * missing + strides)
    if shape[missing:] != x.shape:
        pairs = zip(shape[missing:], x.shape, strides, strict=True)
        strides = tuple([stride if n == held else 0 for n, held, stride in pairs])
    return _restrided(x, shape, (0,) * missing + strides)


def slice(x, start, *, dim, length, step):
    stop = start + (length - 1) * step + 1 if length else start
    if dim == 0:
        return x[start:stop:step]
    return x[(_ALL,) * dim + (builtins.slice(start, stop, step),)]


_ALL = builtins.slice(None)


def select(x, index, *, dim):
    if dim == 0:
        return x[index, ...]  # the dots make it a view where a scalar would come out
    return x[(_ALL,) * dim + (index, ...)]


def _region(dim, start, length, step):
    stop = start + (length - 1) * step + 1 if length else start
    return (_ALL,) * dim + (builtins.slice(start, stop, step),)


def slice_scatter(x, src, start, *, dim, length, step):
    out = np.array(x, order="C")
    out[_region(dim, start, length, step)] = src
    return out


def select_scatter(x, src, index, *, dim):
    out = np.array(x, order="C")
    out[(_ALL,) * dim + (index,)] = src
    return out


def slice_backward(x, start, *, shape, dim, length, step):
    out = np.zeros(shape, x.dtype)
    out[_region(dim, start, length, step)] = x
    return out


def select_backward(x, index, *, shape, dim):
    out = np.zeros(shape, x.dtype)
    out[(_ALL,) * dim + (index,)] = x
    return out


def part_backward(x, *, key, shape):
    out = np.zeros(shape, x.dtype)
    out[key] = x
    return out


def diagonal(x, *, offset, dim1, dim2):
    out = x.diagonal(offset, dim1, dim2)
    if x.flags.writeable:
        out.flags.writeable = True
    return out


def diagonal_scatter(x, src, *, offset, dim1, dim2):
    out = np.array(x, order="C")
    diagonal(out, offset=offset, dim1=dim1, dim2=dim2)[...] = src
    return out


def as_strided(x, *, size, stride, offset):
    wide = x.itemsize
    return _restrided(x, size, tuple([n * wide for n in stride]), offset * wide)


def as_strided_scatter(x, src, *, size, stride, offset):
    out = x.copy(order="C")
    as_strided(out, size=size, stride=stride, offset=offset)[...] = src
    return out


def unfold(x, *, dim, size, step):
    if not x.ndim:
        return x.reshape(1)[:size]
    shape, strides = list(x.shape), list(x.strides)
    shape[dim] = (shape[dim] - size) // step + 1
    window = strides[dim]
    strides[dim] *= step
    return _restrided(x, (*shape, size), (*strides, window))


def unfold_backward(x, *, shape, dim, size, step):
    """Add up windows where they came from, in as few pieces that do not overlap as there can be."""
    if not shape:
        return np.add.reduce(x, dtype=x.dtype)
    out = np.zeros(shape, x.dtype)
    windows, count = unfold(out, dim=dim, size=size, step=step), x.shape[dim]
    if count * step < size:
        for i in range(count):
            one = (_ALL,) * dim + (i,)
            windows[one] += x[one]
    else:
        for first in range(0, size, step):
            windows[..., first : first + step] += x[..., first : first + step]
    return out


def view_dtype(x, *, dtype, old):
    if x.ndim == 0 and dtype.itemsize != x.itemsize:
        return x.reshape(1).view(dtype)
    return x.view(dtype)


def view_as_real(x):
    return x[..., None].view(np.float32 if x.dtype == np.complex64 else np.float64)


def view_as_complex(x):
    return x.view(np.complex64 if x.dtype == np.float32 else np.complex128)[..., 0]


def clone(x):
    return x.copy(order="K")


def contiguous(x):
    """Return a row-major copy; a large transposed array goes a cache line of each row at a time."""
    if x.ndim > 1 and x.size >= 1 << 16 and x.strides[-1] > x.itemsize and _has_long_rows(x):
        out = np.empty(x.shape, x.dtype)
        for i in range(0, x.shape[-1], _LINE):
            out[..., i : i + _LINE] = x[..., i : i + _LINE]
        return out
    return x.copy(order="C")


_LINE = 16


def _has_long_rows(x):
    return any(s == x.itemsize and n >= 256 for s, n in zip(x.strides[:-1], x.shape[:-1]))


def detach(x):
    return x.view()


def cat(*xs, dim):
    return np.concatenate(xs, dim)


def stack(*xs, dim):
    shape = list(xs[0].shape)
    shape.insert(dim, len(xs))
    out = np.empty(shape, xs[0].dtype)
    lead = (_ALL,) * dim
    for i, x in enumerate(xs):
        out[(*lead, i)] = x
    return out


def pad(x, *, pad, value):
    """`pad` holds (before, after) for every dimension; negative numbers crop."""
    crop = [
        builtins.slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape, pad, strict=True)
    ]
    x = x[tuple(crop)]
    before = [max(a, 0) for a, _ in pad]
    shape = [n + a + max(b, 0) for n, a, (_, b) in zip(x.shape, before, pad, strict=True)]
    out = np.full(shape, value, x.dtype) if value else np.zeros(shape, x.dtype)
    spots = [builtins.slice(a, a + n) for n, a in zip(x.shape, before, strict=True)]
    out[tuple(spots)] = x
    return out


def flip(x, *, dims):
    spots = [builtins.slice(None, None, -1 if d in dims else 1) for d in range(x.ndim)]
    return x[tuple(spots)].copy()


def roll(x, *shifts, dims):
    if not dims:
        return roll(x.reshape(-1), *shifts, dims=(0,)).reshape(x.shape)
    for shift, d in zip(shifts, dims, strict=True):
        lead, cut = (_ALL,) * d, -shift % x.shape[d]
        head = (*lead, builtins.slice(cut))
        x = np.concatenate((x[(*lead, builtins.slice(cut, None))], x[head]), d)
    return x


def repeat(x, *, repeats):
    return np.tile(x, repeats)


def tril(x, *, diagonal):
    return np.where(_below(*x.shape[-2:], diagonal), x, x.dtype.type(0))


def triu(x, *, diagonal):
    return np.where(_below(*x.shape[-2:], diagonal - 1), x.dtype.type(0), x)


@functools.lru_cache(maxsize=16)
def _below(rows, columns, diagonal):
    return np.arange(rows)[:, None] + diagonal >= np.arange(columns)


def diag_embed(x, *, offset, dim1, dim2):
    size = x.shape[-1] + abs(offset)
    shape = list(x.shape[:-1])
    for d in sorted((dim1, dim2)):
        shape.insert(d, size)
    out = np.zeros(shape, x.dtype)
    diagonal(out, offset=offset, dim1=dim1, dim2=dim2)[...] = x
    return out


def new_zeros(x, *, shape):
    return np.zeros(shape, x.dtype)


def new_full(x, *, shape, value):
    return filled(x, value, shape=shape)


def filled(x, value, *, shape):
    """Return an array of one value with the dtype of `x`."""
    out = np.empty(shape, x.dtype)
    out.fill(value)
    return out


def iota(x, *, size, dtype):
    return np.arange(size, dtype=dtype)


def eye(x, *, n, m):
    return np.eye(n, m, dtype=x.dtype)


def arange(x, start, step, *, size):
    """Return `start + step * i` for i < size, of the dtype of `x`."""
    if x.dtype.kind in "iu":
        wide = x.dtype if x.dtype.itemsize == 8 else np.int64  # what does not fit wraps
        if step:
            line = np.arange(start, start + size * step, step, dtype=wide)
        else:
            line = np.full(size, start, wide)
        return line.astype(x.dtype, copy=False)
    return (np.arange(size) * step + start).astype(x.dtype)


def linspace(x, start, stop, *, size):
    """Return `size` evenly spaced numbers, symmetric about the middle as PyTorch's are."""
    if size == 1:
        return np.full(1, start, x.dtype)
    ramp = np.arange(size, dtype=np.float64)
    step = (stop - start) / (size - 1)
    out = np.where(ramp < size // 2, start + step * ramp, stop - step * (size - 1 - ramp))
    return (np.trunc(out) if x.dtype.kind in "iu" else out).astype(x.dtype)
