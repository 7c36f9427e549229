"""JAX kernels: gathering and scattering.

An index out of bounds cannot raise inside an XLA program: reads clamp it and writes drop it.
Negative indices count from the end where PyTorch lets them.
"""

from __future__ import annotations

import builtins

import jax
import jax.numpy as jnp
import numpy as np

from multitorch_jax.jit import host

_ALL = builtins.slice(None)


def _along(index, dim):
    places = []
    for d, n in enumerate(index.shape):
        if d == dim:
            places.append(index)
        else:
            line = [1] * index.ndim
            line[d] = n
            places.append(jnp.arange(n).reshape(line))
    return tuple(places)


def _at_least_1d(*arrays):
    return tuple([jnp.reshape(a, (1,)) if not jnp.ndim(a) else a for a in arrays])


def _add(x, where, values):
    """Add at places; sums of bool are "or"."""
    return x.at[where].max(values) if x.dtype == jnp.bool_ else x.at[where].add(values)


def _part(src, index):
    if not jnp.ndim(src) or src.shape == index.shape:
        return src
    return src[tuple([builtins.slice(n) for n in index.shape])]


# --- along one dimension --------------------------------------------------------------------------


def gather(x, index, *, dim):
    if not index.ndim or not x.ndim:
        return jnp.reshape(jnp.ravel(x)[jnp.ravel(index)], index.shape)
    return x[_along(index, dim)]


def scatter(x, index, src, *, dim):
    if not x.ndim or not index.ndim:
        flat, where = _at_least_1d(x, index)
        return flat.at[where].set(src).reshape(x.shape)
    return x.at[_along(index, dim)].set(_part(src, index))


def scatter_add(x, index, src, *, dim):
    if not x.ndim or not index.ndim:
        flat, where = _at_least_1d(x, index)
        return _add(flat, where, src).reshape(x.shape)
    return _add(x, _along(index, dim), _part(src, index))


def _neutral(dtype, reduce):
    if reduce in ("sum", "mean", "prod"):
        return int(reduce == "prod")
    if dtype == jnp.bool_:
        return reduce == "amin"
    if jnp.issubdtype(dtype, jnp.integer):
        limits = jnp.iinfo(dtype)
        return limits.min if reduce == "amax" else limits.max
    return -jnp.inf if reduce == "amax" else jnp.inf


def scatter_reduce(x, index, src, *, dim, reduce, include_self):
    if not index.size:
        return x
    shape = x.shape
    x, index, src = _at_least_1d(x, index, src)
    where, src = _along(index, dim), _part(src, index)
    start = x if include_self else x.at[where].set(_neutral(x.dtype, reduce))
    at = start.at[where]
    if x.dtype == jnp.bool_:
        reduce = {"sum": "amax", "mean": "amax", "prod": "amin"}.get(reduce) or reduce
    out = {
        "sum": at.add, "mean": at.add, "prod": at.multiply, "amax": at.max, "amin": at.min
    }[reduce](src)  # fmt: skip
    if reduce == "mean":
        count = jnp.full(x.shape, int(include_self), jnp.int64).at[where].add(1)
        count = jnp.maximum(count, 1).astype(x.dtype)
        out = out // count if jnp.issubdtype(x.dtype, jnp.integer) else out / count
    return out.reshape(shape)


def index_select(x, index, *, dim):
    if not x.ndim:
        return x
    return jnp.take(x, index, dim, mode="clip")


def index_add(x, index, src, *, dim):
    if not x.ndim:
        return _add(jnp.reshape(x, (1,)), jnp.zeros(src.size, jnp.int64), jnp.ravel(src))[0]
    return _add(x, (_ALL,) * dim + (jnp.ravel(index),), src)


def index_copy(x, index, src, *, dim):
    if not x.ndim:
        return jnp.ravel(src)[-1] if index.size else x
    return x.at[(_ALL,) * dim + (jnp.ravel(index),)].set(src)


def index_fill(x, index, value, *, dim):
    value = jnp.asarray(value).astype(x.dtype)
    if not x.ndim:
        return value
    return x.at[(_ALL,) * dim + (jnp.ravel(index),)].set(value)


# --- along several dimensions ---------------------------------------------------------------------


def _key(indices):
    return tuple([_ALL if i is None else i for i in indices])


def index(x, *indices):
    return x[_key(indices)]


def index_put(x, values, *indices, accumulate):
    where = _key(indices)
    return _add(x, where, values) if accumulate else x.at[where].set(values)


def take(x, index):
    return jnp.ravel(x)[index]


def put_flat(x, index, source, *, accumulate):
    flat, where, source = jnp.ravel(x), jnp.ravel(index), jnp.ravel(source)
    out = _add(flat, where, source) if accumulate else flat.at[where].set(source)
    return out.reshape(x.shape)


# --- what the values decide -----------------------------------------------------------------------


@host
def nonzero(x):
    return jnp.argwhere(x)


@host
def masked_select(x, mask):
    # the positions are counted on the host; the values stay where they are
    where = np.flatnonzero(np.asarray(mask))
    return jnp.ravel(x)[jnp.asarray(where)]


def masked_scatter(x, mask, source):
    order = jnp.cumsum(jnp.ravel(mask).astype(jnp.int64)) - 1
    new = jnp.take(jnp.ravel(source), order, mode="clip").reshape(mask.shape)
    return jnp.where(mask, new, x)


@host
def repeat_positions(repeats):
    """Return i repeated `repeats[i]` times, for every i."""
    counts = np.asarray(repeats)
    return jax.device_put(np.repeat(np.arange(len(counts)), counts), repeats.device)
