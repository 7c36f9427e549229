"""The cross entropy of a linear layer's outputs."""

from __future__ import annotations

from math import prod
from typing import Any

from multitorch.ops.linalg import linear
from multitorch.ops.loss import cross_entropy
from multitorch.tensor import Tensor


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Tensor:
    """Return cross_entropy(linear(input, linear_weight, linear_bias), target).

    Input (N, in) or (in), weight (C, d1, …, dK, in), bias (C, d1, …, dK), target (N, d1, …, dK) or
    probabilities (N, C, d1, …, dK). `options` says how PyTorch cuts the batch to save memory; the
    result does not depend on it, and here the batch is computed at once.
    """
    _check(input, linear_weight, linear_bias)
    by_class = not target.dtype.is_floating_point
    if not by_class and ignore_index is not None:
        raise RuntimeError(
            "linear_cross_entropy: ignore_index cannot be specified when target contains "
            "probabilities"
        )
    ignored = -100 if ignore_index is None else ignore_index
    dtype = input.dtype
    if dtype.itemsize < 4:  # logits in single precision: the loss is a small difference of them
        given = (input, linear_weight, linear_bias, weight)
        input, linear_weight, linear_bias, weight = map(_single, given)
        target = target if by_class else target.float()
    shape = linear_weight.shape[:-1]
    rows = linear_weight.reshape(prod(shape), linear_weight.shape[-1])
    bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = linear(input, rows, bias).reshape([*input.shape[:-1], *shape])
    loss = cross_entropy(
        logits, target, weight, ignore_index=ignored, reduction=reduction,
        label_smoothing=label_smoothing,
    )  # fmt: skip
    return loss.to(dtype)


def _single(x: Any) -> Any:
    return None if x is None else x.float()


def _check(input: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    name = "linear_cross_entropy"
    if input.dim() not in (1, 2):
        raise RuntimeError(f"{name}: expected input with dimensionality 1 or 2, got {input.dim()}")
    if weight.dim() < 2:
        raise RuntimeError(
            f"{name}: expected linear_weight with dimensionality at least 2, got {weight.dim()}"
        )
    if input.shape[-1] != weight.shape[-1]:
        raise RuntimeError(
            f"{name}: expected equal input and linear_weight last dimensions (in_features), got "
            f"{input.shape[-1]} and {weight.shape[-1]}, respectively"
        )
    if weight.dim() > 2 and input.dim() == 1:
        raise RuntimeError(
            f"{name}: K-dimensional loss defined by linear_weight shape {tuple(weight.shape)} "
            f"requires batched input, (N, {weight.shape[-1]}), got unbatched input with shape "
            f"{tuple(input.shape)}"
        )
    if bias is not None and bias.shape != weight.shape[:-1]:
        raise RuntimeError(
            f"{name}: expected linear_bias shape {tuple(weight.shape[:-1])}, got "
            f"{tuple(bias.shape)}"
        )
