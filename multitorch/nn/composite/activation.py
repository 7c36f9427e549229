"""Activations in the form of ``nn.functional``: with ``inplace``, and with an optional dim."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from multitorch.dtypes import float64
from multitorch.ops import activation as ops
from multitorch.ops.inplace import write_result
from multitorch.tensor import Tensor


def into(function: Callable[..., Tensor], input: Tensor, *args: Any) -> Tensor:
    """Overwrite ``input`` with ``function(input, ...)``, and return it."""
    return write_result(input, function, args, {})


# --- rectifiers -----------------------------------------------------------------------------------


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return max(x, 0)."""
    return input.relu_() if inplace else ops.relu(input)


def relu_(input: Tensor) -> Tensor:
    """Apply relu in place."""
    return input.relu_()


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """Return min(max(x, 0), 6)."""
    return into(ops.relu6, input) if inplace else ops.relu6(input)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """Limit to [min_val, max_val]; unlike clamp's, the gradient is 0 at both ends."""
    if inplace:
        return into(ops.hardtanh, input, min_val, max_val)
    return ops.hardtanh(input, min_val, max_val)


def hardtanh_(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """Apply hardtanh in place."""
    return into(ops.hardtanh, input, min_val, max_val)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """Return relu6(x + 3) / 6."""
    return into(ops.hardsigmoid, input) if inplace else ops.hardsigmoid(input)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return x * relu6(x + 3) / 6."""
    return into(ops.hardswish, input) if inplace else ops.hardswish(input)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Return x where x > 0, else negative_slope * x."""
    if inplace:
        return into(ops.leaky_relu, input, negative_slope)
    return ops.leaky_relu(input, negative_slope)


def leaky_relu_(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """Apply leaky_relu in place."""
    return into(ops.leaky_relu, input, negative_slope)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """Return x where x > threshold, else value."""
    if inplace:
        return into(ops.threshold, input, threshold, value)
    return ops.threshold(input, threshold, value)


def threshold_(input: Tensor, threshold: float, value: float) -> Tensor:
    """Apply threshold in place."""
    return into(ops.threshold, input, threshold, value)


def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """Return x where x > 0, else slope * x; the slope is drawn from [lower, upper) in training."""
    if inplace:
        return into(_rrelu, input, lower, upper, training)
    return _rrelu(input, lower, upper, training)


def rrelu_(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False
) -> Tensor:
    """Apply rrelu in place."""
    return into(_rrelu, input, lower, upper, training)


def _rrelu(input: Tensor, lower: float, upper: float, training: bool) -> Tensor:
    if lower > upper:
        raise RuntimeError("Lower bound should be less than or equal to the upper bound")
    if not training:
        return ops.leaky_relu(input, (lower + upper) / 2)
    # as in PyTorch only what is not positive draws a number, in double precision
    drawn = input.detach().new_empty(input.shape, dtype=float64).uniform_(lower, upper)
    slope = input.detach().new_ones(input.shape).masked_scatter(input <= 0, drawn.to(input.dtype))
    return slope * input


# --- smooth ---------------------------------------------------------------------------------------


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return x * sigmoid(x)."""
    return into(ops.silu, input) if inplace else ops.silu(input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return x * tanh(softplus(x))."""
    return into(ops.mish, input) if inplace else ops.mish(input)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return x where x > 0, else alpha * (exp(x) - 1)."""
    return into(ops.elu, input, alpha) if inplace else ops.elu(input, alpha)


def elu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """Apply elu in place."""
    return into(ops.elu, input, alpha)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return max(0, x) + min(0, alpha * (exp(x / alpha) - 1))."""
    return into(ops.celu, input, alpha) if inplace else ops.celu(input, alpha)


def celu_(input: Tensor, alpha: float = 1.0) -> Tensor:
    """Apply celu in place."""
    return into(ops.celu, input, alpha)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return scale * (max(0, x) + min(0, alpha * (exp(x) - 1))), which keeps mean 0, variance 1."""
    return into(ops.selu, input) if inplace else ops.selu(input)


def selu_(input: Tensor) -> Tensor:
    """Apply selu in place."""
    return into(ops.selu, input)


# --- softmax --------------------------------------------------------------------------------------


def _dim(name: str, input: Tensor, dim: int | None, stacklevel: int) -> int:
    """Return the dimension that ``name`` works along when none is given."""
    if dim is not None:
        return dim
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. "
        "Change the call to include dim=X as an argument.",
        stacklevel=stacklevel,
    )
    return 0 if input.dim() in (0, 1, 3) else 1


def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """Return exp(x) / sum of exp(x) along ``dim``."""
    return ops.softmax(input, _dim("softmax", input, dim, _stacklevel), dtype)


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """Return log(softmax(x))."""
    return ops.log_softmax(input, _dim("log_softmax", input, dim, _stacklevel), dtype)


def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """Return softmax(-x)."""
    return ops.softmin(input, _dim("softmin", input, dim, _stacklevel), dtype)


def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """Draw from the Gumbel-softmax distribution; ``hard`` gives one-hot samples."""
    noise = -logits.detach().new_empty(logits.shape).exponential_().log()
    soft = ops.softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    one_hot = soft.detach().new_zeros(soft.shape).scatter_(dim, index, 1.0)
    return one_hot - soft.detach() + soft
