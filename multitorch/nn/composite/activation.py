"""Activation functions written in other ops.

Kinks follow PyTorch's subgradients: hardtanh, for example, passes no gradient at its two corners,
where clamp would.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from multitorch.dtypes import finfo
from multitorch.ops.activation import leaky_relu, relu, sigmoid, softmax, softplus, tanh
from multitorch.tensor import Tensor

_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def into(input: Tensor, fn: Callable[[Tensor], Tensor]) -> Tensor:
    """Write ``fn(input)`` into ``input``: what ``inplace=True`` does."""
    # The rule of fn may have saved its input, which is about to be overwritten.
    return input.copy_(fn(input.clone() if input.requires_grad else input))


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """Limit to [min_val, max_val]."""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    if inplace:
        return into(input, lambda x: hardtanh(x, min_val, max_val))
    inside = (input > min_val) & (input < max_val)
    return input.where(inside, input.detach().clamp(min_val, max_val))


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """Limit to [min_val, max_val], in place."""
    return hardtanh(input, min_val, max_val, inplace=True)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """Return min(max(x, 0), 6)."""
    return hardtanh(input, 0.0, 6.0, inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """Return relu6(x + 3) / 6."""
    if inplace:
        return into(input, hardsigmoid)
    return relu6(input + 3) / 6


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return x * relu6(x + 3) / 6."""
    if inplace:
        return into(input, hardswish)
    return input * relu6(input + 3) / 6


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return max(0, x) + min(0, alpha * (exp(x / alpha) - 1))."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    if inplace:
        return into(input, lambda x: celu(x, alpha))
    return relu(input) + alpha * (input.clamp(max=0) / alpha).expm1()


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """Apply celu in place."""
    return celu(input, alpha, inplace=True)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return scale * (max(0, x) + min(0, alpha * (exp(x) - 1))), which keeps mean 0, variance 1."""
    if inplace:
        return into(input, selu)
    return _SELU_SCALE * (relu(input) + _SELU_ALPHA * input.clamp(max=0).expm1())


def selu_(input: Tensor) -> Tensor:
    """Apply selu in place."""
    return selu(input, inplace=True)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return x * tanh(softplus(x))."""
    if inplace:
        return into(input, mish)
    return input * tanh(softplus(input))


def softsign(input: Tensor) -> Tensor:
    """Return x / (1 + |x|)."""
    return input / (1 + input.abs())


def tanhshrink(input: Tensor) -> Tensor:
    """Return x - tanh(x)."""
    return input - tanh(input)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Return x where |x| > lambd, else 0."""
    return input.masked_fill((input >= -lambd) & (input <= lambd), 0)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Return x moved by lambd toward 0, and 0 where |x| <= lambd."""
    if not 0 <= lambd <= finfo(input.dtype).max:
        raise RuntimeError(
            f"lambda must be in range [0, {finfo(input.dtype).max:g}] for input dtype "
            f"{input.dtype.scalar_name}, but found {lambd:g}"
        )
    return hardshrink(input, lambd) - lambd * (input > lambd) + lambd * (input < -lambd)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """Return x where x > threshold, else value."""
    if inplace:
        return into(input, lambda x: x.masked_fill(x <= threshold, value))
    return input.masked_fill(input <= threshold, value)


def threshold_(input: Tensor, threshold_: float, value: float) -> Tensor:
    """Apply threshold in place."""
    return threshold(input, threshold_, value, inplace=True)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """Return x where x > 0, else weight * x, with one weight for all or one per channel."""
    if weight.dim() > 1:
        raise RuntimeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.dim()}"
        )
    if weight.numel() != 1:
        channels = input.size(1) if input.dim() > 1 else 1
        if input.dim() == 0:
            raise RuntimeError("Not allow zero-dim input tensor.")
        if weight.numel() != channels:
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{weight.numel()} and channel size = {channels}."
            )
        weight = weight.reshape([-1] + [1] * (input.dim() - 2))
    return input.where(input > 0, weight * input)


def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """Return x where x > 0, else slope * x; the slope is drawn from [lower, upper) in training."""
    if inplace:
        return into(input, lambda x: rrelu(x, lower, upper, training))
    if not training:
        return leaky_relu(input, (lower + upper) / 2)
    slope = input.detach().new_empty(input.shape).uniform_(lower, upper)
    return input.where(input > 0, slope * input)


def rrelu_(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False
) -> Tensor:
    """Apply rrelu in place."""
    return rrelu(input, lower, upper, training, inplace=True)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """Split x in two along ``dim`` and return a * sigmoid(b)."""
    if input.dim() == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    size = input.size(dim)
    if size % 2:
        axis = dim % input.dim()
        raise RuntimeError(f"Halving dimension must be even, but dimension {axis} is size {size}")
    return input.narrow(dim, 0, size // 2) * sigmoid(input.narrow(dim, size // 2, size // 2))


def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """Return softmax(-x)."""
    return softmax(-input, implicit_dim(input, dim, _stacklevel), dtype=dtype)


def implicit_dim(input: Tensor, dim: int | None, stacklevel: int = 3) -> int:
    """Return the dimension that softmax takes when none is given."""
    if dim is not None:
        return dim
    warnings.warn(
        "Implicit dimension choice for softmax has been deprecated. "
        "Change the call to include dim=X as an argument.",
        stacklevel=stacklevel,
    )
    return 0 if input.dim() in (0, 1, 3) else 1


def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """Draw from the Gumbel-softmax distribution; ``hard`` gives one-hot samples."""
    noise = -logits.detach().new_empty(logits.shape).exponential_().log()
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    one_hot = soft.detach().new_zeros(soft.shape).scatter_(dim, index, 1.0)
    return one_hot - soft.detach() + soft
