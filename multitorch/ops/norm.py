"""Normalization by mean and variance, and by root mean square.

Batch, layer, group and instance norm are one computation over different dimensions:
`(x - mean) / sqrt(var + eps) * weight + bias`. It is fused, with one joint rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from multitorch import dtypes
from multitorch.dtypes import dtype
from multitorch.ops.common import reduced_shape
from multitorch.ops.op import Op
from multitorch.ops.promote import Promotion, not_implemented, real_to_float
from multitorch.promotion import Operand

Tensor = Any
Sizes = tuple[int, ...]


class _InputDtype(Promotion):
    """Compute in the dtype of the input, whatever the weights have."""

    def compute(self, op: str, operands: Sequence[Operand]) -> dtype:
        """Return the input's dtype, or raise PyTorch's error."""
        d = operands[0][0]
        if not d.is_floating_point or d.name.startswith("float8"):
            raise not_implemented(_KERNEL_NAMES.get(op, op), d)
        found = next((w for w, _ in operands[1:] if w is not d), None)
        if found is not None and not (d.itemsize == 2 and found is dtypes.float32):
            raise RuntimeError(
                f"expected scalar type {d.scalar_name} but found {found.scalar_name}"
            )
        return d


_KERNEL_NAMES = {"layer_norm": "LayerNormKernelImpl", "group_norm": "GroupNormKernelImpl"}
_input_dtype = _InputDtype("input_dtype", lambda name, d: d, fast=real_to_float.fast)


def _normalized_shapes(x: Any, weight: Any, bias: Any, *, dim: Sizes, eps: float) -> tuple:
    d = np.dtype(np.float32) if x.dtype.itemsize == 2 else x.dtype
    stats = reduced_shape(x.shape, dim, True), d
    return (x.shape, x.dtype), stats, stats


def _normalize_rule(
    F: Any, g: Any, x: Any, weight: Any, mean: Any, rstd: Any, dim: Any, eps: Any, needs: Any
) -> tuple:
    if F.of_tensors:  # saved statistics are constants; derivatives of them begin at x
        mean, rstd = F.normalize_statistics(x, dim=dim, eps=eps)
    gs = F.normalize_backward(g, x, weight, mean, rstd, dim=dim, needs=needs)
    return tuple([gi if need else None for gi, need in zip(gs, needs)])


def _normalizer(name: str, node: str, hidden: bool = True) -> Any:
    return Op(
        name, "x weight bias", outs="out mean rstd", diff_outs=(0,), promote=_input_dtype,
        broadcasts=True, kernel="normalize", node=node, shape=_normalized_shapes,
        hidden=hidden,
    ).vjps(_normalize_rule)  # fmt: skip


_batch_norm = _normalizer("normalize", "NativeBatchNorm", hidden=False)
_layer_norm = _normalizer("layer_norm", "NativeLayerNorm")
_group_norm = _normalizer("group_norm", "NativeGroupNorm")
native_layer = _normalizer("native_layer_norm", "NativeLayerNorm", hidden=False)

# --- batch norm ----------------------------------------------------------------------------------


def _check_stats(x: Tensor, **stats: Tensor | None) -> None:
    channels = x._a.shape[1]
    for name, t in stats.items():
        if t is not None and t._a.shape != (channels,) and t.numel() != channels:
            raise RuntimeError(f"{name} should contain {channels} elements not {t.numel()}")


def _channels(t: Tensor | None, ndim: int) -> Tensor | None:
    """Return per-channel numbers in a shape that broadcasts along dimension 1."""
    return t if t is None or ndim == 2 else t.view(t._a.shape[0], *(1,) * (ndim - 2))


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize each channel (dimension 1) by the batch's statistics, or by the running ones.

    In training the running statistics move by `momentum` towards the batch's mean and unbiased
    variance.
    """
    x = input
    ndim = x._a.ndim
    if ndim < 2:
        if not x.numel():
            return x.clone()
        raise RuntimeError(f"batch_norm expects an input of 2 or more dimensions, got {ndim}")
    _check_stats(x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if not training:
        return _normalize_by(x, running_mean, running_var, weight, bias, eps)
    size = x._a.shape
    if math.prod(size) == size[1] > 0:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {x.size()}"
        )
    if eps <= 0:
        raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
    return train_batch(x, running_mean, running_var, weight, bias, momentum, eps)[0]


