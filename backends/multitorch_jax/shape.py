"""JAX kernels: views, joins and fills. Starts and indices are traced; sizes are static."""

from __future__ import annotations

import builtins

import jax.numpy as jnp
from jax import lax


def reshape(x, *, shape):
    return jnp.reshape(x, shape)


def permute(x, *, dims):
    return lax.transpose(x, dims)


def expand(x, *, shape):
    return jnp.broadcast_to(x, shape)


def slice(x, start, *, dim, length, step):
    if step == 1 or not length:
        return lax.dynamic_slice_in_dim(x, start, length, dim)
    span = lax.dynamic_slice_in_dim(x, start, (length - 1) * step + 1, dim)
    return lax.slice_in_dim(span, 0, span.shape[dim], step, dim)


def select(x, index, *, dim):
    return lax.dynamic_index_in_dim(x, index, dim, keepdims=False)


def slice_scatter(x, src, start, *, dim, length, step):
    if not length:
        return x
    if step == 1:
        return lax.dynamic_update_slice_in_dim(x, src, start, dim)
    span = lax.dynamic_slice_in_dim(x, start, (length - 1) * step + 1, dim)
    span = span.at[(builtins.slice(None),) * dim + (builtins.slice(None, None, step),)].set(src)
    return lax.dynamic_update_slice_in_dim(x, span, start, dim)


def select_scatter(x, src, index, *, dim):
    return lax.dynamic_update_index_in_dim(x, src, index, dim)


def slice_backward(x, start, *, shape, dim, length, step):
    zeros = jnp.zeros(shape, x.dtype)
    return slice_scatter(zeros, x, start, dim=dim, length=length, step=step)


def select_backward(x, index, *, shape, dim):
    return lax.dynamic_update_index_in_dim(jnp.zeros(shape, x.dtype), x, index, dim)


def diagonal(x, *, offset, dim1, dim2):
    return jnp.diagonal(x, offset, dim1, dim2)


def diagonal_scatter(x, src, *, offset, dim1, dim2):
    moved = jnp.moveaxis(x, (dim1, dim2), (-2, -1))
    n = jnp.arange(src.shape[-1])
    moved = moved.at[..., n + max(-offset, 0), n + max(offset, 0)].set(src)
    return jnp.moveaxis(moved, (-2, -1), (dim1, dim2))


def _strided_index(size, stride, offset):
    index = jnp.full((), offset, jnp.int64)
    for n, s in zip(size, stride, strict=True):
        index = index[..., None] + jnp.arange(n, dtype=jnp.int64) * s
    return index


def as_strided(x, *, size, stride, offset):
    return jnp.ravel(x)[_strided_index(size, stride, offset)]


def as_strided_scatter(x, src, *, size, stride, offset):
    flat = jnp.ravel(x).at[_strided_index(size, stride, offset)].set(src)
    return flat.reshape(x.shape)


def unfold(x, *, dim, size, step):
    if not x.ndim:
        return jnp.reshape(x, (1,))[:size]
    count = (x.shape[dim] - size) // step + 1
    index = jnp.arange(count)[:, None] * step + jnp.arange(size)
    return jnp.moveaxis(jnp.take(x, index, dim), dim + 1, -1)


def view_dtype(x, *, dtype, old):
    width, narrow = dtype.itemsize, old.itemsize
    if width > narrow:
        x = jnp.reshape(x, (*x.shape[:-1], x.shape[-1] * narrow // width, width // narrow))
    if jnp.issubdtype(old, jnp.complexfloating) or jnp.issubdtype(dtype, jnp.complexfloating):
        return _view_complex(x, dtype, old)
    if old == jnp.bool_:
        x, old = x.astype(jnp.uint8), jnp.dtype(jnp.uint8)
    if dtype == jnp.bool_:
        return lax.bitcast_convert_type(x, jnp.uint8).astype(jnp.bool_)
    out = lax.bitcast_convert_type(x, dtype)
    if width < narrow:
        return jnp.reshape(out, (*x.shape[:-1], -1) if x.ndim else (-1,))
    return out


def _view_complex(x, dtype, old):
    if jnp.issubdtype(old, jnp.complexfloating):
        parts = view_as_real(x)
        return view_dtype(parts.reshape(*x.shape[:-1], -1), dtype=dtype, old=parts.dtype)
    part = jnp.dtype(jnp.float32 if dtype == jnp.complex64 else jnp.float64)
    x = x.reshape(*x.shape[:-2], -1) if dtype.itemsize > old.itemsize else x
    parts = view_dtype(x, dtype=part, old=old)
    return view_as_complex(parts.reshape(*parts.shape[:-1], -1, 2))


def view_as_real(x):
    return jnp.stack((x.real, x.imag), -1)


def view_as_complex(x):
    return lax.complex(x[..., 0], x[..., 1])


def clone(x):
    return jnp.copy(x)


contiguous = clone


def detach(x):
    return x


def cat(*xs, dim):
    return jnp.concatenate(xs, dim)


def stack(*xs, dim):
    return jnp.stack(xs, dim)


def pad(x, *, pad, value):
    """`pad` holds (before, after) for every dimension; negative numbers crop."""
    if not jnp.iscomplexobj(x):
        value = value.real  # 0 and 0j are equal parameters: they share a program
    return lax.pad(x, jnp.asarray(value, x.dtype), [(a, b, 0) for a, b in pad])


def flip(x, *, dims):
    return lax.rev(x, dims)


def roll(x, *shifts, dims):
    if not dims:
        return roll(jnp.ravel(x), *shifts, dims=(0,)).reshape(x.shape)
    for shift, d in zip(shifts, dims, strict=True):
        n = x.shape[d]
        x = lax.dynamic_slice_in_dim(lax.concatenate((x, x), d), -shift % n, n, d)
    return x


def repeat(x, *, repeats):
    return jnp.tile(x, repeats)


def tril(x, *, diagonal):
    return jnp.tril(x, diagonal)


def triu(x, *, diagonal):
    return jnp.triu(x, diagonal)


def diag_embed(x, *, offset, dim1, dim2):
    size = x.shape[-1] + abs(offset)
    shape = list(x.shape[:-1])
    for d in sorted((dim1, dim2)):
        shape.insert(d, size)
    return diagonal_scatter(jnp.zeros(shape, x.dtype), x, offset=offset, dim1=dim1, dim2=dim2)


def new_zeros(x, *, shape):
    return jnp.zeros(shape, x.dtype)


def new_full(x, *, shape, value):
    return jnp.full(shape, value, x.dtype)


def filled(x, value, *, shape):
    """Return an array of one value with the dtype of `x`."""
    return jnp.full(shape, value, x.dtype)


def iota(x, *, size, dtype):
    return lax.iota(dtype, size)


def arange(x, start, step, *, size):
    """Return `start + step * i` for i < size, of the dtype of `x`."""
    if jnp.issubdtype(x.dtype, jnp.integer):
        return (lax.iota(jnp.int64, size) * step + start).astype(x.dtype)
    return (lax.iota(jnp.float64, size) * step + start).astype(x.dtype)


def linspace(x, start, stop, *, size):
    """Return `size` evenly spaced numbers, symmetric about the middle as PyTorch's are."""
    if size == 1:
        return jnp.full(1, start, x.dtype)
    ramp = lax.iota(jnp.float64, size)
    step = (stop - start) / (size - 1)
    out = jnp.where(ramp < size // 2, start + step * ramp, stop - step * (size - 1 - ramp))
    return (jnp.trunc(out) if jnp.issubdtype(x.dtype, jnp.integer) else out).astype(x.dtype)
