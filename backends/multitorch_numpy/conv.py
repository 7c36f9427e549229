"""Convolutions: gather windows into columns, then one matrix product per group and block.

Columns are laid out as (channels · kernel, positions), the positions of some samples side by side.
They are made and used block by block, so that they never leave the cache. Mostly they need little
gathering: shifting the flattened, padded input by one constant per kernel element gives every
window (plus some positions across borders, dropped at the end), so that the copies run over long
contiguous rows. With a stride s the same holds for each phase of the input: every s-th element.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from math import prod as _prod
from typing import Any

import numpy as np

Array = Any
Sizes = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]
_BLOCK = 3 << 18  # bytes of columns: what a cache of the second level holds
_FEWEST = 256  # positions that a product should have
_ALONE = 32  # positions of a sample from which it may be multiplied by itself
_WASTE = 1.8  # how many times more positions the flat form may compute
_ALL = slice(None)
_BOTH = (_ALL, _ALL)


class _Plan:
    """The geometry of one convolution: x (N, C, *size), w (O, C / groups, *kernel).

    `frame` has the positions that are computed, `out` those of them that are kept, `taps` one entry
    for each kernel element. In the flat form a tap is (phase, shift), and `pieces` says for each
    phase where in its frame which elements of the input are; otherwise a tap is the slices of the
    padded input that it meets.
    """

    def __init__(
        self, size: Sizes, kernel: Sizes, stride: Sizes, padding: Pads, dilation: Sizes,
        flat: bool = True,
    ) -> None:  # fmt: skip
        self.size, self.kernel = size, kernel
        self.out = tuple(
            (n + lo + hi - d * (k - 1) - 1) // s + 1
            for n, (lo, hi), k, s, d in zip(size, padding, kernel, stride, dilation)
        )
        self.strided = any(s > 1 for s in stride)
        self.padded = tuple(n + lo + hi for n, (lo, hi) in zip(size, padding))
        low = tuple(lo for lo, _ in padding)
        self.inside = (*_BOTH, *(slice(lo, lo + n) for lo, n in zip(low, size)))
        reach = tuple(d * (k - 1) // s for d, k, s in zip(dilation, kernel, stride))
        if self.strided:
            frame = tuple(o + r for o, r in zip(self.out, reach))
        else:  # neighboring rows share their padding
            frame = tuple(max(n + max(p), o) for n, p, o in zip(size, padding, self.out))
        fits = _prod(frame) <= _WASTE * _prod(self.out)
        self.flat = flat and fits and (not self.strided or any(reach))
        self.frame = frame if self.flat else self.out
        self.valid = (*_BOTH, *(slice(n) for n in self.out))
        self.head = self.tail = 0
        self.alone = not any(reach) and self.frame == size and not self.strided
        if self.flat:
            self._lay_out(low, stride, dilation)
        else:
            self.taps = [
                (*_BOTH, *map(_every, index, dilation, stride, self.out))
                for index in itertools.product(*map(range, kernel))
            ]

    def _lay_out(self, low: Sizes, stride: Sizes, dilation: Sizes) -> None:
        """Find the taps and pieces of the flat form, and the zeros before and after the samples."""
        steps = [_prod(self.frame[i + 1 :]) for i in range(len(stride))]
        self.shifts = tuple(step * d for step, d in zip(steps, dilation))
        phases: dict[Sizes, int] = {}
        self.taps = []
        for index in itertools.product(*map(range, self.kernel)):
            at = [divmod(i * d, s) for i, d, s in zip(index, dilation, stride)]
            phase = phases.setdefault(tuple(r for _, r in at), len(phases))
            self.taps.append((phase, sum(step * q for step, (q, _) in zip(steps, at))))
        if self.strided:
            parts = [[*map(_phase, phase, low, stride, self.size, self.frame)] for phase in phases]
            self.pieces = [tuple((*_BOTH, *slices) for slices in zip(*part)) for part in parts]
        else:
            self.pieces = [((*_BOTH, *map(slice, self.size)), (*_BOTH, *[_ALL] * len(low)))]
            self.head = sum(step * lo for step, lo in zip(steps, low))
        self.tail = max(self.taps[-1][1] - self.head, 0)

    def lengths(self, n: int, rows: int, itemsize: int) -> tuple[int, int]:
        """Return how many samples are held at a time, and how many positions a block has."""
        each = _prod(self.frame)
        most = max(_FEWEST, _BLOCK // max(rows * len(self.taps) * itemsize, 1))
        samples = _even(n, max(1, most // each))
        return samples, _even(samples * each, most) if self.flat else samples * each


@functools.lru_cache(maxsize=1024)
def _plan(size: Sizes, kernel: Sizes, stride: Sizes, padding: Pads, dilation: Sizes) -> _Plan:
    return _Plan(size, kernel, stride, padding, dilation)


def _every(i: int, dilation: int, stride: int, out: int) -> slice:
    """Return where one kernel element meets one dimension of the padded input."""
    return slice(i * dilation, i * dilation + stride * (out - 1) + 1, stride)


def _phase(phase: int, low: int, stride: int, size: int, frame: int) -> tuple[slice, slice]:
    """Return where in its frame a phase of one dimension is, and which elements it has."""
    start = (phase - low) % stride
    at = (start + low) // stride
    count = max(min(-(-(size - start) // stride), frame - at), 0)
    return slice(at, at + count), slice(start, start + stride * count, stride)


def _even(n: int, most: int) -> int:
    """Return the length of parts, none longer than `most`, that are about equal."""
    parts = -(-n // most)
    return -(-n // parts) if parts else 1


def _rows(count: int, length: int, dtype: Any) -> Array:
    """Return (count, length) whose rows are an odd number of cache lines apart.

    Rows that are a power of two apart would compete for the same places of the cache.
    """
    lines = -(-length * dtype.itemsize // 64) | 1
    return np.empty((count, lines * 64 // dtype.itemsize), dtype)[:, :length]


class _Flat:
    """The windows of n samples as shifts of flattened frames; `whole` is (C, phases, positions)."""

    def __init__(self, plan: _Plan, channels: int, n: int, length: int, dtype: Any) -> None:
        self.plan, self.count, self.length = plan, n * _prod(plan.frame), length
        phases = len(plan.pieces)
        self.whole = np.zeros((channels, phases, plan.head + self.count + plan.tail), dtype)
        middle = self.whole[:, :, plan.head : plan.head + self.count]
        frames = middle.reshape(channels, phases, n, *plan.frame)
        self.pieces = [
            (frames[:, i][target].swapaxes(0, 1), source)
            for i, (target, source) in enumerate(plan.pieces)
        ]
        self.columns = _rows(channels * len(plan.taps), length, dtype)

    def load(self, x: Array) -> None:
        """Take in n samples."""
        for piece, source in self.pieces:
            piece[...] = x[source]

    def gather(self) -> Iterator[tuple[slice, Array]]:
        """Yield the columns of each block, which are valid until the next."""
        for start in range(0, self.count, self.length):
            part = slice(start, min(start + self.length, self.count))
            yield part, self._gathered(part)

    def _gathered(self, part: slice) -> Array:
        plan, whole = self.plan, self.whole
        if len(plan.taps) == 1:
            return whole[:, 0, part]
        columns = self.columns[:, : part.stop - part.start]
        by_tap = columns.reshape(len(whole), len(plan.taps), columns.shape[1])
        if plan.strided:
            for i, (phase, at) in enumerate(plan.taps):
                by_tap[:, i] = whole[:, phase, part.start + at : part.stop + at]
        else:
            item = whole.itemsize
            strides = (whole.strides[0], *(shift * item for shift in plan.shifts), item)
            shape = (len(whole), *plan.kernel, by_tap.shape[2])
            shifted = np.ndarray(shape, whole.dtype, whole, part.start * item, strides)
            by_tap.reshape(shape)[...] = shifted
        return columns

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """Yield room for the columns of each block, to be filled and added."""
        for start in range(0, self.count, self.length):
            part = slice(start, min(start + self.length, self.count))
            yield part, self.columns[:, : part.stop - part.start]

    def clear(self) -> None:
        """Forget all samples."""
        self.whole[...] = 0

    def add(self, part: slice, columns: Array) -> None:
        """Add the columns of a block up: the transpose of `gather`."""
        by_tap = columns.reshape(len(self.whole), len(self.plan.taps), columns.shape[1])
        for i, (phase, at) in enumerate(self.plan.taps):
            target = self.whole[:, phase, part.start + at : part.stop + at]
            np.add(target, by_tap[:, i], target)

    def store(self, x: Array) -> None:
        """Write the samples to x."""
        for piece, source in self.pieces:
            x[source] = piece


class _Direct:
    """The windows of n samples, each tap one strided slice of the padded input."""

    def __init__(self, plan: _Plan, channels: int, n: int, length: int, dtype: Any) -> None:
        self.plan, self.count = plan, length
        self.padded: Any = np.zeros((channels, n, *plan.padded), dtype)
        self.columns = _rows(channels * len(plan.taps), length, dtype)
        self.by_tap = self.columns.reshape(channels, len(plan.taps), n, *plan.out)

    def load(self, x: Array) -> None:
        self.padded[self.plan.inside] = x.swapaxes(0, 1)

    def gather(self) -> Iterator[tuple[slice, Array]]:
        for i, window in enumerate(self.plan.taps):
            self.by_tap[:, i] = self.padded[window]
        yield slice(self.count), self.columns

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        yield slice(self.count), self.columns

    def clear(self) -> None:
        self.padded[...] = 0

    def add(self, part: slice, columns: Array) -> None:
        by_tap = columns.reshape(self.by_tap.shape)
        for i, window in enumerate(self.plan.taps):
            self.padded[window] += by_tap[:, i]

    def store(self, x: Array) -> None:
        x[...] = self.padded[self.plan.inside].swapaxes(0, 1)


def _parts(
    plan: _Plan, n: int, channels: int, dtype: Any
) -> Iterator[tuple[slice, _Flat | _Direct]]:
    """Cut a batch; yield each part with the buffers for its windows, which serve again."""
    samples, length = plan.lengths(n, channels, dtype.itemsize)
    kind = _Flat if plan.flat else _Direct
    windows: Any = None
    for start in range(0, n, samples):
        part = slice(start, min(start + samples, n))
        count = part.stop - part.start
        if windows is None or count < samples:
            length = length if count == samples or plan.flat else count * _prod(plan.out)
            windows = kind(plan, channels, count, length, dtype)
        yield part, windows


class _Frames:
    """Gradients g (n, O, *out) as (groups, O / groups, positions), zero where none is kept."""

    def __init__(self, plan: _Plan, groups: int) -> None:
        self.plan, self.groups = plan, groups
        self.rows: Any = None

    def load(self, g: Array) -> Array:
        n, channels = g.shape[:2]
        frame = self.plan.frame
        count = n * _prod(frame)
        if self.rows is None or self.rows.shape[1] != count:
            self.rows = _rows(channels, count, g.dtype)
            self.rows[...] = 0
        self.rows.reshape(channels, n, *frame)[self.plan.valid] = g.swapaxes(0, 1)
        return self.rows.reshape(self.groups, channels // self.groups, count)


def _widen(a: Array) -> Array:
    return a.astype(np.float32) if a.dtype.itemsize <= 2 and a.dtype.kind not in "iu" else a


def convolution(
    x: Array, w: Array, b: Array = None, *, stride: Sizes, padding: Pads, dilation: Sizes,
    groups: int,
) -> Array:  # fmt: skip
    dtype = x.dtype
    x, w = _widen(x), _widen(w)
    plan = _plan(x.shape[2:], w.shape[2:], stride, padding, dilation)
    n, channels = x.shape[:2]
    outs, inner = w.shape[0], _prod(w.shape[1:])
    rows = w.reshape(groups, outs // groups, inner)
    shift = None if b is None else b.reshape(-1, *(1,) * len(plan.out))
    if plan.alone and _prod(plan.out) >= _ALONE:
        y = np.matmul(rows, x.reshape(n, groups, inner, _prod(plan.out)))
        y = y.reshape(n, outs, *plan.out)
        if shift is not None:
            np.add(y, shift, y, casting="unsafe")
        return y.astype(dtype, copy=False)
    y = np.empty((n, outs, *plan.out), dtype)
    for part, windows in _parts(plan, n, channels, x.dtype):
        windows.load(x[part])
        product_ = _rows(outs, windows.count, x.dtype)
        by_group = product_.reshape(groups, outs // groups, windows.count)
        for block, columns in windows.gather():
            columns = columns.reshape(groups, inner, columns.shape[1])
            np.matmul(rows, columns, by_group[:, :, block])
        product_ = product_.reshape(outs, part.stop - part.start, *plan.frame)
        kept = product_[plan.valid].swapaxes(0, 1)
        if shift is None:
            y[part] = kept
        else:
            np.add(kept, shift, out=y[part], casting="unsafe")
    return y


def conv_input_grad(
    g: Array, w: Array, *, size: Sizes, stride: Sizes, padding: Pads, dilation: Sizes, groups: int
) -> Array:
    outs, each, *kernel = w.shape
    reach = [d * (k - 1) for d, k in zip(dilation, kernel)]
    inner = all(max(p) <= r for p, r in zip(padding, reach))
    if set(stride) <= {1} and inner and outs <= 2 * each * groups:
        turned = w[(*_BOTH, *[slice(None, None, -1)] * len(kernel))]
        turned = turned.reshape(groups, outs // groups, each, *kernel).swapaxes(1, 2)
        turned = turned.reshape(each * groups, outs // groups, *kernel)
        pads = tuple(
            (r - lo, n - o + lo) for r, (lo, _), n, o in zip(reach, padding, size, g.shape[2:])
        )
        return convolution(g, turned, stride=stride, padding=pads, dilation=dilation, groups=groups)
    dtype = g.dtype
    g, w = _widen(g), _widen(w)
    plan = _plan(size, w.shape[2:], stride, padding, dilation)
    n, channels = g.shape[0], each * groups
    rows = w.reshape(groups, outs // groups, each * _prod(kernel)).swapaxes(1, 2)
    x = np.zeros((n, channels, *size), dtype)
    frames = _Frames(plan, groups)
    for part, windows in _parts(plan, n, channels, g.dtype):
        gs = frames.load(g[part])
        windows.clear()
        for block, columns in windows.blocks():
            np.matmul(
                rows, gs[:, :, block], columns.reshape(groups, rows.shape[1], columns.shape[1])
            )
            windows.add(block, columns)
        windows.store(x[part])
    return x


def conv_weight_grad(
    g: Array, x: Array, *, kernel: Sizes, stride: Sizes, padding: Pads, dilation: Sizes, groups: int
) -> Array:
    dtype = g.dtype
    g, x = _widen(g), _widen(x)
    plan = _plan(x.shape[2:], kernel, stride, padding, dilation)
    n, channels = x.shape[:2]
    outs, each = g.shape[1], channels // groups
    frames = _Frames(plan, groups)
    total = np.zeros((groups, each * _prod(kernel), outs // groups), x.dtype)
    for part, windows in _parts(plan, n, channels, x.dtype):
        windows.load(x[part])
        gs = frames.load(g[part]).swapaxes(1, 2)
        for block, columns in windows.gather():
            total += np.matmul(
                columns.reshape(groups, total.shape[1], columns.shape[1]), gs[:, block]
            )
    return total.swapaxes(1, 2).reshape(outs, each, *kernel).astype(dtype, order="C", copy=False)


def im2col(x: Array, *, kernel: Sizes, stride: Sizes, padding: Pads, dilation: Sizes) -> Array:
    plan = _Plan(x.shape[2:], kernel, stride, padding, dilation, flat=False)
    n, channels = x.shape[:2]
    windows = _Direct(plan, channels, n, n * _prod(plan.out), x.dtype)
    windows.load(x)
    ((_, columns),) = windows.gather()
    rows = columns.reshape(channels * _prod(kernel), n, _prod(plan.out))
    return np.ascontiguousarray(rows.swapaxes(0, 1))


def col2im(
    y: Array, *, size: Sizes, kernel: Sizes, stride: Sizes, padding: Pads, dilation: Sizes
) -> Array:
    plan = _Plan(size, kernel, stride, padding, dilation, flat=False)
    n, channels = y.shape[0], y.shape[1] // _prod(kernel)
    dtype, y = y.dtype, _widen(y)
    windows = _Direct(plan, channels, n, n * _prod(plan.out), y.dtype)
    windows.add(slice(None), y.swapaxes(0, 1))
    x = np.empty((n, channels, *size), dtype)
    windows.store(x)
    return x
