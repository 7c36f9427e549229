"""`torch.masked`: reductions and normalizations over the elements for which a mask is true.

The mask is broadcast to the input. Where a whole row is masked out, a reduction gives its identity
(0 for a sum, -inf for a maximum) or NaN (mean, variance, median).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from multitorch import dtypes
from multitorch.dtypes import BOOL, FLOAT, dtype
from multitorch.ops import activation, maths, reduce, scan, statistics
from multitorch.ops.common import wrap_dims
from multitorch.ops.logic import maximum, where
from multitorch.tensor import Tensor

__all__ = [
    "amax", "amin", "argmax", "argmin", "cumprod", "cumsum", "log_softmax", "logaddexp",
    "logsumexp", "mean", "median", "norm", "normalize", "prod", "softmax", "softmin", "std", "sum",
    "var",
]  # fmt: skip

Dims = int | tuple[int, ...] | None

# --- masks ---------------------------------------------------------------------------------------


def _input_mask(input: Tensor, *args: Any, mask: Tensor | None = None, **kwargs: Any) -> Tensor:
    """Return the mask as a boolean tensor of the input's shape."""
    if mask is None:
        raise ValueError("_input_mask requires explicit mask")
    if mask.ndim > input.ndim:
        raise IndexError(
            "_input_mask expected broadcastable mask (got mask dimensionality higher than of the "
            "input)"
        )
    return mask.to(dtypes.bool_).expand(input.shape)


