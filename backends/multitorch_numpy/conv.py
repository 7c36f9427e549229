"""Convolutions: gather windows into columns, then one matrix product per group and chunk.

Columns are laid out as (channels · kernel, positions), the positions of all samples side by side.
With stride 1 they need no gathering at all: shifting the flattened, padded input by one constant
per kernel element gives every window (plus some positions across borders, dropped at the end), so
the copies run over long contiguous rows. The batch is cut into chunks that keep columns near the
cache.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from math import prod as _prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided as _as_strided

Array = Any
Sizes = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]
_CHUNK = 1 << 23  # bytes of columns
_LONG = 1 << 11  # from how many positions on a call for each channel costs little
_WASTE = 1.8  # how many times more positions the flat form may compute


class _Plan:
    """The geometry of one convolution: x (N, C, *size), w (O, C / groups, *kernel).

    In the flat form neighboring rows share their padding, so the frame is only a little larger
    than the input; `head` and `tail` are zeros before the first and after the last sample.
    """

    def __init__(
        self, size: Sizes, kernel: Sizes, stride: Sizes, padding: Pads, dilation: Sizes,
        flat: bool = True,
    ) -> None:  # fmt: skip
        self.size, self.kernel, self.stride, self.dilation = size, kernel, stride, dilation
        self.out = tuple(
            (n + lo + hi - d * (k - 1) - 1) // s + 1
            for n, (lo, hi), k, s, d in zip(size, padding, kernel, stride, dilation)
        )
        shared = tuple(max(n + max(lo, hi), o) for n, (lo, hi), o in zip(size, padding, self.out))
        self.flat = flat and set(stride) <= {1} and _prod(shared) <= _WASTE * _prod(self.out)
        if self.flat:
            self.padded = self.frame = shared
            starts = (0,) * len(size)
        else:
            self.padded = tuple(n + lo + hi for n, (lo, hi) in zip(size, padding))
            self.frame = self.out
            starts = tuple(lo for lo, _ in padding)
        self.steps = tuple(_prod(self.padded[i + 1 :]) for i in range(len(size)))
        self.head = sum(step * lo for step, (lo, _) in zip(self.steps, padding)) * self.flat
        reach = sum(s * d * (k - 1) for s, d, k in zip(self.steps, dilation, kernel))
        self.tail = max(reach - self.head, 0) * self.flat
        self.inside = tuple(slice(at, at + n) for n, at in zip(size, starts))
        self.valid = (slice(None), slice(None), *(slice(n) for n in self.out))
        self.plain = self.frame == size and set(kernel) <= {1} and set(stride) <= {1}

    def offsets(self) -> Iterator[tuple[Sizes, tuple]]:
        """Yield each kernel index with the slices of the padded input that it meets."""
        for index in itertools.product(*map(range, self.kernel)):
            yield (
                index,
                (
                    slice(None),
                    slice(None),
                    *(
                        slice(i * d, i * d + s * (n - 1) + 1, s)
                        for i, d, s, n in zip(index, self.dilation, self.stride, self.out)
                    ),
                ),
            )

    def chunks(self, n: int, rows: int, itemsize: int) -> Iterator[slice]:
        """Cut a batch so that the columns of a part stay small."""
        each = rows * _prod(self.kernel) * _prod(self.frame) * itemsize
        step = max(1, _CHUNK // max(each, 1))
        for start in range(0, n, step):
            yield slice(start, min(start + step, n))

    def buffer(self, channels: int, n: int, dtype: Any) -> tuple[Array, Array]:
        """Return zeros for the padded input, channels first: all of it, and as (C, N, *padded)."""
        count = n * _prod(self.padded)
        whole = np.zeros((channels, self.head + count + self.tail), dtype)
        middle = whole[:, self.head : self.head + count]
        return whole, middle.reshape(channels, n, *self.padded)

    def columns(self, x: Array) -> Array:
        """Return the windows of x (n, C, *size) as (C, kernel elements · positions)."""
        n, channels = x.shape[:2]
        if self.plain:
            return np.ascontiguousarray(x.swapaxes(0, 1))
        whole, padded = self.buffer(channels, n, x.dtype)
        padded[(slice(None), slice(None), *self.inside)] = x.swapaxes(0, 1)
        if self.flat:
            item = whole.itemsize
            shifts = tuple(s * d * item for s, d in zip(self.steps, self.dilation))
            count = n * _prod(self.padded)
            shape = (channels, *self.kernel, count)
            return np.ascontiguousarray(
                _as_strided(whole, shape, (whole.strides[0], *shifts, item), writeable=False)
            )
        cols = np.empty((channels, *self.kernel, n, *self.out), x.dtype)
        for index, window in self.offsets():
            cols[(slice(None), *index)] = padded[window]
        return cols

    def scatter(self, cols: Array, channels: int, n: int) -> Array:
        """Add columns up to (n, C, *size): the transpose of `columns`."""
        if self.plain:
            return cols.reshape(channels, n, *self.size).swapaxes(0, 1)
        whole, padded = self.buffer(channels, n, cols.dtype)
        if self.flat:
            count = n * _prod(self.padded)
            cols = cols.reshape(channels, *self.kernel, count)
            for index in itertools.product(*map(range, self.kernel)):
                at = sum(i * d * s for i, d, s in zip(index, self.dilation, self.steps))
                whole[:, at : at + count] += cols[(slice(None), *index)]
        else:
            cols = cols.reshape(channels, *self.kernel, n, *self.out)
            for index, window in self.offsets():
                padded[window] += cols[(slice(None), *index)]
        return padded[(slice(None), slice(None), *self.inside)].swapaxes(0, 1)

    def framed(self, g: Array) -> Array:
        """Return g (n, O, *out) as (O, positions), with zeros at the positions to drop."""
        n, channels = g.shape[:2]
        if self.frame == self.out:
            return np.ascontiguousarray(g.swapaxes(0, 1)).reshape(channels, -1)
        frame = np.zeros((channels, n, *self.frame), g.dtype)
        frame[self.valid] = g.swapaxes(0, 1)
        return frame.reshape(channels, -1)


def _widen(a: Array) -> Array:
    return a.astype(np.float32) if a.dtype.itemsize <= 2 and a.dtype.kind not in "iu" else a


def convolution(
    x: Array, w: Array, b: Array = None, *, stride: Sizes, padding: Pads, dilation: Sizes,
    groups: int,
) -> Array:  # fmt: skip
    dtype = x.dtype
    x, w = _widen(x), _widen(w)
    plan = _Plan(x.shape[2:], w.shape[2:], stride, padding, dilation)
    n, channels = x.shape[:2]
    outs = w.shape[0]
    y = np.empty((n, outs, *plan.out), dtype)
    long = n * _prod(plan.out) >= _LONG
    if long and plan.flat and 1 < groups == channels == outs and not plan.plain:
        for part in plan.chunks(n, channels, x.itemsize):
            _depthwise(plan, x[part], w.reshape(channels, -1), b, y[part])
        return y
    rows = w.reshape(groups, outs // groups, -1)
    for part in plan.chunks(n, channels, x.itemsize):
        count = part.stop - part.start
        cols = plan.columns(x[part])
        if groups == 1:
            product_ = np.dot(rows[0], cols.reshape(rows.shape[2], -1))
        else:
            product_ = np.matmul(rows, cols.reshape(groups, rows.shape[2], -1))
        product_ = product_.reshape(outs, count, *plan.frame)[plan.valid]
        if b is None:
            y[part] = product_.swapaxes(0, 1)
        else:
            shift = b.reshape(-1, *(1,) * len(plan.out))
            np.add(product_.swapaxes(0, 1), shift, out=y[part], casting="unsafe")
    return y


def _depthwise(plan: _Plan, x: Array, w: Array, b: Array, y: Array) -> None:
    """Fill y with one filter for each channel: shifted products summed, with no columns."""
    n, channels = x.shape[:2]
    whole, padded = plan.buffer(channels, n, x.dtype)
    padded[(slice(None), slice(None), *plan.inside)] = x.swapaxes(0, 1)
    count = n * _prod(plan.padded)
    indices = itertools.product(*map(range, plan.kernel))
    starts = [sum(i * d * s for i, d, s in zip(k, plan.dilation, plan.steps)) for k in indices]
    total, part = np.empty(count, x.dtype), np.empty(count, x.dtype)
    valid = total.reshape(n, *plan.frame)[plan.valid[1:]]
    for c, row in enumerate(whole):
        total[:] = 0 if b is None else b[c]
        for at, factor in zip(starts, w[c]):
            np.multiply(row[at : at + count], factor, part)
            np.add(total, part, total)
        y[:, c] = valid


def conv_input_grad(
    g: Array, w: Array, *, size: Sizes, stride: Sizes, padding: Pads, dilation: Sizes, groups: int
) -> Array:
    dtype = g.dtype
    g, w = _widen(g), _widen(w)
    plan = _Plan(size, w.shape[2:], stride, padding, dilation)
    n, outs = g.shape[:2]
    channels = w.shape[1] * groups
    rows = w.reshape(groups, outs // groups, -1).swapaxes(1, 2)
    x = np.empty((n, channels, *size), dtype)
    for part in plan.chunks(n, channels, g.itemsize):
        gs = plan.framed(g[part])
        if groups == 1:
            cols = np.dot(rows[0], gs)
        else:
            cols = np.matmul(rows, gs.reshape(groups, outs // groups, -1))
        x[part] = plan.scatter(cols, channels, part.stop - part.start)
    return x


def conv_weight_grad(
    g: Array, x: Array, *, kernel: Sizes, stride: Sizes, padding: Pads, dilation: Sizes, groups: int
) -> Array:
    dtype = g.dtype
    g, x = _widen(g), _widen(x)
    plan = _Plan(x.shape[2:], kernel, stride, padding, dilation)
    n, channels = x.shape[:2]
    outs = g.shape[1]
    total: Any = None
    for part in plan.chunks(n, channels, x.itemsize):
        cols = plan.columns(x[part])
        gs = plan.framed(g[part])
        if groups == 1:
            piece = np.dot(cols.reshape(channels * _prod(kernel), -1), gs.T).T  # the faster order
        else:
            cols = cols.reshape(groups, channels // groups * _prod(kernel), -1)
            piece = np.matmul(gs.reshape(groups, outs // groups, -1), cols.swapaxes(1, 2))
        total = piece if total is None else np.add(total, piece, total)
    if total is None:
        total = np.zeros((outs, channels // groups * _prod(kernel)), x.dtype)
    return total.reshape(outs, channels // groups, *kernel).astype(dtype, copy=False)


def im2col(x: Array, *, kernel: Sizes, stride: Sizes, padding: Pads, dilation: Sizes) -> Array:
    plan = _Plan(x.shape[2:], kernel, stride, padding, dilation, flat=False)
    n, channels = x.shape[:2]
    cols = plan.columns(x).reshape(channels * _prod(kernel), n, _prod(plan.out))
    return np.ascontiguousarray(cols.swapaxes(0, 1))


def col2im(
    y: Array, *, size: Sizes, kernel: Sizes, stride: Sizes, padding: Pads, dilation: Sizes
) -> Array:
    plan = _Plan(size, kernel, stride, padding, dilation, flat=False)
    n, channels = y.shape[0], y.shape[1] // _prod(kernel)
    dtype, y = y.dtype, _widen(y)
    image = plan.scatter(np.ascontiguousarray(y.swapaxes(0, 1)), channels, n)
    return np.ascontiguousarray(image).astype(dtype, copy=False)
