"""Activation functions. Kinks follow PyTorch's subgradients.

Slopes, thresholds and other numbers are data of an op, never static: a new value compiles nothing.
"""

from __future__ import annotations

import warnings
from typing import Any

from multitorch import dtypes
from multitorch.dtypes import dtype
from multitorch.ops.apply import write_out
from multitorch.ops.common import same_shape, wrap_dim
from multitorch.ops.op import op
from multitorch.ops.promote import Promotion, float_only, not_implemented, real_no_bool

Tensor = Any


def _float_like(name: str, d: dtype) -> dtype:
    if not d.is_floating_point or d.name.startswith("float8"):
        raise not_implemented(name, d)
    return d


_NATIVE = frozenset((dtypes.float32, dtypes.float64))
_HALVES = frozenset((dtypes.float16, dtypes.bfloat16))
_real_float = Promotion(
    "real_float", _float_like, fast=_NATIVE | _HALVES, fast_float=_NATIVE, fast_int=_NATIVE
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


METHODS = {"relu": relu, "softmax": softmax, "log_softmax": log_softmax}
INPLACE = {"relu_": relu}
FUNCTIONS = {"relu": relu, "softmax": softmax, "log_softmax": log_softmax}