def _output_mask(op: Callable, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Return which elements of `op(input, ...)` came from at least one unmasked element."""
    name = op.__name__
    if name not in __all__ or name == "logaddexp":
        raise ValueError(f"_output_mask expected masked operation (got callable {name})")
    valid = kwargs.get("mask")
    full = input.isnan() | True if valid is None else _input_mask(input, mask=valid)
    if name in ("cumprod", "cumsum", "log_softmax", "normalize", "softmax", "softmin"):
        return full
    at = 1 if name == "norm" else 0
    dim = kwargs.get("dim", args[at] if len(args) > at else -1 if name == "median" else None)
    return full.any(dim=wrap_dims(dim, input.ndim), keepdim=kwargs.get("keepdim", False))


def _filled(input: Tensor, mask: Tensor | None, value: Any) -> Tensor:
    """Return the input with `value` where it is masked out."""
    return input if mask is None else where(_input_mask(input, mask=mask), input, value)


def _cast(input: Tensor, dtype: dtype | None) -> Tensor:
    return input if dtype is None else input.to(dtype)


def _lowest(name: str, d: dtype) -> Any:
    """Return the identity of a maximum in a dtype."""
    return -math.inf if d.inexact else _limits(name, d).min


def _highest(name: str, d: dtype) -> Any:
    """Return the identity of a minimum in a dtype."""
    return math.inf if d.inexact else _limits(name, d).max


def _limits(name: str, d: dtype) -> Any:
    if d.category == BOOL:
        raise NotImplementedError(f"identity of {name} on {d} input")
    return dtypes.iinfo(d)


# --- sums and products ---------------------------------------------------------------------------


def sum(
    input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the sum over the unmasked elements.

    >>> x = multitorch.tensor([[-3, -2, -1], [0, 1, 2]])
    >>> mask = multitorch.tensor([[True, False, True], [False, False, False]])
    >>> multitorch.masked.sum(x, 1, mask=mask)
    tensor([-4,  0])
    """
    return reduce.sum(_filled(_cast(input, dtype), mask, 0), dim, keepdim, dtype=dtype)


def prod(
    input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the product over the unmasked elements."""
    t = _filled(_cast(input, dtype), mask, 1)
    if not t.ndim:
        return reduce.prod(t, dtype=dtype)
    for d in reversed(wrap_dims(dim, t.ndim)):
        t = reduce.prod(t, d, keepdim, dtype=dtype)
    return t


def cumsum(
    input: Tensor, dim: int, *, dtype: dtype | None = None, mask: Tensor | None = None
) -> Tensor:
    """Return the running sums over the unmasked elements, in the input's dtype."""
    return _scan(scan.cumsum, input, dim, dtype, mask, 0)


def cumprod(
    input: Tensor, dim: int, *, dtype: dtype | None = None, mask: Tensor | None = None
) -> Tensor:
    """Return the running products over the unmasked elements, in the input's dtype."""
    return _scan(scan.cumprod, input, dim, dtype, mask, 1)


def _scan(
    function: Callable, input: Tensor, dim: int, dtype: dtype | None, mask: Any, fill: Any
) -> Tensor:
    t = _cast(input, dtype)
    return function(_filled(t, mask, fill), dim, dtype=t.dtype)


# --- extremes ------------------------------------------------------------------------------------


def amax(
    input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the maximum of the unmasked elements."""
    t = _cast(input, dtype)
    fill = None if mask is None else _lowest("amax", t.dtype)
    return reduce.amax(_filled(t, mask, fill), () if dim is None else dim, keepdim)


def amin(
    input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the minimum of the unmasked elements."""
    t = _cast(input, dtype)
    fill = None if mask is None else _highest("amin", t.dtype)
    return reduce.amin(_filled(t, mask, fill), () if dim is None else dim, keepdim)


def argmax(
    input: Tensor, dim: int | None = None, *, keepdim: bool = False, dtype: dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return where the maximum of the unmasked elements is, as a number of the input's dtype."""
    t = _cast(input, dtype)
    fill = None if mask is None else _lowest("argmax", t.dtype)
    return reduce.argmax(_filled(t, mask, fill), dim, keepdim).to(t.dtype)


def argmin(
    input: Tensor, dim: int | None = None, *, keepdim: bool = False, dtype: dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return where the minimum of the unmasked elements is, as a number of the input's dtype."""
    t = _cast(input, dtype)
    fill = None if mask is None else _highest("argmin", t.dtype)
    return reduce.argmin(_filled(t, mask, fill), dim, keepdim).to(t.dtype)


# --- statistics ----------------------------------------------------------------------------------


def _count(input: Tensor, dim: Dims, keepdim: bool, mask: Tensor | None) -> Any:
    """Return how many elements a reduction takes: a number, or with a mask a tensor."""
    if mask is None:
        return math.prod([input.shape[d] for d in wrap_dims(dim, input.ndim)])
    return reduce.sum(_input_mask(input, mask=mask), dim, keepdim)


def mean(
    input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the mean of the unmasked elements, NaN if there is none.

    >>> x, mask = multitorch.tensor([1.0, 2.0, 9.0]), multitorch.tensor([True, True, False])
    >>> multitorch.masked.mean(x, mask=mask)
    tensor(1.5000)
    """
    t = _cast(input, dtype)
    if not t.dtype.inexact:
        raise ValueError(
            "mean(): Could not infer output dtype. Input dtype must be either a floating point or "
            f"complex dtype. Got: {t.dtype}"
        )
    if mask is None:
        return reduce.mean(t, dim, keepdim)
    return sum(t, dim, keepdim=keepdim, mask=mask) / _count(t, dim, keepdim, mask)


def median(
    input: Tensor, dim: int = -1, *, keepdim: bool = False, dtype: dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the lower median of the unmasked elements along a dimension; NaN are left out."""
    t = _cast(input, dtype)
    if t.dtype.is_floating_point:
        return statistics.nanmedian(_filled(t, mask, math.nan), dim, keepdim)[0]
    if mask is None:
        return statistics.median(t, dim, keepdim)[0]
    if not _input_mask(t, mask=mask).any(dim).all():
        raise ValueError(
            "masked median expects no fully masked out rows if dtype is not floating point"
        )
    wide = _filled(t.to(dtypes.float64), mask, math.nan)
    return statistics.nanmedian(wide, dim, keepdim)[0].to(t.dtype)


def norm(
    input: Tensor, ord: float = 2.0, dim: Dims = None, *, keepdim: bool = False,
    dtype: dtype | None = None, mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the vector norm of the unmasked elements."""
    fill = math.inf if ord == -math.inf else 0
    return statistics.vector_norm(_filled(_cast(input, dtype), mask, fill), ord, dim, keepdim)


def var(
    input: Tensor, dim: Dims = None, unbiased: bool | None = None, *,
    correction: float | None = None, keepdim: bool = False, dtype: dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the variance of the unmasked elements: squared deviations over count - correction."""
    if unbiased is not None and correction is not None:
        raise AssertionError("Only one of unbiased and correction may be given")
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    t = _cast(input, dtype)
    if t.dtype.category < FLOAT:
        t = t.to(dtypes.get_default_dtype())
    mid = sum(t, dim, keepdim=True, mask=mask) / _count(t, dim, True, mask)
    off = t - mid
    total = sum(off * off.conj(), dim, keepdim=keepdim, mask=mask)
    count = _count(t, dim, keepdim, mask)
    if mask is None:
        return total / max(count - correction, 0)
    return (total / (count - correction).clamp(min=0)).to(t.dtype)


def std(
    input: Tensor, dim: Dims = None, unbiased: bool | None = None, *,
    correction: float | None = None, keepdim: bool = False, dtype: dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the standard deviation of the unmasked elements."""
    return var(
        input, dim, unbiased, correction=correction, keepdim=keepdim, dtype=dtype, mask=mask
    ).sqrt()


# --- exponentials --------------------------------------------------------------------------------


def logsumexp(
    input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the logarithm of the sum of exponentials of the unmasked elements."""
    t = _cast(input, dtype)
    fill = None if mask is None else _lowest("logsumexp", t.dtype)
    dims = wrap_dims(dim, t.ndim)
    return reduce.logsumexp(_filled(t, mask, fill), dims, keepdim).to(t.dtype)


def logaddexp(
    input: Tensor, other: Tensor, *, dtype: dtype | None = None, input_mask: Tensor | None = None,
    other_mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return `log(exp(input) + exp(other))`, where a masked-out element adds nothing."""
    x, y = _cast(input, dtype), _cast(other, dtype)
    if not (x.dtype.inexact and y.dtype.inexact):
        d = y.dtype if x.dtype.inexact else x.dtype
        raise NotImplementedError(f"\"logaddexp_cpu\" not implemented for '{d.scalar_name}'")
    return maths.logaddexp(_filled(x, input_mask, -math.inf), _filled(y, other_mask, -math.inf))


def softmax(
    input: Tensor, dim: int, *, dtype: dtype | None = None, mask: Tensor | None = None
) -> Tensor:
    """Return the softmax over the unmasked elements; 0 for the others.

    >>> x = multitorch.tensor([0.0, 5.0, 0.0])
    >>> multitorch.masked.softmax(x, 0, mask=multitorch.tensor([True, False, True]))
    tensor([0.5000, 0.0000, 0.5000])
    """
    t = _cast(input, dtype)
    fill = None if mask is None else _lowest("amax", t.dtype)
    return activation.softmax(_filled(t, mask, fill), dim)


def log_softmax(
    input: Tensor, dim: int, *, dtype: dtype | None = None, mask: Tensor | None = None
) -> Tensor:
    """Return the logarithm of the softmax over the unmasked elements; -inf for the others."""
    t = _cast(input, dtype)
    fill = None if mask is None else _lowest("amax", t.dtype)
    return activation.log_softmax(_filled(t, mask, fill), dim)


def softmin(
    input: Tensor, dim: int, *, dtype: dtype | None = None, mask: Tensor | None = None
) -> Tensor:
    """Return the softmax of the negated unmasked elements; 0 for the others."""
    t = _cast(input, dtype)
    fill = None if mask is None else _highest("amin", t.dtype)
    return activation.softmin(_filled(t, mask, fill), dim)


def normalize(
    input: Tensor, ord: float, dim: int, *, eps: float = 1e-12, dtype: dtype | None = None,
    mask: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Return the unmasked elements over their norm (`eps` at the least); 0 for the others."""
    t = _cast(input, dtype)
    size = norm(t, ord, dim, keepdim=True, mask=mask)
    return _filled(t, mask, 0) / maximum(size, size.new_full((), eps))
