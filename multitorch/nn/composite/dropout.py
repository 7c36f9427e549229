"""Dropout: masks drawn from the generator in PyTorch's order."""

from __future__ import annotations

import math
import warnings

from multitorch.nn.composite.activation import into
from multitorch.ops.random import keep_mask
from multitorch.tensor import Tensor

_ALPHA = 1.7580993408473766  # minus the limit of selu at -infinity


def _check_probability(p: float) -> None:
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _drop(input: Tensor, p: float, mask_shape: list[int] | None = None) -> Tensor:
    """Zero elements (or whole broadcast slices) with probability p, and scale the rest."""
    if p == 1:
        return input * 0.0
    if mask_shape is None:
        noise = keep_mask(input, 1 - p)
    else:
        noise = input.detach().new_empty(mask_shape).bernoulli_(1 - p)
    return input * noise.div_(1 - p)


def _alpha_drop(input: Tensor, p: float, mask_shape: list[int] | None = None) -> Tensor:
    """Set elements to -alpha with probability p, then restore the mean and the variance."""
    if p == 1:
        return input * 0.0
    noise = input.detach().new_empty(input.shape if mask_shape is None else mask_shape)
    noise.bernoulli_(1 - p)
    scale = 1.0 / math.sqrt((_ALPHA * _ALPHA * p + 1) * (1 - p))
    shift = (noise - 1).mul_(_ALPHA * scale).add_(_ALPHA * scale * p)
    return input * noise.mul_(scale) + shift


def _feature_shape(input: Tensor) -> list[int]:
    if input.dim() < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    return [input.size(0), input.size(1)] + [1] * (input.dim() - 2)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero elements with probability ``p`` while training, and scale the rest by 1 / (1 - p)."""
    _check_probability(p)
    if not training or p == 0 or input.numel() == 0:
        return input
    return into(_drop, input, p) if inplace else _drop(input, p)


def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Dropout that keeps the mean and the variance: for networks of selu."""
    _check_probability(p)
    if not training or p == 0 or input.numel() == 0:
        return input
    return into(_alpha_drop, input, p) if inplace else _alpha_drop(input, p)


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Apply alpha_dropout to whole channels."""
    _check_probability(p)
    if not training or p == 0 or input.numel() == 0:
        return input
    shape = _feature_shape(input)
    if inplace:
        return into(_alpha_drop, input, p, shape)
    return _alpha_drop(input, p, shape)


def _feature_dropout(input: Tensor, p: float, training: bool, inplace: bool) -> Tensor:
    _check_probability(p)
    if not training or p == 0 or input.numel() == 0:
        return input
    shape = _feature_shape(input)
    return into(_drop, input, p, shape) if inplace else _drop(input, p, shape)


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zero whole channels of an (N, C, L) or (C, L) input."""
    _check_probability(p)
    if input.dim() not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.dim()}D input. "
            "Note that dropout1d exists to provide channel-wise dropout on inputs with 1 "
            "spatial dimension, a channel dimension, and an optional batch dimension "
            "(i.e. 2D or 3D inputs)."
        )
    if input.dim() == 3:
        return _feature_dropout(input, p, training, inplace)
    result = _feature_dropout(input.unsqueeze(0), p, training, inplace)
    return input if inplace else result.squeeze(0)


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zero whole channels of an (N, C, H, W) input."""
    _check_probability(p)
    if input.dim() not in (3, 4):
        warnings.warn(
            f"dropout2d: Received a {input.dim()}-D input to dropout2d, which is deprecated and "
            "will result in an error in a future release. To retain the behavior and silence "
            "this warning, please use dropout instead. Note that dropout2d exists to provide "
            "channel-wise dropout on inputs with 2 spatial dimensions, a channel dimension, and "
            "an optional batch dimension (i.e. 3D or 4D inputs).",
            stacklevel=2,
        )
    if input.dim() == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout "
            "behavior is desired - input is interpreted as shape (N, C, L), where C is the channel "
            "dim. This behavior will change in a future release to interpret the input as one "
            "without a batch dimension, i.e. shape (C, H, W). To maintain the 1D channel-wise "
            "dropout behavior, please switch to using dropout1d instead.",
            stacklevel=2,
        )
    return _feature_dropout(input, p, training, inplace)


def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Zero whole channels of an (N, C, D, H, W) or (C, D, H, W) input."""
    _check_probability(p)
    if input.dim() == 4:
        result = _feature_dropout(input.unsqueeze(0), p, training, inplace)
        return input if inplace else result.squeeze(0)
    return _feature_dropout(input, p, training, inplace)
