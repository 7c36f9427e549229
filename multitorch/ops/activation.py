"""Activation functions. Kinks follow PyTorch's subgradients.

Slopes, thresholds and other numbers are data of an op, never static: a new value compiles nothing.
"""

from __future__ import annotations

import warnings
from math import inf
from typing import Any

from multitorch import dtypes
from multitorch.dtypes import dtype
from multitorch.ops.apply import write_out
from multitorch.ops.common import same_shape, wrap_dim
from multitorch.ops.inplace import write_result
from multitorch.ops.maths import sigmoid as sigmoid
from multitorch.ops.maths import tanh as tanh
from multitorch.ops.op import op
from multitorch.ops.products import matrix_shape
from multitorch.ops.promote import Promotion, float_only, not_implemented, real_no_bool

Tensor = Any


def _float_like(name: str, d: dtype) -> dtype:
    if not d.is_floating_point or d.name.startswith("float8"):
        raise not_implemented(name, d)
    return d


_NATIVE = frozenset((dtypes.float32, dtypes.float64))
_real_float = Promotion(
    "real_float", _float_like, fast=_NATIVE, fast_float=_NATIVE, fast_int=_NATIVE
)
_inexact = Promotion(
    "inexact",
    lambda name, d: d if d.is_complex else _float_like(name, d),
    fast=_NATIVE | {dtypes.complex64, dtypes.complex128},
)

# --- rectifiers ----------------------------------------------------------------------------------


def _relu_dtype(name: str, d: dtype) -> dtype:
    if d is dtypes.bool_:
        raise RuntimeError("Boolean inputs not supported for relu")
    if d.is_complex:
        raise NotImplementedError("clamp is not supported for complex types")
    return d


_rectify = Promotion("rectify", _relu_dtype, fast=real_no_bool.fast)

relu = op("relu", "x", promote=_rectify).vjp(x=lambda F, g, out: F.threshold_backward(g, out))
relu.__doc__ = "Return max(x, 0)."

_leaky_relu = op("leaky_relu", "x slope", promote=_real_float).vjp(
    x=lambda F, g, x, slope: F.where(x > 0, g, g * slope)
)
_prelu = op("prelu", "x w", promote=_real_float, node="PreluKernel").vjp(
    x=lambda F, g, x, w: F.where(x > 0, g, g * w), w=lambda F, g, x: F.where(x > 0, 0, g * x)
)
_hardtanh = op("hardtanh", "x low high", promote=_rectify).vjp(
    x=lambda F, g, x, low, high: F.where(F.logical_and(x > low, x < high), g, 0)
)
_threshold = op("threshold", "x limit value", promote=_rectify).vjp(
    x=lambda F, g, x, limit: F.where(x <= limit, 0, g)
)
hardsigmoid = op("hardsigmoid", "x", promote=_real_float).vjp(
    x=lambda F, g, x: F.where(F.logical_and(x > -3, x < 3), g / 6, 0)
)
hardswish = op("hardswish", "x", promote=_real_float).vjp(
    x=lambda F, g, x: F.where(x <= -3, 0, F.where(x < 3, g * (x * 2 + 3) / 6, g))
)
_hardshrink = op("hardshrink", "x limit", promote=_real_float).vjp(
    x=lambda F, g, x, limit: F.where(F.abs(x) <= limit, 0, g)
)
_softshrink = op("softshrink", "x limit", promote=_real_float).vjp(
    x=lambda F, g, x, limit: F.where(F.abs(x) <= limit, 0, g)
)


