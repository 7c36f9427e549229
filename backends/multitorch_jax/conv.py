"""Convolutions by XLA: the gradients are convolutions with strides and dilations exchanged."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from multitorch_jax import linalg as _linalg

Array = Any
Sizes = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]


def _layout(n: int, lhs: str = "NC", rhs: str = "OI", out: str = "NC") -> Any:
    space = "DHW"[3 - n :]
    return lhs + space, rhs + space, out + space


def _general(x: Array, w: Array, **options: Any) -> Array:
    return lax.conv_general_dilated(x, w, precision=_linalg.PRECISION, **options)


def convolution(
    x: Array, w: Array, b: Array = None, *, stride: Sizes, padding: Pads, dilation: Sizes,
    groups: int,
) -> Array:  # fmt: skip
    n = len(stride)
    y = _general(
        x, w, window_strides=stride, padding=padding, rhs_dilation=dilation,
        feature_group_count=groups, dimension_numbers=_layout(n),
    )  # fmt: skip
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
    return _general(
        y, jnp.flip(_swap_groups(w, groups), range(2, n + 2)), window_strides=(1,) * n,
        padding=pads, lhs_dilation=stride, rhs_dilation=dilation, feature_group_count=groups,
        dimension_numbers=_layout(n),
    )  # fmt: skip


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
    # channels act as the batch, the batch as channels
    return _general(
        x, y, window_strides=dilation, padding=pads, rhs_dilation=stride,
        batch_group_count=groups, dimension_numbers=_layout(n, "CN", "IO", "CN"),
    )  # fmt: skip
