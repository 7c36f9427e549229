"""Generic bodies of convolutions: windows gathered into columns, and a matrix product."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

Array = Any
Sizes = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


def _counts(sizes: Sizes, kernel: Sizes, stride: Sizes, padding: Pads, dilation: Sizes) -> Sizes:
    return tuple(
        (n + lo + hi - d * (k - 1) - 1) // s + 1
        for n, k, s, (lo, hi), d in zip(sizes, kernel, stride, padding, dilation)
    )


def im2col(
    F: Any, x: Array, *, kernel: Sizes, stride: Sizes, padding: Pads, dilation: Sizes
) -> Array:
    """The windows of x (N, C, *size) as (N, C · kernel elements, windows)."""
    n, channels, *sizes = x.shape
    out = _counts(tuple(sizes), kernel, stride, padding, dilation)
    x = F.pad(x, pad=((0, 0), (0, 0), *padding), value=0)
    parts = []
    for index in product(*map(range, kernel)):
        part = x
        for axis, (i, o, s, d) in enumerate(zip(index, out, stride, dilation), 2):
            part = F.slice(part, i * d, dim=axis, length=o, step=s)
        parts.append(F.reshape(part, shape=(n, channels, 1, prod(out))))
    return F.reshape(F.cat(*parts, dim=2), shape=(n, channels * prod(kernel), prod(out)))


def col2im(
    F: Any, y: Array, *, size: Sizes, kernel: Sizes, stride: Sizes, padding: Pads, dilation: Sizes
) -> Array:
    """Columns added up to (N, C, *size): the transpose of `im2col`."""
    out = _counts(size, kernel, stride, padding, dilation)
    padded = [n + lo + hi for n, (lo, hi) in zip(size, padding)]
    n, rows, _ = y.shape
    channels = rows // prod(kernel)
    y = F.reshape(y, shape=(n, channels, prod(kernel), *out))
    total: Any = None
    for number, index in enumerate(product(*map(range, kernel))):
        part = F.slice(y, number, dim=2, length=1, step=1)
        part = F.reshape(part, shape=(n, channels, *out))
        for axis, (i, o, s, d) in enumerate(zip(index, out, stride, dilation), 2):
            shape = (*part.shape[:axis], padded[axis - 2], *part.shape[axis + 1 :])
            part = F.slice_backward(part, i * d, shape=shape, dim=axis, length=o, step=s)
        total = part if total is None else total + part
    crop = tuple((-lo, -hi) for lo, hi in padding)
    return F.pad(total, pad=((0, 0), (0, 0), *crop), value=0)


def _grouped(F: Any, w: Array, groups: int) -> Array:
    """A weight as (groups, outputs of each, inputs of each · kernel elements)."""
    return F.reshape(w, shape=(groups, w.shape[0] // groups, prod(w.shape[1:])))


def convolution(
    F: Any, x: Array, w: Array, b: Array, *, stride: Sizes, padding: Pads, dilation: Sizes,
    groups: int,
) -> Array:  # fmt: skip
    """x (N, C, *size) correlated with w (O, C / groups, *kernel), plus b."""
    kernel = tuple(w.shape[2:])
    cols = F.im2col(x, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    n, rows, positions = cols.shape
    cols = F.reshape(cols, shape=(n, groups, rows // groups, positions))
    y = F.matmul(_grouped(F, w, groups), cols)
    out = _counts(x.shape[2:], kernel, stride, padding, dilation)
    y = F.reshape(y, shape=(n, w.shape[0], *out))
    return y if b is None else y + F.reshape(b, shape=(w.shape[0], *(1,) * len(out)))


def conv_input_grad(
    F: Any, y: Array, w: Array, *, size: Sizes, stride: Sizes, padding: Pads, dilation: Sizes,
    groups: int,
) -> Array:  # fmt: skip
    """The transpose of `convolution` as a map of x."""
    n, outs = y.shape[:2]
    y = F.reshape(y, shape=(n, groups, outs // groups, prod(y.shape[2:])))
    cols = F.matmul(F.permute(_grouped(F, w, groups), dims=(0, 2, 1)), y)
    cols = F.reshape(cols, shape=(n, cols.shape[1] * cols.shape[2], cols.shape[3]))
    return F.col2im(
        cols, size=size, kernel=tuple(w.shape[2:]), stride=stride, padding=padding,
        dilation=dilation,
    )  # fmt: skip


def conv_weight_grad(
    F: Any, y: Array, x: Array, *, kernel: Sizes, stride: Sizes, padding: Pads, dilation: Sizes,
    groups: int,
) -> Array:  # fmt: skip
    """The transpose of `convolution` as a map of w."""
    n, outs = y.shape[:2]
    cols = F.im2col(x, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    rows, positions = cols.shape[1] // groups, cols.shape[2]
    cols = F.permute(F.reshape(cols, shape=(n, groups, rows, positions)), dims=(0, 1, 3, 2))
    y = F.reshape(y, shape=(n, groups, outs // groups, positions))
    w = F.sum(F.matmul(y, cols), dim=(0,), keepdim=False)
    return F.reshape(w, shape=(outs, rows // prod(kernel), *kernel))
