"""Pooling by XLA's window reductions."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = Any
Sizes = tuple[int, ...]


def _lowest(x: Array) -> Any:
    kind = jnp.iinfo(x.dtype).min if jnp.issubdtype(x.dtype, jnp.integer) else -jnp.inf
    return np.asarray(kind, x.dtype)


def _pads(
    sizes: Sizes, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> list[tuple[int, int]]:
    """Return the padding with which windows end exactly where the last one does."""
    return [
        (p, (o - 1) * s + d * (k - 1) + 1 - n - p)
        for n, o, k, s, p, d in zip(sizes, size, kernel, stride, padding, dilation)
    ]


def _reduce(
    x: Array, start: Any, function: Any, kernel: Sizes, stride: Sizes, pads: Any, dilation: Sizes
) -> Array:
    lead = x.ndim - len(kernel)
    ones = (1,) * lead
    cut = [(0, 0, 0)] * lead + [(0, min(hi, 0), 0) for _, hi in pads]
    x = lax.pad(x, jnp.zeros((), x.dtype), cut)
    return lax.reduce_window(
        x, start, function, ones + tuple(kernel), ones + tuple(stride),
        [(0, 0)] * lead + [(lo, max(hi, 0)) for lo, hi in pads],
        window_dilation=ones + tuple(dilation),
    )  # fmt: skip


def max_pool(
    x: Array, *, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> Array:
    pads = _pads(x.shape[x.ndim - len(size) :], size, kernel, stride, padding, dilation)
    return _reduce(x, _lowest(x), lax.max, kernel, stride, pads, dilation)


def max_pool_with_indices(
    x: Array, *, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> tuple[Array, Array]:
    lead = x.ndim - len(size)
    sizes = x.shape[lead:]
    pads = [(0, 0, 0)] * lead
    pads += [(*p, 0) for p in _pads(sizes, size, kernel, stride, padding, dilation)]
    padded = lax.pad(x, jnp.asarray(_lowest(x)), pads)
    best: Any = None
    at: Any = None
    for index in itertools.product(*map(range, kernel)):
        start = (0,) * lead + tuple(i * d for i, d in zip(index, dilation))
        stop = x.shape[:lead] + tuple(
            i * d + s * (o - 1) + 1 for i, d, s, o in zip(index, dilation, stride, size)
        )
        part = lax.slice(padded, start, stop, (1,) * lead + tuple(stride))
        here = _positions(index, sizes, size, stride, padding, dilation)
        if best is None:
            best, at = part, jnp.broadcast_to(here, part.shape)
            continue
        better = (part > best) | (part != part)
        best, at = jnp.where(better, part, best), jnp.where(better, here, at)
    return best, at


def _positions(
    index: Sizes, sizes: Sizes, size: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> np.ndarray:
    """Return where one element of every window lies in the flattened input."""
    flat: Any = np.zeros((), np.int64)
    for i, n, o, s, p, d in zip(index, sizes, size, stride, padding, dilation):
        here = np.clip(np.arange(o) * s - p + i * d, 0, n - 1)
        flat = flat[..., None] * n + here
    return flat


def max_pool_backward(
    g: Array, x: Array, out: Array, *, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes,
    dilation: Sizes,
) -> Array:  # fmt: skip
    lead = x.ndim - len(size)
    if any(d != 1 for d in dilation):
        _, at = max_pool_with_indices(
            x, size=size, kernel=kernel, stride=stride, padding=padding, dilation=dilation
        )
        return _scatter(g, at, lead, x.shape)
    if tuple(kernel) == tuple(stride) and not any(padding):
        return _disjoint_backward(g, x, out, lead, size, kernel)
    pads = _pads(x.shape[lead:], size, kernel, stride, padding, dilation)
    start = _lowest(x)
    _, pull = jax.vjp(lambda x: _reduce(x, start, lax.max, kernel, stride, pads, dilation), x)
    return pull(g)[0]


def _disjoint_backward(
    g: Array, x: Array, out: Array, lead: int, size: Sizes, kernel: Sizes
) -> Array:
    """Give each window's gradient to its first maximum; the windows share no element.

    XLA's own rule selects and scatters window by window, which takes four times as long on a CPU.
    """
    n = len(size)
    whole = [o * k for o, k in zip(size, kernel)]
    held = x.shape[lead:]
    cut = [min(n, w) for n, w in zip(held, whole)]
    windows = lax.slice(x, (0,) * x.ndim, (*x.shape[:lead], *cut))
    over = [(0, 0, 0)] * lead + [(0, w - c, 0) for w, c in zip(whole, cut)]
    windows = lax.pad(windows, jnp.asarray(_lowest(x)), over)
    split = [part for pair in zip(size, kernel) for part in pair]
    windows = windows.reshape(*x.shape[:lead], *split)
    inner = tuple(range(lead + 1, lead + 2 * n, 2))
    best = jnp.expand_dims(out, inner)
    count = int(np.prod(kernel))
    shape = [k if d % 2 else 1 for d, k in enumerate(k for k in kernel for _ in range(2))]
    place = np.arange(count, dtype=np.int32).reshape(shape)
    found = (windows == best) | (windows != windows)
    first = jnp.where(found, place, np.int32(count)).min(inner, keepdims=True)
    spread = jnp.where(first == place, jnp.expand_dims(g, inner), jnp.zeros((), g.dtype))
    spread = lax.slice(
        spread.reshape(*x.shape[:lead], *whole), (0,) * x.ndim, (*x.shape[:lead], *cut)
    )
    rest = [(0, 0, 0)] * lead + [(0, n - c, 0) for n, c in zip(held, cut)]
    return lax.pad(spread, jnp.zeros((), g.dtype), rest)


def _scatter(g: Array, at: Array, lead: int, shape: Sizes) -> Array:
    rows, columns = (int(np.prod(part, dtype=int)) for part in (shape[:lead], shape[lead:]))
    index = jnp.arange(rows)[:, None], at.reshape(rows, -1)
    zeros = jnp.zeros((rows, columns), g.dtype)
    return zeros.at[index].add(g.reshape(rows, -1)).reshape(shape)


# --- means ---------------------------------------------------------------------------------------


def _divisor(
    sizes: Sizes, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, include: bool,
    override: int | None, dtype: Any,
) -> np.ndarray:  # fmt: skip
    """Return the numbers of elements to divide by, one for each window."""
    counts: Any = np.asarray(1 if override is None else override)
    if override is None:
        for n, o, k, s, p in zip(sizes, size, kernel, stride, padding):
            start = np.arange(o) * s - p
            end = np.minimum(start + k, n + p)
            if not include:
                start, end = np.maximum(start, 0), np.minimum(end, n)
            counts = counts[..., None] * (end - start)
    return counts.astype(dtype)


def avg_pool(
    x: Array, *, size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, include: bool,
    override: int | None, sizes: Sizes,
) -> Array:  # fmt: skip
    ones = (1,) * len(size)
    pads = _pads(sizes, size, kernel, stride, padding, ones)
    dtype, whole = x.dtype, jnp.issubdtype(x.dtype, jnp.integer)
    if dtype.itemsize == 2 and not whole:
        x = x.astype(jnp.float32)  # only the result is rounded
    total = _reduce(x, np.zeros((), x.dtype), lax.add, kernel, stride, pads, ones)
    divisor = _divisor(sizes, size, kernel, stride, padding, include, override, x.dtype)
    if whole:
        return lax.div(*jnp.broadcast_arrays(total, divisor))
    return (total / divisor).astype(dtype)


def avg_pool_backward(y: Array, *, size: Sizes, sizes: Sizes, **geometry: Any) -> Array:
    lead = y.shape[: y.ndim - len(size)]
    x = jax.ShapeDtypeStruct((*lead, *sizes), y.dtype)
    pull = jax.linear_transpose(lambda x: avg_pool(x, size=size, sizes=sizes, **geometry), x)
    return pull(y)[0]


def _adaptive_matrix(n: int, out: int) -> np.ndarray:
    """Return the (out, n) matrix that takes the mean of each adaptive window."""
    i = np.arange(out)
    start, end = i * n // out, -(-(i + 1) * n // out)
    at = np.arange(n)
    inside = (at >= start[:, None]) & (at < end[:, None])
    return inside / (end - start)[:, None]


def _apply_matrices(x: Array, matrices: list[np.ndarray]) -> Array:
    lead, dtype = x.ndim - len(matrices), x.dtype
    if dtype.itemsize == 2:
        x = x.astype(jnp.float32)  # only the result is rounded
    for axis, matrix in enumerate(matrices):
        matrix = matrix.T.astype(x.dtype)
        x = jnp.matmul(x.swapaxes(lead + axis, -1), matrix, precision=lax.Precision.HIGHEST)
        x = x.swapaxes(lead + axis, -1)
    return x.astype(dtype)


def adaptive_avg_pool(x: Array, *, size: Sizes, sizes: Sizes) -> Array:
    return _apply_matrices(x, [_adaptive_matrix(n, o) for n, o in zip(sizes, size)])


def adaptive_avg_pool_backward(y: Array, *, size: Sizes, sizes: Sizes) -> Array:
    return _apply_matrices(y, [_adaptive_matrix(n, o).T for n, o in zip(sizes, size)])