def leaky_relu(input: Tensor, negative_slope: float = 0.01) -> Tensor:
    """Return x where x > 0, else negative_slope · x."""
    return _leaky_relu(input, negative_slope)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """Return x where x > 0, else w x, with one w for all or one for each channel (dimension 1)."""
    if input._dtype is not weight._dtype:
        names = f"{input._dtype.scalar_name} and {weight._dtype.scalar_name}"
        raise RuntimeError(f"prelu: Type promoting not supported. Got {names}")
    if weight.ndim > 1:
        raise RuntimeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}"
        )
    if weight.numel() != 1:
        channels = input.shape[1] if input.ndim > 1 else 1
        if weight.shape[0] != channels:
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{weight.shape[0]} and channel size = {channels}."
            )
        weight = weight.view(-1, *(1,) * (input.ndim - 2))
    elif weight.ndim > input.ndim:
        weight = weight.view(())
    return _prelu(input, weight)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """Limit to [min_val, max_val]; unlike clamp's, the gradient is 0 at both ends."""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    if not input._dtype.is_floating_point:
        min_val, max_val = int(min_val), int(max_val)
    return _hardtanh(input, min_val, max_val)


def relu6(input: Tensor) -> Tensor:
    """Limit to [0, 6]."""
    return hardtanh(input, 0.0, 6.0)


def threshold(input: Tensor, threshold: float, value: float) -> Tensor:
    """Return x where x > threshold, else value."""
    if not input._dtype.is_floating_point:
        threshold, value = int(threshold), int(value)
    return _threshold(input, threshold, value)


def hardshrink(input: Tensor, lambd: float = 0.5, *, out: Tensor | None = None) -> Tensor:
    """Return 0 where |x| <= lambd, else x."""
    return _hardshrink(input, lambd, out=out)


def softshrink(input: Tensor, lambd: float = 0.5, *, out: Tensor | None = None) -> Tensor:
    """Move x towards 0 by lambd, at most to 0."""
    if lambd < 0:
        raise RuntimeError(
            f"lambda must be greater or equal to 0, but found to be {lambd}; it must be in range "
            f"[0, {dtypes.finfo(input._dtype).max:g}] for input dtype {input._dtype.scalar_name}"
        )
    return _softshrink(input, lambd, out=out)


# --- smooth --------------------------------------------------------------------------------------


def _elu_rule(F: Any, g: Any, x: Any, alpha: Any, scale: Any, rate: Any) -> Any:
    below = F.exp(F.where(x < 0, x, 0) * rate) * (alpha * scale * rate)
    return F.where(x > 0, g * scale, g * below)


_elu = op("elu", "x alpha scale rate", promote=_real_float).vjp(x=_elu_rule)
_celu = op("celu", "x alpha scale rate", promote=_real_float, kernel="elu").vjp(x=_elu_rule)
silu = op("silu", "x", promote=_inexact).vjp(x=lambda F, g, x: F.silu_backward(g, F.conj(x)))
mish = op("mish", "x", promote=_real_float).vjp(x=lambda F, g, x: F.mish_backward(g, x))
logsigmoid = op("log_sigmoid", "x", promote=_real_float).vjp(x=lambda F, g, x: g * F.sigmoid(-x))
_softplus = op("softplus", "x beta limit", promote=_real_float).vjp(
    x=lambda F, g, x, beta, limit: F.where(x * beta > limit, g, g * F.sigmoid(x * beta))
)
_gelu = op("gelu", "x", promote=_real_float, broadcasts=False, shape=same_shape).vjp(
    x=lambda F, g, x, approximate: F.gelu_backward(g, x, approximate=approximate)
)
for _function, _text in (
    (silu, "Return x · sigmoid(x)."),
    (mish, "Return x · tanh(softplus(x))."),
    (logsigmoid, "Return log sigmoid(x)."),
    (hardsigmoid, "Return x / 6 + 1 / 2, limited to [0, 1]."),
    (hardswish, "Return x · hardsigmoid(x)."),
):
    _function.__doc__ = _text


def elu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """Return x where x > 0, else alpha (exp(x) - 1)."""
    return _elu(input, float(alpha), 1.0, 1.0)


def selu(input: Tensor) -> Tensor:
    """Return `elu` with the constants that keep mean 0 and variance 1 from layer to layer."""
    return _elu(input, _SELU_ALPHA, _SELU_SCALE, 1.0)


