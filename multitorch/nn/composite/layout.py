"""Functions that rearrange, look up or pool by reshaping: pixel shuffle, one-hot, embeddings."""

from __future__ import annotations

from typing import Any

from multitorch.autograd import no_grad
from multitorch.ops.activation import relu
from multitorch.ops.masks import embedding as _lookup
from multitorch.ops.norm import batch_norm
from multitorch.ops.pool import avg_pool1d, avg_pool2d, avg_pool3d
from multitorch.ops.shape import pad
from multitorch.tensor import Tensor


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Return the rows of ``weight`` at the given indices.

    ``padding_idx`` gets no gradient; rows longer than ``max_norm`` are first shortened in place.
    """
    if weight.dim() != 2:
        raise RuntimeError("'weight' must be 2-D")
    rows = weight.size(0)
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise AssertionError("Padding_idx must be within num_embeddings")
        padding_idx %= rows
    if max_norm is not None:
        _shorten(weight, input, max_norm, norm_type)
    padding = -1 if padding_idx is None else padding_idx
    return _lookup(weight, input, padding, scale_grad_by_freq, sparse)


def _shorten(weight: Tensor, index: Tensor, max_norm: float, norm_type: float) -> None:
    with no_grad():
        used = index.reshape(-1)  # what is named twice gets the same value twice
        rows = weight[used]
        norms = rows.norm(norm_type, 1, keepdim=True)
        shortened = (rows * (max_norm / (norms + 1e-7))).where(norms > max_norm, rows)
        weight.index_copy_(0, used, shortened)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x1ᵀ A x2 + b: inputs (*, in1) and (*, in2), weight (out, in1, in2)."""
    if input1.dim() != input2.dim():
        raise RuntimeError(
            f"bilinear(): input dimensions do not match: got {input1.dim()} and {input2.dim()}"
        )
    if input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            "bilinear(): input batch dimensions do not match: got "
            f"{list(input1.shape)} and {list(input2.shape)}"
        )
    for number, (x, size) in enumerate(((input1, weight.size(1)), (input2, weight.size(2))), 1):
        if x.size(-1) != size:
            raise RuntimeError(
                f"bilinear(): input{number} size does not match weight size: got "
                f"{x.size(-1)} but expected {size}"
            )
    rows1 = input1.reshape(-1, 1, 1, input1.size(-1))
    rows2 = input2.reshape(-1, 1, input2.size(-1), 1)
    out = rows1.matmul(weight).matmul(rows2).reshape([*input1.shape[:-1], weight.size(0)])
    return out if bias is None else out + bias


# --- images ---------------------------------------------------------------------------------------


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Turn (*, C r², H, W) into (*, C, H r, W r)."""
    r = upscale_factor
    if input.dim() < 3:
        raise RuntimeError(
            "pixel_shuffle expects input to have at least 3 dimensions, but got input with "
            f"{input.dim()} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *batch, channels, height, width = input.shape
    if channels % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square "
            f"of upscale_factor, but input.size(-3)={channels} is not divisible by {r * r}"
        )
    n, out = len(batch), channels // (r * r)
    split = input.reshape([*batch, out, r, r, height, width])
    order = [*range(n), n, n + 3, n + 1, n + 4, n + 2]
    return split.permute(order).reshape([*batch, out, height * r, width * r])


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Turn (*, C, H r, W r) into (*, C r², H, W)."""
    r = downscale_factor
    if input.dim() < 3:
        raise RuntimeError(
            "pixel_unshuffle expects input to have at least 3 dimensions, but got input with "
            f"{input.dim()} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *batch, channels, height, width = input.shape
    for name, axis, size in (("height", -2, height), ("width", -1, width)):
        if size % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but "
                f"input.size({axis})={size} is not divisible by {r}"
            )
    n = len(batch)
    split = input.reshape([*batch, channels, height // r, r, width // r, r])
    order = [*range(n), n, n + 2, n + 4, n + 1, n + 3]
    return split.permute(order).reshape([*batch, channels * r * r, height // r, width // r])


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Interleave the channels of ``groups`` equal groups."""
    if input.dim() < 3:
        raise RuntimeError(
            "channel_shuffle expects input with > 2 dims, but got input with sizes "
            f"{list(input.shape)}"
        )
    if groups <= 0:
        raise RuntimeError(
            f"Number of groups to divide channels in must be positive. Value of groups:{groups}"
        )
    batch, channels, *rest = input.shape
    if channels % groups:
        raise RuntimeError(
            "Number of channels must be divisible by groups. Got "
            f"{channels} channels and {groups} groups."
        )
    split = input.reshape([batch, groups, channels // groups, *rest])
    return split.transpose(1, 2).reshape(input.shape)


# --- norms and pools ------------------------------------------------------------------------------


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize each channel of each instance to mean 0 and variance 1."""
    batch, channels = input.size(0), input.size(1)
    if use_input_stats and input.numel() == batch * channels:
        raise ValueError(
            f"Expected more than 1 spatial element when training, got input size {input.size()}"
        )
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise RuntimeError(
                "Expected running_mean and running_var to be defined when use_input_stats is false"
            )
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    merged = input.reshape([1, batch * channels, *input.shape[2:]])
    mean = None if running_mean is None else running_mean.repeat(batch)
    var = None if running_var is None else running_var.repeat(batch)
    scale = None if weight is None else weight.repeat(batch)
    shift = None if bias is None else bias.repeat(batch)
    out = batch_norm(merged, mean, var, scale, shift, True, momentum, eps)
    with no_grad():
        if running_mean is not None and mean is not None:
            running_mean.copy_(mean.reshape(batch, channels).mean(0))
        if running_var is not None and var is not None:
            running_var.copy_(var.reshape(batch, channels).mean(0))
    return out.reshape(input.shape)


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Divide by (k + alpha * mean of the squares of ``size`` neighboring channels)^beta."""
    if input.dim() < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality input (got {input.dim()} dimensions)"
        )
    if input.numel() == 0:
        return input
    channels = input.size(1)
    squares = (input * input).reshape([input.size(0), 1, channels, -1])
    padded = pad(squares, [0, 0, size // 2, (size - 1) // 2])
    mean = avg_pool2d(padded, [size, 1], 1).reshape(input.shape)
    return input / (mean * alpha + k) ** beta


def _lp_pool(pool: Any, input: Tensor, p: float, kernel: Any, count: int, *rest: Any) -> Tensor:
    powers = pool(input**p, kernel, *rest)
    # sign * relu(abs) keeps the sum of an odd power, as PyTorch does.
    return (powers.sign() * relu(powers.abs()) * count) ** (1.0 / p)


def _product(kernel: Any, dims: int) -> int:
    if isinstance(kernel, int):
        return kernel**dims
    product = 1
    for size in kernel:
        product *= size
    return product


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """Return (sum of x^p)^(1/p) over windows of length ``kernel_size``."""
    count = _product(kernel_size, 1)
    return _lp_pool(avg_pool1d, input, norm_type, kernel_size, count, stride, 0, ceil_mode)


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """Return (sum of x^p)^(1/p) over two-dimensional windows."""
    count = _product(kernel_size, 2)
    return _lp_pool(avg_pool2d, input, norm_type, kernel_size, count, stride, 0, ceil_mode)


def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> Tensor:
    """Return (sum of x^p)^(1/p) over three-dimensional windows."""
    count = _product(kernel_size, 3)
    return _lp_pool(avg_pool3d, input, norm_type, kernel_size, count, stride, 0, ceil_mode)