def train_batch(
    x: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None,
    bias: Tensor | None, momentum: float, eps: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Normalize by the batch's statistics and move the running ones: (out, mean, 1 / std)."""
    size = x._a.shape
    ndim, channels = len(size), size[1]
    dim = (0, *range(2, ndim))
    out, mean, rstd = _batch_norm(
        x, _channels(weight, ndim), _channels(bias, ndim), dim=dim, eps=eps
    )
    numel = math.prod(size)
    if running_mean is not None and numel:
        _move(running_mean, mean.view(channels), momentum)
    if running_var is not None and numel:
        count = numel // channels
        unbiased = count / (count - 1) if count > 1 else math.nan
        var = (1 / (rstd * rstd) - eps) * unbiased
        _move(running_var, var.view(channels), momentum)
    return out, mean, rstd


def _move(running: Tensor, new: Tensor, momentum: float) -> None:
    if new._dtype is not running._dtype:
        new = new.to(running._dtype)
    running.mul_(1 - momentum).add_(new * momentum)


def _normalize_by(
    x: Tensor, mean: Any, var: Any, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:  # fmt: skip
    """Normalize by statistics that are given."""
    if mean is None or var is None:
        name = "running_mean" if mean is None else "running_var"
        raise RuntimeError(f"{name} must be defined in evaluation mode")
    ndim, kind = x._a.ndim, x._dtype
    if kind.itemsize == 2:  # only the result is rounded to half precision
        x, mean, var = x.float(), mean.float(), var.float()
        weight, bias = (t if t is None else t.float() for t in (weight, bias))
    scale = (var + eps).rsqrt()
    if weight is not None:
        scale = scale * weight
    shift = -mean * scale
    if bias is not None:
        shift = shift + bias
    out = x * _channels(scale, ndim) + _channels(shift, ndim)
    return out if out._dtype is kind else out.to(kind)


# --- the others ----------------------------------------------------------------------------------


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize over the last dimensions, those of `normalized_shape`.

    >>> import multitorch as torch
    >>> torch.nn.functional.layer_norm(torch.tensor([1.0, 3.0]), (2,), eps=0.0)
    tensor([-1.,  1.])
    """
    dim = checked_layer(input, normalized_shape, weight, bias)
    return _layer_norm(input, weight, bias, dim=dim, eps=eps)


def checked_layer(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None
) -> Sizes:
    """Return the dimensions that a layer norm normalizes over, or raise PyTorch's error."""
    shape = _check_normalized(input, normalized_shape)
    for name, t in (("weight", weight), ("bias", bias)):
        if t is not None and t._a.shape != shape:
            raise RuntimeError(
                f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape "
                f"{list(t.shape)} and normalized_shape = {list(shape)}"
            )
    ndim = input._a.ndim
    return tuple(range(ndim - len(shape), ndim))


def _check_normalized(x: Tensor, normalized_shape: Sequence[int]) -> Sizes:
    shape = tuple(normalized_shape)
    if not shape:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one "
            "element, but got normalized_shape = []"
        )
    if x._a.shape[-len(shape) :] != shape:
        inner = ", ".join(str(n) for n in shape)
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*, {inner}], "
            f"but got input of size{list(x.shape)}"
        )
    return shape


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize each group of channels of each sample."""
    shape = input._a.shape
    if len(shape) < 2:
        raise RuntimeError(
            f"Expected at least 2 dimensions for input tensor but received {len(shape)}"
        )
    n, channels, *rest = shape
    if num_groups <= 0 or channels % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of "
            f"shape {list(input.shape)} and num_groups={num_groups}"
        )
    for name, t in (("weight", weight), ("bias", bias)):
        if t is not None and t._a.shape != (channels,):
            raise RuntimeError(
                f"Expected {name} to be a vector of size equal to the number of channels in input, "
                f"but got {name} of shape {list(t.shape)} and input of shape {list(input.shape)}"
            )
    each = channels // num_groups
    x = input.reshape(n, num_groups, each, *rest)
    ones = (1,) * len(rest)
    weight, bias = (t if t is None else t.view(num_groups, each, *ones) for t in (weight, bias))
    out = _group_norm(x, weight, bias, dim=tuple(range(2, 3 + len(rest))), eps=eps)
    return out.view(shape)


def rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """Divide by the root mean square over the last dimensions."""
    shape = _check_normalized(input, normalized_shape)
    if eps is None:
        eps = dtypes.finfo(input._dtype).eps
    dims = tuple(range(-len(shape), 0))
    out = input * ((input * input).mean(dims, keepdim=True) + eps).rsqrt()
    return out if weight is None else out * weight


METHODS: dict = {}
INPLACE: dict = {}
FUNCTIONS = {
    "batch_norm": batch_norm,
    "layer_norm": layer_norm,
    "group_norm": group_norm,
    "rms_norm": rms_norm,
}