_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


def celu(input: Tensor, alpha: float = 1.0) -> Tensor:
    """Return x where x > 0, else alpha (exp(x / alpha) - 1)."""
    if alpha == 0:
        raise ZeroDivisionError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return _celu(input, float(alpha), 1.0, 1.0 / alpha)


def softplus(
    input: Tensor, beta: float = 1.0, threshold: float = 20.0, *, out: Tensor | None = None
) -> Tensor:
    """Return log(1 + exp(beta x)) / beta; x itself where beta x > threshold."""
    return _softplus(input, float(beta), float(threshold), out=out)


def gelu(input: Tensor, *, approximate: str = "none", out: Tensor | None = None) -> Tensor:
    """Return x Φ(x), Φ the normal distribution function, or its approximation by tanh."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError("approximate argument must be either none or tanh.")
    if out is not None:
        return write_out(out, _gelu(input, approximate=approximate))
    return _gelu(input, approximate=approximate)


def softsign(input: Tensor) -> Tensor:
    """Return x / (1 + |x|)."""
    return input / (input.abs() + 1)


def tanhshrink(input: Tensor) -> Tensor:
    """Return x - tanh(x)."""
    return input - input.tanh()


_glu = op("glu", "x", promote=_real_float, broadcasts=False, shape=lambda x, *, dim: (
    tuple(n // 2 if i == dim else n for i, n in enumerate(x.shape)), x.dtype
)).vjp(x=lambda F, g, x, dim: F.glu_backward(g, x, dim=dim))  # fmt: skip


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """Return a · sigmoid(b) for the halves a and b of x along `dim`."""
    if not input.ndim:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    at = wrap_dim(dim, input.ndim)
    if input.shape[at] % 2:
        raise RuntimeError(
            f"Halving dimension must be even, but dimension {at} is size {input.shape[at]}"
        )
    return _glu(input, dim=at)


# --- softmax -------------------------------------------------------------------------------------

_softmax = op("softmax", "x", promote=float_only, broadcasts=False, shape=same_shape).vjp(
    x=lambda F, g, out, dim: F.softmax_backward(g, out, dim=dim)
)
_log_softmax = op("log_softmax", "x", promote=float_only, broadcasts=False, shape=same_shape).vjp(
    x=lambda F, g, out, dim: F.log_softmax_backward(g, out, dim=dim)
)


def _softmax_input(
    name: str, x: Tensor, dim: int | None, dtype: dtype | None
) -> tuple[Tensor, int]:
    if dim is None:
        warnings.warn(
            f"Implicit dimension choice for {name} has been deprecated. "
            "Change the call to include dim=X as an argument.",
            stacklevel=4,
        )
        dim = 0 if x.ndim in (0, 1, 3) else 1
    if dtype is not None and dtype is not x._dtype:
        x = x.to(dtype)
    return x, wrap_dim(dim, x._a.ndim)


def softmax(
    input: Tensor,
    dim: int | None = None,
    dtype: dtype | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Return exp(x) / Σ exp(x), the sum taken along `dim`.

    >>> import multitorch as torch
    >>> torch.softmax(torch.zeros(2), 0)
    tensor([0.5000, 0.5000])
    """
    x, dim = _softmax_input("softmax", input, dim, dtype)
    result = _softmax(x, dim=dim)
    return result if out is None else write_out(out, result)


