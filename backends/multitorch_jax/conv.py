"""Convolutions by XLA: the gradients are convolutions with strides and dilations exchanged."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from math import prod as _prod
from typing import Any

import jax.numpy as jnp
from jax import lax

from multitorch_jax import precision as _precision

Array = Any
Sizes = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


def _layout(n: int, lhs: str = "NC", rhs: str = "OI", out: str = "NC") -> Any:
    space = "DHW"[3 - n :]
    return lhs + space, rhs + space, out + space


def _general(x: Array, w: Array, **options: Any) -> Array:
    return lax.conv_general_dilated(x, w, precision=_precision.of_products, **options)


# --- one filter for each channel -----------------------------------------------------------------

# XLA's convolution of many groups is slow on CPUs; there shifted products are summed instead.
_MOST_TAPS = 64


def _is_depthwise(channels: int, outs: int, kernel: Sizes, groups: int) -> bool:
    return 1 < groups == channels == outs and _prod(kernel) <= _MOST_TAPS


def _windows(
    x: Array, kernel: Sizes, out: Sizes, stride: Sizes, padding: Pads, dilation: Sizes
) -> Iterator[tuple[Sizes, Array]]:
    """Yield every index of a kernel with what it meets; half precision as float32."""
    x = x.astype(jnp.float32) if x.dtype.itemsize == 2 else x
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (0, 0, 0), *((*p, 0) for p in padding)))
    for index in itertools.product(*map(range, kernel)):
        starts = [i * d for i, d in zip(index, dilation)]
        ends = [at + s * (n - 1) + 1 for at, s, n in zip(starts, stride, out)]
        yield index, lax.slice(x, (0, 0, *starts), (*x.shape[:2], *ends), (1, 1, *stride))


def _depthwise(x: Array, w: Array, stride: Sizes, padding: Pads, dilation: Sizes) -> Array:
    kernel = w.shape[2:]
    out = tuple(
        (n + lo + hi - d * (k - 1) - 1) // s + 1
        for n, (lo, hi), d, k, s in zip(x.shape[2:], padding, dilation, kernel, stride)
    )
    total: Any = 0
    for index, window in _windows(x, kernel, out, stride, padding, dilation):
        total = total + window * w[(slice(None), 0, *index)].reshape(-1, *(1,) * len(kernel))
    return total.astype(x.dtype)


def _depthwise_weight_grad(
    y: Array, x: Array, kernel: Sizes, stride: Sizes, padding: Pads, dilation: Sizes
) -> Array:
    space = (0, *range(2, x.ndim))
    windows = _windows(x, kernel, y.shape[2:], stride, padding, dilation)
    sums = [(window * y).sum(space) for _, window in windows]
    return jnp.stack(sums, 1).reshape(y.shape[1], 1, *kernel).astype(x.dtype)


# --- convolutions --------------------------------------------------------------------------------


def convolution(
    x: Array, w: Array, b: Array = None, *, stride: Sizes, padding: Pads, dilation: Sizes,
    groups: int,
) -> Array:  # fmt: skip
    n = len(stride)

    def grouped(x: Array, w: Array) -> Array:
        return _general(
            x, w, window_strides=stride, padding=padding, rhs_dilation=dilation,
            feature_group_count=groups, dimension_numbers=_layout(n),
        )  # fmt: skip

    if _is_depthwise(x.shape[1], w.shape[0], w.shape[2:], groups):
        y = lax.platform_dependent(
            x, w, cpu=lambda x, w: _depthwise(x, w, stride, padding, dilation), default=grouped
        )
    else:
        y = grouped(x, w)
    return y if b is None else y + b.reshape(-1, *(1,) * n)


def _swap_groups(w: Array, groups: int) -> Array:
    """Exchange inputs and outputs of a weight: (G·O, I, …) → (G·I, O, …)."""
    outs, ins, *kernel = w.shape
    w = w.reshape(groups, outs // groups, ins, *kernel).swapaxes(1, 2)
    return w.reshape(groups * ins, outs // groups, *kernel)


def conv_input_grad(
    y: Array, w: Array, *, size: Sizes, stride: Sizes, padding: Pads, dilation: Sizes, groups: int
) -> Array:
    n = len(stride)
    kernel = w.shape[2:]
    pads = []
    for m, out, k, s, (lo, _), d in zip(size, y.shape[2:], kernel, stride, padding, dilation):
        before = d * (k - 1) - lo
        after = m + d * (k - 1) - before - ((out - 1) * s + 1)
        pads.append((before, after))

    def grouped(y: Array, w: Array) -> Array:
        return _general(
            y, w, window_strides=(1,) * n, padding=pads, lhs_dilation=stride,
            rhs_dilation=dilation, feature_group_count=groups, dimension_numbers=_layout(n),
        )  # fmt: skip

    turned = jnp.flip(_swap_groups(w, groups), range(2, n + 2))
    if set(stride) == {1} and _is_depthwise(y.shape[1], turned.shape[0], kernel, groups):
        return lax.platform_dependent(
            y, turned, cpu=lambda y, w: _depthwise(y, w, stride, tuple(pads), dilation),
            default=grouped,
        )  # fmt: skip
    return grouped(y, turned)


def conv_weight_grad(
    y: Array, x: Array, *, kernel: Sizes, stride: Sizes, padding: Pads, dilation: Sizes, groups: int
) -> Array:
    n = len(stride)
    pads = []
    for m, out, k, s, (lo, _), d in zip(
        x.shape[2:], y.shape[2:], kernel, stride, padding, dilation
    ):
        # just as much padding as the windows reach: what lies beyond was never read
        pads.append((lo, (out - 1) * s + 1 + d * (k - 1) - m - lo))

    def grouped(y: Array, x: Array) -> Array:
        # channels act as the batch, the batch as channels
        return _general(
            x, y, window_strides=dilation, padding=pads, rhs_dilation=stride,
            batch_group_count=groups, dimension_numbers=_layout(n, "CN", "IO", "CN"),
        )  # fmt: skip

    if not _is_depthwise(x.shape[1], y.shape[1], kernel, groups):
        return grouped(y, x)
    return lax.platform_dependent(
        y, x, default=grouped,
        cpu=lambda y, x: _depthwise_weight_grad(y, x, kernel, stride, tuple(pads), dilation),
    )  # fmt: skip