def log_softmax(
    input: Tensor,
    dim: int | None = None,
    dtype: dtype | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Return x - log Σ exp(x), the sum taken along `dim`."""
    x, dim = _softmax_input("log_softmax", input, dim, dtype)
    result = _log_softmax(x, dim=dim)
    return result if out is None else write_out(out, result)


def softmin(input: Tensor, dim: int | None = None, dtype: dtype | None = None) -> Tensor:
    """Return the softmax of -x."""
    x, dim = _softmax_input("softmin", input, dim, dtype)
    return _softmax(-x, dim=dim)


# --- attention -----------------------------------------------------------------------------------


def _scores_shape(x: Any, y: Any) -> tuple:
    return matrix_shape(x, y)[0], dtypes.float32.numpy()


_matmul_single = op("matmul_single", "x y", node="BmmBackward0", shape=_scores_shape).vjp(
    x=lambda F, g, y, x_shape, x_dtype: F.sum_to(
        F.matmul_nt(F.cast(g, dtype=x_dtype), y), shape=x_shape
    ),
    y=lambda F, g, x, y_shape, y_dtype: F.sum_to(
        F.matmul_tn(x, F.cast(g, dtype=y_dtype)), shape=y_shape
    ),
)


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Return softmax(Q Kᵀ · scale + mask) V for Q (…, L, E), K (…, S, E), V (…, S, Ev).

    A mask of bool keeps where it is true; other masks are added. A row with nothing to keep is 0.
    """
    if attn_mask is not None and is_causal:
        raise RuntimeError(
            "_scaled_dot_product_attention: Explicit attn_mask should not be set when "
            "is_causal=True"
        )
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = (t.repeat_interleave(groups, -3) for t in (key, value))
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    keys = key.transpose(-2, -1)
    half = query._dtype.itemsize == 2
    scores = _matmul_single(query, keys) * factor if half else (query * factor) @ keys
    if is_causal:
        attn_mask = scores.new_ones(scores.shape[-2:], dtype=dtypes.bool_).tril()
    if attn_mask is not None:
        scores = _masked(scores, attn_mask)
    if half:
        return _mix_in_single(scores, value, dropout_p)
    weights = softmax(scores, -1)
    if attn_mask is not None:
        weights = weights.masked_fill((scores == -inf).all(-1, keepdim=True), 0.0)
    return _dropped(weights, dropout_p) @ value


def _mix_in_single(scores: Tensor, value: Tensor, dropout_p: float) -> Tensor:
    """Return softmax(scores) V for single-precision scores of half-precision data.

    Only the terms of the last product are rounded, before they are divided by their sum.
    """
    top = scores.detach().amax(-1, keepdim=True)
    terms = (scores - top.masked_fill(top == -inf, 0.0)).exp()
    total = terms.sum(-1, keepdim=True)
    mixed = _matmul_single(_dropped(terms, dropout_p).to(value._dtype), value)
    return (mixed / total.masked_fill(total == 0, 1.0)).to(value._dtype)


def _dropped(weights: Tensor, dropout_p: float) -> Tensor:
    if not dropout_p:
        return weights
    keep = weights.new_empty(weights.shape).bernoulli_(1 - dropout_p)
    return weights * keep / (1 - dropout_p)


def _masked(scores: Tensor, mask: Tensor) -> Tensor:
    return scores.masked_fill(~mask, -inf) if mask._dtype is dtypes.bool_ else scores + mask


def _in_place(function: Any) -> Any:
    """Return the public in-place function: `elu_(x)` overwrites and returns x."""

    def method(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return write_result(input, function, args, kwargs)

    method.__name__ = method.__qualname__ = f"{function.__name__}_"
    method.__doc__ = f"Apply `{function.__name__}` to the tensor itself."
    method.__wrapped__ = function  # type: ignore[attr-defined]
    return method


METHODS = {
    "relu": relu,
    "prelu": prelu,
    "hardshrink": hardshrink,
    "softmax": softmax,
    "log_softmax": log_softmax,
}
INPLACE = {"relu_": relu}
FUNCTIONS = {
    "relu": relu,
    "prelu": prelu,
    "hardshrink": hardshrink,
    "selu": selu,
    "celu": celu,
    "threshold": threshold,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "relu_": _in_place(relu),
    "selu_": _in_place(selu),
    "celu_": _in_place(celu),
    "threshold_": _in_place(threshold),
}
